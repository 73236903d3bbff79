"""Calls echo_bot.py: `pytest test_echo_bot.py`. hello.wav is any recording of a sentence."""

import sys


async def test_the_bot_says_what_it_hears(phone):
    url = phone.start([sys.executable, "echo_bot.py"], "ws://127.0.0.1:9000/")
    call = await phone.call(url, say="hello.wav")
    assert call.first_audio_ms < 300
    assert call.heard("hello.wav")

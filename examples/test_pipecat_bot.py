"""Calls pipecat_bot.py: `pytest test_pipecat_bot.py`. hello.wav is any recording of a sentence."""

import os
import sys


async def test_the_pipecat_bot_answers(phone):
    command = [sys.executable, "pipecat_bot.py", "-t", "telnyx", "-x", "localhost:7860"]
    url = phone.start(command, "ws://127.0.0.1:7860/ws", env={**os.environ, "TELNYX_API_KEY": "none"})
    call = await phone.call(url, say="hello.wav")
    assert call.first_audio_ms < 800
    assert call.heard("hello.wav")

"""Tests of a voice bot with real calls: a pytest plugin, documented in docs/guide/testing.md.

    async def test_bot(phone):
        call = await phone.call("ws://127.0.0.1:7860/ws", say="hello.wav")
        assert call.first_audio_ms < 800
        assert call.cleared_within_ms < 300

The fixture `phone` has a server of its own and a caller. A call is a real one: SIP and RTP to the server, whose stream
goes to the bot's WebSocket.
"""

from trunkline.phone.values import Impairments
from trunkline.testing.calls import DialledCall, FinishedCall, NotMeasured
from trunkline.testing.phone import Phone
from trunkline.testing.server import LocalServer

__all__ = ["DialledCall", "FinishedCall", "Impairments", "LocalServer", "NotMeasured", "Phone"]

"""Tests of a voice bot with real calls: a pytest plugin, documented in docs/guide/testing.md.

    async def test_bot(phone):
        call = await phone.call("ws://127.0.0.1:7860/ws", say="hello.wav")
        assert call.first_audio_ms < 800
        assert call.cleared_within_ms < 300

The fixture `phone` has a server of its own and a caller. A call is a real one: SIP and RTP to the server, whose stream
goes to the bot's WebSocket.

Names are imported when they are first used, so that the plugin costs nothing in test runs without it, and the server
starts while the caller is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline.phone.values import Impairments
    from trunkline.testing.calls import DialledCall, FinishedCall, NotMeasured
    from trunkline.testing.phone import Phone
    from trunkline.testing.server import LocalServer

__all__ = ["DialledCall", "FinishedCall", "Impairments", "LocalServer", "NotMeasured", "Phone"]

_HOMES = {
    "DialledCall": "trunkline.testing.calls",
    "FinishedCall": "trunkline.testing.calls",
    "Impairments": "trunkline.phone.values",
    "LocalServer": "trunkline.testing.server",
    "NotMeasured": "trunkline.testing.calls",
    "Phone": "trunkline.testing.phone",
}


if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """What `__all__` names."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)

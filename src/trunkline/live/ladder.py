"""The SIP messages of calls as events, for the console's ladder. Pure.

`MESSAGES` of a call are published; the rest is counted by the event's `number`, whose gaps show it. Credentials and
media keys are left out.
"""

from collections.abc import Callable

from trunkline.live.hub import Hub, timestamp
from trunkline.sip.trace import TracedCall, TracedMessage, cseq, summary

MESSAGES = 200
"""Of one call."""
TEXT_LIMIT = 6000
"""Bytes of a message."""


class Ladder:
    """All calls'. `mask` writes a message for people."""

    def __init__(self, hub: Hub, mask: Callable[[bytes], str]) -> None:
        self._hub = hub
        self._mask = mask

    def publish(self, call: TracedCall, message: TracedMessage) -> None:
        """A message of a call that has a name."""
        if message.number > MESSAGES or call.account is None:
            return

        def make() -> dict[str, object]:
            text = self._mask(message.data[:TEXT_LIMIT])
            return {
                "event": "sip-message",
                "occurred_at": timestamp(message.at),
                "call_sid": call.sid,
                "number": message.number,
                "direction": message.direction,
                "local": message.local,
                "peer": message.peer,
                "transport": message.transport,
                "summary": summary(text),
                "cseq": cseq(text),
                "text": text,
            }

        self._hub.publish(call.account, make)

"""Whose messages a bot speaks: `--wire` of `check` and `replay`. A row for each dialect of the server's faces."""

from collections.abc import Callable
from dataclasses import dataclass

from trunkline.streaming import messages
from trunkline.streaming.messages import FromApp, Refusal
from trunkline.streaming.stream import Stream


@dataclass(frozen=True, slots=True)
class Wire:
    """One dialect."""

    whose: str
    """For people."""
    stream: type[Stream]
    """Makes our messages, and answers the bot's."""
    read: Callable[[bytes], FromApp | Refusal]
    """A text of the bot's, for the judge."""


TELNYX = "telnyx"
WIRES = {TELNYX: Wire("Telnyx media streaming", Stream, messages.decode)}

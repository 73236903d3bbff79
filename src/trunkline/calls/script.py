"""Who tells calls what to do: the border between the runner, which carries calls, and the TeXML room, which runs
documents on them.

The runner calls a `CallScript` on its loop, never from within a transition: every effect of a fact is carried out
before the director hears of it. The director answers with commands, at once or later, through `Runner.apply`."""

from typing import Protocol

from trunkline.calls.commands import Command, Instructions
from trunkline.calls.events import Fact
from trunkline.calls.registry import LiveCall


class CallScript(Protocol):
    """Runs instructions on calls. Nothing in here may raise, block or await."""

    def begin(self, entry: LiveCall, instructions: Instructions) -> None:
        """A call that is to be told what to do: an inbound one that rings, an outbound one that was answered."""

    def redirect(self, entry: LiveCall, instructions: Instructions) -> None:
        """Do this instead of what the call does now, if anything."""

    def told(self, entry: LiveCall, what: Fact | Command) -> None:
        """This was applied to a call, any call; `entry.call` is as it is after it. The last that is told of a call is
        what led to `State.ENDED`, or comes later."""

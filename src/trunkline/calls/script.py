"""The interface between the runner, which carries calls, and the TeXML room, which runs documents on them.

The runner calls a `CallScript` on its loop, never from within a transition: every effect of a fact is carried out
before the script gets the fact. The script answers with commands, at once or later, through `Runner.apply`."""

from typing import Protocol

from trunkline.calls.commands import Command, Instructions
from trunkline.calls.events import Fact
from trunkline.calls.registry import LiveCall


class CallScript(Protocol):
    """Runs instructions on calls. No method may raise, block or await."""

    def start(self, entry: LiveCall, instructions: Instructions) -> None:
        """Run instructions on a call: an inbound one that rings, an outbound one that was answered."""

    def redirect(self, entry: LiveCall, instructions: Instructions) -> None:
        """Run these instead of what the call does now, if anything."""

    def on_applied(self, entry: LiveCall, what: Fact | Command) -> None:
        """A fact or command was applied to a call, with or without instructions; `entry.call` is as it is after it.
        Called at least once with the call in `CallState.ENDED`."""

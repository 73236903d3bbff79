"""Who wants to know what happens to calls: a border, so that the runner knows no event socket. Pure."""

from datetime import datetime
from typing import Protocol

from trunkline.calls.commands import Command
from trunkline.calls.effects import Persist
from trunkline.calls.events import Fact
from trunkline.calls.views import CallView
from trunkline.workers.reports import LegHeard, LegWatched


class CallObserver(Protocol):
    """Called in the loop's thread, after what it reports; must not raise or block."""

    def began(self, call: CallView) -> None:
        """A call has its sid."""

    def happened(self, call: CallView, what: Fact | Command, at: datetime) -> None:
        """A fact, or a command that was accepted, and what came of it."""

    def recorded(self, change: Persist, at: datetime) -> None:
        """Calls, streams and their events as they are to be stored."""

    def watched(self, call: CallView, report: LegWatched, at: datetime) -> None:
        """What a watched call sounds like."""

    def heard(self, call: CallView, report: LegHeard) -> None:
        """Audio of a call that is listened to."""

    def forgotten(self, call: CallView) -> None:
        """Nothing more comes of a call."""


class NoObserver:
    """Takes no notice."""

    def began(self, call: CallView) -> None:
        """See `CallObserver`."""

    def happened(self, call: CallView, what: Fact | Command, at: datetime) -> None:
        """See `CallObserver`."""

    def recorded(self, change: Persist, at: datetime) -> None:
        """See `CallObserver`."""

    def watched(self, call: CallView, report: LegWatched, at: datetime) -> None:
        """See `CallObserver`."""

    def heard(self, call: CallView, report: LegHeard) -> None:
        """See `CallObserver`."""

    def forgotten(self, call: CallView) -> None:
        """See `CallObserver`."""

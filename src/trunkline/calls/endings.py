"""How calls end, as tables: status, text and code of each cause (docs/reference/callbacks.md#of-a-call).

`hangup_code` takes Telnyx's words: `normal_clearing`, `originator_cancel`, `user_busy`, `call_rejected`, `not_found`,
`timeout`, `time_limit`, `unspecified`; and `unreachable`, for which Telnyx has none: nothing at the callee's address
has taken the call, so that the callee was not asked to answer it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from trunkline.calls.effects import Persist
from trunkline.calls.views import CallEvent, CallStatus, CallView, StreamEvent, StreamView

Source = Literal["caller", "callee", "system"]


@dataclass(frozen=True, slots=True)
class Ending:
    """One end of a call."""

    status: CallStatus
    cause: str
    """For people; `{peer}` stands for who it was."""
    code: str
    source: Source = "system"
    sip_status: int | None = None
    """Of the response that refused the call."""

    def by(self, peer: str, detail: str) -> "Ending":
        """The same with the peer's name, caller or callee, and what it said."""
        words = self.cause.format(peer=peer) + (f" ({detail})" if detail else "")
        named: Source = self.source if self.source == "system" else "caller" if peer == "caller" else "callee"
        return replace(self, cause=words, source=named)


PEER_ENDS: dict[str, Ending] = {
    "bye": Ending("completed", "{peer} hung up", "normal_clearing", "caller"),
    "cancel": Ending("canceled", "{peer} gave up before the answer", "originator_cancel", "caller"),
    "no-ack": Ending("failed", "our answer was never confirmed", "unspecified"),
    "error": Ending("failed", "signalling failed", "unspecified"),
}
CANCELED = Ending("canceled", "cancelled before the answer", "originator_cancel")
NO_ANSWER = Ending("no-answer", "not answered in time", "timeout")
UNREACHABLE = Ending("failed", "not connected: the callee is unreachable: no response at all", "unreachable")
TIME_LIMIT = Ending("completed", "the call reached its time limit", "time_limit")

_REFUSALS: dict[int, tuple[CallStatus, str]] = {
    404: ("failed", "not_found"),
    408: ("no-answer", "timeout"),
    480: ("no-answer", "timeout"),
    484: ("failed", "not_found"),
    486: ("busy", "user_busy"),
    487: ("canceled", "originator_cancel"),
    600: ("busy", "user_busy"),
    603: ("busy", "call_rejected"),
    604: ("failed", "not_found"),
}
"""By SIP status, of the call that we placed; any other is a failure."""
_ON_THE_WAY = frozenset((408, 502, 503, 504))
"""What servers say that cannot get through to the callee (RFC 3261 sections 21.4.9 and 21.5)."""


def hung_up(cause: str, status: CallStatus = "completed", source: Source = "system") -> Ending:
    """Our own decision to end a call that was answered, or that of `source`, who is no party of it."""
    return Ending(status, cause, "normal_clearing", source)


def broken(cause: str, sip_status: int | None = None) -> Ending:
    """It could not go on, or never began."""
    return Ending("failed", cause, "unspecified", sip_status=sip_status)


def rejection(status: int, reason: str) -> Ending:
    """An inbound call that a command refused with this SIP status."""
    busy = status in (486, 600)
    return Ending("busy" if busy else "failed", f"refused: {reason}", "user_busy" if busy else "call_rejected",
                  sip_status=status)  # fmt: skip


def refusal_of(status: int, reason: str, detail: str, *, responded: bool = True) -> Ending:
    """An outbound call that was refused with this SIP status, or, without a response (`responded`), was not reached."""
    shown, code = _REFUSALS.get(status, ("failed", "call_rejected" if status in (401, 403, 407) else "unspecified"))
    if not responded:
        return Ending(shown, f"not connected: {detail or reason}", code)
    words = f"not connected: {status} {reason}" + (f" ({detail})" if detail else "")
    return Ending(shown, words, code, "system" if status in _ON_THE_WAY else "callee", status)


def lost_in_crash(calls: Sequence[CallView], streams: Sequence[StreamView], now: datetime) -> Persist:
    """The records and events that are due after a server died with these calls and streams live."""
    cause = "the server stopped without warning"
    ending = broken(cause)
    ended_calls = tuple(
        replace(
            call,
            status=ending.status,
            updated_at=now,
            ended_at=now,
            hangup_cause=cause,
            hangup_source=ending.source,
            hangup_code=ending.code,
        )
        for call in calls
    )
    ended = tuple(replace(stream, status="failed", updated_at=now, ended_reason=cause) for stream in streams)
    events = tuple(StreamEvent("stream-error", stream, now, cause) for stream in ended)
    return Persist(ended_calls, ended, events, tuple(CallEvent("completed", call, now) for call in ended_calls))

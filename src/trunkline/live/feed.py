"""Turns what happens to calls, streams and callbacks into events (docs/reference/events.md). Pure.

It is the observer of the runner and of the callbacks: values come in, events go to the hub. How a call and a stream
look in JSON is the face's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec

from trunkline.calls.commands import Command
from trunkline.calls.effects import Persist
from trunkline.calls.events import Fact
from trunkline.calls.views import CallView, StreamView
from trunkline.ids import AccountSid, CallSid
from trunkline.live.hub import Hub, timestamp
from trunkline.live.listening import HeardPiece
from trunkline.media.report import TrackLevels
from trunkline.sip.trace import SipTrace
from trunkline.store.records import CallbackRecord
from trunkline.streaming.params import SeenMessage
from trunkline.webhooks.outbox import AttemptDecision, AttemptResult
from trunkline.webhooks.payloads import masked
from trunkline.workers import reports
from trunkline.workers.reports import LegHeard, LegWatched


@dataclass(frozen=True, slots=True)
class EventFace:
    """How a face writes calls and streams."""

    call: Callable[[CallView], Mapping[str, object]]
    stream: Callable[[StreamView], Mapping[str, object]]


class LiveControl(Protocol):
    """What the feed needs of the runner."""

    def watch(self, call: CallSid, on: bool) -> None:
        """Have the media worker of a call report what it sounds like, or no more."""

    def listen(self, call: CallSid, on: bool) -> None:
        """Have the media worker of a call report its audio, or no more."""

    def sip_call_id(self, call: CallSid) -> str | None:
        """The Call-ID of a live call, once there is one."""


class Feed:
    """Feeds the hub."""

    def __init__(self, hub: Hub, face: EventFace, trace: SipTrace, control: Callable[[], LiveControl]) -> None:
        """`control` is asked for when it is needed: the runner in turn needs this feed."""
        self._hub = hub
        self._face = face
        self._trace = trace
        self._control = control
        self.on_forgotten: Callable[[CallView], object] = lambda _: None
        """Called with each call of which nothing more comes."""

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────

    def began(self, call: CallView) -> None:
        """See `CallObserver`."""
        self._hub.begun(call.account_sid, call.sid)

    def happened(self, call: CallView, what: Fact | Command, at: datetime) -> None:
        """See `CallObserver`."""
        if not self._trace.knows(call.sid) and (call_id := self._control().sip_call_id(call.sid)):
            self._trace.name(call_id, call.account_sid, call.sid)
        if isinstance(what, reports.LegOpened) and self._hub.watched(call.sid):
            self._control().watch(call.sid, True)
        if isinstance(what, reports.LegOpened) and self._hub.listening.listened(call.sid):
            self._control().listen(call.sid, True)
        say = _FACTS.get(type(what))
        if say is not None:
            event, members = say(what)
            self._publish(call.account_sid, event, at, {"call_sid": call.sid, **members})

    def recorded(self, change: Persist, at: datetime) -> None:
        """See `CallObserver`."""
        named = {one.call.sid for one in change.call_events}
        for event in change.call_events:
            self._call(event.call, f"call-{event.kind}", event.at)
        for call in change.calls:
            if call.sid not in named:
                self._call(call, "call-updated", at)
        about = {one.stream.sid for one in change.events}
        for one in change.events:
            self._stream(one.stream, one.kind, one.at, one.error)
        for stream in change.streams:
            if stream.sid not in about:
                self._stream(stream, "stream-updated", at, None)

    def forgotten(self, call: CallView) -> None:
        """See `CallObserver`."""
        self._hub.ended(call.account_sid, call.sid)
        self._hub.listening.ended(call.sid)
        self.on_forgotten(call)

    def _call(self, call: CallView, event: str, at: datetime) -> None:
        def make() -> dict[str, object]:
            return {
                "event": event,
                "occurred_at": timestamp(at),
                "call_sid": call.sid,
                "call": self._face.call(call),
                "codec": call.codec,
                "application_sid": call.application_sid,
                "reason": call.hangup_cause,
                "notes": list(call.notes),
            }

        self._hub.publish(call.account_sid, make)

    def _stream(self, stream: StreamView, event: str, at: datetime, error: str | None) -> None:
        def make() -> dict[str, object]:
            return {
                "event": event,
                "occurred_at": timestamp(at),
                "call_sid": stream.call_sid,
                "stream_sid": stream.sid,
                "stream": self._face.stream(stream),
                "url": masked(stream.url),
                "mode": stream.mode,
                "codec": stream.codec,
                "error": error,
            }

        self._hub.publish(stream.account_sid, make)

    def _publish(
        self,
        account: AccountSid,
        event: str,
        at: datetime,
        members: Mapping[str, object],
        only_watching: CallSid | None = None,
    ) -> None:
        self._hub.publish(account, lambda: {"event": event, "occurred_at": timestamp(at), **members}, only_watching)

    # ── a watched call ──────────────────────────────────────────────────────────────────────────────────────

    def watched(self, call: CallView, report: LegWatched, at: datetime) -> None:
        """See `CallObserver`."""
        sample = report.sample
        for stream in report.streams:
            about: dict[str, object] = {"call_sid": call.sid, "stream_sid": stream.sid}
            for seen in stream.messages:
                then = at - timedelta(seconds=max(0.0, report.now - seen.at))
                self._publish(call.account_sid, "stream-message", then, {**about, **_message(seen)}, call.sid)
            if stream.dropped:
                self._publish(call.account_sid, "messages-dropped", at, {**about, "count": stream.dropped}, call.sid)
        for sid, ms in sample.first_audio_ms:
            members = {"call_sid": call.sid, "stream_sid": sid, "milliseconds": ms}
            self._publish(call.account_sid, "first-audio", at, members, call.sid)
        for ms in sample.barge_in_ms:
            self._publish(call.account_sid, "barge-in", at, {"call_sid": call.sid, "milliseconds": ms}, call.sid)
        levels: dict[str, object] = {
            "event": "levels",
            "occurred_at": timestamp(at),
            "call_sid": call.sid,
            "at_ms": sample.at_ms,
            "inbound": _track(sample.inbound),
            "outbound": _track(sample.outbound),
            "streams": [_counters(stream) for stream in report.streams],
        }
        self._hub.levels(call.account_sid, call.sid, levels)

    def heard(self, call: CallView, report: LegHeard) -> None:
        """See `CallObserver`."""
        self._hub.listening.heard(call.sid, HeardPiece(report.at_ms, report.pcm))

    # ── callbacks ───────────────────────────────────────────────────────────────────────────────────────────

    def stored(self, record: CallbackRecord) -> None:
        """See `CallbackObserver`."""

        def make() -> dict[str, object]:
            form = dict(parse_qsl(record.form, keep_blank_values=True))
            return _callback("callback-stored", record, record.created_at) | {"form": form}

        self._hub.publish(AccountSid(record.account), make)

    def tried(self, record: CallbackRecord, decision: AttemptDecision, result: AttemptResult, at: datetime) -> None:
        """See `CallbackObserver`."""

        def make() -> dict[str, object]:
            return _callback("callback-tried", record, at) | {
                "state": decision.state,
                "tries": decision.tries,
                "status": result.status,
                "reason": result.error,
                "answer": result.body,
                "next_try_in": decision.wait,
            }

        self._hub.publish(AccountSid(record.account), make)


def _callback(event: str, record: CallbackRecord, at: datetime) -> dict[str, object]:
    return {
        "event": event,
        "occurred_at": timestamp(at),
        "callback_id": record.id,
        "call_sid": record.call_sid,
        "stream_sid": record.stream_sid,
        "url": masked(record.url),
        "method": record.method,
    }


def _message(seen: SeenMessage) -> dict[str, object]:
    """The message as JSON where it is whole, else its text."""
    about: dict[str, object] = {"direction": seen.direction}
    try:
        message = msgspec.json.decode(seen.text)
    except msgspec.DecodeError:
        return about | {"text": seen.text}
    return about | {"message": message}


def _track(levels: TrackLevels) -> dict[str, object]:
    return {"frames": levels.frames, "level_db": levels.level_db, "peaks": levels.peaks}


def _counters(stream: reports.StreamWatched) -> dict[str, object]:
    return {
        "stream_sid": stream.sid,
        "socket": stream.state,
        "queued_ms": stream.queued_ms,
        "played_ms": stream.played_ms,
        "marks": stream.marks,
        "media_sent": stream.media_sent,
        "media_received": stream.media_received,
    }


_Said = tuple[str, dict[str, object]]
_FACTS: dict[type, Callable[..., _Said]] = {
    reports.DigitHeard: lambda fact: ("dtmf", {"digit": fact.digit}),
    reports.LegSilent: lambda fact: ("leg-silent", {"seconds": fact.seconds}),
    reports.PlaybackEnded: lambda fact: ("playback-ended", {"error": fact.error}),
    reports.RecordingEnded: lambda fact: (
        "recording-ended",
        {"seconds": fact.seconds, "reason": fact.reason, "error": fact.error},
    ),
    reports.WorkerLost: lambda fact: ("worker-lost", {"reason": fact.detail}),
    reports.LegFailed: lambda fact: ("leg-failed", {"reason": fact.detail}),
}
"""Facts that no record says."""

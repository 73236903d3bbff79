"""The streams of one call. They end with the call or by themselves, each exactly once.

Whatever happens, `_end` runs once for each: it alone makes the `stream-stopped` or `stream-error` event, at the moment
the decision falls; the counters follow with `StreamEnded`. Only where we end a stream that is not known to have
started, the event waits for the worker's next word on it: its `start` may have reached the app already, and then
`stream-started` comes first.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from trunkline.calls import effects
from trunkline.calls.commands import StartStream, StopStream
from trunkline.calls.events import Recorded
from trunkline.calls.views import CallView, StreamEvent, StreamStatus, StreamView
from trunkline.errors import InvalidRequest, ResourceNotFound, StreamLimitReached
from trunkline.ids import StreamSid
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams
from trunkline.workers.orders import CloseStream, OpenStream, PauseStream
from trunkline.workers.reports import StreamEnded, StreamStarted


@dataclass(slots=True)
class _Stream:
    view: StreamView
    params: StreamParams
    order: OpenStream | None
    """Sent once the record is durable; None from then on."""
    live: bool = True
    started: bool = False
    ending: str | None = None
    """Why we ended it, while we do not know yet whether it has started."""


class CallStreams:
    """Every stream of one call whose end the worker has not reported, and the commands on them."""

    def __init__(self, limit: int, bidirectional_limit: int) -> None:
        self._limit = limit
        self._bidirectional_limit = bidirectional_limit
        self._all: dict[StreamSid, _Stream] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def live(self) -> list[tuple[StreamView, StreamParams]]:
        """The streams that have not ended, oldest first, and what they were asked to be."""
        return [(stream.view, stream.params) for stream in self._all.values() if stream.live]

    def find(self, sid_or_name: str) -> StreamView | None:
        """By sid, or a live one by name."""
        by_sid = self._all.get(StreamSid(sid_or_name))
        if by_sid is not None:
            return by_sid.view
        return next((view for view, _ in self.live if view.name == sid_or_name), None)

    def start(self, command: StartStream, call: CallView, codec: str, now: datetime) -> list[effects.Effect]:
        """Take a stream in, on a call that has agreed on `codec`. Raises StreamLimitReached."""
        params = command.params
        self._check_limits(params)
        view = StreamView(
            sid=command.sid,
            account_sid=call.account_sid,
            call_sid=call.sid,
            name=params.name,
            url=params.url.text,
            track=params.track.value,
            status="in-progress",
            created_at=now,
            updated_at=now,
            status_callback=params.status_callback,
            status_callback_method=params.status_callback_method,
            mode=params.mode.value,
            codec=params.bidirectional_codec,
        )
        identity = StreamIdentity(
            stream_sid=command.sid,
            account_sid=call.account_sid,
            call_sid=call.sid,
            call_session_id=call.session_id,
            from_=call.from_,
            to=call.to,
        )
        self._all[command.sid] = _Stream(view, params, OpenStream(identity, params, params.encoding(codec)))
        return [effects.Persist(streams=(view,), then=Recorded(command.sid))]

    def recorded(self, sid: StreamSid) -> list[effects.Effect]:
        """The record of one is durable: the app may be dialled."""
        stream = self._all.get(sid)
        if stream is None or stream.order is None:
            return []
        order, stream.order = stream.order, None
        return [order, PauseStream(sid, True)] if stream.view.status == "paused" else [order]

    def not_recorded(self, sid: StreamSid, now: datetime) -> list[effects.Effect]:
        """It will not be waited for any longer."""
        stream = self._all.get(sid)
        if stream is None or stream.order is None:
            return []
        del self._all[sid]
        error = "the database took no record of the stream in time"
        return [self._end(stream, now, error, error)]

    def _check_limits(self, params: StreamParams) -> None:
        live = self.live
        if len(live) >= self._limit:
            raise StreamLimitReached(f"The call has {len(live)} streams already, which is the limit.")
        speaking = sum(asked.mode is BidirectionalMode.RTP for _, asked in live)
        if params.mode is BidirectionalMode.RTP and speaking >= self._bidirectional_limit:
            raise StreamLimitReached("The call has a bidirectional stream already.")

    def stop(self, command: StopStream, now: datetime) -> list[effects.Effect]:
        """Stop one; nothing if it has ended. Raises ResourceNotFound."""
        stream = self._known(command.sid)
        if not stream.live:
            return []
        reason = "stopped by the API"
        opened = stream.order is None
        ended = self._finish(stream, now, reason)
        return [ended, CloseStream(command.sid, reason)] if opened else [ended]

    def pause(self, command: PauseStream, now: datetime) -> list[effects.Effect]:
        """Pause one or let it go on. Raises ResourceNotFound, InvalidRequest."""
        stream = self._known(command.sid)
        if not stream.live:
            raise InvalidRequest("The stream is over.", pointer="/Status")
        status: StreamStatus = "paused" if command.paused else "in-progress"
        if status == stream.view.status:
            return []
        stream.view = replace(stream.view, status=status, updated_at=now)
        changed = effects.Persist(streams=(stream.view,))
        return [changed, command] if stream.order is None else [changed]

    def _known(self, sid: StreamSid) -> _Stream:
        stream = self._all.get(sid)
        if stream is None:
            raise ResourceNotFound
        return stream

    def started(self, fact: StreamStarted, now: datetime) -> list[effects.Effect]:
        """The worker says that `start` was sent."""
        stream = self._all.get(fact.sid)
        if stream is None or not (stream.live or stream.ending):
            return []
        stream.started = True
        stream.view = replace(stream.view, updated_at=now)
        started = effects.Persist(streams=(stream.view,), events=(StreamEvent("stream-started", stream.view, now),))
        if stream.ending is None:
            return [started]
        return [started, self._end(stream, now, None, stream.ending)]

    def ended(self, fact: StreamEnded, now: datetime) -> list[effects.Effect]:
        """The worker says that one is gone."""
        stream = self._all.pop(fact.sid, None)
        if stream is None:
            return []
        events: tuple[StreamEvent, ...] = ()
        if stream.live:
            events = self._end(stream, now, fact.error, fact.reason).events
        elif stream.ending is not None:
            events = self._end(stream, now, None, stream.ending).events
        stream.view = replace(stream.view, report=fact.report)
        return [effects.Persist(streams=(stream.view,), events=events)]

    def end_all(self, now: datetime, cause: str) -> tuple[effects.Persist, list[effects.Effect]]:
        """The call has ended, the worker is alive: what to record, and the sockets to close."""
        record, closing = effects.Persist(), list[effects.Effect]()
        for sid, stream in list(self._all.items()):
            if stream.live:
                if stream.order is None:
                    closing.append(CloseStream(sid, cause))
                record = both(record, self._finish(stream, now, f"the call ended: {cause}"))
        return record, closing

    def lose_all(self, now: datetime, error: str) -> effects.Persist:
        """The worker is gone: those that had not ended have failed, and nothing more will be heard of any."""
        record = effects.Persist()
        for stream in self._all.values():
            if stream.live or stream.ending:
                record = both(record, self._end(stream, now, error, error))
        self._all.clear()
        return record

    def settle_all(self, now: datetime) -> effects.Persist:
        """The worker is gone after the call had ended: no more words on the streams that wait for one."""
        record = effects.Persist()
        for stream in self._all.values():
            if stream.ending is not None:
                record = both(record, self._end(stream, now, None, stream.ending))
        self._all.clear()
        return record

    def _finish(self, stream: _Stream, now: datetime, reason: str) -> effects.Persist:
        """Our own decision to end a stream whose worker is alive."""
        if stream.order is not None:
            del self._all[stream.view.sid]
            return self._end(stream, now, None, reason)
        if stream.started:
            return self._end(stream, now, None, reason)
        stream.live, stream.ending = False, reason
        return effects.Persist()

    def _end(self, stream: _Stream, now: datetime, error: str | None, reason: str) -> effects.Persist:
        stream.live, stream.ending = False, None
        stream.view = replace(
            stream.view,
            status="stopped" if error is None else "failed",
            updated_at=now,
            ended_reason=error or reason,
        )
        kind: Literal["stream-stopped", "stream-error"] = "stream-stopped" if error is None else "stream-error"
        return effects.Persist(streams=(stream.view,), events=(StreamEvent(kind, stream.view, now, error),))


def both(one: effects.Persist, other: effects.Persist) -> effects.Persist:
    """Two records as one, in this order."""
    return effects.Persist(
        one.calls + other.calls,
        one.streams + other.streams,
        one.events + other.events,
        one.call_events + other.call_events,
        one.then or other.then,
    )

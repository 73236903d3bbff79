"""The streams of one call: what each command and fact makes of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stream_params import stream_params
from trunkline.calls import effects
from trunkline.calls.commands import StartStream, StopStream
from trunkline.calls.events import Recorded
from trunkline.calls.streams import CallStreams, both
from trunkline.calls.views import CallEvent, CallView, StreamEvent, StreamView
from trunkline.errors import InvalidRequest, ResourceNotFound, StreamLimitReached
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, StreamReport, Track
from trunkline.workers import orders
from trunkline.workers.orders import PauseStream
from trunkline.workers.reports import StreamEnded, StreamStarted

T0 = datetime(2025, 6, 5, 12, tzinfo=UTC)
T1 = T0 + timedelta(seconds=1)
A, B, C = (StreamSid(sid) for sid in "abc")
APP = stream_params("ws://app/", name="tap")
RTP = stream_params("ws://app/", mode=BidirectionalMode.RTP)
CALL = CallView(
    sid=CallSid("v3:x"),
    account_sid=AccountSid("acc"),
    session_id=CallSessionId("sess"),
    direction="inbound",
    from_="+1",
    to="+2",
    caller_name="",
    status="in-progress",
    created_at=T0,
    updated_at=T0,
)


def begin(some: CallStreams, sid: StreamSid, params: StreamParams = APP) -> None:
    """One more, whose record is durable at once."""
    some.start(StartStream(sid, params), CALL, "PCMU", T0)
    some.recorded(sid)


def streams(*sids: StreamSid, started: bool = True, params: StreamParams = APP) -> CallStreams:
    """With these of them, which began at T0."""
    made = CallStreams(3, 1)
    for sid in sids:
        begin(made, sid, params)
        if started:
            made.started(StreamStarted(sid), T0)
    return made


def found(some: CallStreams, sid: StreamSid) -> StreamView:
    view = some.find(sid)
    assert view is not None
    return view


def ends(record: Any) -> list[tuple[str, str, str | None]]:
    """The events: kind, stream and error."""
    assert isinstance(record, effects.Persist)
    return [(event.kind, event.stream.sid, event.error) for event in record.events]


def test_a_start_is_recorded_and_its_socket_opened() -> None:
    params = stream_params(
        "ws://app/",
        name="tap",
        track=Track.BOTH,
        mode=BidirectionalMode.RTP,
        bidirectional_codec="G722",
        codec="L16",
        sampling_rate=16000,
        status_callback="http://a/",
        status_callback_method="GET",
    )
    view = StreamView(
        sid=A,
        account_sid=CALL.account_sid,
        call_sid=CALL.sid,
        name="tap",
        url="ws://app/",
        track="both_tracks",
        status="in-progress",
        created_at=T1,
        updated_at=T1,
        status_callback="http://a/",
        status_callback_method="GET",
        mode="rtp",
        codec="G722",
    )
    some = CallStreams(1, 1)
    assert not some
    identity = StreamIdentity(A, CALL.account_sid, CALL.sid, CALL.session_id, "+1", "+2")
    assert some.start(StartStream(A, params), CALL, "PCMU", T1) == [
        effects.Persist(streams=(view,), then=Recorded(A)),
    ]
    assert some.recorded(A) == [orders.OpenStream(identity, params, "L16/16000")]
    assert some.recorded(A) == some.not_recorded(A, T1) == some.recorded(B) == []
    assert some
    assert some.live == [(view, params)]


def test_there_are_as_many_as_the_limit_and_one_that_speaks() -> None:
    some = CallStreams(3, 1)
    some.start(StartStream(A, RTP), CALL, "PCMU", T0)
    with pytest.raises(StreamLimitReached, match="has a bidirectional stream already"):
        some.start(StartStream(B, RTP), CALL, "PCMU", T0)
    some.start(StartStream(B, APP), CALL, "PCMU", T0)
    some.start(StartStream(C, APP), CALL, "PCMU", T0)
    with pytest.raises(StreamLimitReached, match="The call has 3 streams already, which is the limit"):
        some.start(StartStream(StreamSid("d"), APP), CALL, "PCMU", T0)
    some.stop(StopStream(A), T0)
    some.start(StartStream(StreamSid("d"), RTP), CALL, "PCMU", T0)
    assert [view.sid for view, _ in some.live] == ["b", "c", "d"]


def test_a_stream_is_found_by_its_sid_and_a_live_one_by_its_name() -> None:
    some = streams(A, B)
    assert found(some, A).sid == A
    assert found(some, StreamSid("tap")).sid == A
    some.stop(StopStream(A), T1)
    assert found(some, A).status == "stopped"
    assert found(some, StreamSid("tap")).sid == B
    some.stop(StopStream(B), T1)
    assert some.find("tap") is None
    assert some.find("other") is None


def test_a_stop_is_reported_at_once_if_the_start_was() -> None:
    some = streams(A)
    record, close = some.stop(StopStream(A), T1)
    assert ends(record) == [("stream-stopped", A, None)]
    view = found(some, A)
    assert (view.status, view.ended_reason, view.updated_at) == ("stopped", "stopped by the API", T1)
    assert close == orders.CloseStream(A, "stopped by the API")
    assert some.stop(StopStream(A), T1) == []
    assert some.started(StreamStarted(A), T1) == [], "what is over does not start"
    with pytest.raises(ResourceNotFound):
        some.stop(StopStream(B), T1)


@pytest.mark.parametrize("error", [None, "refused"])
def test_a_stop_before_the_start_is_reported_with_the_workers_next_report(error: str | None) -> None:
    waiting = [("stream-stopped", A, None)]
    some = streams(A, started=False)
    assert some.stop(StopStream(A), T1) == [effects.Persist(), orders.CloseStream(A, "stopped by the API")]
    assert (some.live, found(some, A).status) == ([], "in-progress")
    started, stopped = some.started(StreamStarted(A), T1)
    assert (ends(started), ends(stopped)) == ([("stream-started", A, None)], waiting)
    (gone,) = some.ended(StreamEnded(A, error, "x", StreamReport(frames_sent=1)), T1)
    assert ends(gone) == []
    never = streams(A, started=False)
    never.stop(StopStream(A), T1)
    (gone,) = never.ended(StreamEnded(A, error, "x", StreamReport(frames_sent=1)), T1)
    assert ends(gone) == waiting
    assert isinstance(gone, effects.Persist)
    assert (gone.streams[0].report, gone.streams[0].ended_reason) == (StreamReport(frames_sent=1), "stopped by the API")


@pytest.mark.parametrize(
    ("error", "status", "kind", "reason"),
    [(None, "stopped", "stream-stopped", "the app closed"), ("refused", "failed", "stream-error", "refused")],
)
def test_a_stream_that_ends_by_itself_has_a_reason(error: str | None, status: str, kind: str, reason: str) -> None:
    some = streams(A)
    (gone,) = some.ended(StreamEnded(A, error, "the app closed", StreamReport(frames_sent=7)), T1)
    assert ends(gone) == [(kind, A, error)]
    assert isinstance(gone, effects.Persist)
    (view,) = gone.streams
    assert (view.status, view.ended_reason, view.updated_at) == (status, reason, T1)
    assert view.report == StreamReport(frames_sent=7)
    assert not some
    assert some.find(A) is None
    assert some.ended(StreamEnded(A, None, "again", None), T1) == []
    assert some.started(StreamStarted(A), T1) == []


def test_a_start_is_reported_with_its_time() -> None:
    some = streams(A, started=False)
    (record,) = some.started(StreamStarted(A), T1)
    assert ends(record) == [("stream-started", A, None)]
    assert isinstance(record, effects.Persist)
    assert record.streams == (found(some, A),)
    assert record.events[0].at == found(some, A).updated_at == T1
    assert some.started(StreamStarted(B), T1) == []


def test_a_pause_is_recorded_where_it_changes_something() -> None:
    some = streams(A)
    for paused, status in ((True, "paused"), (False, "in-progress")):
        record, order = some.pause(PauseStream(A, paused), T1)
        assert order == orders.PauseStream(A, paused)
        assert record == effects.Persist(streams=(found(some, A),))
        assert (found(some, A).status, found(some, A).updated_at) == (status, T1)
        assert some.pause(PauseStream(A, paused), T1) == []
    some.stop(StopStream(A), T1)
    with pytest.raises(InvalidRequest, match="The stream is over") as refused:
        some.pause(PauseStream(A, True), T1)
    assert refused.value.pointer == "/Status"
    with pytest.raises(ResourceNotFound):
        some.pause(PauseStream(B, True), T1)


def test_all_end_with_the_call_but_those_that_did() -> None:
    some = streams(A, B)
    begin(some, C)
    some.stop(StopStream(A), T0)
    record, closing = some.end_all(T1, "caller hung up")
    assert ends(record) == [("stream-stopped", B, None)], "the worker's next report ends the third"
    assert closing == [orders.CloseStream(B, "caller hung up"), orders.CloseStream(C, "caller hung up")]
    assert found(some, B).ended_reason == "the call ended: caller hung up"
    assert some.end_all(T1, "again") == (effects.Persist(), [])
    (gone,) = some.ended(StreamEnded(C, None, "", None), T1)
    assert ends(gone) == [("stream-stopped", C, None)]


def test_with_its_worker_every_stream_is_lost_that_had_not_ended() -> None:
    some = streams(A, B)
    begin(some, C)
    some.stop(StopStream(A), T0)
    some.stop(StopStream(C), T0)
    record = some.lose_all(T1, "the worker died")
    assert ends(record) == [("stream-error", B, "the worker died"), ("stream-error", C, "the worker died")]
    assert [view.ended_reason for view in record.streams] == ["the worker died"] * 2
    assert not some


def test_streams_that_wait_are_reported_stopped_when_the_worker_dies() -> None:
    some = streams(A)
    begin(some, B)
    some.end_all(T0, "over")
    record = some.settle_all(T1)
    assert ends(record) == [("stream-stopped", B, None)]
    assert record.streams[0].ended_reason == "the call ended: over"
    assert not some


def test_two_records_are_joined_in_their_order() -> None:
    view = found(streams(A), A)
    other = replace(view, sid=B)
    event, call_event = StreamEvent("stream-started", view, T0), CallEvent("ringing", CALL, T0)
    one = effects.Persist((CALL,), (view,), (event,), (call_event,))
    later = effects.Persist((replace(CALL, to="+3"),), (other,), (replace(event, stream=other),), (call_event,))
    assert both(one, later) == effects.Persist(
        (CALL, *later.calls), (view, other), (event, *later.events), (call_event, call_event)
    )
    assert both(effects.Persist(), one) == both(one, effects.Persist()) == one


def test_a_stream_without_a_durable_record_is_never_dialled() -> None:
    some = CallStreams(3, 1)
    some.start(StartStream(A, APP), CALL, "PCMU", T0)
    some.start(StartStream(B, APP), CALL, "PCMU", T0)
    (record,) = some.not_recorded(A, T1)
    assert isinstance(record, effects.Persist)
    assert ends(record) == [("stream-error", A, "the database took no record of the stream in time")]
    (record,) = some.stop(StopStream(B), T1)
    assert isinstance(record, effects.Persist)
    assert ends(record) == [("stream-stopped", B, None)]
    assert not some
    assert some.recorded(A) == some.recorded(B) == []
    some.start(StartStream(C, APP), CALL, "PCMU", T0)
    record, closing = some.end_all(T1, "over")
    assert (ends(record), closing) == ([("stream-stopped", C, None)], [])
    assert not some


def test_a_pause_before_the_record_is_durable_follows_the_start() -> None:
    some = CallStreams(3, 1)
    some.start(StartStream(A, APP), CALL, "PCMU", T0)
    assert [type(effect) for effect in some.pause(orders.PauseStream(A, True), T1)] == [effects.Persist]
    opened, paused = some.recorded(A)
    assert isinstance(opened, orders.OpenStream)
    assert paused == orders.PauseStream(A, True)

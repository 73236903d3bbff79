"""What the API may ask of calls: the service on a real runner, directory and store."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from control.bench import ACCOUNT, BOT, LOCAL, Bench
from control.test_captures import put
from stream_params import stream_params
from trunkline.calls import commands
from trunkline.calls.call import CallState
from trunkline.calls.commands import CallRequest, EndCall, Instructions, SetStatusCallback
from trunkline.calls.views import CallFilter, RecordingFilter
from trunkline.config import StreamSettings
from trunkline.control.captures import Captures
from trunkline.control.service import CallService
from trunkline.errors import CallEnded, CallNotAnswered, InvalidRequest, ResourceNotFound, Unavailable
from trunkline.ids import AccountSid, CallSid, LegId
from trunkline.media.report import LegReport, LiveLegReport
from trunkline.streaming.params import StreamReport
from trunkline.webhooks.payloads import record_of
from trunkline.workers import messages, orders, reports

FAREWELL = 0.2

OTHER_ACCOUNT = AccountSid("5f1c9d2e-0000-4000-8000-000000000002")
WANTED = Instructions(texml="<Response/>")
PARAMS = stream_params("ws://a/", name="tap")


@pytest.fixture
async def service(bench: Bench, tmp_path: Any) -> CallService:
    return bench.service()


async def test_only_an_answered_call_can_be_redirected(
    bench: Bench,
    service: CallService,
) -> None:
    entry = await bench.invited(to_user="+1")
    sid = entry.call.view.sid
    for event in (None, messages.FromLeg(entry.leg, reports.LegOpened(LOCAL))):
        if event is not None:
            bench.runner.on_pool(event)
        with pytest.raises(CallNotAnswered):
            await service.redirect(ACCOUNT, sid, WANTED)
    placed = await bench.place()
    with pytest.raises(CallNotAnswered):
        await service.redirect(ACCOUNT, placed.call.view.sid, WANTED)
    assert bench.script.redirected == []
    bench.runner.apply(entry, commands.AnswerCall())
    assert (await service.redirect(ACCOUNT, sid, WANTED)).sid == sid
    assert bench.script.redirected == [(entry, WANTED)]
    bench.runner.apply(entry, commands.EndCall("over"))
    assert entry.call.state is CallState.ENDED
    with pytest.raises(CallEnded):
        await service.redirect(ACCOUNT, sid, WANTED)
    assert len(bench.script.redirected) == 1


ASKED: list[Callable[[CallService, AccountSid, CallSid], Awaitable[Any]]] = [
    lambda service, account, sid: service.redirect(account, sid, WANTED),
    lambda service, account, sid: service.apply(account, sid, SetStatusCallback("http://a/", "GET")),
    lambda service, account, sid: service.start_stream(account, sid, PARAMS),
    lambda service, account, sid: service.pause_stream(account, sid, "tap", paused=True),
    lambda service, account, sid: service.apply(account, sid, EndCall("ended by the API")),
]


@pytest.mark.parametrize("asked", ASKED)
async def test_a_call_is_its_accounts_and_when_it_is_over_it_is(
    bench: Bench,
    service: CallService,
    asked: Any,
) -> None:
    entry = await bench.up()
    sid = entry.call.view.sid
    await bench.writer.submit()
    for account, call in ((OTHER_ACCOUNT, sid), (ACCOUNT, CallSid("v3:none"))):
        with pytest.raises(ResourceNotFound):
            await asked(service, account, call)
    assert entry.call.state is CallState.UP
    bench.over(entry)
    await bench.writer.submit()
    with pytest.raises(CallEnded):
        await asked(service, ACCOUNT, sid)


async def test_what_is_changed_is_durable_when_it_is_answered(bench: Bench, service: CallService) -> None:
    sid = (await bench.up()).call.view.sid
    await service.apply(ACCOUNT, sid, SetStatusCallback("http://a/else", "GET"))
    assert (await bench.store.call(ACCOUNT, sid)).status_callback == "http://a/else"
    stream = await service.start_stream(ACCOUNT, sid, PARAMS)
    assert [one.sid for one in await bench.store.streams(ACCOUNT, sid)] == [stream.sid]
    paused = await service.pause_stream(ACCOUNT, sid, "tap", paused=True)
    assert (paused.sid, paused.status) == (stream.sid, "paused")
    assert (await bench.store.stream(ACCOUNT, sid, stream.sid)).status == "paused"
    await service.apply(ACCOUNT, sid, EndCall("ended by the API"))
    assert (await bench.store.call(ACCOUNT, sid)).hangup_cause == "ended by the API"


async def test_a_call_is_placed_by_an_application_that_is_active(bench: Bench, service: CallService) -> None:
    request = CallRequest(to="sip:bob@c.test", from_="+1", caller_name="", application_sid=BOT)
    view = await service.place(ACCOUNT, request)
    entry = bench.runner.registry.by_sid(view.sid)
    assert entry is not None
    assert entry.instructions == Instructions(url="http://a/v", method="GET", fallback_url="http://b/v")
    assert (await bench.store.call(ACCOUNT, view.sid)).application_sid == BOT
    for account, sid in ((ACCOUNT, "123"), (OTHER_ACCOUNT, BOT)):
        wrong = CallRequest(to="sip:bob@c.test", from_="+1", caller_name="", application_sid=sid)
        with pytest.raises(InvalidRequest) as refused:
            await service.place(account, wrong)
        assert refused.value.pointer == "/ApplicationSid"
    nowhere = CallRequest(to="not a number", from_="+1", caller_name="")
    with pytest.raises(InvalidRequest, match="No trunk takes this number, and no phone has this name") as refused:
        await service.place(ACCOUNT, nowhere)
    assert refused.value.pointer == "/To"


async def test_a_restricted_call_goes_out_only_where_documents_may_dial(bench: Bench, service: CallService) -> None:
    by_trunk = CallRequest(to="+4930123", from_="+1", caller_name="")
    with pytest.raises(InvalidRequest, match="dial_prefixes of trunk") as refused:
        await service.place(ACCOUNT, by_trunk, restricted=True)
    assert refused.value.pointer == "/To"
    assert len(bench.runner.registry) == 0
    await service.place(ACCOUNT, by_trunk)
    assert len(bench.runner.registry) == 1


async def test_an_application_that_is_not_active_places_no_call(bench: Bench, service: CallService) -> None:
    active = bench.directory.application(ACCOUNT, BOT)
    assert active is not None
    bench.directory.put(replace(active, active=False))
    with pytest.raises(InvalidRequest, match="is not active") as refused:
        await service.place(ACCOUNT, CallRequest("sip:bob@c.test", "+1", "", application_sid=BOT))
    assert refused.value.pointer == "/ApplicationSid"
    assert len(bench.runner.registry) == 0


async def test_a_stream_is_stopped_once_and_shown_again(bench: Bench, service: CallService) -> None:
    sid = (await bench.up()).call.view.sid
    started = await service.start_stream(ACCOUNT, sid, PARAMS)
    bench.runner.on_pool(messages.FromLeg(LegId(1), reports.StreamStarted(started.sid)))
    stopped = await service.stop_stream(ACCOUNT, sid, "tap")
    assert (stopped.sid, stopped.status, stopped.ended_reason) == (started.sid, "stopped", "stopped by the API")
    assert (await bench.store.stream(ACCOUNT, sid, started.sid)).status == "stopped"
    assert await service.stop_stream(ACCOUNT, sid, started.sid) == stopped
    assert await service.stream(ACCOUNT, sid, started.sid) == stopped
    assert await service.streams(ACCOUNT, sid) == [stopped]
    with pytest.raises(InvalidRequest, match="The stream is over") as refused:
        await service.pause_stream(ACCOUNT, sid, started.sid, paused=True)
    assert refused.value.pointer == "/Status"
    with pytest.raises(ResourceNotFound):
        await service.stop_stream(ACCOUNT, sid, "other")
    with pytest.raises(ResourceNotFound):
        await service.pause_stream(ACCOUNT, sid, "other", paused=True)


async def test_a_stream_that_is_paused_twice_stays_paused(bench: Bench, service: CallService) -> None:
    sid = (await bench.up()).call.view.sid
    await service.start_stream(ACCOUNT, sid, PARAMS)
    for paused, status in ((True, "paused"), (True, "paused"), (False, "in-progress"), (False, "in-progress")):
        assert (await service.pause_stream(ACCOUNT, sid, "tap", paused=paused)).status == status


async def test_streams_and_calls_that_are_over_come_from_the_store(bench: Bench, service: CallService) -> None:
    entry = await bench.up()
    sid = entry.call.view.sid
    stream = await service.start_stream(ACCOUNT, sid, PARAMS)
    assert await service.call(ACCOUNT, sid) == entry.call.view
    bench.over(entry)
    bench.runner.on_pool(
        messages.FromLeg(entry.leg, reports.StreamEnded(stream.sid, None, "over", StreamReport(frames_sent=7)))
    )
    await bench.writer.submit()
    assert bench.runner.registry.by_sid(sid) is None
    assert await service.call(ACCOUNT, sid) == entry.call.view
    kept = await service.stream(ACCOUNT, sid, "tap")
    assert (kept.sid, kept.status) == (stream.sid, "stopped")
    assert await service.stop_stream(ACCOUNT, sid, stream.sid) == kept
    for account, call in ((OTHER_ACCOUNT, sid), (ACCOUNT, CallSid("v3:none"))):
        for asked in (service.call, service.media, service.streams):
            with pytest.raises(ResourceNotFound):
                await asked(account, call)
        with pytest.raises(ResourceNotFound):
            await service.stream(account, call, stream.sid)


async def test_a_list_has_the_accounts_calls_page_by_page(bench: Bench, service: CallService) -> None:
    sids = [(await bench.up(dialog)).call.view.sid for dialog in (7, 8, 9)]
    await bench.writer.submit()
    first, more = await service.calls(ACCOUNT, CallFilter(), offset=0, limit=2)
    last, end = await service.calls(ACCOUNT, CallFilter(), offset=2, limit=2)
    assert ({view.sid for view in first + last}, len(first), more, end) == (set(sids), 2, True, False)
    assert await service.calls(OTHER_ACCOUNT, CallFilter(), offset=0, limit=9) == ([], False)
    assert await service.calls(ACCOUNT, CallFilter(status="completed"), offset=0, limit=9) == ([], False)


async def test_a_call_ends_a_moment_after_the_answer_and_is_no_longer_used(bench: Bench, service: CallService) -> None:
    entry = await bench.up()
    sid = entry.call.view.sid
    hang_up = await service.end_after(ACCOUNT, sid)
    assert (await service.start_stream(ACCOUNT, sid, PARAMS)).status == "in-progress", "until it is called"
    loop = asyncio.get_running_loop()
    called = loop.time()
    hang_up()
    for asked in ASKED:
        with pytest.raises(CallEnded):
            await asked(service, ACCOUNT, sid)
    with pytest.raises(CallEnded):
        await service.end_after(ACCOUNT, sid)
    assert entry.call.state is CallState.UP
    await bench.ended(entry)
    assert loop.time() - called >= FAREWELL
    assert entry.call.view.hangup_cause == "ended by the API"


async def test_a_call_that_ends_before_its_delayed_hangup_ends_once(bench: Bench, service: CallService) -> None:
    entry, other = await bench.up(), await bench.up(8)
    soon = [await service.end_after(ACCOUNT, one.call.view.sid) for one in (entry, other)]
    for hang_up in soon:
        hang_up()
    bench.runner.apply(entry, commands.EndCall("by itself"))
    await bench.ended(other)
    assert entry.call.view.hangup_cause == "by itself"
    with pytest.raises(CallEnded, match="The call is over"):
        await service.end_after(ACCOUNT, entry.call.view.sid)


async def test_why_there_is_no_audio_is_asked_of_the_worker_while_there_is_one(
    bench: Bench, service: CallService
) -> None:
    entry = await bench.up()
    sid = entry.call.view.sid
    early = await service.media(ACCOUNT, sid)
    assert (early.call, early.live, early.streams) == (entry.call.view, True, ()), "written or not"
    over = await service.start_stream(ACCOUNT, sid, PARAMS)
    bench.runner.on_pool(messages.FromLeg(entry.leg, reports.StreamStarted(over.sid)))
    await service.stop_stream(ACCOUNT, sid, over.sid)
    live = await service.start_stream(ACCOUNT, sid, stream_params("ws://b/"))
    report = await service.media(ACCOUNT, sid)
    assert report.live
    assert [(one.view.sid, one.state, one.report) for one in report.streams] == [
        (over.sid, "ended", None),
        (live.sid, "connecting", None),
    ]
    bench.media.reported = messages.Reported(
        int(entry.leg),
        LiveLegReport(packets_in=7),
        [messages.StreamState(live.sid, "open", StreamReport(frames_sent=3))],
    )
    report = await service.media(ACCOUNT, sid)
    assert report.leg == LiveLegReport(packets_in=7)
    assert [(one.state, one.report) for one in report.streams] == [
        ("ended", None),
        ("open", StreamReport(frames_sent=3)),
    ]
    assert report.findings


async def test_the_media_of_a_call_that_is_over_is_what_was_kept(bench: Bench, service: CallService) -> None:
    entry = await bench.up()
    sid = entry.call.view.sid
    stream = await service.start_stream(ACCOUNT, sid, PARAMS)
    bench.runner.apply(entry, commands.EndCall("over"))
    bench.runner.on_pool(
        messages.FromLeg(entry.leg, reports.StreamEnded(stream.sid, None, "over", StreamReport(frames_sent=7)))
    )
    bench.media.reported = messages.Reported(int(entry.leg), LiveLegReport(packets_in=1), [])
    await bench.writer.submit()
    ended = await service.media(ACCOUNT, sid)
    assert (ended.live, ended.leg) == (False, None), "its leg is not closed yet"
    bench.runner.on_pool(messages.FromLeg(entry.leg, reports.LegClosed(LegReport(packets_in=7))))
    await bench.writer.submit()
    report = await service.media(ACCOUNT, sid)
    assert (report.live, report.leg, report.call.status) == (False, LegReport(packets_in=7), "completed")
    assert [(one.view.sid, one.state, one.report) for one in report.streams] == [
        (stream.sid, "ended", StreamReport(frames_sent=7))
    ]
    assert report.findings


async def test_a_recording_is_its_accounts_and_a_file(bench: Bench, service: CallService, tmp_path: Path) -> None:
    sid = "6a09cdc3-8948-47f0-aa62-74ac943d6c58"
    path = tmp_path / f"{ACCOUNT}.{sid}.wav"
    for missing in (sid, "../x", ""):
        with pytest.raises(ResourceNotFound):
            await service.recording_audio(ACCOUNT, missing)
    path.write_bytes(b"RIFF")
    assert await service.recording_audio(ACCOUNT, sid) == path
    with pytest.raises(ResourceNotFound):
        await service.recording_audio(OTHER_ACCOUNT, sid)


async def test_recordings_are_listed_fetched_and_deleted_by_their_account(bench: Bench, service: CallService) -> None:
    entry = await bench.up()
    call, options = entry.call.view.sid, orders.RecordingOptions()
    first, second = (bench.runner.record(entry, job, options, "RecordVerb") for job in (1, 2))
    await bench.recorded()
    of_call = RecordingFilter(call)
    views, more = await service.recordings(ACCOUNT, of_call, offset=0, limit=1)
    assert (views[0].sid in (first, second), more) == (True, True)
    views, more = await service.recordings(ACCOUNT, of_call, offset=0, limit=2)
    assert ({view.sid for view in views}, more) == ({first, second}, False)
    created = views[1].created_at
    for window, found in (((created, None), 2), ((None, created), 0)):
        views, _ = await service.recordings(ACCOUNT, RecordingFilter(None, window), offset=0, limit=9)
        assert len(views) == found
    for failing in (
        service.recordings(OTHER_ACCOUNT, of_call, offset=0, limit=9),
        service.recording(OTHER_ACCOUNT, first),
    ):
        with pytest.raises(ResourceNotFound):
            await failing
    assert await service.recordings(OTHER_ACCOUNT, RecordingFilter(), offset=0, limit=9) == ([], False)
    with pytest.raises(InvalidRequest, match="under way"):
        await service.delete_recording(ACCOUNT, first)
    bench.runner.on_pool(messages.FromLeg(entry.leg, reports.RecordingEnded(1, 2.5, "stopped", size=44)))
    await bench.recorded()
    path = bench.recordings.files.path(ACCOUNT, first)
    assert path is not None
    path.write_bytes(b"RIFF")
    with pytest.raises(ResourceNotFound):
        await service.delete_recording(OTHER_ACCOUNT, first)
    await service.delete_recording(ACCOUNT, first)
    assert not path.exists()
    with pytest.raises(ResourceNotFound):
        await service.recording(ACCOUNT, first)
    assert service.recording_url(ACCOUNT, first) == f"http://us/v2/texml/Accounts/{ACCOUNT}/Recordings/{first}.wav"


async def test_while_the_store_is_behind_no_stream_is_started(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make(store={"queue_limit": 1})
    service = bench.service()
    sid = (await bench.up()).call.view.sid
    assert bench.writer.full
    with pytest.raises(Unavailable, match="behind") as refused:
        await service.start_stream(ACCOUNT, sid, PARAMS)
    assert refused.value.retry_after == 1
    await bench.writer.submit()
    assert (await service.start_stream(ACCOUNT, sid, PARAMS)).status == "in-progress"


async def test_while_draining_a_running_call_may_start_a_stream(bench: Bench, service: CallService) -> None:
    sid = (await bench.up()).call.view.sid
    bench.runner.begin_draining()
    assert (await service.start_stream(ACCOUNT, sid, PARAMS)).status == "in-progress"


async def test_a_stream_is_captured_only_where_the_operator_lets_it(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make()
    sid = (await bench.up()).call.view.sid
    for captures, refused in ((bench.captures, True), (Captures(StreamSettings(capture=tmp_path)), False)):
        service = bench.service(captures=captures)
        with pytest.raises(InvalidRequest, match=r"streams\.capture") if refused else nullcontext():
            await service.start_stream(ACCOUNT, sid, replace(PARAMS, capture=True))


async def test_captures_of_a_call_are_those_of_its_streams(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make(streams={"capture": tmp_path / "captures"})
    service = bench.service()
    call = (await bench.up()).call.view.sid
    stream = (await service.start_stream(ACCOUNT, call, PARAMS)).sid
    for one in (stream, "another"):
        put(tmp_path / "captures", ACCOUNT, one, 1)

    async def found(call: str | None, stream: str | None) -> set[str]:
        views, _ = await service.captures(ACCOUNT, call=call, stream=stream, offset=0, limit=9)
        return {view.stream_sid for view in views}

    assert await found(None, None) == {stream, "another"}
    assert await found(call, None) == {stream}
    assert await found(call, "another") == set()
    with pytest.raises(ResourceNotFound):
        await found("v3:none", None)
    assert (await service.delete_capture(ACCOUNT, stream)).stream_sid == stream
    with pytest.raises(ResourceNotFound):
        await service.capture(ACCOUNT, stream)


async def test_a_callback_is_redelivered_as_one_of_its_own(bench: Bench, service: CallService) -> None:
    form = [("CallSid", "v3:1"), ("Empty", "")]
    record = record_of(
        "first", ("http://a/s", "POST"), form, datetime(2026, 3, 1, tzinfo=UTC), ACCOUNT, CallSid("v3:1")
    )
    assert record is not None
    await bench.writer.submit(callbacks=[record])
    again = await service.redeliver(ACCOUNT, "first")
    views, _ = await service.callbacks(ACCOUNT, offset=0, limit=9)
    assert [(view.sid, view.url, view.form) for view in views] == [
        (again.sid, "http://a/s", again.form),
        ("first", "http://a/s", again.form),
    ]
    assert (again.state, again.tries, again.last_status, again.finished_at) == ("pending", 0, None, None)
    assert parse_qsl(again.form, keep_blank_values=True) == form
    for account, sid in ((OTHER_ACCOUNT, "first"), (ACCOUNT, "unknown")):
        with pytest.raises(ResourceNotFound):
            await service.redeliver(account, sid)

"""What the API may ask of calls: the service on a real runner, directory and store."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from control.bench import ACCOUNT, BOT, Bench
from trunkline.calls import commands as ask
from trunkline.calls.call import CallState
from trunkline.calls.commands import CallRequest, Instructions
from trunkline.calls.recordings import RecordingFiles
from trunkline.control.service import CallService
from trunkline.errors import CallEnded, CallNotAnswered, InvalidRequest, ResourceNotFound, Unavailable
from trunkline.ids import AccountSid, CallSid
from trunkline.streaming.params import StreamParams
from trunkline.workers import messages as wire

STRANGER = AccountSid("5f1c9d2e-0000-4000-8000-000000000002")
WANTED = Instructions(texml="<Response/>")
PARAMS = StreamParams("ws://a/", name="tap")


@pytest.fixture
async def service(bench: Bench, tmp_path: Any) -> CallService:
    return CallService(bench.runner, bench.directory, bench.store, bench.writer, RecordingFiles(tmp_path, str))


async def test_only_a_call_that_is_answered_can_be_told_to_do_something_else(
    bench: Bench,
    service: CallService,
) -> None:
    entry = bench.invited(to_user="+1")
    sid = entry.call.view.sid
    for event in (None, wire.LegOpened(entry.leg, 20000)):
        if event is not None:
            bench.runner.on_pool(event)
        with pytest.raises(CallNotAnswered):
            await service.redirect(ACCOUNT, sid, WANTED)
    placed = bench.place()
    with pytest.raises(CallNotAnswered):
        await service.redirect(ACCOUNT, placed.call.view.sid, WANTED)
    assert bench.director.redirected == []
    bench.runner.apply(entry, ask.AnswerCall())
    assert (await service.redirect(ACCOUNT, sid, WANTED)).sid == sid
    assert bench.director.redirected == [(entry, WANTED)]
    bench.runner.apply(entry, ask.EndCall("over"))
    assert entry.call.state is CallState.ENDED
    with pytest.raises(CallEnded):
        await service.redirect(ACCOUNT, sid, WANTED)
    assert len(bench.director.redirected) == 1


ASKED: list[Callable[[CallService, AccountSid, CallSid], Awaitable[Any]]] = [
    lambda service, account, sid: service.redirect(account, sid, WANTED),
    lambda service, account, sid: service.set_status_callback(account, sid, "http://a/", "GET"),
    lambda service, account, sid: service.start_stream(account, sid, PARAMS),
    lambda service, account, sid: service.pause_stream(account, sid, "tap", paused=True),
    lambda service, account, sid: service.hang_up(account, sid),
]


@pytest.mark.parametrize("asked", ASKED)
async def test_a_call_is_its_accounts_and_when_it_is_over_it_is(
    bench: Bench,
    service: CallService,
    asked: Any,
) -> None:
    entry = bench.up()
    sid = entry.call.view.sid
    await bench.writer.submit()
    for account, call in ((STRANGER, sid), (ACCOUNT, CallSid("v3:none"))):
        with pytest.raises(ResourceNotFound):
            await asked(service, account, call)
    assert entry.call.state is CallState.UP
    bench.over(entry)
    await bench.writer.submit()
    with pytest.raises(CallEnded):
        await asked(service, ACCOUNT, sid)


async def test_what_is_changed_is_durable_when_it_is_answered(bench: Bench, service: CallService) -> None:
    sid = bench.up().call.view.sid
    await service.set_status_callback(ACCOUNT, sid, "http://a/else", "GET")
    assert (await bench.store.call(ACCOUNT, sid)).status_callback == "http://a/else"
    stream = await service.start_stream(ACCOUNT, sid, PARAMS)
    assert [one.sid for one in await bench.store.streams(ACCOUNT, sid)] == [stream.sid]
    paused = await service.pause_stream(ACCOUNT, sid, "tap", paused=True)
    assert (paused.sid, paused.status) == (stream.sid, "paused")
    assert (await bench.store.stream(ACCOUNT, sid, stream.sid)).status == "paused"
    await service.hang_up(ACCOUNT, sid)
    assert (await bench.store.call(ACCOUNT, sid)).hangup_cause == "ended by the API"


async def test_a_call_is_placed_by_an_application_that_is_active(bench: Bench, service: CallService) -> None:
    request = CallRequest(to="sip:bob@c.test", from_="+1", caller_name="", application_sid=BOT)
    view = await service.place(ACCOUNT, request)
    entry = bench.runner.registry.by_sid(view.sid)
    assert entry is not None
    assert entry.instructions == Instructions(url="http://a/v", method="GET", fallback_url="http://b/v")
    assert (await bench.store.call(ACCOUNT, view.sid)).application_sid == BOT
    for account, sid in ((ACCOUNT, "123"), (STRANGER, BOT)):
        wrong = CallRequest(to="sip:bob@c.test", from_="+1", caller_name="", application_sid=sid)
        with pytest.raises(InvalidRequest) as refused:
            await service.place(account, wrong)
        assert refused.value.pointer == "/ApplicationSid"
    nowhere = CallRequest(to="not a number", from_="+1", caller_name="")
    with pytest.raises(InvalidRequest) as refused:
        await service.place(ACCOUNT, nowhere)
    assert refused.value.pointer == "/To"


async def test_while_the_server_ends_no_stream_is_started(bench: Bench, service: CallService) -> None:
    sid = bench.up().call.view.sid
    bench.runner.draining = True
    with pytest.raises(Unavailable, match="shutting down"):
        await service.start_stream(ACCOUNT, sid, PARAMS)

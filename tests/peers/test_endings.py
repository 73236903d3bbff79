"""However a stream, a call, a worker or the server ends, the customer and the phone are notified exactly once."""

import asyncio
import os
import signal
import socket as sockets
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest
from telnyx import AsyncTelnyx, UnprocessableEntityError

from peers import sipp as steps
from peers.harness import GLANCE, RecordingApp, children, ended, events, happens, held, new_server, running
from peers.sip_socket import SipSocket
from peers.sipp import SippRun
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess
from trunkline.demo.uac import Address, audio_offer

pytestmark = pytest.mark.peer


@pytest.fixture
def server(own_server: ServerProcess) -> ServerProcess:
    """Each test ends its server, so that all its callbacks are received."""
    return own_server


async def start(server: ServerProcess, caller: DemoCaller, url: str, callbacks: CallbackReceiver) -> str:
    """Start a stream; its sid."""
    async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client:
        stream = await client.texml.accounts.calls.streams_json(
            caller.call_sid, account_sid=server.account_sid, url=url, status_callback=callbacks.url
        )
    assert stream.sid
    return stream.sid


async def hang_up_and_stop(server: ServerProcess, caller: DemoCaller) -> None:
    """After this the server has sent all its callbacks."""
    await caller.hang_up()
    assert await server.stop() == 0


@asynccontextmanager
async def silent_listener() -> AsyncIterator[str]:
    """The URL of an app that takes connections and says nothing."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "waits"])
async def test_an_app_that_hangs_up_has_the_answer_before_its_stream_stops(
    server: ServerProcess, caller: DemoCaller, app: RecordingApp, callbacks: CallbackReceiver, closes: bool
) -> None:
    sid = await start(server, caller, app.url, callbacks)
    socket = await app.socket()
    async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client:
        answer = await client.calls.actions.hangup(caller.call_sid)
        assert answer.data is not None
        assert answer.data.result == "ok"
        assert (socket.all("stop"), socket.close_code) == ([], None)
        if closes:
            await socket.connection.close(1000)
        with pytest.raises(UnprocessableEntityError):
            await client.calls.actions.hangup(caller.call_sid)
    assert (await ended(callbacks, sid))["StreamEvent"] == "stream-stopped"
    await happens(caller.watch, "the phone gets BYE", lambda: caller.ended_by_server)
    await happens(app.watch, "the socket is closed", lambda: socket.close_code is not None)
    assert socket.close_code == 1000
    assert len(socket.all("stop")) == (0 if closes else 1)


async def test_an_app_that_closes_first_stops_the_stream_and_not_the_call(
    server: ServerProcess, caller: DemoCaller, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    sid = await start(server, caller, app.url, callbacks)
    socket = await app.socket()
    await socket.connection.close(1000)
    assert (await ended(callbacks, sid))["StreamEvent"] == "stream-stopped"
    assert caller.up
    await hang_up_and_stop(server, caller)
    assert events(callbacks) == ["stream-started", "stream-stopped"]


async def test_a_dead_app_gives_stream_error_with_the_cause(
    server: ServerProcess, caller: DemoCaller, callbacks: CallbackReceiver
) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as gone:
        url = f"ws://127.0.0.1:{gone.getsockname()[1]}/"
    sid = await start(server, caller, url, callbacks)
    end = await ended(callbacks, sid)
    assert end["StreamEvent"] == "stream-error"
    assert "refused" in end["StreamError"].lower()
    assert caller.up
    await hang_up_and_stop(server, caller)
    assert events(callbacks) == ["stream-error"]


async def test_a_name_that_does_not_resolve_gives_stream_error_that_says_dns(
    server: ServerProcess, caller: DemoCaller, callbacks: CallbackReceiver
) -> None:
    sid = await start(server, caller, "ws://nowhere.invalid/", callbacks)
    end = await ended(callbacks, sid)
    assert end["StreamEvent"] == "stream-error"
    assert "dns" in end["StreamError"].lower()
    await hang_up_and_stop(server, caller)
    assert events(callbacks) == ["stream-error"]


async def test_an_app_that_refuses_the_upgrade_gives_stream_error_with_the_status(
    server: ServerProcess, caller: DemoCaller, callbacks: CallbackReceiver
) -> None:
    async with CallbackReceiver(respond=lambda _: 403) as web:
        sid = await start(server, caller, web.url.replace("http://", "ws://"), callbacks)
        end = await ended(callbacks, sid)
    assert end["StreamEvent"] == "stream-error"
    assert "403" in end["StreamError"]


async def test_a_call_that_ends_while_its_stream_connects_ends_the_stream_once(
    server: ServerProcess, caller: DemoCaller, callbacks: CallbackReceiver
) -> None:
    async with silent_listener() as url:
        sid = await start(server, caller, url, callbacks)
        assert await caller.hang_up()
        await ended(callbacks, sid)
        assert await server.stop() == 0
    assert len(events(callbacks)) == 1


async def test_an_app_that_never_reads_hurts_neither_the_call_nor_another_stream(
    server: ServerProcess, caller: DemoCaller, callbacks: CallbackReceiver
) -> None:
    async with RecordingApp() as stalled, RecordingApp() as reading:
        stalled.reads = False
        await start(server, caller, stalled.url, callbacks)
        await happens(stalled.watch, "the stalled app is connected", lambda: bool(stalled.sockets))
        await start(server, caller, reading.url, callbacks)
        socket = await reading.socket()
        await happens(reading.watch, "200 frames arrive", lambda: len(socket.payloads()) >= 200)
        numbers = [caller.frames.index(payload) for payload in socket.payloads()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_a_killed_worker_ends_its_calls_and_streams_and_another_takes_over(
    server: ServerProcess, caller: DemoCaller, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    sid = await start(server, caller, app.url, callbacks)
    await app.socket()
    # The app has `start` a moment before the control process hears of it.
    await happens(callbacks.watch, "stream-started", lambda: events(callbacks) == ["stream-started"])
    for pid in children(server):
        os.kill(pid, signal.SIGKILL)
    assert (await ended(callbacks, sid))["StreamEvent"] == "stream-error"
    await happens(caller.watch, "the phone gets BYE", lambda: caller.ended_by_server)
    assert events(callbacks) == ["stream-started", "stream-error"]
    await _ready_again(server)
    async with DemoCaller(server.sip_address, speech(500)) as second:
        await second.call()
        again = await start(server, second, app.url, callbacks)
        await happens(app.watch, "a stream of the new worker", lambda: len(app.sockets) == 2 and app.sockets[1].started)
        await second.hang_up()
        assert (await ended(callbacks, again))["StreamEvent"] == "stream-stopped"


async def test_a_worker_that_dies_before_it_takes_an_offer_leaves_no_open_request(
    server: ServerProcess, sipp: Callable[..., SippRun]
) -> None:
    offer = steps.sdp(steps.PCMU_LINES)
    scenario = (
        *(steps.invite(offer), steps.answered(), steps.ack(), steps.waits()),
        *(steps.invite(offer, 2), steps.response(100), steps.waits()),
        *(steps.response(487), steps.byed(), steps.ack(2, branch="[branch-7]")),
    )
    async with sipp(*scenario) as run:
        await run.answered()
        async with held(server) as workers:
            await run.go_on()
            await run.go_on()
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            await run.succeeds()


async def _ready_again(server: ServerProcess) -> None:
    """Wait until a worker is there again: readiness is asked until it is given."""
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while (await client.get(server.base_url.replace("/v2", "/readyz"))).status_code != 200:
            pass


async def test_a_killed_server_reports_its_streams_and_calls_after_the_restart(
    app: RecordingApp, callbacks: CallbackReceiver, tmp_path: Path
) -> None:
    killed = new_server(tmp_path)
    await killed.start()
    async with DemoCaller(killed.sip_address, speech(1000)) as caller, CallbackReceiver() as of_calls:
        await caller.call()
        async with AsyncTelnyx(api_key=killed.api_key, base_url=killed.base_url) as client:
            calls = client.texml.accounts.calls
            await calls.update(caller.call_sid, account_sid=killed.account_sid, status_callback=of_calls.url)
        sid = await start(killed, caller, app.url, callbacks)
        socket = await app.socket()
        await happens(callbacks.watch, "stream-started", lambda: bool(callbacks.received))
        await killed.kill()
        await happens(app.watch, "the worker ends the socket", lambda: socket.close_code is not None)
        assert socket.messages[-1]["event"] == "stop"
        caller.stop_speaking()
        restarted = ServerProcess(tmp_path, account_sid=killed.account_sid, api_key=killed.api_key, media_ports=40)
        async with running(restarted):
            end = await ended(callbacks, sid)
            await happens(of_calls.watch, "the call's end", lambda: bool(of_calls.received))
            async with httpx.AsyncClient(headers={"Authorization": f"Bearer {killed.api_key}"}) as client:
                path = f"/texml/Accounts/{killed.account_sid}/Calls/{caller.call_sid}.json"
                call = (await client.get(restarted.base_url + path)).json()
    assert end["StreamEvent"] == "stream-error"
    events_by_id = {callback.headers["webhook-id"]: callback.fields["StreamEvent"] for callback in callbacks.received}
    assert list(events_by_id.values()) == ["stream-started", "stream-error"], (
        "a callback whose delivery is not known may come twice"
    )
    completed = of_calls.received[0].fields
    assert completed["CallStatus"] == call["status"] == "failed"
    assert (completed["CallSid"], completed["HangupSource"]) == (caller.call_sid, "system")


def _of_call(phone: SipSocket, method: str, to: str, contact: int, body: str = "") -> bytes:
    """A request of a phone that is not behind a NAT, in the dialog of `to`, with its Contact at a port."""
    lines = (
        f"{method} sip:bot@127.0.0.1 SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{phone.port};branch=z9hG4bK{method}",
        "Max-Forwards: 70",
        "From: <sip:ann@127.0.0.1>;tag=ann",
        f"To: {to}",
        "Call-ID: moves",
        f"CSeq: {2 if method == 'UPDATE' else 1} {method}",
        f"Contact: <sip:ann@127.0.0.1:{contact}>",
        "Content-Type: application/sdp",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", body)).encode()


def _saved(directory: Path) -> str:
    with closing(sqlite3.connect(directory / "trunkline.db")) as database:
        return str(database.execute("SELECT dialog FROM calls").fetchall())


async def test_the_bye_after_a_crash_goes_where_the_peer_has_moved(tmp_path: Path) -> None:
    killed = new_server(tmp_path)
    await killed.start()
    async with SipSocket(killed.sip_address) as before, SipSocket(killed.sip_address) as after:
        offer = audio_offer(("127.0.0.1", before.port))
        answer = await before.response(_of_call(before, "INVITE", "<sip:bot@127.0.0.1>", before.port, offer))
        assert answer.startswith("SIP/2.0 200")
        to = answer.partition("\nTo: ")[2].partition("\r")[0]
        before.send(_of_call(before, "ACK", to, before.port))
        assert await before.status(_of_call(before, "UPDATE", to, after.port)) == 200
        async with asyncio.timeout(30):
            while f":{after.port}" not in _saved(tmp_path):  # noqa: ASYNC110 - the database notifies no other process
                await asyncio.sleep(GLANCE)
        await killed.kill()
        restarted = ServerProcess(tmp_path, account_sid=killed.account_sid, api_key=killed.api_key, media_ports=40)
        async with running(restarted):
            bye = await asyncio.wait_for(after.ended.get(), 30)
        assert bye.startswith(f"BYE sip:ann@127.0.0.1:{after.port} ")
        assert before.ended.empty()


async def test_sigterm_ends_live_calls_in_good_order(
    server: ServerProcess, caller: DemoCaller, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    sid = await start(server, caller, app.url, callbacks)
    socket = await app.socket()
    await happens(callbacks.watch, "the start is reported", lambda: bool(events(callbacks, sid)))
    stopping = asyncio.create_task(server.stop())
    await happens(caller.watch, "the phone gets BYE", lambda: caller.ended_by_server)
    assert await stopping == 0
    assert socket.messages[-1]["event"] == "stop"
    assert socket.close_code == 1000
    assert events(callbacks, sid) == ["stream-started", "stream-stopped"]


class DeafCaller(DemoCaller):
    """Keeps back the server's SIP messages once its call is up, until the test is over."""

    def __init__(self, target: Address, frames: Sequence[bytes]) -> None:
        super().__init__(target, frames)
        self.kept_back: list[bytes] = []

    def _sip_received(self, data: bytes) -> None:
        if self.up:
            self.kept_back.append(data)
            self.watch.changed()
        else:
            super()._sip_received(data)

    def hear_bye(self) -> None:
        """Handle the BYE that was kept back, so that there is nothing left to hang up."""
        super()._sip_received(next(data for data in self.kept_back if data.startswith(b"BYE ")))


async def test_peers_that_answer_nothing_hold_up_the_end_for_three_seconds_at_most(
    app: RecordingApp, tmp_path: Path
) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as silent:
        callback_url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with (
            running(new_server(tmp_path, drain__timeout=1, streams__close_timeout=20, callbacks__timeout=20)) as server,
            AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
            DeafCaller(server.sip_address, speech(1000)) as caller,
        ):
            await caller.call()
            await client.texml.accounts.calls.streams_json(
                caller.call_sid, account_sid=server.account_sid, url=app.url, status_callback=callback_url
            )
            socket = await app.socket()
            socket.connection.transport.pause_reading()  # it will not even see that it is to close
            code = await server.stop(timeout=1 + 3)
            caller.hear_bye()
            socket.connection.transport.resume_reading()
    assert code == 0, "killed after drain.timeout and three seconds"


async def test_callbacks_that_fail_are_sent_again_in_order(
    app: RecordingApp, callbacks: CallbackReceiver, tmp_path: Path
) -> None:
    refusals = iter((500, 503))
    callbacks.respond = lambda _: next(refusals, 200)
    async with (
        running(new_server(tmp_path, callbacks__first_delay=0.2)) as server,
        DemoCaller(server.sip_address, speech(500)) as caller,
    ):
        await caller.call()
        await start(server, caller, app.url, callbacks)
        await app.socket()
        await caller.hang_up()
        await happens(callbacks.watch, "all tries", lambda: len(callbacks.received) >= 4)
    assert events(callbacks) == ["stream-started"] * 3 + ["stream-stopped"]
    assert len({callback.headers["webhook-id"] for callback in callbacks.received}) == 2


async def test_a_callback_that_is_never_answered_holds_up_no_other(
    app: RecordingApp, callbacks: CallbackReceiver, tmp_path: Path
) -> None:
    async with (
        silent_listener() as silent,
        running(new_server(tmp_path, callbacks__timeout=100)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        DemoCaller(server.sip_address, speech(500)) as caller,
    ):
        await caller.call()
        stream = client.texml.accounts.calls.streams_json
        url = silent.replace("ws://", "http://")
        await stream(caller.call_sid, account_sid=server.account_sid, url=app.url, status_callback=url)
        other = await stream(
            caller.call_sid, account_sid=server.account_sid, url=app.url, status_callback=callbacks.url
        )
        assert other.sid
        await happens(app.watch, "both start", lambda: len(app.sockets) == 2 and app.sockets[1].started)
        await caller.hang_up()
        assert (await ended(callbacks, other.sid))["StreamEvent"] == "stream-stopped"
        assert await server.stop() == 0
    assert events(callbacks) == ["stream-started", "stream-stopped"]

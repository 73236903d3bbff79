"""A server that dies, and one that was declared dead: callers get BYE, each end event is sent once, by one server."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, ended, events, happens, new_server, running
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess
from trunkline.ids import end_event_id

pytestmark = pytest.mark.peer

DECLARED_DEAD = 75


async def stream(server: ServerProcess, caller: DemoCaller, app: RecordingApp, callbacks: CallbackReceiver) -> str:
    async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client:
        started = await client.texml.accounts.calls.streams_json(
            caller.call_sid, account_sid=server.account_sid, url=app.url, status_callback=callbacks.url
        )
    assert started.sid
    await happens(callbacks.watch, "stream-started", lambda: "stream-started" in events(callbacks))
    return started.sid


async def test_after_a_crash_the_caller_gets_bye_and_the_app_one_end_event(
    tmp_path: Path, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    server = new_server(tmp_path)
    await server.start()
    async with DemoCaller(server.sip_address, speech(1000)) as caller:
        await caller.call()
        sid = await stream(server, caller, app, callbacks)
        await server.kill()
        assert caller.up
        async with running(server), AsyncTelnyx(api_key=server.api_key, base_url=server.base_url) as client:
            await happens(caller.watch, "the caller gets BYE", lambda: caller.ended_by_server)
            end = await ended(callbacks, sid)
            assert (end["StreamEvent"], end["CallSid"]) == ("stream-error", caller.call_sid)
            call = await client.texml.accounts.calls.retrieve(caller.call_sid, account_sid=server.account_sid)
            assert call.status == "failed"
            async with DemoCaller(server.sip_address, speech(10)) as other:
                await other.call()
                assert other.call_sid[3:11] != caller.call_sid[3:11]
    # By their ids: a callback whose answer was not stored yet is sent once more.
    came = {callback.headers["webhook-id"]: callback.fields["StreamEvent"] for callback in callbacks.received}
    assert list(came.values()) == ["stream-started", "stream-error"]
    assert list(came)[-1] == end_event_id(sid)


async def test_a_server_that_was_declared_dead_ends_its_calls_and_calls_no_host(
    tmp_path: Path, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    server = new_server(tmp_path)
    await server.start()
    async with DemoCaller(server.sip_address, speech(1000)) as caller:
        await caller.call()
        sid = await stream(server, caller, app, callbacks)
        socket = await app.socket()
        file = tmp_path / "trunkline.db"
        with closing(sqlite3.connect(file)) as other_server, other_server:
            other_server.execute("UPDATE nodes SET died_at = '2026-01-01 00:00:00.000000' WHERE left_at IS NULL")
        assert await asyncio.wait_for(server.process.wait(), 30) == DECLARED_DEAD
        await happens(app.watch, "the app gets `stop`", lambda: bool(socket.all("stop")))
        assert caller.ended_by_server
    assert "Traceback" not in server.log
    assert "server_fenced" in server.log
    assert events(callbacks) == ["stream-started"], "the other server sends the end"
    with closing(sqlite3.connect(file)) as after:
        assert after.execute("SELECT status FROM streams WHERE sid = ?", [sid]).fetchone() == ("in-progress",)
        assert after.execute("SELECT ended_at FROM calls").fetchone() == (None,)

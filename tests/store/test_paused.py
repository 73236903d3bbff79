"""A pause of the whole machine, PostgreSQL included, as by a host that moves or suspends it, ends no call."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, events, happens, new_server, running
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller

pytestmark = [pytest.mark.peer, pytest.mark.long]

PAUSE = 14.0
"""Seconds: more than a life's lease, than the database's answer may take, and than a media worker may be silent."""


def found(*arguments: str) -> list[int]:
    """Process ids, by pgrep."""
    done = subprocess.run(["pgrep", *arguments], capture_output=True, text=True, check=False)
    return [int(pid) for pid in done.stdout.split()]


def tree(pid: int) -> list[int]:
    """A process and all below it. Parents first, so that one that stands still starts no other."""
    return [pid, *(below for child in found("-P", str(pid)) for below in tree(child))]


async def test_a_pause_of_the_machine_with_postgresql_ends_no_call(postgres: Callable[[], str], tmp_path: Path) -> None:
    url = postgres()
    port = url.rpartition(":")[2].partition("/")[0]
    (database,) = found("-f", f"/bin/postgres .*-p {port} ")
    async with (
        running(new_server(tmp_path, store__url=url)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        RecordingApp() as app,
        CallbackReceiver() as callbacks,
        DemoCaller(server.sip_address, speech(3000)) as caller,
        DemoCaller(server.sip_address, []) as later,
    ):
        began = time.monotonic()
        await caller.call()
        stream = await client.texml.accounts.calls.streams_json(
            caller.call_sid, account_sid=server.account_sid, url=app.url, status_callback=callbacks.url
        )
        socket = await app.socket()
        await happens(callbacks.watch, "the stream's start", lambda: callbacks.received)
        await happens(app.watch, "audio flows", lambda: len(socket.payloads()) > 10)
        paused = []
        for root in (server.process.pid, database):
            paused += tree(root)
            for pid in paused:
                os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(PAUSE)
        for pid in paused:
            os.kill(pid, signal.SIGCONT)
        heard = len(socket.payloads())
        await happens(app.watch, "audio flows again", lambda: len(socket.payloads()) > heard + 500)
        assert caller.up
        await later.call()
        await later.hang_up()
        ended = time.monotonic()
        assert await caller.hang_up()
        await happens(callbacks.watch, "the end", lambda: "stream-stopped" in events(callbacks, stream.sid))
        # A host whose answer the pause has cut off may get a callback twice, with the same id.
        reported = {one.headers["webhook-id"]: one.fields["StreamEvent"] for one in callbacks.received}
        assert list(reported.values()) == ["stream-started", "stream-stopped"]
        async with asyncio.timeout(15):
            while (
                call := await client.texml.accounts.calls.retrieve(caller.call_sid, account_sid=server.account_sid)
            ).status == "in-progress":
                pass
        assert call.status == "completed"
        assert abs(int(call.duration or 0) - (ended - began)) < 2
        assert "worker_frozen" not in server.log
        assert "lives_buried" not in server.log

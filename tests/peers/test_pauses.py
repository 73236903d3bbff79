"""A pause of everything, as by a container freeze or a machine that is moved, ends no call."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest
from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, children, happens, new_server, running
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller

pytestmark = [pytest.mark.peer, pytest.mark.long]

PAUSE = 14.0
"""Seconds: more than a media worker may be silent."""


def below(pid: int) -> list[int]:
    """The process ids of a process's children."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


async def test_a_pause_of_all_processes_ends_no_call(app: RecordingApp, tmp_path: Path) -> None:
    async with (
        running(new_server(tmp_path, media__silence_timeout=10)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        DemoCaller(server.sip_address, speech(3000)) as caller,
        DemoCaller(server.sip_address, []) as later,
    ):
        await caller.call()
        await client.texml.accounts.calls.streams_json(caller.call_sid, account_sid=server.account_sid, url=app.url)
        socket = await app.socket()
        await happens(app.watch, "audio flows", lambda: len(socket.payloads()) > 10)
        workers = children(server)
        paused = [server.process.pid, *workers, *(child for pid in workers for child in below(pid))]
        assert len(paused) == 3, "control, worker, decoder"
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(PAUSE)
        for pid in paused:
            os.kill(pid, signal.SIGCONT)
        heard = len(socket.payloads())
        await happens(app.watch, "audio flows again", lambda: len(socket.payloads()) > heard + 500)
        assert caller.up
        assert children(server) == workers
        await later.call()
        assert "worker_frozen" not in server.log

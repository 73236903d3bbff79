"""The app's process is killed in mid-call and started again: the call, the stream and its audio go on."""

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from telnyx import AsyncTelnyx

from peers.harness import events, new_server, running
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess, free_ports

pytestmark = pytest.mark.peer


class AppProcess:
    """One life of the app."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.messages: list[dict[str, Any]] = []

    async def read(self, frames: int | None = None) -> None:
        """Take what it prints: so many `media` messages more, or all until its end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while frames is None or frames > 0:
                line = await self.process.stdout.readline()
                if not line.endswith(b"\n"):
                    assert frames is None, "the app ended"
                    return
                message = json.loads(line)
                self.messages.append(message)
                if frames is not None and message["event"] == "media":
                    frames -= 1

    def heard(self, caller: DemoCaller) -> list[int]:
        """The numbers of the frames that it got."""
        media = (message["media"] for message in self.messages if message["event"] == "media")
        return [caller.frames.index(base64.b64decode(each["payload"])) for each in media]


@asynccontextmanager
async def app_process(port: int) -> AsyncIterator[AppProcess]:
    """Listening; killed in the end, if it was not before."""
    script = str(Path(__file__).parent / "app_process.py")
    process = await asyncio.create_subprocess_exec(sys.executable, script, str(port), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield AppProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def reconnects(server: ServerProcess) -> int:
    """What the metrics say, once they say it: workers report theirs every second."""
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while True:
            text = (await client.get(server.base_url.replace("/v2", "/metrics"))).text
            found = re.search(r'trunkline_media_total\{event="stream_reconnects"\} (\d+)', text)
            if found is not None and found[1] != "0":
                return int(found[1])


async def test_an_app_that_is_killed_in_mid_call_and_started_again_loses_no_frame(
    callbacks: CallbackReceiver, tmp_path: Path
) -> None:
    # To start Python takes a busy machine longer than the two seconds that are kept by default.
    server, port = new_server(tmp_path, streams__replay=60), free_ports(1)
    async with running(server), DemoCaller(server.sip_address, speech(1500)) as caller:
        await caller.call()
        async with app_process(port) as first:
            async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client:
                stream = await client.texml.accounts.calls.streams_json(
                    caller.call_sid,
                    account_sid=server.account_sid,
                    url=f"ws://127.0.0.1:{port}/",
                    status_callback=callbacks.url,
                )
            await first.read(50)
            first.process.kill()
            await first.read()
        async with app_process(port) as second:
            await second.read(len(first.heard(caller)) + 100)
            assert caller.up
            assert await reconnects(server) == 1
            await caller.hang_up()
            assert await server.stop() == 0
            second.process.kill()
            await second.read()
    before, after = first.heard(caller), second.heard(caller)
    assert before == list(range(before[0], before[0] + len(before)))
    assert after == list(range(before[0], before[0] + len(after)))
    assert [message["event"] for message in second.messages[:2]] == ["connected", "start"]
    assert {message["stream_id"] for message in first.messages[1:] + second.messages[1:]} == {stream.sid}
    assert [message["media"]["chunk"] for message in second.messages[2:4]] == ["1", "2"]
    assert second.messages[-1]["event"] == "stop"
    assert events(callbacks) == ["stream-started", "stream-stopped"]

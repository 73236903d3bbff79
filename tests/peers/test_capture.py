"""`Capture` with `streams.capture`, on a whole server: what was sent both ways is in the file, and makes a sound."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, happens, new_server, running
from trunkline.apps.captured import read_capture, track_audio
from trunkline.apps.export import stereo
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Where they go."""
    return tmp_path / "captures"


@pytest.fixture
async def server(tmp_path: Path, captures: Path) -> AsyncIterator[ServerProcess]:
    """A server that captures."""
    async with running(
        new_server(tmp_path, streams__capture=str(captures), streams__capture_streams="asked")
    ) as server:
        yield server


def text_of(captures: Path) -> str:
    """Of the only one."""
    [path] = captures.glob("*/*.capture.jsonl")
    assert path.stat().st_mode & 0o077 == 0
    return path.read_text()


async def test_a_stream_is_captured_both_ways(
    server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx, app: RecordingApp, captures: Path
) -> None:
    started = await client.texml.accounts.calls.streams_json(
        caller.call_sid,
        account_sid=server.account_sid,
        url=app.url,
        bidirectional_mode="rtp",
        extra_body={"Capture": True},
    )
    socket = await app.socket()
    await client.texml.accounts.calls.streams_json(caller.call_sid, account_sid=server.account_sid, url=app.url)
    await happens(app.watch, "a stream that is not captured", lambda: len(app.sockets) == 2 and app.sockets[1].started)
    await happens(app.watch, "half a second", lambda: len(socket.payloads()) >= 25)
    sent = json.dumps({"event": "mark", "mark": {"name": "one"}})
    await socket.connection.send(sent)
    await socket.connection.send(b"binary")
    await happens(app.watch, "the mark and the error", lambda: socket.all("mark") and socket.all("error"))
    await client.calls.actions.hangup(caller.call_sid)
    await happens(app.watch, "the end", lambda: socket.close_code is not None)
    authorization = {"Authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(base_url=server.base_url.removesuffix("/v2"), headers=authorization) as rest:
        [listed] = (await rest.get("/v2/trunkline/captures", params={"CallSid": caller.call_sid})).json()["captures"]
        assert (listed["stream_sid"], listed["has_audio"]) == (started.sid, True)
        early = (await rest.get(listed["uri"])).text
    await server.stop()
    capture = read_capture([text_of(captures)])
    assert text_of(captures).startswith(early)
    assert [one.message for one in capture.messages if one.to_app] == socket.messages
    assert [payload for _, payload in track_audio(capture.sockets[0])] == socket.payloads()
    assert [one.data.decode() for one in capture.messages if not one.to_app and not one.binary] == [sent]
    assert [note["note"] for note in capture.notes] == ["open", "end"]
    assert len(stereo(capture)[0]) >= 8000 * 4 * 0.5

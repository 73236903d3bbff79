"""Recordings that the official SDK starts, pauses and stops, or asks for with a call, as SoX measures their files."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from telnyx import AsyncTelnyx, UnprocessableEntityError

from peers.customer import needs_node, node
from peers.harness import happens, new_server, running, takes_calls
from peers.sipp import PCMU_LINES, SippRun, accepts, byed, called, sdp
from peers.test_record import measured, sox
from trunkline.demo.audio import split, tone
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not installed; `make test` installs it"),
]


async def fetched(server: ServerProcess, url: str, path: Path) -> str:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as http:
        answer = await http.get(url)
    assert answer.status_code == 200
    await asyncio.to_thread(path.write_bytes, answer.content)
    return str(path)


def decode(mp3: str, target: Path) -> str:
    """What FFmpeg makes of an mp3 file, as wav."""
    with av.open(mp3) as source, av.open(str(target), "w") as made:
        stream = made.add_stream("pcm_s16le", rate=8000, layout="stereo")
        for frame in source.decode(audio=0):
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return str(target)


def told(callbacks: CallbackReceiver, sid: str) -> dict[str, dict[str, str]]:
    """What was reported of a recording, by status."""
    forms = [one.fields for one in callbacks.received if one.fields.get("RecordingSid") == sid]
    return {form["RecordingStatus"]: form for form in forms}


async def test_the_sdk_starts_pauses_and_stops_what_sox_measures(
    server: ServerProcess, client: AsyncTelnyx, callbacks: CallbackReceiver, public_key: bytes, tmp_path: Path
) -> None:
    calls, account = client.texml.accounts.calls, server.account_sid
    await takes_calls(server)
    async with DemoCaller(server.sip_address, split(tone(60_000))) as caller:
        await caller.call()

        async def goes_on(seconds: float) -> None:
            until = len(caller.heard) + round(seconds * 50)
            await happens(caller.watch, "the call goes on", lambda: len(caller.heard) >= until)

        async def change(sid: str, status: Any) -> None:
            changed = await calls.recordings.recording_sid_json(
                sid, account_sid=account, call_sid=caller.call_sid, status=status
            )
            assert changed.sid == sid

        async def start(**fields: Any) -> str:
            started = await calls.recordings_json.recordings_json(caller.call_sid, account_sid=account, **fields)
            assert started.sid is not None
            assert (started.source, started.call_sid) == ("StartCallRecordingAPI", caller.call_sid)
            return started.sid

        await goes_on(0.2)
        wanted = {
            "recording_status_callback": callbacks.url,
            "recording_status_callback_event": "in-progress completed",
        }
        dual = await start(**wanted)
        single = await start(recording_channels="single", recording_track="inbound", play_beep=False, **wanted)
        with pytest.raises(UnprocessableEntityError, match="RecordingTrack"):
            await start(recording_track="all")
        await goes_on(2)
        await change(dual, "paused")
        assert (
            await client.texml.accounts.recordings.json.retrieve_recording_sid_json(dual, account_sid=account)
        ).status == "paused"
        await goes_on(1.5)
        await change(dual, "in-progress")
        await goes_on(1)
        await change(dual, "stopped")
        await happens(callbacks.watch, "its end is reported", lambda: "completed" in told(callbacks, dual))
    await happens(callbacks.watch, "the call ends the other", lambda: "completed" in told(callbacks, single))
    over, other = told(callbacks, dual), told(callbacks, single)
    assert list(over) == list(other) == ["in-progress", "completed"], "in order"
    assert all(one.verified(public_key) for one in callbacks.received)
    path = await fetched(server, over["completed"]["RecordingUrl"], tmp_path / "dual.wav")
    assert [int(sox("--i", f"-{what}", path)) for what in ("c", "r", "b")] == [2, 8000, 16], "channels, rate, bits"
    length = float(sox("--i", "-D", path))
    assert over["completed"]["RecordingDuration"] == str(int(length))
    mono = await fetched(server, other["completed"]["RecordingUrl"], tmp_path / "single.wav")
    assert int(sox("--i", "-c", mono)) == 1
    assert float(sox("--i", "-D", mono)) > length + 1, "without the pause"
    assert measured(path, 1, "0")["Rough frequency"] == pytest.approx(440, abs=5)
    assert measured(mono, 1, "0")["Rough frequency"] == pytest.approx(440, abs=5)
    beep, after = measured(path, 2, "0", "2"), measured(path, 2, "-1")
    assert beep["Rough frequency"] == pytest.approx(1000, abs=60)
    assert after["RMS amplitude"] < 0.001
    mp3 = await fetched(server, over["completed"]["RecordingUrl"].replace(".wav", ".mp3"), tmp_path / "dual.mp3")
    decoded = await asyncio.to_thread(decode, mp3, tmp_path / "decoded.wav")
    assert float(sox("--i", "-D", decoded)) == pytest.approx(length, abs=0.3)
    assert measured(decoded, 1, "0")["Rough frequency"] == pytest.approx(440, abs=5)
    assert measured(decoded, 2, "0", "2")["Rough frequency"] == pytest.approx(1000, abs=60)


async def test_a_call_that_is_placed_with_record_is_recorded_from_its_answer(
    server: ServerProcess,
    client: AsyncTelnyx,
    callbacks: CallbackReceiver,
    callee: Callable[..., SippRun],
    tmp_path: Path,
) -> None:
    async with callee(called(), accepts(sdp(PCMU_LINES)), byed()) as run:
        placed = await client.texml.accounts.calls.with_raw_response.calls(
            server.account_sid,
            body={
                "to": f"sip:callee@127.0.0.1:{run.port}",
                "from_": "+13125550100",
                "texml": '<Response><Pause length="2"/><Hangup/></Response>',
                "record": True,
                "recording_channels": "dual",
                "recording_status_callback": callbacks.url,
            },
        )
        await run.succeeds()
    call = json.loads(await placed.text())["call_sid"]
    listed = client.texml.accounts.calls.recordings_json.retrieve_recordings_json
    [recording] = (await listed(call, account_sid=server.account_sid)).recordings or []
    assert (recording.source, recording.channels) == ("OutboundAPI", 2)
    sid = str(recording.sid)
    await happens(callbacks.watch, "its end is reported", lambda: "completed" in told(callbacks, sid))
    assert list(told(callbacks, sid)) == ["completed"]
    path = await fetched(server, str(recording.media_url), tmp_path / "placed.wav")
    assert int(sox("--i", "-c", path)) == 2
    assert float(sox("--i", "-D", path)) == pytest.approx(2, abs=0.7)


async def test_after_a_kill_the_next_server_reports_what_was_recorded_until_then(
    callbacks: CallbackReceiver, tmp_path: Path
) -> None:
    server = new_server(tmp_path)
    await server.start()
    async with DemoCaller(server.sip_address, split(tone(60_000))) as caller:
        await takes_calls(server)
        await caller.call()
        async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url) as client:
            started = await client.texml.accounts.calls.recordings_json.recordings_json(
                caller.call_sid, account_sid=server.account_sid, recording_status_callback=callbacks.url
            )
        sid, until = str(started.sid), len(caller.heard) + 250
        await happens(caller.watch, "five seconds", lambda: len(caller.heard) >= until)
        await server.kill()
    next_server = ServerProcess(tmp_path, account_sid=server.account_sid, api_key=server.api_key, settings={})
    async with running(next_server):
        await happens(callbacks.watch, "its end is reported", lambda: "completed" in told(callbacks, sid))
        async with AsyncTelnyx(api_key=server.api_key, base_url=next_server.base_url) as client:
            one = await client.texml.accounts.recordings.json.retrieve_recording_sid_json(
                sid, account_sid=server.account_sid
            )
        assert one.status == "stopped"
        path = await fetched(next_server, str(one.media_url), tmp_path / "cut.wav")
    length = float(sox("--i", "-D", path))
    assert length > 2.5, "all but the last block and what may come late"
    assert one.duration == told(callbacks, sid)["completed"]["RecordingDuration"] == str(int(length))
    assert measured(path, 1, "0")["Rough frequency"] == pytest.approx(440, abs=5)


@needs_node
async def test_the_node_sdk_starts_lists_pauses_stops_and_deletes(
    server: ServerProcess, caller: DemoCaller, callbacks: CallbackReceiver
) -> None:
    about = {"api_key": server.api_key, "base_url": server.base_url, "account_sid": server.account_sid}
    report = await node("recordings", **about, call_sid=caller.call_sid, status_callback=callbacks.url)
    sid = report["started"]["sid"]
    assert (report["started"]["channels"], report["started"]["track"]) == (1, "inbound")
    assert (report["paused"]["status"], report["listed"]) == ("paused", [sid])
    assert report["under_way"]["status"] == 422
    await happens(callbacks.watch, "its end is reported", lambda: callbacks.received)
    assert (await node("deleteRecording", **about, recording_sid=sid))["again"]["status"] == 404

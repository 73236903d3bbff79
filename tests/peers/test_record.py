"""A voice mail left by sipp, as SoX measures it, and its callbacks."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from telnyx import AsyncTelnyx, NotFoundError

from peers import sipp as steps
from peers.harness import RtpEndpoint, happens, listed_calls, new_server, running
from peers.sipp import SippRun
from sent import check_requests
from trunkline.demo.audio import split, tone
from trunkline.demo.server import ServerProcess
from webapp import Answer, WebApp, texml

pytestmark = pytest.mark.peer


@pytest.fixture
async def web() -> AsyncIterator[WebApp]:
    async with WebApp() as web:
        yield web
    check_requests(web.received)


@pytest.fixture
async def server(tmp_path: Path, web: WebApp) -> AsyncIterator[ServerProcess]:
    """A server all of whose calls do what the web app says at /voice."""
    async with running(new_server(tmp_path, **settings(web))) as server:
        yield server


def settings(web: WebApp) -> dict[str, Any]:
    application = {"name": "app", "voice_url": web.url + "/voice", "status_callback": web.url + "/status"}
    numbers = [{"pattern": "*", "application": "app"}]
    return {
        "applications": json.dumps([application]),
        "numbers": json.dumps(numbers),
        "callbacks__first_delay": 0.1,
        "callbacks__delay_factor": 1,
        "callbacks__tries": 1000,
    }


def sox(*arguments: str) -> str:
    """The output of `sox`."""
    done = subprocess.run(["sox", *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout + done.stderr


def measured(path: str, channel: int, *part: str) -> dict[str, float]:
    """`sox stat` of a part of one channel."""
    lines = sox(path, "-n", "remix", str(channel), "trim", *part, "stat").splitlines()
    pairs = (line.rsplit(":", 1) for line in lines if ":" in line)
    return {" ".join(name.split()): float(value) for name, value in pairs}


async def test_a_voice_mail_holds_both_sides_as_sox_reads_it(
    server: ServerProcess, sipp: Callable[..., SippRun], web: WebApp, tmp_path: Path
) -> None:
    if shutil.which("sox") is None:
        pytest.skip("sox is not installed; `make test` installs it")
    web.answers["/voice"] = texml('<Record action="done" timeout="4" playBeep="false" channels="dual"/>')
    web.answers["/done"] = texml("<Hangup/>")
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            _, port = await run.answered()
            phone.speak(split(tone(2000)), port)
            await run.succeeds()
    (callback,) = web.asked("/done")
    path = str(tmp_path / "fetched.wav")
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as client:
        fetched = await client.get(callback.fields["RecordingUrl"])
    (tmp_path / "fetched.wav").write_bytes(fetched.content)
    assert [int(sox("--i", f"-{what}", path)) for what in ("c", "r", "b")] == [2, 8000, 16], "channels, rate, bits"
    assert float(sox("--i", "-D", path)) > 5.5, "two seconds of tone and four of silence, of which a machine may add"
    said, silence, heard = measured(path, 1, "0", "-3.8"), measured(path, 1, "-3.8"), measured(path, 2, "0")
    assert said["Rough frequency"] == pytest.approx(440, abs=5)
    assert said["RMS amplitude"] > 0.05
    assert silence["RMS amplitude"] < 0.001
    assert heard["RMS amplitude"] < 0.001
    await is_erased(server, callback.fields["From"], callback.fields["RecordingUrl"])


async def is_erased(server: ServerProcess, caller: str, recording: str) -> None:
    """By the command line, what is kept of a caller whose only call is over; then there is none of it."""
    async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url) as client:
        await listed_calls(client, server.account_sid, "completed")
        erased = await trunkline_of(server, "erase", caller)
        assert erased == "erased: 1 calls, 0 streams, 4 callbacks, 1 recordings, 0 captures\n"
        assert not (await client.texml.accounts.calls.retrieve_calls(server.account_sid)).calls
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as client:
        assert (await client.get(recording)).status_code == 404


async def trunkline_of(server: ServerProcess, *arguments: str) -> str:
    """What the command line prints, given the server's address and key."""
    key = {"TRUNKLINE_ACCOUNT_SID": server.account_sid, "TRUNKLINE_API_KEY": server.api_key}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkline",
        *arguments,
        "--http.port",
        str(server.http_port),
        env=os.environ | key,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    shown, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return shown.decode()


async def test_its_callback_is_repeated_until_it_succeeds_also_by_the_next_server(tmp_path: Path, web: WebApp) -> None:
    record = '<Record maxLength="1" playBeep="false" action="done" recordingStatusCallback="recorded"/>'
    web.answers |= {"/voice": texml(record), "/done": texml("<Hangup/>"), "/status": Answer()}
    web.answers["/recorded"] = Answer(status=503)
    server = new_server(tmp_path, **settings(web), http__public_url="https://voice.example/")
    (tmp_path / "sipp").mkdir()
    await server.start()
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        recorded = (steps.invite(body), steps.answered(), steps.ack(), steps.byed())
        async with SippRun(tmp_path / "sipp", server.sip_address, recorded) as run:
            await run.succeeds()
    async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url) as client:
        await listed_calls(client, server.account_sid, "completed")
    await happens(web.watch, "the callback is repeated", lambda: len(web.asked("/recorded")) > 1)
    await server.kill()
    before = len(web.received)
    web.answers["/recorded"] = Answer()
    next_server = ServerProcess(
        tmp_path, account_sid=server.account_sid, api_key=server.api_key, settings={"callbacks.first_delay": 0.1}
    )
    async with running(next_server):
        await happens(web.watch, "what was left is sent", lambda: len(web.received) >= before + 2)
        public_key = base64.b64decode(await next_server.public_key())
    callback, status = web.received[before:]
    assert (callback.path, status.path) == ("/recorded", "/status"), "in order"
    assert status.fields["CallStatus"] == "completed"
    assert {request.headers["webhook-id"] for request in web.asked("/recorded")} == {callback.headers["webhook-id"]}
    assert all(request.verified(public_key) for request in web.asked("/recorded"))
    assert callback.fields["RecordingStatus"] == "completed"
    assert callback.fields["RecordingDuration"] == "1"
    path = f"/v2/texml/Accounts/{server.account_sid}/Recordings/{callback.fields['RecordingSid']}.wav"
    assert callback.fields["RecordingUrl"] == "https://voice.example" + path


async def test_a_voice_mail_that_a_hangup_ends_is_reported_and_can_be_fetched(
    server: ServerProcess, sipp: Callable[..., SippRun], web: WebApp, tmp_path: Path
) -> None:
    record = '<Record action="done" timeout="0" playBeep="false" recordingStatusCallback="recorded"/>'
    web.answers |= {"/voice": texml(record), "/done": Answer(), "/recorded": Answer(), "/status": Answer()}
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.pause(1000), steps.bye(2)) as run:
            _, port = await run.answered()
            phone.speak(split(tone(1000)), port)
            await run.succeeds()
    await happens(web.watch, "its action and its callback", lambda: web.asked("/done") and web.asked("/recorded"))
    (done,), (callback,) = web.asked("/done"), web.asked("/recorded")
    assert done.fields["Digits"] == "hangup"
    assert callback.fields["RecordingStatus"] == "completed"
    assert done.fields["RecordingSid"] == callback.fields["RecordingSid"]
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as client:
        fetched = await client.get(callback.fields["RecordingUrl"])
    (tmp_path / "fetched.wav").write_bytes(fetched.content)
    with wave.open(str(tmp_path / "fetched.wav")) as file:
        assert file.getnframes() > 4000
    await is_listed_and_deleted(server, callback.fields["CallSid"], callback.fields["RecordingSid"])
    kept = modes(Path(str(server.setting("store.directory"))))
    assert kept.keys() >= {"trunkline.db", "trunkline.db-wal", "signing.key", "recordings"}
    assert not any(callback.fields["RecordingSid"] in name for name in kept)
    assert not [name for name, mode in kept.items() if mode & 0o077], "another user could read these"


async def is_listed_and_deleted(server: ServerProcess, call: str, sid: str) -> None:
    """By the SDK; then it is gone."""
    async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url) as client:
        accounts, account = client.texml.accounts, server.account_sid
        page = await accounts.retrieve_recordings_json(account, date_created=">=2023-05-22", page=0, page_size=5)
        of_call = await accounts.calls.recordings_json.retrieve_recordings_json(call, account_sid=account)
        one = await accounts.recordings.json.retrieve_recording_sid_json(sid, account_sid=account)
        assert page.recordings == of_call.recordings == [one]
        assert (one.sid, one.call_sid, one.status, one.channels) == (sid, call, "completed", 2)
        assert one.media_url == f"{server.base_url}/texml/Accounts/{account}/Recordings/{sid}.wav"
        assert one.duration is not None
        assert one.start_time is not None
        assert (await accounts.retrieve_recordings_json(account, date_created="2023-05-22")).recordings == []
        await accounts.recordings.json.delete_recording_sid_json(sid, account_sid=account)
        with pytest.raises(NotFoundError):
            await accounts.recordings.json.retrieve_recording_sid_json(sid, account_sid=account)
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as http:
        assert (await http.get(one.media_url)).status_code == 404


def modes(directory: Path) -> dict[str, int]:
    """Of what a server keeps, by name."""
    names = ("trunkline.db*", "*.key", "*.lock", "recordings", "recordings/*", "cache", "cache/*")
    return {path.name: path.stat().st_mode for name in names for path in directory.glob(name)}


async def test_a_dial_is_recorded_with_each_party_on_its_channel(
    server: ServerProcess, sipp: Callable[..., SippRun], callee: Callable[..., SippRun], web: WebApp, tmp_path: Path
) -> None:
    web.answers |= {"/recorded": Answer(), "/status": Answer()}
    async with RtpEndpoint() as phone, RtpEndpoint() as other:
        accepting = (steps.called(), steps.accepts(steps.sdp(steps.PCMU_LINES, other.port)), steps.byed())
        invite = steps.invite(steps.sdp(steps.PCMU_LINES, phone.port))
        async with callee(*accepting) as called:
            record = 'record="record-from-answer-dual" recordingStatusCallback="recorded"'
            web.answers["/voice"] = texml(f"<Dial {record}><Sip>sip:bob@127.0.0.1:{called.port}</Sip></Dial>")
            async with sipp(invite, steps.answered(), steps.ack(), steps.pause(4000), steps.bye(2)) as run:
                _, port = await run.answered()
                _, other_port = await called.answered()
                phone.speak(split(tone(3000)), port)
                other.speak(split(tone(3000, 1000)), other_port)
                await run.succeeds()
                await called.succeeds()
    await happens(web.watch, "its callback", lambda: web.asked("/recorded"))
    [callback] = web.asked("/recorded")
    assert (callback.fields["RecordingSource"], callback.fields["RecordingChannels"]) == ("DialVerb", "2")
    path = str(tmp_path / "dialled.wav")
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as client:
        fetched = await client.get(callback.fields["RecordingUrl"])
    (tmp_path / "dialled.wav").write_bytes(fetched.content)
    assert int(sox("--i", "-c", path)) == 2
    assert float(sox("--i", "-D", path)) > 3
    assert measured(path, 1, "0.5", "2")["Rough frequency"] == pytest.approx(440, abs=10)
    assert measured(path, 2, "0.5", "2")["Rough frequency"] == pytest.approx(1000, abs=60)

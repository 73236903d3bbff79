"""Why there is no audio: real calls on which something is wrong, and what the server says of them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx, UnprocessableEntityError

from peers import sipp as steps
from peers.harness import RecordingApp, RtpEndpoint, happens, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
G729 = 18
"""RTP payload type, RFC 3551 table 4."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server that soon gives up on an app that is not there."""
    async with running(new_server(tmp_path_factory.mktemp("server"), streams__connect_timeout=3)) as server:
        yield server


class WhyClient:
    """Asks why, over the API and by the command line."""

    def __init__(self, server: ServerProcess, client: AsyncTelnyx) -> None:
        self._server, self._client = server, client

    async def report(self, call_sid: str) -> dict[str, Any]:
        path = f"/texml/Accounts/{self._server.account_sid}/Calls/{call_sid}/media.json"
        body = await self._client.get(path, cast_to=object)
        assert isinstance(body, dict)
        return body

    async def finds(self, call_sid: str, code: str) -> dict[str, Any]:
        """The finding of that code, as soon as it is made. Each request listens to the call for a while."""
        async with asyncio.timeout(60):
            while True:
                findings = (await self.report(call_sid))["findings"]
                found: dict[str, dict[str, Any]] = {finding["code"]: finding for finding in findings}
                if code in found:
                    return found[code]

    async def pause(self, call_sid: str, stream_sid: str) -> None:
        """Ask for a pause of a stream."""
        path = f"/texml/Accounts/{self._server.account_sid}/Calls/{call_sid}/Streams/{stream_sid}.json"
        await self._client.post(path, cast_to=object, body={"Status": "paused"})

    async def record(self, call_sid: str) -> dict[str, Any]:
        """The report of a call that is over, as soon as its stream's counters are kept."""
        async with asyncio.timeout(15):
            while True:
                report = await self.report(call_sid)
                if not report["live"] and report["streams"][0]["report"]:
                    return report

    async def command(self, call_sid: str) -> tuple[int, str]:
        """Exit code and output of `trunkline why`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "trunkline", "why", call_sid),
            *("--http.port", str(self._server.http_port)),
            cwd=self._server.log_file.parent,
            env={
                "PYTHONPATH": ":".join(sys.path),
                "TRUNKLINE_ACCOUNT_SID": self._server.account_sid,
                "TRUNKLINE_API_KEY": self._server.api_key,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def start(self, call_sid: str, url: str, **fields: Any) -> str:
        """Start a stream; its sid."""
        stream = await self._client.texml.accounts.calls.streams_json(
            call_sid,
            account_sid=self._server.account_sid,
            url=url,
            **fields,
        )
        assert stream.sid
        return stream.sid


@pytest.fixture
def why(server: ServerProcess, client: AsyncTelnyx) -> WhyClient:
    return WhyClient(server, client)


async def test_a_peer_that_sends_no_rtp(
    why: WhyClient, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, port = await run.answered()
            await why.start(call_sid, app.url)
            finding = await why.finds(call_sid, "no_rtp")
            assert finding["severity"] == "error"
            assert f"expected from 127.0.0.1:{phone.port} at our UDP port {port}" in finding["text"]
            code, output = await why.command(call_sid)
            assert code == 1
            assert "✗ No RTP at all has arrived" in output.splitlines()[1]
            assert f"local_port {port}" in output
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert await why.finds(call_sid, "no_rtp"), "also afterwards"


async def test_a_peer_that_sends_another_codec_than_it_negotiated(
    why: WhyClient, sipp: Callable[..., SippRun], client: AsyncTelnyx
) -> None:
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, port = await run.answered()
            phone.speak(speech(500), port, payload_type=G729)
            finding = await why.finds(call_sid, "wrong_payload_type")
            assert "payload type 18, and none with 0, which was agreed for PCMU" in finding["text"]
            assert finding["numbers"]["seen_payload_type"] == G729
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()


async def test_a_peer_whose_source_moves_in_mid_call_and_comes_back(
    why: WhyClient, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone, RtpEndpoint() as elsewhere:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, port = await run.answered()
            await why.start(call_sid, app.url)
            socket = await app.socket()
            phone.speak(speech(5), port)
            await happens(app.watch, "it is heard", lambda: len(socket.payloads()) >= 4)
            elsewhere.speak(speech(1000), port)
            finding = await why.finds(call_sid, "source_moved")
            assert finding["severity"] == "error"
            assert f"now comes from 127.0.0.1:{elsewhere.port} instead" in finding["text"]
            assert (await why.report(call_sid))["findings"][0]["code"] == "source_moved"
            assert len(socket.payloads()) <= 5, "it is not let in"
            phone.speak(speech(500), port)
            await happens(app.watch, "the peer is heard again", lambda: len(socket.payloads()) >= 50)
            codes = [one["code"] for one in (await why.report(call_sid))["findings"]]
            assert codes[0] == "unexpected_source"
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()


async def test_a_call_on_hold_and_what_the_app_plays_meanwhile(
    why: WhyClient, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        here = steps.sdp(steps.PCMU_LINES, phone.port)
        held = steps.sdp(steps.PCMU_LINES, phone.port, direction="inactive")
        hold = (steps.invite(held, 2), steps.answered(steps.requires("a=inactive")), steps.ack(2))
        async with sipp(steps.invite(here), steps.answered(), steps.ack(), *hold, steps.byed()) as run:
            call_sid, _ = await run.answered()
            await why.start(call_sid, app.url, bidirectional_mode="rtp")
            finding = await why.finds(call_sid, "on_hold")
            assert finding["text"] == "On hold: the call is on hold, no audio flows either way (inactive)."
            socket = await app.socket()
            await socket.play(speech(1)[0] * 50)
            assert "the call is on hold" in (await why.finds(call_sid, "playback_waits"))["text"]
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()


async def test_an_app_that_sends_raw_audio_into_a_stream_of_the_default_mode(
    why: WhyClient, caller: DemoCaller, client: AsyncTelnyx, app: RecordingApp
) -> None:
    sid = await why.start(caller.call_sid, app.url)
    socket = await app.socket()
    assert (await why.finds(caller.call_sid, "app_sends_nothing"))["stream_sid"] == sid
    await socket.play(speech(1)[0])
    await happens(app.watch, "the error", lambda: bool(socket.all("error")))
    finding = await why.finds(caller.call_sid, "wrong_mode")
    assert (finding["severity"], finding["stream_sid"]) == ("error", sid)
    assert "BidirectionalMode=rtp" in finding["text"]
    await client.calls.actions.hangup(caller.call_sid)
    await happens(app.watch, "the stop", lambda: bool(socket.all("stop")))
    report = await why.record(caller.call_sid)
    assert [finding["code"] for finding in report["findings"] if finding["severity"] == "error"] == ["wrong_mode"]
    assert (report["streams"][0]["mode"], report["streams"][0]["codec"]) == ("mp3", "PCMU")


async def test_an_app_that_sends_silence_and_then_speaks(why: WhyClient, caller: DemoCaller, app: RecordingApp) -> None:
    await why.start(caller.call_sid, app.url, bidirectional_mode="rtp", bidirectional_codec="PCMA")
    socket = await app.socket()
    await socket.play(b"\xd5" * 800)
    assert (await why.finds(caller.call_sid, "app_silent_so_far"))["severity"] == "warning"
    for _ in range(4):
        await socket.play(b"\xd5" * 8000)
    finding = await why.finds(caller.call_sid, "app_silent")
    assert "PCMA" in finding["text"]
    assert finding["numbers"]["app_level_db"] < -60
    for _ in range(60):
        await socket.play(speech(50)[25])
    await socket.send({"event": "mark", "mark": {"name": "end"}})
    await happens(app.watch, "it is played", lambda: bool(socket.all("mark")))
    assert (await why.finds(caller.call_sid, "queue_empty"))["severity"] == "info"
    code, output = await why.command(caller.call_sid)
    assert code == 0, output
    assert "✗" not in output
    assert "queue_empty" in output


async def test_a_call_without_a_stream_and_an_app_that_refuses(why: WhyClient, caller: DemoCaller) -> None:
    assert (await why.finds(caller.call_sid, "no_stream"))["severity"] == "warning"
    async with RecordingApp() as app:
        url = app.url
    stream = await why.start(caller.call_sid, url)
    finding = await why.finds(caller.call_sid, "no_connection")
    assert finding["severity"] == "error"
    assert "failed connection attempts, the last because: connection refused by 127.0.0.1" in finding["text"]
    assert "connection refused by 127.0.0.1" in (await why.finds(caller.call_sid, "stream_failed"))["text"]
    with pytest.raises(UnprocessableEntityError, match="The stream is over"):
        await why.pause(caller.call_sid, stream)


async def test_what_the_command_says_of_what_it_cannot_ask(why: WhyClient, client: AsyncTelnyx, tmp_path: Path) -> None:
    code, output = await why.command("v3:unknown")
    assert (code, output.count("\n")) == (2, 1)
    assert "no call v3:unknown" in output
    code, output = await WhyClient(new_server(tmp_path), client).command("v3:unknown")
    assert (code, output.count("\n")) == (2, 1)
    assert "no answer from http://127.0.0.1" in output

"""sipp calls the server: the ordinary call, its odd beginnings, and what re-INVITEs may change."""

import asyncio
import itertools
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from telnyx import AsyncTelnyx, UnprocessableEntityError

from captures import DIRECTORY, read_capture
from peers import sipp as steps
from peers.harness import (
    RecordingApp,
    RtpEndpoint,
    Socket,
    ended,
    events,
    happens,
    held,
    listed_calls,
)
from peers.sipp import SippRun
from trunkline.demo.audio import find_tones, speech, split, tone
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
PCMA = 8
"""RTP payload type, RFC 3551 table 4."""


async def start(
    client: AsyncTelnyx,
    server: ServerProcess,
    call_sid: str,
    app: RecordingApp,
    callbacks: CallbackReceiver,
    track: Literal["inbound_track", "both_tracks"] = "inbound_track",
) -> str:
    """Start a bidirectional stream; its sid."""
    stream = await client.texml.accounts.calls.streams_json(
        call_sid,
        account_sid=server.account_sid,
        url=app.url,
        bidirectional_mode="rtp",
        track=track,
        status_callback=callbacks.url,
    )
    assert stream.sid
    return stream.sid


async def more(phone: RtpEndpoint) -> None:
    """The phone receives more audio."""
    enough = len(phone.heard) + 10
    await happens(phone.watch, "more is heard", lambda: len(phone.heard) >= enough)


async def silence(app: RecordingApp, socket: Socket, phone: RtpEndpoint) -> None:
    """The phone hears nothing, for as long as the app gets 25 frames of the call, whose clock continues."""
    last = 0, 0

    def silent() -> bool:
        nonlocal last
        heard, frames = len(phone.heard), len(socket.all("media"))
        if heard != last[0]:
            last = heard, frames
        return frames >= last[1] + 25

    await happens(app.watch, "half a second of silence", silent)


def assert_in_a_row(payloads: list[bytes], frames: list[bytes]) -> None:
    """The payloads are some of the frames, all of them between the first and the last, in order, byte for byte."""
    numbers = [frames.index(payload) for payload in payloads]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_every_frame_of_a_sipp_call_reaches_the_app_and_comes_back_unchanged(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
) -> None:
    app.echo = True
    frames = speech(1000)
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, port = await run.answered()
            stream = await start(client, server, call_sid, app, callbacks)
            socket = await app.socket()
            phone.speak(frames[:150], port)
            await happens(app.watch, "all frames arrive", lambda: socket.payloads()[-1:] == [frames[149]])
            await happens(phone.watch, "the echo ends", lambda: phone.heard[-1].payload == frames[149])
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    known = [payload for payload in socket.payloads() if payload in frames]
    assert known == frames[:150]
    assert [packet.payload for packet in phone.heard if packet.payload in frames] == frames[:150]
    steps_between = {b.sequence - a.sequence & 0xFFFF for a, b in itertools.pairwise(phone.heard)}
    assert steps_between == {1}
    assert (await ended(callbacks, stream))["StreamEvent"] == "stream-stopped"
    assert events(callbacks) == ["stream-started", "stream-stopped"]
    assert [message["event"] for message in socket.messages[:2]] == ["connected", "start"]
    assert socket.messages[-1]["event"] == "stop"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("tshark"), reason="capturing on lo needs root and tshark")
async def test_sipp_sends_its_own_rtp_stream_and_is_played_the_apps_tone(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
    tmp_path: Path,
) -> None:
    frames = speech(100)
    audio = tmp_path / "speech.ulaw"
    audio.write_bytes(b"".join(frames))
    body = steps.sdp(steps.PCMU_LINES)
    scenario = (steps.invite(body), steps.answered(), steps.ack(), steps.stream(audio, -1), steps.byed())
    async with sipp(*scenario) as run:
        capture = await asyncio.create_subprocess_exec(
            *(
                "tshark",
                "-i",
                "lo",
                "-l",
                "-n",
                "-f",
                f"udp dst port {run.media_port}",
                "-T",
                "fields",
                "-e",
                "udp.payload",
            ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert capture.stdout is not None
        heard: list[bytes] = []
        try:
            call_sid, _ = await run.answered()
            await asyncio.wait_for(capture.stdout.readline(), 20)  # it is capturing
            await start(client, server, call_sid, app, callbacks)
            socket = await app.socket()
            await socket.play(tone(1000))
            while len(heard) < 120:
                line = await asyncio.wait_for(capture.stdout.readline(), 5)
                heard.append(bytes.fromhex(line.decode().strip().replace(":", ""))[12:])
            await happens(app.watch, "150 frames arrive", lambda: len(socket.payloads()) >= 150)
        finally:
            capture.terminate()
            await capture.communicate()
        await client.calls.actions.hangup(call_sid)
        await run.succeeds()
    rows = [frames.index(payload) for payload in socket.payloads()]
    assert rows == [(rows[0] + n) % 100 for n in range(len(rows))]
    found = find_tones(heard)
    assert found.bursts == 1
    assert found.hertz == pytest.approx(440, abs=1)
    assert sum(frame in split(tone(1000)) for frame in heard) == 50


@pytest.mark.skipif(os.geteuid() != 0, reason="sipp sends captures by raw sockets, which need root")
async def test_captured_30_ms_pcma_and_a_captured_key_press_arrive_unchanged(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
) -> None:
    lines = steps.PCMA_LINES.replace("AVP 8", "AVP 8 101") + "a=rtpmap:101 telephone-event/8000\n"
    scenario = (
        steps.invite(steps.sdp(lines, "[media_port]")),
        *(steps.answered(), steps.ack(), steps.waits()),
        *(steps.capture(DIRECTORY / "dtmf_2833_7.pcap"), steps.pause(2000)),
        *(steps.capture(DIRECTORY / "g711a.pcap"), steps.byed()),
    )
    frames = [datagram[12:] for _, datagram in read_capture("g711a.pcap")]
    async with sipp(*scenario, seconds=60) as run:
        call_sid, _ = await run.answered()
        await start(client, server, call_sid, app, callbacks)
        socket = await app.socket()
        await run.go_on()
        await happens(app.watch, "the capture arrives", lambda: len(socket.payloads()) >= len(frames), 30)
        await client.calls.actions.hangup(call_sid)
        await run.succeeds()
    assert {len(frame) for frame in frames} == {240}
    assert socket.payloads() == frames
    assert socket.all("start")[0]["start"]["media_format"]["encoding"] == "PCMA"
    assert [message["dtmf"]["digit"] for message in socket.all("dtmf")] == ["7"]


async def test_a_cancelled_invite_is_answered_487_and_leaves_no_call(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx
) -> None:
    cancelled = (steps.invite(steps.sdp(steps.PCMU_LINES)), steps.cancelled())
    async with held(server), sipp(*cancelled) as run:  # held, so that the call cannot be answered before the CANCEL
        await run.succeeds()
    assert len(await listed_calls(client, server.account_sid, "canceled")) == 1


async def test_a_late_offer_is_answered_with_ours_and_streams(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
) -> None:
    frames = speech(300)
    async with RtpEndpoint() as phone:
        answer = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(""), steps.answered(), steps.ack(body=answer), steps.byed()) as run:
            call_sid, port = await run.answered()
            while not app.sockets:
                with suppress(UnprocessableEntityError):  # the ACK, which has the codec, is on its way
                    await start(client, server, call_sid, app, callbacks)
                    await app.socket()
            (socket,) = app.sockets
            phone.speak(frames, port)
            await happens(app.watch, "50 frames arrive", lambda: len(socket.payloads()) >= 50)
            await happens(phone.watch, "we are sent audio", lambda: len(phone.heard) >= 50)
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert_in_a_row(socket.payloads(), frames)
    assert {packet.payload_type for packet in phone.heard} == {0}


@pytest.mark.parametrize("host", ["localhost", "phone.invalid"])
async def test_a_host_name_in_the_sdp_is_resolved_or_the_media_source_is_used(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, host: str
) -> None:
    frames = speech(300)
    async with RtpEndpoint() as phone:
        offer = steps.sdp(steps.PCMU_LINES, phone.port, host=host)
        hold = steps.sdp(steps.PCMU_LINES, phone.port, host=host, direction="sendonly")
        scenario = (
            *(steps.invite(offer), steps.answered(), steps.ack(), steps.waits()),
            *(steps.invite(hold, 2), steps.answered(), steps.ack(2), steps.waits()),
            *(steps.invite(offer, 3), steps.answered(), steps.ack(3), steps.byed()),
        )
        async with sipp(*scenario) as run:
            call_sid, port = await run.answered()
            if host == "localhost":
                await happens(phone.watch, "we are sent audio before we speak", lambda: len(phone.heard) >= 10)
            phone.speak(frames, port)
            await happens(phone.watch, "we are sent audio", lambda: len(phone.heard) >= 50)
            for _ in range(2):
                await run.go_on()
                await run.answered()
            before = len(phone.heard)
            await happens(phone.watch, "we are sent audio after the hold", lambda: len(phone.heard) >= before + 50)
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()


async def test_re_invites_hold_resume_move_and_change_the_codec(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
) -> None:
    frames = speech(1000)
    async with RtpEndpoint() as phone, RtpEndpoint() as other:
        here = steps.sdp(steps.PCMU_LINES, phone.port)
        held = steps.sdp(steps.PCMU_LINES, phone.port, direction="sendonly")
        silent = steps.sdp(steps.PCMU_LINES, phone.port, direction="inactive")
        moved = steps.sdp(steps.PCMU_LINES, other.port)
        changed = steps.sdp(steps.PCMA_LINES, other.port)
        scenario = [steps.invite(here), steps.answered(), steps.ack()]
        for cseq, (body, wanted) in enumerate(
            (
                (held, "a=recvonly"),
                (here, "a=sendrecv"),
                (silent, "a=inactive"),
                (here, "a=sendrecv"),
                (moved, "RTP/AVP 0"),
                (changed, "RTP/AVP 8"),
            ),
            start=2,
        ):
            again = (steps.invite(body, cseq), steps.answered(steps.requires(wanted)), steps.ack(cseq))
            scenario += [steps.waits(), *again]
        scenario += [steps.waits(), steps.bye(8)]
        async with sipp(*scenario) as run:
            call_sid, port = await run.answered()
            stream = await start(client, server, call_sid, app, callbacks, track="both_tracks")
            socket = await app.socket()
            phone.speak(frames, port)
            for _ in ("sendonly", "inactive"):
                await more(phone)
                await run.go_on()
                await silence(app, socket, phone)
                await run.go_on()
            await more(phone)
            await run.go_on()
            await happens(other.watch, "media moves to the new port", lambda: bool(other.heard))
            phone.stop()
            other.speak(frames[500:], port)
            await run.go_on()
            await happens(other.watch, "PCMA comes", lambda: bool(other.heard) and other.heard[-1].payload_type == PCMA)
            await run.go_on()
            await run.succeeds()
    types = [packet.payload_type for packet in other.heard]
    assert types == sorted(types)
    assert set(types) == {0, PCMA}
    assert (await ended(callbacks, stream))["StreamEvent"] == "stream-stopped"
    assert events(callbacks) == ["stream-started", "stream-stopped"]
    assert len(app.sockets) == 1
    assert socket.messages[-1]["event"] == "stop"


async def test_a_call_over_tcp_is_streamed(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
) -> None:
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed(), transport="t1") as run:
            call_sid, port = await run.answered()
            await start(client, server, call_sid, app, callbacks)
            socket = await app.socket()
            phone.speak(speech(100), port)
            await happens(app.watch, "50 frames arrive", lambda: len(socket.payloads()) >= 50)
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()


async def test_an_offer_without_a_common_codec_is_declined_with_488(sipp: Callable[..., SippRun]) -> None:
    body = steps.sdp("m=audio {port} RTP/AVP 18\na=rtpmap:18 G729/8000\n")
    async with sipp(steps.invite(body), steps.declined(488)) as run:
        await run.succeeds()

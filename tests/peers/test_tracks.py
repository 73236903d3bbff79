"""What a stream shows of a call over its life: tracks on one clock, holds, codec changes, pauses, keys."""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, RtpEndpoint, Socket, happens
from peers.sipp import SippRun
from trunkline.demo.audio import decode, dominant_frequency, speech, split, tone
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess
from trunkline.media.codecs import transcoder

pytestmark = pytest.mark.peer


async def test_keys_sent_by_sip_info_reach_the_app(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        keys = [steps.info(cseq, key) for cseq, key in enumerate(("1", "11", "D"), start=2)]
        scenario = (steps.invite(body), steps.answered(), steps.ack(), steps.waits(), *keys, steps.byed())
        async with sipp(*scenario) as run:
            call_sid, _ = await run.answered()
            await client.texml.accounts.calls.streams_json(call_sid, account_sid=server.account_sid, url=app.url)
            socket = await app.socket()
            await run.go_on()
            await happens(app.watch, "three keys", lambda: len(socket.all("dtmf")) == 3)
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert [message["dtmf"]["digit"] for message in socket.all("dtmf")] == ["1", "#", "D"]
    assert all(message["occurred_at"].endswith("Z") for message in socket.all("dtmf"))


async def test_hold_and_codec_changes_keep_both_tracks_in_step_and_the_format(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        here = steps.sdp(steps.PCMU_LINES, phone.port)
        held = steps.sdp(steps.PCMU_LINES, phone.port, direction="sendonly")
        changed = steps.sdp(steps.PCMA_LINES, phone.port)
        scenario = [steps.invite(here), steps.answered(), steps.ack()]
        for cseq, body in enumerate((held, here, changed), start=2):
            scenario += [steps.waits(), steps.invite(body, cseq), steps.answered(""), steps.ack(cseq)]
        async with sipp(*scenario, steps.byed()) as run:
            call_sid, port = await run.answered()
            await client.texml.accounts.calls.streams_json(
                call_sid, account_sid=server.account_sid, url=app.url, track="both_tracks", bidirectional_mode="rtp"
            )
            socket = await app.socket()
            phone.speak(speech(1000), port)
            for _ in range(3):
                enough = len(socket.payloads("outbound")) + 50
                await happens(app.watch, "a second", lambda n=enough: len(socket.payloads("outbound")) >= n)
                await run.go_on()
            await happens(phone.watch, "PCMA comes", lambda: bool(phone.heard) and phone.heard[-1].payload_type == 8)
            phone.stop()
            at = len(socket.payloads())
            phone.speak(split(transcoder("PCMU", "PCMA").convert(tone(10000, 1000))), port, payload_type=8)
            await happens(app.watch, "PCMA arrives, as PCMU", lambda: len(socket.payloads()) > at + 40)
            await happens(
                app.watch, "both tracks are in step", lambda: abs(_at(socket, "inbound") - _at(socket)) <= 100
            )
            outbound = [_at_of(message) for message in socket.all("media") if message["media"]["track"] == "outbound"]
            uri = f"/texml/Accounts/{server.account_sid}/Calls/{call_sid}/media.json"
            leg = (await client.get(uri, cast_to=dict[str, Any]))["leg"]
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    # A worker that was held up skips, and says so (`media.engine.STALL`); nothing else leaves a hole.
    steps_between = [b - a for a, b in itertools.pairwise(outbound)]
    assert min(steps_between) == 20
    assert sum(step - 20 for step in steps_between) <= leg["skipped_ms"], "without a hole, also on hold"
    assert socket.all("start")[0]["start"]["media_format"]["encoding"] == "PCMU"
    assert dominant_frequency(decode(b"".join(socket.payloads()[-20:]))) == pytest.approx(1000, abs=10)


def _at_of(message: dict[str, Any]) -> int:
    return int(message["media"]["timestamp"])


def _at(socket: Socket, track: str = "outbound") -> int:
    """The timestamp of a track's last frame."""
    return next(_at_of(each) for each in reversed(socket.all("media")) if each["media"]["track"] == track)


async def test_several_streams_of_one_call_each_have_their_own_codec_track_and_count(
    server: ServerProcess, client: AsyncTelnyx, caller: DemoCaller
) -> None:
    wanted = [("PCMA", "inbound_track"), ("L16", "both_tracks"), ("G722", "outbound_track")]
    async with contextlib.AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(RecordingApp()) for _ in wanted]
        for app, (codec, track) in zip(apps, wanted, strict=True):
            await client.post(
                f"/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}/Streams.json",
                body={"Url": app.url, "Codec": codec, "Track": track},
                cast_to=object,
            )
        sockets = [await app.socket() for app in apps]
        for app, socket in zip(apps, sockets, strict=True):
            await happens(app.watch, "frames", lambda socket=socket: len(socket.all("media")) > 50)
        messages = [list(socket.messages) for socket in sockets]
    for (codec, track), seen in zip(wanted, messages, strict=True):
        assert seen[1]["start"]["media_format"]["encoding"] == codec
        assert [int(message["sequence_number"]) for message in seen[1:]] == [*range(1, len(seen))]
        for name in ("inbound", "outbound"):
            chunks = [int(message["media"]["chunk"]) for message in seen[2:] if message["media"]["track"] == name]
            assert bool(chunks) == (track in (f"{name}_track", "both_tracks"))
            assert chunks == [*range(1, len(chunks) + 1)]


async def test_a_paused_stream_is_sent_no_audio_but_keys_and_marks_and_plays_on(
    server: ServerProcess, client: AsyncTelnyx, app: RecordingApp, caller: DemoCaller
) -> None:
    stream = await client.texml.accounts.calls.streams_json(
        caller.call_sid, account_sid=server.account_sid, url=app.url, track="both_tracks", bidirectional_mode="rtp"
    )
    assert stream.sid
    uri = f"/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}/Streams/{stream.sid}.json"
    socket = await app.socket()
    await happens(app.watch, "both tracks flow", lambda: len(socket.payloads("outbound")) > 20)
    paused = await client.post(uri, body={"Status": "paused"}, cast_to=object)
    assert isinstance(paused, dict)
    assert paused["status"] == "paused"
    for number in range(2):  # the first mark goes and comes while the worker may still have the order before it
        await _marked(app, socket, f"paused {number}")
    before = len(socket.all("media"))
    heard = len(caller.heard)
    await socket.play(tone(1000))
    await _marked(app, socket, "played while paused")
    assert len(socket.all("media")) == before
    assert sum(packet.payload in tone(1000) for packet in caller.heard[heard:]) >= 49
    last = {track: _last(socket.all("media"), track) for track in ("inbound", "outbound")}
    resumed = await client.post(uri, body={"Status": "in-progress"}, cast_to=object)
    assert isinstance(resumed, dict)
    assert resumed["status"] == "in-progress"
    await happens(app.watch, "both flow again", lambda: len(socket.all("media")) > before + 50)
    media = [message["media"] for message in socket.all("media")]
    for track, (chunk, timestamp) in last.items():
        following = next(each for each in media if each["track"] == track and int(each["chunk"]) == chunk + 1)
        assert int(following["timestamp"]) - timestamp > 1000, "the pause shows in the time, not in the count"
    assert [int(message["sequence_number"]) for message in socket.messages[1:]] == [*range(1, len(socket.messages))]


async def _marked(app: RecordingApp, socket: Socket, name: str) -> None:
    """A mark has come back, and with it all that was sent before."""
    await socket.send({"event": "mark", "mark": {"name": name}})
    await happens(app.watch, f"mark {name}", lambda: socket.messages[-1].get("mark") == {"name": name})


def _last(messages: list[dict[str, dict[str, str]]], track: str) -> tuple[int, int]:
    media = [message["media"] for message in messages if message["media"]["track"] == track]
    return int(media[-1]["chunk"]), int(media[-1]["timestamp"])

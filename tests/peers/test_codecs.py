"""What was agreed and what is sent: codecs in our order, the second of several, the numbers of either side, video."""

from collections.abc import Callable
from pathlib import Path

import pytest
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, RtpEndpoint, Socket, happens, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import decode, dominant_frequency, split, tone
from trunkline.demo.server import ServerProcess
from trunkline.media.codecs import transcoder

pytestmark = pytest.mark.peer

WIDEBAND_FIRST = (
    "m=audio {port} RTP/AVP 9 0 8 101\na=rtpmap:9 G722/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n"
    "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"
)
TONE = tone(1000)


def coded(codec: str) -> list[bytes]:
    """The tone in packets of 20 ms."""
    return split(transcoder("PCMU", codec).convert(TONE))


async def hears_the_tone(
    app: RecordingApp, socket: Socket, phone: RtpEndpoint, codec: str, port: int, kind: int
) -> None:
    """What the phone sends under a payload type reaches the app in PCMU."""
    before = len(socket.payloads())
    phone.stop()
    phone.speak(coded(codec), port, kind)
    await happens(app.watch, f"{codec} under {kind}", lambda: len(socket.payloads()) >= before + 45)
    heard = b"".join(socket.payloads()[before + 10 : before + 45])
    assert len(heard) == 35 * 160
    assert abs(dominant_frequency(decode(heard)) - 440) < 5, f"{codec} under {kind}"


@pytest.mark.parametrize(
    ("order", "formats", "encoding"), [("ours", "0 8 9 101", "PCMU"), ("peer", "9 0 8 101", "G722")]
)
async def test_a_phone_that_prefers_wideband_gets_a_codec_of_the_setting(
    app: RecordingApp, tmp_path: Path, order: str, formats: str, encoding: str
) -> None:
    """The codecs' order follows `media.codec_order`."""
    directory = tmp_path / "sipp"
    directory.mkdir()
    async with (
        running(new_server(tmp_path, media__codec_order=order)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        RtpEndpoint() as phone,
    ):
        offer = steps.sdp(WIDEBAND_FIRST, phone.port)
        action = steps.LOG_ANSWER.replace(
            "<action>",
            f'<action><ereg regexp="RTP/AVP {formats}" search_in="body" check_it="true" assign_to="line"/>',
        )
        scenario = (steps.invite(offer), steps.answered(action), steps.ack(), steps.byed())
        async with SippRun(directory, server.sip_address, scenario) as run:
            call_sid, port = await run.answered()
            await client.texml.accounts.calls.streams_json(call_sid, account_sid=server.account_sid, url=app.url)
            socket = await app.socket()
            assert socket.all("start")[0]["start"]["media_format"]["encoding"] == encoding
            if order == "ours":
                await hears_the_tone(app, socket, phone, "PCMU", port, 0)
                await hears_the_tone(app, socket, phone, "G722", port, 9)
                await hears_the_tone(app, socket, phone, "PCMA", port, 8)
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()


async def test_the_second_codec_of_an_answer_and_our_own_numbers_are_heard(
    server: ServerProcess, callee: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        answer = steps.sdp(
            "m=audio {port} RTP/AVP 8 0 97\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\n"
            "a=rtpmap:97 telephone-event/8000\n",
            phone.port,
        )
        scenario = (
            steps.called(),
            steps.accepts(answer),
            steps.waits(),
            steps.reinvites(answer, 2),
            steps.waits(),
            steps.byed(),
        )
        async with callee(*scenario) as run:
            placed = await client.texml.accounts.calls.calls(
                server.account_sid,
                body={
                    "to": f"sip:callee@127.0.0.1:{run.port}",
                    "from_": "+15550001111",
                    "texml": f'<Response><Start><Stream url="{app.url}"/></Start><Pause length="60"/></Response>',
                },
            )
            assert placed
            _, port = await run.answered()
            socket = await app.socket()
            await hears_the_tone(app, socket, phone, "PCMU", port, 0)
            await hears_the_tone(app, socket, phone, "PCMA", port, 8)
            for event, kind in ((3, 101), (4, 97)):
                phone.stop()
                phone.speak([bytes((event, 0x8A, 3, 32))], port, kind)
            await happens(app.watch, "both keys", lambda: len(socket.all("dtmf")) == 2)
            await run.go_on()
            await run.answered()
            await hears_the_tone(app, socket, phone, "PCMU", port, 0)
            await run.go_on()
            call_sid = socket.all("start")[0]["start"]["call_control_id"]
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert [message["dtmf"]["digit"] for message in socket.all("dtmf")] == ["3", "4"]


VIDEO_FIRST = (
    "m=video 5000 RTP/AVPF 96\na=rtpmap:96 VP8/90000\n"
    "m=audio {port} RTP/AVPF 0 101\na=rtpmap:101 telephone-event/8000\n"
)


async def test_a_call_with_video_continues_when_our_offer_is_never_answered(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        both = "m=video 0 RTP/AVPF 96.*m=audio [1-9][0-9]* RTP/AVPF 0"
        offered = steps.requires(both + " 8 9 101")
        scenario = (
            steps.invite(steps.sdp(VIDEO_FIRST, phone.port)),
            steps.answered(steps.LOG_ANSWER.replace("<action>", steps.requires(both).replace("</action>", ""))),
            steps.ack(),
            steps.waits(),
            steps.invite("", 2),
            steps.answered(offered),
            steps.ack(2),
            steps.waits(),
            steps.invite("", 3),
            steps.answered(offered),
            steps.ack(3, steps.sdp(VIDEO_FIRST.replace("5000", "0"), phone.port, direction="sendonly")),
            steps.waits(),
            steps.byed(),
        )
        async with sipp(*scenario) as run:
            call_sid, port = await run.answered()
            await client.texml.accounts.calls.streams_json(call_sid, account_sid=server.account_sid, url=app.url)
            socket = await app.socket()
            await run.go_on()
            await run.go_on()
            await hears_the_tone(app, socket, phone, "PCMU", port, 0)
            await run.go_on()
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()

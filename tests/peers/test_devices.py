"""What devices make of RTP: clocks, sequences and key presses that are not as the RFCs have them, on a real server."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest
from telnyx import AsyncTelnyx

from media.rtp.test_rtcp import PINGS
from peers import sipp as steps
from peers.harness import RecordingApp, RtpEndpoint, happens
from peers.sipp import SippRun
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


def rtp(kind: int, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
    header = bytes((0x80, kind)) + (sequence & 0xFFFF).to_bytes(2) + (timestamp & 0xFFFFFFFF).to_bytes(4)
    return header + ssrc.to_bytes(4) + payload


def event(key: int, number: int, timestamp: int, duration: int, *, end: bool) -> bytes:
    """A packet of telephone events, in an SSRC of their own."""
    return rtp(101, number, timestamp, 99, bytes((key, 0x80 * end | 10)) + duration.to_bytes(2))


def paced(phone: RtpEndpoint, port: int, packets: list[bytes]) -> None:
    """Send them 20 ms apart, from now on."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for n, packet in enumerate(packets):
        loop.call_at(began + n * 0.02, phone.send, packet, port)


async def test_a_key_sent_by_unusual_telephone_events_and_by_info_is_one_key(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        keys = steps.info(2, "5")
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.waits(), keys, steps.byed()) as run:
            call_sid, port = await run.answered()
            await client.texml.accounts.calls.streams_json(call_sid, account_sid=server.account_sid, url=app.url)
            socket = await app.socket()
            # The timestamp grows with each packet, as if each were a press.
            phone.speak([b"\x55" * 160] * 8, port)
            for n in range(8):
                phone.send(event(5, n, 160 * n, 160 * min(n + 1, 5), end=n > 4), port)
            await happens(app.watch, "the key", lambda: len(socket.all("dtmf")) == 1)
            await run.go_on()
            # The timestamp stands still from press to press.
            paced(phone, port, [event(7, 20 + n, 9000, 160 * (n % 4 + 1), end=n % 4 == 3) for n in range(8)])
            await happens(app.watch, "two keys more", lambda: len(socket.all("dtmf")) >= 3)
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert [message["dtmf"]["digit"] for message in socket.all("dtmf")] == ["5", "7", "7"]


@pytest.mark.parametrize("step", [0, 80, 320], ids=["stands still", "too slow", "too fast"])
async def test_a_wrong_rtp_clock_and_a_restarted_sequence_lose_no_audio(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp, step: int
) -> None:
    frames = [n.to_bytes(2) * 80 for n in range(150)]
    packets = [rtp(0, 1000 + n - n // 60 * 55, 5000 + n * step - n // 60 * 70_000, 7, f) for n, f in enumerate(frames)]
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, port = await run.answered()
            await client.texml.accounts.calls.streams_json(call_sid, account_sid=server.account_sid, url=app.url)
            socket = await app.socket()
            for ping in PINGS:
                phone.send(ping, port)
                phone.send(ping, port + 1)
            paced(phone, port, packets)
            await happens(app.watch, "all frames", lambda: len(socket.all("media")) == len(frames))
            report = await client.get(f"/texml/Accounts/{server.account_sid}/Calls/{call_sid}/media", cast_to=object)
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    media = [message["media"] for message in socket.all("media")]
    assert [int(each["chunk"]) for each in media] == [*range(1, len(frames) + 1)]
    times = [int(each["timestamp"]) for each in media]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert abs(times[-1] - times[0] - 149 * 20) < 1000
    assert isinstance(report, dict)
    counted = {name: report["leg"][name] for name in ("malformed", "rtcp_malformed", "lost", "keepalives")}
    sent = 2 * (len(PINGS) - 1)  # asyncio sends no empty datagram
    assert counted == {"malformed": 0, "rtcp_malformed": 0, "lost": 0, "keepalives": sent}

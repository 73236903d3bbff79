"""The caller against a small phone in the test: signalling, the 20 ms clock, received audio, and refusals."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller, parse_rtp
from trunkline.demo.errors import CallFailed
from trunkline.demo.uac import Address, audio_offer, parse


class Phone(asyncio.DatagramProtocol):
    """Answers on one port both SIP and RTP: INVITE with `status`, BYE with 200, RTP with the same."""

    def __init__(self, status: str, *, audio: bool = True) -> None:
        self._status, self._audio = status, audio
        self.rtp: list[bytes] = []
        self.requests: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address: Address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if data[0] == 0x80:
            self.rtp.append(data)
            self._transport.sendto(data, addr)
            return
        request = parse(data)
        assert request is not None
        self.requests.append(request.method)
        if request.method == "ACK":
            return
        body = audio_offer(self.address) if request.method == "INVITE" and self._audio else ""
        status = self._status if request.method == "INVITE" else "200 OK"
        copied = [f"{name}: {value}" for name, value in request.headers if name in ("via", "from", "call-id", "cseq")]
        headers = ["X-Trunkline-Call-Sid: v3:sid", f"To: {request.header('to')};tag=p"]
        answer = "\r\n".join([f"SIP/2.0 {status}", *copied, *headers]) + "\r\n\r\n" + body
        self._transport.sendto(answer.encode(), addr)


@asynccontextmanager
async def phone(status: str = "200 OK", *, audio: bool = True) -> AsyncIterator[Phone]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Phone(status, audio=audio), local_addr=("127.0.0.1", 0)
    )
    try:
        yield protocol
    finally:
        transport.close()


async def test_the_caller_sends_its_frames_receives_them_back_and_hangs_up() -> None:
    frames = speech(25)
    async with phone() as peer:
        async with DemoCaller(peer.address, frames) as caller:
            await caller.call()
            assert caller.up
            assert caller.call_sid == "v3:sid"
            assert await caller.watch.until(lambda: len(caller.heard) == 25, 5)
        assert peer.requests == ["INVITE", "ACK", "BYE"]
    assert [packet.payload for packet in caller.heard] == frames
    assert not caller.up
    assert not caller.ended_by_server
    assert {b.sequence - a.sequence & 0xFFFF for a, b in itertools.pairwise(caller.heard)} == {1}
    assert {b.timestamp - a.timestamp & 0xFFFFFFFF for a, b in itertools.pairwise(caller.heard)} == {160}
    assert [packet[1] for packet in peer.rtp[:2]] == [0x80, 0x00], "the marker is on the first packet only"
    assert caller.sent_at[-1] - caller.sent_at[0] > 0.47, "24 distances of 20 ms"


async def test_a_refused_call_fails_with_the_reason() -> None:
    async with phone("486 Busy Here") as peer, DemoCaller(peer.address, []) as caller:
        with pytest.raises(CallFailed, match="486 Busy Here"):
            await caller.call()


async def test_an_answer_without_audio_fails() -> None:
    async with phone(audio=False) as peer, DemoCaller(peer.address, []) as caller:
        with pytest.raises(CallFailed, match="no audio"):
            await caller.call()


async def test_without_an_answer_it_fails_after_the_timeout() -> None:
    async with phone() as peer:
        address = peer.address
    async with DemoCaller(address, []) as caller:
        with pytest.raises(CallFailed, match=r"no answer within 0.1 s"):
            await caller.call(timeout=0.1)


@pytest.mark.parametrize("datagram", [b"", b"\x80" * 11, b"\x40" + b"\x00" * 20, b"\xb0" + b"\x00" * 20])
def test_datagrams_that_are_no_plain_rtp_are_ignored(datagram: bytes) -> None:
    assert parse_rtp(datagram, 0) is None


def test_contributing_sources_are_no_payload() -> None:
    packet = parse_rtp(b"\x81\x80\x00\x07" + b"\x00\x00\x00\xa0" + b"\x00" * 8 + b"audio", 1.5)
    assert packet is not None
    assert (packet.at, packet.sequence, packet.timestamp, packet.payload_type, packet.payload) == (
        1.5,
        7,
        160,
        0,
        b"audio",
    )

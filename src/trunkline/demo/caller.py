"""The caller: places one SIP call, speaks numbered frames every 20 ms over RTP, and keeps what it hears.

This is the driver of `uac` (SIP) and of the RTP socket; both live on this loop. Packets leave by one steady clock: a
late tick sends what is due and does not shift the rest.
"""

import asyncio
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from trunkline.demo.audio import FRAME_BYTES, FRAME_MS
from trunkline.demo.errors import CallFailed
from trunkline.demo.uac import Address, UacState, UserAgentClient, audio_offer, media_address
from trunkline.demo.watch import Watch

_RTP_HEADER = struct.Struct("!BBHII")
PCMU = 0
"""RTP payload type, RFC 3551 table 4."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One RTP packet from the server."""

    at: float
    """Loop time of its arrival."""
    sequence: int
    timestamp: int
    payload_type: int
    payload: bytes


def parse_rtp(datagram: bytes, at: float) -> Heard | None:
    """A plain RTP packet (RFC 3550 section 5.1) without padding or extension; None for anything else."""
    if len(datagram) < _RTP_HEADER.size or datagram[0] & 0xF0 != 0x80:
        return None
    first, second, sequence, timestamp, _ = _RTP_HEADER.unpack_from(datagram)
    return Heard(at, sequence, timestamp, second & 0x7F, datagram[_RTP_HEADER.size + 4 * (first & 0x0F) :])


class _Socket(asyncio.DatagramProtocol):
    """Hands datagrams to a function; errors of the network show as packets missing."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._receive(data)


class DemoCaller:
    """One call. Use as an async context manager; leaving it hangs up and closes the sockets.

    `frames` are sent one every 20 ms from the answer on, each once; then nothing is sent.
    """

    def __init__(
        self, target: Address, frames: Sequence[bytes], *, caller: str = "+13125550100", called: str = "+13125550123"
    ) -> None:
        self.frames = frames
        self.sent_at: list[float] = []
        """Loop time at which frame n left."""
        self.heard: list[Heard] = []
        self.watch = Watch()
        """Notified of every received packet and every change of the call's state."""
        self._target = target
        self._caller, self._called = caller, called
        self._uac: UserAgentClient | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._speaking: asyncio.TimerHandle | None = None
        self._media_target: Address | None = None
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(15)
        self._timestamp = secrets.randbits(31)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._sip, self._rtp = await self._open(self._sip_received), await self._open(self._rtp_received)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()
        self._sip.close()
        self._rtp.close()

    @property
    def call_sid(self) -> str:
        """The `X-Trunkline-Call-Sid` of the 200, empty before it and without it."""
        answer = self._uac.answer if self._uac else None
        return answer.header("x-trunkline-call-sid") if answer else ""

    @property
    def up(self) -> bool:
        """The call is answered and not over."""
        return self._uac is not None and self._uac.state is UacState.UP

    @property
    def ended_by_server(self) -> bool:
        """The server sent BYE."""
        return self._uac is not None and self._uac.ended_by_peer

    async def call(self, timeout: float = 10) -> None:  # noqa: ASYNC109 - becomes CallFailed
        """Place the call and start speaking when it is answered. Raises CallFailed."""
        self._uac = UserAgentClient(
            local=self._address(self._sip),
            target=self._target,
            caller=self._caller,
            called=self._called,
            offer=audio_offer(self._address(self._rtp)),
            token=secrets.token_hex(8),
        )
        self._uac.invite(self._loop.time())
        self._flush()
        settled = (UacState.UP, UacState.ENDED)
        if not await self.watch.until(lambda: self._state in settled, timeout):
            raise CallFailed(f"no answer within {timeout:g} s")
        if self._uac.answer is None:
            raise CallFailed(self._uac.failure)
        self._media_target = media_address(self._uac.answer.body)
        if self._media_target is None:
            raise CallFailed("the answer has no audio address")
        self._started_at = self._loop.time()
        self._speak()

    def stop_speaking(self) -> None:
        """Send no more RTP."""
        if self._speaking:
            self._speaking.cancel()
            self._speaking = None

    async def hang_up(self, timeout: float = 5) -> bool:  # noqa: ASYNC109 - returns, not raises
        """End the call; whether it ended within `timeout`. Does nothing when it is over."""
        self.stop_speaking()
        if self._uac is None:
            return True
        self._uac.hang_up(self._loop.time())
        self._flush()
        over = await self.watch.until(lambda: self._state is UacState.ENDED, timeout)
        if self._timer:
            self._timer.cancel()
        return over

    @property
    def _state(self) -> UacState:
        return self._uac.state if self._uac else UacState.IDLE

    async def _open(self, receive: Any) -> asyncio.DatagramTransport:
        host = "127.0.0.1" if self._target[0].startswith("127.") else "0.0.0.0"
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Socket(receive), local_addr=(host, 0), remote_addr=None
        )
        return transport

    @staticmethod
    def _address(transport: asyncio.DatagramTransport) -> Address:
        return cast(Address, transport.get_extra_info("sockname"))

    def _sip_received(self, data: bytes) -> None:
        if self._uac:
            self._uac.receive(data, self._loop.time())
            self._flush()

    def _sip_timer(self) -> None:
        if self._uac:
            self._uac.handle_timer(self._loop.time())
            self._flush()

    def _flush(self) -> None:
        """Carry out what the user agent wants: datagrams, the timer, and the news of its state."""
        if self._uac is None:
            return
        for datagram in self._uac.to_send():
            self._sip.sendto(datagram, self._target)
        if self._timer:
            self._timer.cancel()
        due = self._uac.next_timer()
        self._timer = self._loop.call_at(due, self._sip_timer) if due is not None else None
        if self._state is UacState.ENDED:
            self.stop_speaking()
        self.watch.changed()

    def _rtp_received(self, data: bytes) -> None:
        packet = parse_rtp(data, self._loop.time())
        if packet is not None:
            self.heard.append(packet)
            self.watch.changed()

    def _speak(self) -> None:
        """Send the frames that are due by now and sleep until the next."""
        now = self._loop.time()
        while len(self.sent_at) < len(self.frames) and self._due() <= now:
            number = len(self.sent_at)
            header = _RTP_HEADER.pack(
                0x80,
                PCMU | (0x80 if number == 0 else 0),  # marker: the first packet of a talkspurt, RFC 3551 section 4.1
                self._sequence + number & 0xFFFF,
                self._timestamp + number * FRAME_BYTES & 0xFFFFFFFF,
                self._ssrc,
            )
            self._rtp.sendto(header + self.frames[number], self._media_target)
            self.sent_at.append(now)
        done = len(self.sent_at) >= len(self.frames)
        self._speaking = None if done else self._loop.call_at(self._due(), self._speak)

    def _due(self) -> float:
        """When the next frame is to leave."""
        return self._started_at + len(self.sent_at) * FRAME_MS / 1000

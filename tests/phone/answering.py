"""A party that answers calls over real sockets, on the loop of the test: it echoes, greets, or stays silent."""

import asyncio
import secrets
from typing import Any, Self

from sip.bench import header, response
from trunkline.demo.audio import speech
from trunkline.media.codecs import CODECS

TICK = 0.02


class _Rtp(asyncio.DatagramProtocol):
    """Sends each datagram back, if it is to."""

    def __init__(self, party: "AnsweringParty") -> None:
        self._party = party

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._party.received += 1
        if self._party.echoes and not self._party.muted:
            self._transport.sendto(data, addr)


class AnsweringParty(asyncio.DatagramProtocol):
    """Use as an async context manager. `greets`: speaks from the answer on, `greeting` seconds at most, until the
    caller is heard; `status`: answers with this instead of 200; `hangs_up`: sends BYE after so many seconds."""

    def __init__(
        self,
        *,
        echoes: bool = False,
        greeting: float = 0.0,
        status: str = "200 OK",
        hangs_up: float | None = None,
        sdp_formats: str = "0 101",
    ) -> None:
        self.echoes = echoes
        self.muted = False
        self.received = 0
        self.invites: list[str] = []
        self._greeting = greeting
        self._status = status
        self._hangs_up = hangs_up
        self._formats = sdp_formats
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._sip, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._rtp, _ = await loop.create_datagram_endpoint(lambda: _Rtp(self), local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        self._sip.close()
        self._rtp.close()

    @property
    def uri(self) -> str:
        """Where it is called."""
        return f"sip:bot@127.0.0.1:{self._sip.get_extra_info('sockname')[1]}"

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        text = data.decode()
        method = text.split()[0]
        if method == "INVITE":
            self.invites.append(text)
            sdp = self._sdp() if self._status.startswith("200") else ""
            self._sip.sendto(response(text, self._status, "them", sdp, (f"Contact: <{self.uri}>",)), addr)
        elif method in ("BYE", "CANCEL"):
            self._sip.sendto(response(text, tag="" if ";tag=" in header(text, "To") else "them"), addr)
        elif method == "ACK" and self._status.startswith("200"):
            invite = next(one for one in self.invites if header(one, "Call-ID") == header(text, "Call-ID"))
            self._start(self._talk(self._media_of(invite)))
            if self._hangs_up is not None:
                self._start(self._bye(invite, addr))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

    def _sdp(self) -> str:
        port = self._rtp.get_extra_info("sockname")[1]
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {self._formats}\r\na=rtpmap:101 telephone-event/8000\r\n"
        )

    @staticmethod
    def _media_of(invite: str) -> tuple[str, int]:
        line = next(line for line in invite.splitlines() if line.startswith("m=audio"))
        return "127.0.0.1", int(line.split()[1])

    async def _talk(self, to: tuple[str, int]) -> None:
        """Silence, with the greeting before it."""
        if self.echoes:
            return
        frames = speech(int(self._greeting / TICK)) if self._greeting else []
        loop, ssrc, number = asyncio.get_running_loop(), secrets.token_bytes(4), 0
        begun = loop.time()
        while True:
            frame = frames[number] if number < len(frames) and not self.muted else CODECS["PCMU"].silence(20)
            head = bytes((0x80, 0)) + number.to_bytes(2) + (number * 160).to_bytes(4) + ssrc
            self._rtp.sendto(head + frame, to)
            number += 1
            await asyncio.sleep(begun + number * TICK - loop.time())

    async def _bye(self, invite: str, to: tuple[str | Any, int]) -> None:
        await asyncio.sleep(self._hangs_up or 0)
        contact = header(invite, "Contact").partition("<")[2].partition(">")[0]
        lines = (
            f"BYE {contact} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self._sip.get_extra_info('sockname')[1]};branch=z9hG4bKbye",
            "Max-Forwards: 70",
            f"From: {header(invite, 'To')};tag=them",
            f"To: {header(invite, 'From')}",
            f"Call-ID: {header(invite, 'Call-ID')}",
            "CSeq: 1 BYE",
            "Content-Length: 0",
            "",
            "",
        )
        self._sip.sendto("\r\n".join(lines).encode(), to)

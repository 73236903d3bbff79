"""A called party that the test drives by hand: it decides when its 200 leaves and from where it sends RTP."""

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Any, Self

from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, RtpEndpoint, happens
from trunkline.demo.server import ServerProcess
from trunkline.demo.watch import Watch

PRIVATE = "127.9.9.9"
"""The address in an SDP from behind a NAT; no host has it."""
LINES = "m=audio {port} RTP/AVP 0\r\n"


def frames(first: int, count: int) -> list[bytes]:
    """No two alike."""
    return [n.to_bytes(2) * 80 for n in range(first, first + count)]


def sdp(host: str, port: int, direction: str = "sendrecv") -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n{LINES.format(port=port)}a={direction}\r\n"
    )


class Message:
    """A SIP message, as much of it as is needed here."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.decode().partition("\r\n\r\n")
        self.start, *lines = head.split("\r\n")
        self._headers = [tuple(line.split(": ", 1)) for line in lines]

    def __getitem__(self, name: str) -> str:
        return next(value for key, value in self._headers if key.lower() == name.lower())

    @property
    def media_port(self) -> int:
        found = re.search(r"m=audio (\d+)", self.body)
        assert found is not None
        return int(found[1])


class Callee(asyncio.DatagramProtocol):
    """A called party on a UDP socket."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self._watch = Watch()
        self._tag = secrets.token_hex(4)
        self._cseq = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = int(self._transport.get_extra_info("sockname")[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if not data.strip():
            return
        self._server = addr
        message = Message(data)
        self.got.append(message)
        if message.start.startswith("BYE"):
            self._respond(message, "200 OK")
        self._watch.changed()

    async def gets(self, start: str) -> Message:
        """The last message that begins so."""
        await happens(self._watch, start, lambda: any(one.start.startswith(start) for one in self.got))
        return [one for one in self.got if one.start.startswith(start)][-1]

    def answer(self, body: str, status: str = "200 OK") -> None:
        """A response to the INVITE."""
        self._respond(next(one for one in self.got if one.start.startswith("INVITE")), status, body)

    def _respond(self, request: Message, status: str, body: str = "") -> None:
        to = request["To"] if ";tag=" in request["To"] else f"{request['To']};tag={self._tag}"
        copied = "".join(f"{name}: {request[name]}\r\n" for name in ("Via", "From", "Call-ID", "CSeq"))
        self._send(f"SIP/2.0 {status}", f"{copied}To: {to}\r\n", body)

    async def offers(self, body: str) -> Message:
        """A re-INVITE of its own, the 200 to it, and an ACK unless it had no offer."""
        self._cseq += 1
        self.got = [one for one in self.got if not one.start.startswith("SIP/2.0 200")]
        self._request("INVITE", body)
        answer = await self.gets("SIP/2.0 200")
        if body:
            self.acknowledges("")
        return answer

    def acknowledges(self, body: str) -> None:
        """ACK of the last re-INVITE."""
        self._request("ACK", body)

    def _request(self, method: str, body: str) -> None:
        invite = next(one for one in self.got if one.start.startswith("INVITE"))
        contact = re.search(r"<(.+?)>", invite["Contact"])
        assert contact is not None
        headers = (
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{secrets.token_hex(6)}\r\n"
            f"From: {invite['To']};tag={self._tag}\r\nTo: {invite['From']}\r\nCall-ID: {invite['Call-ID']}\r\n"
            f"CSeq: {self._cseq} {method}\r\nMax-Forwards: 70\r\n"
        )
        self._send(f"{method} {contact[1]} SIP/2.0", headers, body)

    def _send(self, start: str, headers: str, body: str) -> None:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        contact = f"Contact: <sip:callee@127.0.0.1:{self.port}>\r\n"
        text = f"{start}\r\n{headers}{contact}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        self._transport.sendto(text.encode(), self._server)


class Phone(RtpEndpoint):
    """Calls `at[n]` when it sends its n-th packet."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[float] = []
        self.at: dict[int, Callable[[], object]] = {}

    def send(self, packet: bytes, port: int) -> None:
        self.said.append(asyncio.get_running_loop().time())
        super().send(packet, port)
        self.at.pop(len(self.said), lambda: None)()

    def goes_on_with(self, other: RtpEndpoint, ahead: int) -> None:
        """Continue another phone's RTP stream, `ahead` packets later."""
        self._ssrc, self._next = other._ssrc, other._next + ahead


class Calls:
    """Calls by the official SDK that stream to the app at once."""

    def __init__(self, server: ServerProcess, client: AsyncTelnyx, app: RecordingApp) -> None:
        self._server, self._client, self.app = server, client, app
        self.sid = ""

    async def place(self, callee: Callee, texml: str = "", **fields: str) -> int:
        """Place a call; returns the RTP port that the INVITE offers."""
        stream = f'<Start><Stream url="{self.app.url}" bidirectionalMode="rtp"/></Start><Pause length="60"/>'
        response = await self._client.texml.accounts.calls.calls(
            self._server.account_sid,
            body={
                "to": f"sip:callee@127.0.0.1:{callee.port}",
                "from_": "+15550001111",
                "texml": f"<Response>{texml or stream}</Response>",
            },
            extra_body=fields,
        )
        self.sid = str(response.model_dump()["call_sid"])
        return (await callee.gets("INVITE")).media_port

    async def leg(self) -> dict[str, Any]:
        """The counters of its media."""
        account = self._server.account_sid
        report: Any = await self._client.get(f"/texml/Accounts/{account}/Calls/{self.sid}/media", cast_to=object)
        leg: dict[str, Any] = report["leg"]
        return leg

    async def hears(self, last: bytes) -> list[bytes]:
        """What the app has heard, up to this frame."""
        socket = await self.app.socket()
        await happens(self.app.watch, "the last frame", lambda: last in socket.payloads())
        return socket.payloads()

    async def end(self, callee: Callee) -> None:
        await self._client.calls.actions.hangup(self.sid)
        await callee.gets("BYE")

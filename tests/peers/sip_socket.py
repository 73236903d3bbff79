"""A SIP peer made by hand: requests over UDP from an address of choice, and MD5 digests (RFC 2617)."""

import asyncio
import re
import secrets
from hashlib import md5
from typing import Self


class SipSocket(asyncio.DatagramProtocol):
    """One UDP socket that sends requests to a server."""

    def __init__(self, server: tuple[str, int], host: str = "127.0.0.1") -> None:
        self._server = server
        self._host = host
        self._received: asyncio.Queue[str] = asyncio.Queue()
        self._invites: dict[str, str] = {}
        """Those received, by Call-ID."""
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        """BYEs and CANCELs that were received, and answered."""
        self._transport: asyncio.DatagramTransport
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self._host, 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A message of the server's. What ends a call is answered, so that the server does not wait when it stops."""
        text = data.decode()
        method, call_id = text.partition(" ")[0], _lines(text, "Call-ID")
        if method == "INVITE":
            self._invites[call_id] = text
        elif method == "CANCEL" and call_id in self._invites:
            self._answer(self._invites[call_id], "487 Request Terminated", addr)
        if method in ("BYE", "CANCEL"):
            self._answer(text, "200 OK", addr)
            self.ended.put_nowait(text)
        else:
            self._received.put_nowait(text)

    def _answer(self, request: str, status: str, to: tuple[str, int]) -> None:
        copied = (_lines(request, name) for name in ("Via", "From", "To", "Call-ID", "CSeq"))
        self._transport.sendto("\r\n".join((f"SIP/2.0 {status}", *copied, "Content-Length: 0", "", "")).encode(), to)

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        self._transport.sendto(data, self._server)

    async def receive(self) -> str:
        """The next message."""
        return await asyncio.wait_for(self._received.get(), 30)

    async def status(self, data: bytes) -> int:
        """The status of the final response to a request."""
        return int((await self.response(data)).split()[1])

    async def response(self, data: bytes) -> str:
        """The final response to a request, which is sent again until it comes."""
        call_id = re.search(rb"Call-ID: (\S+)", data)
        assert call_id is not None
        for _ in range(30):
            self.send(data)
            try:
                async with asyncio.timeout(1):
                    while True:
                        text = await self._received.get()
                        if call_id[1].decode() in text and re.match(r"SIP/2\.0 [2-6]", text):
                            return text
            except TimeoutError:
                continue
        raise AssertionError("no response")

    @property
    def received(self) -> int:
        """Messages that were received and not looked at."""
        return self._received.qsize()

    def request(self, method: str, user: str, *headers: str, to: str = "", call_id: str = "", cseq: int = 1) -> bytes:
        """A request with a new branch. `user` is that of From, and of To unless `to` is."""
        host = self._server[0]
        lines = (
            f"{method} {self.uri(method, to)} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._host}:{self.port};rport;branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f"From: <sip:{user}@{host}>;tag={secrets.token_hex(4)}",
            f"To: <sip:{to or user}@{host}>",
            f"Call-ID: {call_id or secrets.token_hex(8)}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{user}@{self._host}:{self.port}>",
            *headers,
            "Content-Length: 0",
        )
        return "\r\n".join((*lines, "", "")).encode()

    def uri(self, method: str, to: str = "") -> str:
        """The Request-URI."""
        host, port = self._server
        return f"sip:{host}:{port}" if method == "REGISTER" else f"sip:{to or 'x'}@{host}:{port}"

    def credentials(self, response: str, user: str, password: str, method: str = "REGISTER", to: str = "") -> str:
        """The Authorization that answers a 401."""
        (nonce,) = re.findall(r'nonce="([^"]*)"', response)[:1]
        return authorization(nonce, user, password, method, self.uri(method, to))

    async def register(self, user: str, password: str) -> str:
        """The response to a REGISTER, with credentials once they are asked for."""
        response = await self.response(self.request("REGISTER", user))
        if not response.startswith("SIP/2.0 401"):
            return response
        return await self.response(self.request("REGISTER", user, self.credentials(response, user, password), cseq=2))


def _lines(text: str, name: str) -> str:
    """The header lines of a name."""
    return "\r\n".join(line for line in text.split("\r\n") if line.startswith(f"{name}:"))


def authorization(nonce: str, user: str, password: str, method: str, uri: str, count: int = 1) -> str:
    """An Authorization header."""

    def digest(*parts: str) -> str:
        return md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    nc, cnonce = f"{count:08x}", "c"
    ha1, ha2 = digest(user, "trunkline", password), digest(method, uri)
    response = digest(ha1, nonce, nc, cnonce, "auth", ha2)
    return (
        f'Authorization: Digest username="{user}", realm="trunkline", nonce="{nonce}", uri="{uri}", algorithm=MD5, '
        f'qop=auth, nc={nc}, cnonce="{cnonce}", response="{response}"'
    )

"""One HTTP/1.1 connection (driver), by h11: a request, its answer's head, its body, and again if both sides keep it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import SupportsIndex

import h11

CHUNK = 65536
"""Bytes read at once."""
HEAD_LIMIT = 65536
"""Bytes of an answer's head."""


class Lost(Exception):
    """The peer closed the connection before it had answered; the text is for people."""

    def __init__(self, words: str, *, answered: bool) -> None:
        super().__init__(words)
        self.answered = answered
        """A part of an answer had come."""


class _Inlet(asyncio.StreamReader):
    """Counts, so that one knows what came unasked."""

    arrived = 0
    over = False

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """See `StreamReader`."""
        self.arrived += len(bytes(data))
        super().feed_data(data)

    def feed_eof(self) -> None:
        """See `StreamReader`."""
        self.over = True
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        """See `StreamReader`."""
        self.over = True
        super().set_exception(exc)


class HttpConnection:
    """Its user closes it, or hands it on when it is `reusable`."""

    def __init__(self, inlet: _Inlet, writer: asyncio.StreamWriter, origin: tuple[str, str, int]) -> None:
        self.origin = origin
        self._inlet = inlet
        self._writer = writer
        self._seen = 0
        """Bytes that have arrived up to the end of the last answer."""
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)

    @classmethod
    async def open(
        cls, sock: socket.socket, context: ssl.SSLContext | None, host: str, origin: tuple[str, str, int]
    ) -> "HttpConnection":
        """Over a connected socket, by TLS with a context. Raises OSError."""
        loop = asyncio.get_running_loop()
        inlet = _Inlet(CHUNK)
        protocol = asyncio.StreamReaderProtocol(inlet)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, sock=sock, ssl=context, server_hostname=host if context is not None else None
            )
        except BaseException:
            sock.close()
            raise
        return cls(inlet, asyncio.StreamWriter(transport, protocol, inlet, loop), origin)

    @property
    def alive(self) -> bool:
        """Idle, and the peer has neither closed it nor said anything."""
        return not self._inlet.over and self._inlet.arrived == self._seen and not self._writer.is_closing()

    def reusable(self) -> bool:
        """Make it ready for another request, where both sides have said all and keep it."""
        if self._http.their_state is h11.SEND_BODY and not isinstance(self._http.next_event(), h11.EndOfMessage):
            return False
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._seen = self._inlet.arrived
        return self._http.trailing_data[0] == b"" and self.alive

    def close(self) -> None:
        """At once."""
        self._writer.transport.abort()

    async def exchange(self, request: h11.Request, body: bytes) -> h11.Response:
        """Raises Lost, and h11.RemoteProtocolError for what is not HTTP; the connection is closed then."""
        try:
            return await self._exchange(request, body)
        except OSError as problem:
            self.close()
            words = f"the connection broke: {problem.strerror or problem}"
            raise Lost(words, answered=self._inlet.arrived != self._seen) from problem
        except BaseException:
            self.close()
            raise

    async def _exchange(self, request: h11.Request, body: bytes) -> h11.Response:
        data = self._http.send(request) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        self._writer.write(data)
        await self._writer.drain()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await self._read()
            elif isinstance(event, h11.Response):
                return event
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError(f"{type(event).__name__} instead of an answer")

    async def body(self) -> AsyncIterator[bytes]:
        """What is left of the answer's body. Raises OSError, Lost, h11.RemoteProtocolError."""
        while self._http.their_state is h11.SEND_BODY:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await self._read()
            elif isinstance(event, h11.Data):
                yield bytes(event.data)

    async def _read(self) -> None:
        data = await self._inlet.read(CHUNK)
        if not data and self._http.their_state is h11.SEND_RESPONSE:
            self.close()
            raise Lost("it closed the connection without an answer", answered=self._inlet.arrived != self._seen)
        self._http.receive_data(data)

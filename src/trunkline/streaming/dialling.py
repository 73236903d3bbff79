"""From a connected socket to a WebSocket: TLS where it is asked for, our request, and the server's answer to it."""

import asyncio
import logging
import socket
import ssl
from typing import Any, cast

from picows import WSAutoPingStrategy, WSListener, WSTransport, picows
from picows.url import parse_url

from trunkline.streaming.target import Target
from trunkline.streaming.upgrade import HandshakeResponse, NoUpgrade

READ_BUFFER = 1024
"""Bytes of a socket's first read buffer; it grows with the app's messages."""

_WSProtocol: Any = vars(picows)["WSProtocol"]
"""What the library's `ws_connect` makes, and its stub does not name."""

# What the library would log is told by the stream, in the words of this project.
_silent = logging.Logger("picows", logging.CRITICAL + 1)
logging.getLogger("aiofastnet").setLevel(logging.CRITICAL)


async def upgrade(
    sock: socket.socket, where: Target, context: ssl.SSLContext | None, listener: WSListener, message_limit: int
) -> WSTransport:
    """Raises NoUpgrade, OSError, WSError. The listener has not been told of a transport when the server hung up."""
    url = parse_url(where.url)
    library = _WSProtocol(
        url.netloc,
        url.resource_name,
        True,  # we are the client
        lambda _request, _response: listener,
        _silent,
        True,  # an exception of the listener's ends the connection
        None,  # whoever awaits this looks at the clock
        False,  # pings are the listener's
        0,
        0,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,  # pongs too
        message_limit,
        where.headers,
        READ_BUFFER,
    )
    asking = _Asking(library)
    # Not the library's own transport (`aiofastnet`): its TLS takes a seventh less CPU, but leaves what has come lying
    # when reading is resumed. Without TLS what makes it fast is spared anyway (`AppSocket.push`).
    below, _ = await asyncio.get_running_loop().create_connection(
        lambda: asking, sock=sock, ssl=context, server_hostname=where.host if context else None
    )
    try:
        await library.wait_until_handshake_complete()
        if asking.refusal is not None:
            raise asking.refusal
    except BaseException:
        below.abort()
        raise
    transport: WSTransport = library.transport
    return transport


class _Asking(asyncio.BufferedProtocol):
    """Stands before the library's protocol until the answer is there."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._answer = HandshakeResponse()
        self._buffer = bytearray(READ_BUFFER)
        self.refusal: NoUpgrade | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._library.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            answer = self._answer.feed(bytes(self._buffer[:nbytes]))
        except NoUpgrade as refusal:
            self.refusal = refusal.with_traceback(None)  # its frames hold this
            self._transport.abort()
            return
        if answer is None:
            return
        self._transport.set_protocol(self._library)
        while answer and not self._transport.is_closing():
            room = self._library.get_buffer(-1)
            size = min(len(room), len(answer))
            room[:size] = answer[:size]
            answer = answer[size:]
            self._library.buffer_updated(size)

    def eof_received(self) -> bool | None:
        closes: bool | None = self._library.eof_received()
        return closes

    def connection_lost(self, exc: Exception | None) -> None:
        self._library.connection_lost(exc)

    def pause_writing(self) -> None:
        self._library.pause_writing()

    def resume_writing(self) -> None:
        self._library.resume_writing()

"""From a connected TCP socket to a WebSocket: TLS for `wss`, our upgrade request, and the server's response."""

import asyncio
import logging
import socket
import ssl
from typing import Any, cast

from picows import WSAutoPingStrategy, WSListener, WSTransport, picows

from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.intake import Intake
from trunkline.streaming.upgrade import HandshakeResponse, NoUpgrade

READ_BUFFER = 1024
"""Bytes of a socket's first read buffer; it grows with the app's messages."""

_WSProtocol: Any = vars(picows)["WSProtocol"]
"""The protocol that the library's `ws_connect` makes; its stub does not name it."""

# The stream reports what the libraries would log. An adapter, since of a logger the library makes a child per socket.
_silent = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1), {})
logging.getLogger("aiofastnet").setLevel(logging.CRITICAL)


class SocketIntake(Intake, asyncio.BufferedProtocol):
    """What asyncio takes for a protocol: a compiled class cannot be derived from one of its own."""

    __slots__ = ()


async def upgrade(
    sock: socket.socket,
    url: WebSocketUrl,
    headers: dict[str, str],
    context: ssl.SSLContext | None,
    listener: WSListener,
    message_limit: int,
    intake: SocketIntake,
) -> WSTransport:
    """Raises NoUpgrade, OSError, WSError. If the server closes the connection instead of responding, this returns and
    the listener was not called."""
    library = _WSProtocol(
        url.authority,
        url.request_target,
        True,  # we are the client
        lambda _request, _response: listener,
        _silent,
        True,  # an exception of the listener's ends the connection
        None,  # no timeout: the caller has one
        False,  # pings are the listener's
        0,
        0,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,  # pongs too
        message_limit,
        headers,
        READ_BUFFER,
    )
    intake.serve(library)
    handshake = _Handshake(library, intake)
    # Not the library's own transport (`aiofastnet`): its TLS takes a seventh less CPU, but does not deliver received
    # data when reading is resumed. Without TLS `AppSocket.push` bypasses the transport anyway.
    below, _ = await asyncio.get_running_loop().create_connection(
        lambda: handshake, sock=sock, ssl=context, server_hostname=url.host if context else None
    )
    try:
        await library.wait_until_handshake_complete()
        if handshake.refusal is not None:
            raise handshake.refusal
    except BaseException:
        below.abort()
        raise
    transport: WSTransport = library.transport
    return transport


class _Handshake(asyncio.BufferedProtocol):
    """The connection's protocol until the response is complete; then the library's takes over."""

    def __init__(self, library: Any, intake: SocketIntake) -> None:
        self._library = library
        self._intake = intake
        self._response = HandshakeResponse()
        self._buffer = bytearray(READ_BUFFER)
        self.refusal: NoUpgrade | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._library.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            response = self._response.feed(bytes(self._buffer[:nbytes]))
        except NoUpgrade as refusal:
            self.refusal = refusal.with_traceback(None)  # its frames hold this
            self._transport.abort()
            return
        if response is None:
            return
        self._transport.set_protocol(self._intake)
        while response and not self._transport.is_closing():
            room = self._intake.get_buffer(-1)
            size = min(len(room), len(response))
            room[:size] = response[:size]
            response = response[size:]
            self._intake.buffer_updated(size)

    def eof_received(self) -> bool | None:
        closes: bool | None = self._library.eof_received()
        return closes

    def connection_lost(self, exc: Exception | None) -> None:
        self._library.connection_lost(exc)

    def pause_writing(self) -> None:
        self._library.pause_writing()

    def resume_writing(self) -> None:
        self._library.resume_writing()

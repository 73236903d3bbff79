"""The wire between the two kinds of process: msgpack structs, each behind its length (4 bytes, big-endian), over a
Unix socket pair. Both sides use the same class; only the direction differs.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import msgspec
import structlog

_log = structlog.get_logger()

Incoming = TypeVar("Incoming")

BACKLOG_LIMIT = 16 * 1024 * 1024
"""Unsent bytes after which the other side counts as dead: an order is below 10 kB, so this is thousands of orders
that it did not read."""
MESSAGE_LIMIT = 1024 * 1024
"""No honest message comes near; a longer one means that the stream is out of step."""


class Link(asyncio.Protocol, Generic[Incoming]):
    """One end. `on_message` gets each message in order; `on_lost` is called once, when the other side is gone."""

    def __init__(
        self,
        incoming: object,
        on_message: Callable[[Incoming], None],
        on_lost: Callable[[], None],
        *,
        message_limit: int = MESSAGE_LIMIT,
        backlog_limit: int = BACKLOG_LIMIT,
    ) -> None:
        """`incoming` is the union of structs that may arrive."""
        self._decode = cast(Callable[[bytes], Incoming], msgspec.msgpack.Decoder(incoming).decode)
        self._encode = msgspec.msgpack.Encoder().encode
        self._on_message = on_message
        self._on_lost = on_lost
        self._message_limit = message_limit
        self._backlog_limit = backlog_limit
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call."""
        self._transport = None
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        """asyncio's call: split into messages."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            length = int.from_bytes(buffer[start : start + 4])
            if length > self._message_limit:
                self.close()
                return
            end = start + 4 + length
            if len(buffer) < end:
                break
            message = bytes(buffer[start + 4 : end])
            start = end
            self._take(message)
        del buffer[:start]

    def _take(self, message: bytes) -> None:
        try:
            self._on_message(self._decode(message))
        except Exception:
            # One message that cannot be carried out must not take every other call of this process with it.
            _log.exception("process_message_failed")

    def send(self, message: msgspec.Struct) -> bool:
        """Queue a message; False when the other side is gone, or so far behind that it is given up."""
        if self._transport is None or self._transport.is_closing():
            return False
        body = self._encode(message)
        self._transport.write(len(body).to_bytes(4) + body)
        if self._transport.get_write_buffer_size() > self._backlog_limit:
            self._transport.abort()
            return False
        return True

    @property
    def unsent(self) -> int:
        """Bytes that the other side has yet to read, about."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Close after what is queued was sent."""
        if self._transport is not None:
            self._transport.close()

"""SIP messages in a byte stream (RFC 3261 sections 7.5 and 18.3), one `Framer` per TCP connection. Pure.

A message ends after Content-Length bytes of body. Empty lines between messages are skipped; two of them are a
keep-alive ping (RFC 5626 section 4.4.1). A head without a valid Content-Length is returned, to get its 400, but the
start of the next message is unknown then: the framer is `broken`, and the connection has to be closed.
"""

import re

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CONTENT_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
PING = b"\r\n\r\n"


class Framer:
    """Cuts a stream into messages of at most `limit` bytes, body included."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._end: int | None = None
        self.broken: str | None = None
        """Why no more messages can be read, for the log; None while they can."""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes; `PING` stands for a keep-alive."""
        self._buffer += data
        messages = []
        while self.broken is None:
            message = self._next()
            if message is None:
                break
            messages.append(message)
        return messages

    def _next(self) -> bytes | None:
        if self._end is None and self._buffer.startswith(PING):
            del self._buffer[: len(PING)]
            return PING
        # A lone CR LF may be the first half of a ping.
        if self._buffer.startswith(b"\r\n") and not PING.startswith(self._buffer):
            del self._buffer[:2]
        if self._end is None:
            self._find_end()
        if self._end is None or len(self._buffer) < self._end:
            return None
        return self._take(self._end)

    def _find_end(self) -> None:
        """Find the end of the message; no byte is searched twice for the end of the head."""
        head = _HEAD_END.search(self._buffer, self._searched, self._limit)
        if head is None:
            self._searched = max(0, len(self._buffer) - 3)
            if len(self._buffer) >= self._limit:
                self.broken = f"message head longer than {self._limit} bytes"
            return
        length = _CONTENT_LENGTH.search(self._buffer, 0, head.start() + 1)
        if length is None:
            self.broken = "no Content-Length"
            self._end = head.end()
        elif head.end() + int(length[1]) > self._limit:
            self.broken = f"message longer than {self._limit} bytes"
        else:
            self._end = head.end() + int(length[1])

    def _take(self, end: int) -> bytes:
        message = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched, self._end = 0, None
        return message

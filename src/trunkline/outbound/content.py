"""What an answer's body is coded in (RFC 9110 section 8.4), undone piece by piece and bounded. Pure.

We ask for no coding, and some servers and the caches before them send one all the same. gzip and deflate are undone;
another is named. A piece of a kilobyte may hold a megabyte: what comes out is given in pieces of `PIECE` at most, so
that the caller can count and stop in time.
"""

import zlib
from collections.abc import Iterator, Sequence

PIECE = 65536
"""Bytes."""
CODINGS_LIMIT = 2
"""One upon the other."""
_GZIP = {"gzip", "x-gzip"}


class BadContent(Exception):
    """The body is not what its headers say, or is coded in a way that we cannot undo; the text is for people."""


def codings_of(values: Sequence[str]) -> tuple[str, ...]:
    """What `Content-Encoding` headers name, the last one put on first. Raises BadContent."""
    names = [name.strip().lower() for value in values for name in value.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    for name in names:
        if name not in _GZIP and name != "deflate":
            raise BadContent(f"it is compressed with {name[:40]!r}, which was not asked for")
    if len(names) > CODINGS_LIMIT:
        raise BadContent(f"it is compressed {len(names)} times")
    return tuple(reversed(names))


class ContentDecoder:
    """Undoes one coding."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._gzip = coding in _GZIP
        self._head = b""
        """What came before it was known how to undo it."""
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes of more of the body. Raises BadContent."""
        if self._inflate is None:
            self._head += data
            if len(self._head) < 2:
                return
            data, self._inflate = self._head, self._begin()
        piece = b""
        while data or len(piece) == PIECE:  # a full piece may have left something behind
            if self._inflate.eof:
                if not self._gzip or not data.strip(b"\0"):
                    return  # padding
                self._inflate = self._begin()  # the next member, RFC 1952 section 2.2
            try:
                piece = self._inflate.decompress(data, PIECE)
            except zlib.error as error:
                raise BadContent(f"it says that it is {self._coding}, and is not") from error
            yield piece
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def _begin(self) -> "zlib._Decompress":
        if self._gzip:
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        # RFC 9110 section 8.4.1.2 wants the frame of RFC 1950, which has these bits; some servers send RFC 1951 bare.
        framed = self._head[0] & 15 == 8 and int.from_bytes(self._head[:2]) % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)

    def end(self) -> None:
        """That was the body. Raises BadContent."""
        if self._head and (self._inflate is None or not self._inflate.eof):
            raise BadContent(f"its {self._coding} breaks off")


def decoded(decoders: Sequence[ContentDecoder], data: bytes) -> Iterator[bytes]:
    """Through all of them."""
    if not decoders:
        yield data
        return
    for piece in decoders[0].feed(data):
        yield from decoded(decoders[1:], piece)

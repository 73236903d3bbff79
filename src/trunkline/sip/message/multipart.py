"""The parts of a multipart body (RFC 2046 section 5.1, RFC 5621). Pure.

Lenient, as devices need it: lines that end with LF alone, white space after a boundary, a preamble and an epilogue,
nested multiparts, a missing last boundary, and parts that are only a head or only a body.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

DEPTH_LIMIT = 4
"""Nested multiparts."""

_BOUNDARY = re.compile(
    r";\s*boundary\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.){1,140})\"|(?P<bare>[^\s;\"]{1,140}))", re.IGNORECASE
)
_HEADER = re.compile(rb"(?P<name>[!-9;-~]+)[ \t]*:[ \t]*(?P<value>.*)", re.DOTALL)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LINE_END = re.compile(rb"\r?\n")
_EMPTY_LINE = re.compile(rb"(?:\A|\r?\n)\r?\n")


@dataclass(frozen=True, slots=True)
class Part:
    """One part that is not a multipart."""

    headers: dict[str, str]
    """Names in lower case; the first of several with one name."""
    body: bytes
    alternative: bool = False
    """One of several alternatives (RFC 2046 section 5.1.4)."""

    def value(self, name: str) -> str:
        """A header's value, empty without one."""
        return self.headers.get(name, "")


def media_type(value: str) -> str:
    """Type and subtype of a Content-Type, in lower case; empty without one."""
    return "".join(value.partition(";")[0].split()).lower()


def parts(content_type: str, body: bytes, limit: int) -> list[Part]:
    """The parts, in order; nested multiparts are flattened. Raises ValueError: malformed, or more than `limit`."""
    found = list(islice(_walk(content_type, body, DEPTH_LIMIT, limit, alternative=False), limit + 1))
    if len(found) > limit:
        raise ValueError(f"more than {limit} parts")
    return found


def _walk(content_type: str, body: bytes, depth: int, limit: int, *, alternative: bool) -> Iterator[Part]:
    if depth == 0:
        raise ValueError("multiparts nested too deeply")
    alternative = alternative or media_type(content_type) == "multipart/alternative"
    for piece in _pieces(content_type, body, limit):
        part = _part(piece, alternative=alternative)
        inner = part.value("content-type")
        if media_type(inner).startswith("multipart/"):
            yield from _walk(inner, part.body, depth - 1, limit, alternative=alternative)
        else:
            yield part


def _pieces(content_type: str, body: bytes, limit: int) -> list[bytes]:
    """The bytes between boundaries; at most one more than `limit`."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise ValueError("multipart body without boundary")
    quoted = match["quoted"]
    boundary = match["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted).rstrip()
    # The line ends before and after a boundary belong to it.
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary.encode()) + rb"(?P<last>--)?[ \t]*(?=\r?\n|\Z)")
    pieces: list[bytes] = []
    start: int | None = None
    for found in delimiter.finditer(body):
        if start is not None:
            pieces.append(body[start : found.start()])
        start = found.end()
        if found["last"] or len(pieces) > limit:
            break
    else:
        if start is not None and body[start:].strip():
            pieces.append(body[start:])  # The last boundary is missing.
    if not pieces:
        raise ValueError("malformed multipart body")
    return [_LINE_END.sub(b"", piece, count=1) for piece in pieces]


def _part(piece: bytes, *, alternative: bool) -> Part:
    empty = _EMPTY_LINE.search(piece)
    head, body = (piece[: empty.start()], piece[empty.end() :]) if empty else (piece, b"")
    headers: dict[str, str] = {}
    for line in filter(None, _LINE_END.split(_FOLD.sub(b" ", head))):
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ValueError("malformed head of a part")
        headers.setdefault(match["name"].decode().lower(), match["value"].decode("latin-1").strip())
    return Part(headers, body, alternative)

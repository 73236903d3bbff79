"""A session description as a value, from text and to text (RFC 8866).

Only what an audio call needs is kept: origin, connection, timing, attributes and the media descriptions; other lines of
one character and `=` (`i=`, `b=`, `y=`, `X=`, …) are left out. The parser is strict where a mistake would change the
meaning (numbers, the order of sections) and lenient where devices deviate harmlessly: line ends, empty lines, spaces, a
byte order mark, the order of lines within a section, an `o=` without six fields, and a missing `o=`, `s=` or `t=`.
`negotiate.py` interprets the description.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import pairwise

from trunkline.sdp.values import SdpError

SIZE_LIMIT = 16384
"""Bytes of one description: several times what a conference bridge with video offers."""
LINE_LIMIT = 1000
"""Lines of one description."""
MEDIA_LIMIT = 32
"""`m=` lines of one description."""
FORMAT_LIMIT = 64
"""Formats of one `m=` line; RTP has 128 payload types, of which 35 are assigned and 32 are dynamic."""

Attributes = tuple[tuple[str, str], ...]
"""`a=` lines in order, as (name, value); the value of a flag is empty."""


@dataclass(frozen=True, slots=True)
class ConnectionData:
    """A `c=` line: where media goes (RFC 8866 section 5.7)."""

    family: str
    """`IP4` or `IP6`."""
    host: str
    """As written: an address, perhaps with a multicast TTL behind a slash, or a host name. Empty: a name that did
    not resolve."""

    @property
    def is_name(self) -> bool:
        """Whether the host has to be resolved."""
        try:
            ip_address(self.host.partition("/")[0])
        except ValueError:
            return bool(self.host)
        return False

    def placed(self, addresses: Mapping[str, str]) -> "ConnectionData":
        """A copy with the resolved address of its name."""
        return replace(self, host=addresses.get(self.host, self.host))

    def __str__(self) -> str:
        return f"IN {self.family} {self.host}"


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """An `m=` line and the lines that belong to it (RFC 8866 section 5.14)."""

    kind: str
    """`audio`, `video`, `image`, …, in lower case."""
    port: int
    protocol: str
    """`RTP/AVP`, `RTP/SAVP`, `udptl`, …, as written."""
    formats: tuple[str, ...]
    """For RTP, payload types in order of preference."""
    connection: ConnectionData | None = None
    attributes: Attributes = field(default=(), repr=False)
    """Not in `repr`: an `a=crypto` line holds a key."""

    def attribute(self, name: str) -> str | None:
        """The first attribute of that name; a flag's value is empty."""
        return _first(self.attributes, name)

    def lines(self) -> list[str]:
        """The description's own lines."""
        lines = [f"m={self.kind} {self.port} {self.protocol} {' '.join(self.formats)}"]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        return lines + _attribute_lines(self.attributes)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """One whole description."""

    origin: str
    """The `o=` line's value as written; empty when there is none."""
    name: str = "-"
    connection: ConnectionData | None = None
    timing: str = "0 0"
    """The first `t=` line's value; an answer repeats it (RFC 3264 section 6)."""
    attributes: Attributes = ()
    media: tuple[MediaDescription, ...] = ()

    def attribute(self, name: str) -> str | None:
        """The first session-level attribute of that name; a flag's value is empty."""
        return _first(self.attributes, name)

    @property
    def names(self) -> tuple[str, ...]:
        """Hosts of audio streams that have to be resolved, each once."""
        lines = [media.connection or self.connection for media in self.media if media.kind == "audio" and media.port]
        return tuple(dict.fromkeys(line.host for line in lines if line is not None and line.is_name))

    def placed(self, addresses: Mapping[str, str]) -> "SessionDescription":
        """A copy with the resolved addresses of its names."""
        return replace(
            self,
            connection=self.connection and self.connection.placed(addresses),
            media=tuple(
                replace(media, connection=media.connection and media.connection.placed(addresses))
                for media in self.media
            ),
        )

    def render(self) -> str:
        """The text, each line ended by CR LF."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines.append(f"t={self.timing}")
        lines += _attribute_lines(self.attributes)
        for media in self.media:
            lines += media.lines()
        return "\r\n".join(lines) + "\r\n"


def parse(body: bytes) -> SessionDescription:
    """A body of type `application/sdp`. Raises SdpError, its text fit for a SIP reason phrase."""
    sections = _sections(_lines(body))
    session = dict(reversed(sections[0]))
    if session.get("v") != "0":
        raise SdpError("the SDP does not begin with v=0")
    return SessionDescription(
        origin=session.get("o", ""),
        name=session.get("s") or "-",
        connection=_connection(session.get("c")),
        timing=session.get("t") or "0 0",
        attributes=_attributes(sections[0]),
        media=tuple(_media(section) for section in sections[1:]),
    )


Line = tuple[str, str]
"""A line's type letter and its value."""


_LINE_END = re.compile(r"\r\n|\r|\n")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f]")
_LINE = re.compile(r"(\S)[ \t]?=(.*)", re.DOTALL)


def _lines(body: bytes) -> list[Line]:
    if len(body) > SIZE_LIMIT:
        raise SdpError(f"the SDP is longer than {SIZE_LIMIT} bytes")
    texts = _LINE_END.split(body.decode("utf-8", "replace").removeprefix("\ufeff"))
    lines: list[Line] = []
    for number, text in enumerate(texts, 1):
        stripped = text.strip(" \t\0")
        if not stripped:
            continue
        if len(lines) == LINE_LIMIT:
            raise SdpError(f"the SDP has more than {LINE_LIMIT} lines")
        line = _LINE.fullmatch(stripped)
        if line is None:
            raise SdpError(f"line {number} of the SDP is not of the form x=value")
        if _CONTROL.search(stripped):
            raise SdpError(f"line {number} of the SDP holds a control character")
        lines.append((line[1], line[2].strip()))
    if not lines:
        raise SdpError("the SDP is empty: it has no line 1")
    return lines


def _sections(lines: list[Line]) -> list[list[Line]]:
    """The session's lines, then those of each media description, each beginning with its `m=`."""
    starts = [index for index, (kind, _) in enumerate(lines) if kind == "m"]
    if len(starts) > MEDIA_LIMIT:
        raise SdpError(f"the SDP has more than {MEDIA_LIMIT} media descriptions")
    edges = [0, *starts, len(lines)]
    sections = [lines[start:end] for start, end in pairwise(edges)]
    if not sections[0]:
        raise SdpError("the SDP has no session part")
    return sections


def _connection(value: str | None) -> ConnectionData | None:
    if value is None:
        return None
    fields = value.split()
    if len(fields) != 3 or fields[0].upper() != "IN" or fields[1].upper() not in ("IP4", "IP6"):
        raise SdpError("a c= line of the SDP is not of the form IN IP4|IP6 address")
    return ConnectionData(fields[1].upper(), fields[2].strip("[]"))


def _media(section: list[Line]) -> MediaDescription:
    kind, port, protocol, *formats = _media_fields(section[0][1])
    if len(formats) > FORMAT_LIMIT:
        raise SdpError(f"an m= line of the SDP has more than {FORMAT_LIMIT} formats")
    # Counts of ports ("49170/2") are for layered encodings; the first port is the one that matters here.
    number = port.partition("/")[0]
    if not (number.isascii() and number.isdigit()) or len(number) > 5 or int(number) > 65535:
        raise SdpError("an m= line of the SDP has no port number")
    connection = _connection(next((value for letter, value in section if letter == "c"), None))
    return MediaDescription(kind.lower(), int(number), protocol, tuple(formats), connection, _attributes(section))


def _media_fields(value: str) -> list[str]:
    fields = value.split()
    if len(fields) == 3 and fields[1] == "0":
        return [*fields, "0"]  # A declined stream without formats; the grammar requires one.
    if len(fields) < 4:
        raise SdpError("an m= line of the SDP has fewer than four fields")
    return fields


def _attributes(section: list[Line]) -> Attributes:
    pairs = (value.partition(":") for letter, value in section if letter == "a")
    return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)


def _first(attributes: Attributes, name: str) -> str | None:
    return next((value for key, value in attributes if key == name), None)


def _attribute_lines(attributes: Attributes) -> list[str]:
    return [f"a={name}:{value}" if value else f"a={name}" for name, value in attributes]

"""Grammar of the headers that are parsed (RFC 3261 section 25.1). Pure.

Header values stay the text that was received: a response must repeat From, To, Call-ID and CSeq unchanged, and a route
must not be rewritten. Only values that we need are parsed, here; the text of a `ValueError` can be a reason phrase.
Each expression takes linear time: no two adjacent parts of it match the same characters.

Addresses are accepted beyond the grammar where devices write them and there is one way to read them: a display name
that is not quoted, or only half, or is followed by a URI without brackets; blanks or an `@` in a user. Admission
(`access.py`) uses the same reading as all other modules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote

COMPACT_NAMES = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
}
"""One-letter header names (IANA SIP parameters, Header Fields)."""

CACHE_SIZE = 128
"""Cached values of each kind: one message needs the same few several times."""

SEQUENCE_LIMIT = 2**31
"""Sequence numbers are below it (section 8.1.1.5)."""
USER_CHARACTERS = "-_.!~*'()&=+$,;?/"
"""Characters that need no escape in the user part of a URI (section 25.1)."""
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9\-_.]*[A-Za-z0-9_.])?)"
_VIA = re.compile(
    rf"SIP\s*/\s*2\.0\s*/\s*(?P<transport>{TOKEN})\s+(?P<host>{_HOST})(?:\s*:\s*(?P<port>[0-9]{{1,5}}))?"
    r"\s*(?P<params>;.*)?",
    re.IGNORECASE | re.DOTALL,
)
_CSEQ = re.compile(rf"(?P<number>[0-9]{{1,10}})\s+(?P<method>{TOKEN})")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_USER = re.compile(r"[^<>\s]*")
_PLACE = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?(?P<params>(?:;[^;?<>\s]*)*)(?:\?[^<>\s]*)?")
_TEL = re.compile(r"(?P<number>[^;?<>\s]+)(?P<params>(?:;[^;?<>\s]*)*)(?:\?[^<>\s]*)?")
_TEL_NUMBER = re.compile(r"[0-9A-Fa-f*#+\-.() ]+")
_ADDR = re.compile(
    r"(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"\s*|(?P<bare>[^<>\";,:@]*))<(?P<uri>[^<>]+)>\s*(?P<params>;.*)?", re.DOTALL
)
_BARE_ADDR = re.compile(r"(?P<uri>[^\s<>\";,?:]+:[^\s<>\";,?]*)\s*(?P<params>;.*)?", re.DOTALL)
_LOOSE_ADDR = re.compile(r"(?P<bare>[^<>]*)<(?P<uri>[^<>]+)>\s*(?P<params>;.*)?", re.DOTALL)
_LOOSE_BARE_ADDR = re.compile(
    r"(?P<bare>[^<>]*?[\s\"])(?P<uri>(?:sips?|tel):[^\s<>\";,?]+)\s*(?P<params>;.*)?", re.DOTALL | re.IGNORECASE
)
_BLANKS = re.compile(r"[ \t]+")
# A byte that is not UTF-8, as `validation.parse` keeps it: older devices write names in Latin-1.
_LATIN = re.compile(r"\\x(?P<byte>[89a-f][0-9a-f])(?P<pair>)")
_ESCAPED = re.compile(r"\\(?:x(?P<byte>[89a-f][0-9a-f])|(?P<pair>.))", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PARAM = re.compile(rf";\s*(?P<name>{TOKEN})\s*(?:=\s*(?P<value>\"(?:[^\"\\]|\\.)*\"|[^;\"\s]*)\s*)?")


@dataclass(frozen=True, slots=True)
class Uri:
    """A sip, sips or tel URI (RFC 3261 section 19.1, RFC 3966)."""

    scheme: str
    user: str
    """Unescaped, without password and parameters; empty when there is none."""
    host: str
    """IPv6 addresses without their brackets; empty for tel."""
    port: int | None
    params: tuple[str, ...]
    """As written, in lower case."""
    user_params: tuple[str, ...] = ()
    """Those of a telephone number, in the user part of a sip URI or behind a tel URI's, as written, in lower case."""

    @property
    def display_user(self) -> str:
        """The user part, or the host when there is none."""
        return self.user or self.host


@dataclass(frozen=True, slots=True)
class NameAddr:
    """The value of From, To, Contact, Route or Record-Route (section 20.10)."""

    name: str
    """Display name, unquoted; empty when absent."""
    uri: str
    """As written, but for blanks within, which are escaped."""
    params: dict[str, str]
    """Header parameters, names in lower case; the value of a flag is empty."""


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value (section 20.42)."""

    host: str
    """`sent-by` without the port; IPv6 addresses without their brackets."""
    port: int | None
    params: dict[str, str]


@lru_cache(CACHE_SIZE)
def parse_uri(text: str) -> Uri:
    """Raises LookupError for a scheme that we do not serve (SIP answer: 416), ValueError for a broken URI."""
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme in ("sip", "sips"):
        return _sip_uri(scheme, rest)
    if scheme == "tel":
        return _tel_uri(rest)
    if colon and _SCHEME.fullmatch(scheme):
        raise LookupError(f"URI scheme {scheme[:20]}")
    raise ValueError("malformed URI")


def _sip_uri(scheme: str, rest: str) -> Uri:
    user, at, place = rest.partition("@")
    if not at:
        user, place = "", rest
    # Only the last @ before the parameters parts user and host, where a device has left another one unescaped.
    more, at, _ = re.split("[;?]", place, maxsplit=1)[0].rpartition("@")
    if at:
        user, place = f"{user}@{more}", place[len(more) + 1 :]
    match = _PLACE.fullmatch(place)
    if match is None or not _USER.fullmatch(user):
        raise ValueError("malformed URI")
    name, *user_params = user.split(";")
    return Uri(
        scheme,
        unquote(name.partition(":")[0]),
        match["host"].strip("[]"),
        _port(match["port"]),
        _lower(match["params"].split(";")),
        _lower(user_params),
    )


def _tel_uri(rest: str) -> Uri:
    match = _TEL.fullmatch(rest)
    number = unquote(match["number"]) if match else ""
    if match is None or not _TEL_NUMBER.fullmatch(number):
        raise ValueError("malformed URI")
    return Uri("tel", number, "", None, (), _lower(match["params"].split(";")))


def _lower(params: Iterable[str]) -> tuple[str, ...]:
    return tuple(param.lower() for param in params if param)


@lru_cache(CACHE_SIZE)
def parse_name_addr(text: str) -> NameAddr:
    """`"Name" <uri>;params`, or a URI without brackets, whose parameters are then the header's. Raises ValueError."""
    match = _ADDR.fullmatch(text) or _BARE_ADDR.fullmatch(text)
    if match is None:
        match = _LOOSE_ADDR.fullmatch(text) or _LOOSE_BARE_ADDR.fullmatch(text)
        # With an open quote the bracket of the address is ambiguous.
        if match is None or match["bare"].count('"') % 2:
            raise ValueError("malformed address")
    groups = match.groupdict()
    quoted = groups.get("quoted")
    if quoted is None:
        name = _LATIN.sub(_unescaped, " ".join((groups.get("bare") or "").replace('"', " ").split()))
    else:
        name = _ESCAPED.sub(_unescaped, quoted)
    return NameAddr(name, _BLANKS.sub("%20", groups["uri"].strip()), _params(groups["params"] or ""))


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match["byte"], 16)) if match["byte"] else match["pair"]


@lru_cache(CACHE_SIZE)
def parse_via(text: str) -> Via:
    """Raises ValueError."""
    match = _VIA.fullmatch(text)
    if match is None:
        raise ValueError("malformed Via")
    return Via(match["host"].strip("[]"), _port(match["port"]), _params(match["params"] or ""))


@lru_cache(CACHE_SIZE)
def parse_cseq(text: str) -> tuple[int, str]:
    """Sequence number and method. Raises ValueError."""
    match = _CSEQ.fullmatch(text)
    if match is None or int(match["number"]) >= SEQUENCE_LIMIT:
        raise ValueError("malformed CSeq")
    return int(match["number"]), match["method"]


@lru_cache(1024)
def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def split_list(value: str) -> list[str]:
    """The comma-separated values of one header line; commas in quotes and angle brackets do not separate."""
    if "," not in value:
        return [value.strip()]
    parts, start, quoted, angle, skip = [], 0, False, False, False
    for index, character in enumerate(value):
        if skip:
            skip = False
        elif quoted:
            skip, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = True
        elif character in "<>":
            angle = character == "<"
        elif character == "," and not angle:
            parts.append(value[start:index].strip())
            start = index + 1
    parts.append(value[start:].strip())
    return parts


def split_addresses(value: str) -> list[str]:
    """The comma-separated addresses of one header line. A display name that is not quoted may have commas: a piece that
    cannot be an address belongs to the next."""
    parts: list[str] = []
    pending = ""
    for part in split_list(value):
        pending += part
        if pending and not any(mark in part for mark in ":<*"):
            pending += ", "
            continue
        parts.append(pending)
        pending = ""
    return [*parts, pending.removesuffix(", ")] if pending else parts


def one_line(text: str) -> str:
    """`text` without control characters, so that a value cannot add headers."""
    return _CONTROL.sub(" ", text)


def quoted_string(text: str) -> str:
    """`text` as a quoted-string (section 25.1)."""
    return '"' + one_line(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not 0 < int(text) < 65536:
        raise ValueError("port number out of range")
    return int(text)


def _params(text: str) -> dict[str, str]:
    params: dict[str, str] = {}
    end = 0
    for match in _PARAM.finditer(text):
        if match.start() != end:
            break
        params.setdefault(match["name"].lower(), match["value"] or "")
        end = match.end()
    if text[end:].strip("; \t"):
        raise ValueError("malformed parameters")
    return params

"""Keys in SDP: the `a=crypto` lines of RTP/SAVP (SDES, RFC 4568), to values and from values.

Each side states the key that it sends with. An offer has a line for each supported cipher suite, in order of
preference; the answer repeats the tag and the suite of the line that it takes, with a key of its own. Unsupported lines
are refused one by one: a key identifier (MKI), another key length, session parameters that disable or change a part of
the protection. Ignored are a key's lifetime, which binds only the sender of that key, and hints (`WSH`, or a parameter
marked optional by a minus, section 6.3.7).

A reason never quotes the key. Keys are left out of every `repr`.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from trunkline.sdp.values import NotAcceptable, SrtpKeys

SrtpRule = Literal["off", "optional", "required"]
"""Whether calls may or must be encrypted; the setting `media.srtp`."""

KEY_LENGTH = 30
"""Bytes: 128 bits of master key and 112 bits of master salt, in both suites (RFC 4568 section 6.2)."""
SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
"""In the order in which we offer them."""
RANDOM_BYTES = KEY_LENGTH * len(SUITES)
"""Length of the argument of `fresh`."""
LIFETIME_LIMIT = 2**48
"""Packets under one key (RFC 3711 section 9.2)."""

_LINE = re.compile(r"(?P<tag>\d{1,9}) +(?P<suite>\S+) +(?P<keys>\S+)(?P<params>( +\S+)*)", re.ASCII)
_KEY = re.compile(r"inline:(?P<key>[^|]*)(\|(?P<lifetime>2\^\d{1,2}|\d{1,15}))?(\|(?P<mki>\d+:\d+))?", re.ASCII | re.I)


@dataclass(frozen=True, slots=True)
class Crypto:
    """One `a=crypto` line."""

    tag: int
    suite: str
    key: bytes = field(repr=False)
    """Master key and salt."""

    def __str__(self) -> str:
        return f"{self.tag} {self.suite} inline:{b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True)
class Security:
    """Our rule for encryption, and our crypto lines."""

    rule: SrtpRule = "off"
    ours: tuple[Crypto, ...] = ()
    """At most one line for each suite. In an answer the line of the suite taken goes out under the peer's tag."""


def fresh(random: bytes) -> tuple[Crypto, ...]:
    """New lines of ours from `RANDOM_BYTES` random bytes: one for each suite, each with a key of its own."""
    keys = (random[start : start + KEY_LENGTH] for start in range(0, RANDOM_BYTES, KEY_LENGTH))
    return tuple(Crypto(tag, suite, key) for tag, (suite, key) in enumerate(zip(SUITES, keys, strict=True), 1))


def parse(value: str) -> Crypto:
    """An `a=crypto` attribute's value. Raises NotAcceptable for an unsupported one."""
    line = _LINE.fullmatch(value.strip())
    if line is None:
        raise NotAcceptable("an a=crypto line is not of the form: tag suite inline:key")
    tag, suite = int(line["tag"]), line["suite"].upper()
    if suite not in SUITES:
        raise NotAcceptable(f"crypto suite {line['suite'][:40]} is not supported")
    for param in line["params"].split():
        if not param.startswith("-") and param.upper().partition("=")[0] != "WSH":
            raise NotAcceptable(f"SRTP session parameter {param[:40]} is not supported")
    return Crypto(tag, suite, _key(line["keys"], tag))


def _key(text: str, tag: int) -> bytes:
    if ";" in text:
        raise NotAcceptable(f"crypto line {tag} has several keys, which needs an MKI; that is not supported")
    match = _KEY.fullmatch(text)
    if match is None:
        raise NotAcceptable(f"the key of crypto line {tag} cannot be parsed")
    if match["mki"]:
        raise NotAcceptable(f"crypto line {tag} asks for an MKI, which is not supported")
    lifetime = match["lifetime"]
    if lifetime and not 0 < (1 << int(lifetime[2:]) if lifetime[0:2] == "2^" else int(lifetime)) <= LIFETIME_LIMIT:
        raise NotAcceptable(f"the key lifetime {lifetime} of crypto line {tag} is out of range")
    try:
        key = b64decode(match["key"], validate=True)
    except (Base64Error, ValueError):
        raise NotAcceptable(f"the key of crypto line {tag} is not base64") from None
    if len(key) != KEY_LENGTH:
        raise NotAcceptable(f"the key of crypto line {tag} has {len(key)} bytes instead of {KEY_LENGTH}")
    return key


def choose(values: Iterable[str], ours: tuple[Crypto, ...]) -> SrtpKeys:
    """The first of the peer's lines that is supported and has one of ours. Raises NotAcceptable with the reason of the
    first line."""
    reasons = []
    for value in values:
        try:
            line = parse(value)
        except NotAcceptable as error:
            reasons.append(str(error))
            continue
        for own in ours:
            if own.suite == line.suite:
                return SrtpKeys(line.suite, line.tag, own.key, line.key)
        reasons.append(f"crypto suite {line.suite} was not offered")
    raise NotAcceptable(reasons[0] if reasons else "encrypted audio without an a=crypto line")

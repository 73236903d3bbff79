"""The codecs of `trunkline/codecs.py` in SDP, and telephone-event."""

from collections.abc import Iterator

from trunkline.codecs import CALL_CODECS, CODEC_TABLE, TELEPHONE_EVENTS, SdpFormat

DYNAMIC = 96
"""Payload types from here on mean what `a=rtpmap` says and nothing without it."""

CODECS = {name: sdp for name in CALL_CODECS if (sdp := CODEC_TABLE[name].sdp) is not None}
"""By name."""

_FORMATS = (*CODECS.values(), *TELEPHONE_EVENTS.values())

FMTP = {row.encoding: row.fmtp for row in _FORMATS if row.fmtp}
"""Format parameters of our descriptions, by the value of `a=rtpmap`."""


def telephone_event(codec: str) -> SdpFormat:
    """The row of `TELEPHONE_EVENTS` whose clock rate is the codec's."""
    return TELEPHONE_EVENTS[CODEC_TABLE[codec].clock_rate()]


def _spellings() -> Iterator[tuple[str, str]]:
    for row in _FORMATS:
        encoding = row.encoding
        yield encoding, encoding
        if encoding.count("/") == 1:
            yield encoding.partition("/")[0], encoding
            yield f"{encoding}/1", encoding
        for alias in row.aliases:
            yield alias, encoding


_CANONICAL: dict[str, str] = {}
for _spelling, _encoding in _spellings():
    _CANONICAL.setdefault(_spelling.lower(), _encoding)


def canonical(encoding: str) -> str:
    """The value of an `a=rtpmap` without its payload type as our tables write it: devices write it in another case,
    with one channel named, without the clock rate, or with G722's sample rate instead of it. An unknown value is
    returned as it is."""
    return _CANONICAL.get("".join(encoding.split()).lower().removesuffix("/"), encoding)

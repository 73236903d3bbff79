"""Recognising an mp3 file by its frame headers (ISO/IEC 11172-3 section 2.4.2.3, 13818-3; MPEG-2.5 is Fraunhofer's).

A decoder searches any data for something to play, and random bytes look like a header every few kilobytes. So a file
counts as mp3 only when its headers follow each other at the distances that they state. An ID3v2 tag before them is
skipped, and so is a little junk, which some encoders write.
"""

import re

JUNK_LIMIT = 4096
"""Bytes between the tag and the first frame; libav and others search about as far."""
FRAMES = 3
"""Headers in a row that make an mp3 file; fewer are enough when the file ends right behind them."""

_MPEG_1 = 3
_RATES = {_MPEG_1: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Samples a second by version (2 is MPEG-2, 0 MPEG-2.5); version 1 is reserved."""
_KBITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]")
"""Eleven bits of sync, a version, layer III, and a bit rate that is stated. Mu-law silence, a run of 0xFF, has none."""
_ID3_HEADER = 10
_ID3_FOOTER = 0x10


def audio_start(data: bytes) -> int | None:
    """Where the frames of an mp3 file begin; None when this is no mp3 file."""
    start = _behind_tags(data)
    for sync in _SYNC.finditer(data, start, start + JUNK_LIMIT):
        if _frames_follow(data, sync.start(), start):
            return sync.start()
    return None


def _behind_tags(data: bytes) -> int:
    """ID3v2.4 section 3.1: "ID3", version, flags, and a size of four times seven bits."""
    start = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + _ID3_HEADER:
        size = 0
        for byte in data[start + 6 : start + _ID3_HEADER]:
            size = size << 7 | byte & 0x7F
        start += _ID3_HEADER + size + (_ID3_HEADER if data[start + 5] & _ID3_FOOTER else 0)
    return start


def _frames_follow(data: bytes, offset: int, start: int) -> bool:
    position, found = offset, 0
    while found < FRAMES and (length := _frame_length(data, position)) and _alike(data, offset, position):
        position += length
        found += 1
    ends = position == len(data) or data[position : position + 3] == b"TAG"
    return found == FRAMES or (found > 0 and offset == start and ends)


def _alike(data: bytes, first: int, second: int) -> bool:
    """Frames of one file share version and sample rate; all else may vary."""
    return data[first + 1] | 1 == data[second + 1] | 1 and data[first + 2] & 0x0C == data[second + 2] & 0x0C


def _frame_length(data: bytes, at: int) -> int:
    """Bytes of the frame whose header is at `at`; 0 when none is, or one of unstated ("free") length."""
    rate = data[at + 2] >> 2 & 3 if _SYNC.match(data, at) else 3
    if rate == 3:
        return 0
    version, kbits = data[at + 1] >> 3 & 3, data[at + 2] >> 4
    mpeg_1 = version == _MPEG_1
    bits = (_KBITS_1 if mpeg_1 else _KBITS_2)[kbits - 1] * 1000
    return (144 if mpeg_1 else 72) * bits // _RATES[version][rate] + (data[at + 2] >> 1 & 1)

"""What counts as an mp3 file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mp3files import KINDS, mp3
from trunkline.media.audio.mp3 import audio_start

JUNK_LIMIT = 4096

ID3_V24 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\xff\xfb\x90\x64" * 32
"""A tag of 128 bytes, whose content looks like frame headers."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_five_kinds_are_recognised_at_their_first_frame(kind: str) -> None:
    file = mp3(kind, 0.5)
    start = audio_start(file)
    assert start is not None
    assert file[start] == 0xFF
    assert start == (0 if file[:3] != b"ID3" else 10 + (file[8] << 7 | file[9]))


def test_tags_are_skipped_also_two_and_with_a_footer() -> None:
    frames = mp3(KINDS[0], 0.5)
    footed = bytearray(ID3_V24 + bytes(10))
    footed[5] |= 0x10
    assert audio_start(bytes(footed) + ID3_V24 + frames) == len(footed) + len(ID3_V24)
    junk = bytes(JUNK_LIMIT - 3)
    assert audio_start(bytes(footed) + junk + frames) == len(footed) + len(junk), "counted from behind the footer"
    assert audio_start(ID3_V24 + bytes(1) + junk + frames) is None, "without one from behind the tag"


def test_a_little_junk_before_the_first_frame_is_skipped_and_more_is_not() -> None:
    frames = mp3(KINDS[0], 0.5)
    assert audio_start(bytes(1000) + frames) == 1000
    assert audio_start(bytes(JUNK_LIMIT - 3) + frames) == JUNK_LIMIT - 3
    assert audio_start(bytes(JUNK_LIMIT - 2) + frames) is None


def test_a_file_of_one_frame_is_an_mp3() -> None:
    frames = mp3(KINDS[0], 0.5)
    second = audio_start(frames[4:])
    assert second is not None
    assert audio_start(frames[: second + 4]) == 0
    assert audio_start(frames[: second + 3]) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff" * 4000,  # mu-law silence
        b"\x7f\xff" * 2000,
        bytes(4000),  # PCM silence
        b"\xd5" * 4000,  # A-law silence
        b"RIFF\x24\x10\x00\x00WAVEfmt ",
        b"OggS" + bytes(200),
        b"ID3",
        ID3_V24,
        b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",  # its size is beyond the message
        bytes.fromhex("fff15080") * 300,  # AAC
    ],
    ids=repr,
)
def test_other_formats_are_no_mp3(payload: bytes) -> None:
    assert audio_start(payload) is None


@given(st.binary(max_size=3000))
def test_raw_audio_is_no_mp3(payload: bytes) -> None:
    assert audio_start(payload) is None


@given(st.binary(max_size=60), st.integers(0, 5), st.binary(max_size=60))
def test_no_bytes_raise(before: bytes, frames: int, behind: bytes) -> None:
    start = audio_start(before + (b"\xff\xe3\x18\xc4" + bytes(68)) * frames + behind)
    assert start is None or start < len(before) + 72 * frames + len(behind)


BIT_RATES = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by version (ISO/IEC 11172-3 table 2.4.2.3, 13818-3 table 2.4.2.3); MPEG-2.5 has those of MPEG-2."""
SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def framed(version: int, bit_rate: int, rate: int, padded: int) -> tuple[bytes, int]:
    """A frame of silence with these indices, and how long it must be: 1152 or 576 samples at that bit rate."""
    header = bytes((0xFF, 0xE3 | version << 3, bit_rate + 1 << 4 | rate << 2 | padded << 1, 0xC4))
    samples = 1152 if version == 3 else 576
    bits = BIT_RATES[3 if version == 3 else 2][bit_rate] * 1000
    size = samples * bits // (8 * SAMPLE_RATES[version][rate]) + padded
    return header + bytes(size - 4), size


@pytest.mark.parametrize("version", [3, 2, 0])
@pytest.mark.parametrize("rate", [0, 1, 2])
@pytest.mark.parametrize("padded", [0, 1])
def test_frames_follow_at_the_distance_that_their_header_says(version: int, rate: int, padded: int) -> None:
    for bit_rate in range(14):
        frame, size = framed(version, bit_rate, rate, padded)
        assert audio_start(frame * 3) == 0
        for wrong in (frame[:-1], frame + b"\0"):
            assert audio_start(wrong * 4 + bytes(size)) is None


@pytest.mark.parametrize(
    "second",
    [
        bytes((0xFF, 0xE3 | 1 << 3, 0x90, 0xC4)),  # a reserved version
        bytes((0xFF, 0xFB, 0x9C, 0xC4)),  # a reserved sample rate
        bytes((0xFF, 0xFB, 0x00, 0xC4)),  # of free length
        bytes((0xFF, 0xFB, 0xF0, 0xC4)),  # a bad bit rate
        bytes((0xFF, 0xF3, 0x90, 0xC4)),  # another version than the first
        bytes((0xFF, 0xFB, 0x94, 0xC4)),  # another sample rate than the first
        bytes((0xFF, 0xFD, 0x90, 0xC4)),  # layer II
    ],
)
def test_the_frames_of_a_file_are_alike(second: bytes) -> None:
    first, size = framed(3, 8, 0, 0)
    assert first.startswith(bytes((0xFF, 0xFB, 0x90, 0xC4)))
    assert audio_start(first + second + bytes(size - 4) + first) is None


def test_two_frames_are_an_mp3_if_the_file_has_nothing_else() -> None:
    frame, _ = framed(3, 8, 0, 0)
    tag = b"TAG" + bytes(125)
    assert audio_start(frame * 2) == audio_start(frame * 2 + tag) == audio_start(frame + tag) == 0
    assert audio_start(frame * 2 + b"more") is None
    assert audio_start(b"\0" + frame * 2) is None
    assert audio_start(b"\0" + frame * 3) == 1
    assert audio_start(bytes(JUNK_LIMIT - 3) + frame * 3) == JUNK_LIMIT - 3


def test_a_truncated_tag_is_no_tag() -> None:
    frame, _ = framed(3, 8, 0, 0)
    assert audio_start(b"ID3\4\0\0\0\0\0\0" + frame) == 10
    assert audio_start(b"ID3\4\0\0\0\0\0") is None

"""What counts as an mp3 file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mp3files import KINDS, mp3
from trunkline.media.audio.mp3 import JUNK_LIMIT, audio_start

ID3_V24 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\xff\xfb\x90\x64" * 32
"""A tag of 128 bytes, whose content looks like frame headers."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_five_kinds_are_recognised_at_their_first_frame(kind: str) -> None:
    file = mp3(kind, 0.5)
    start = audio_start(file)
    assert start is not None
    assert file[start] == 0xFF
    assert start == (0 if file[:3] != b"ID3" else 10 + (file[8] << 7 | file[9]))


def test_a_tag_is_stepped_over_also_twice_and_with_a_footer() -> None:
    frames = mp3(KINDS[0], 0.5)
    footed = bytearray(ID3_V24 + bytes(10))
    footed[5] |= 0x10
    assert audio_start(bytes(footed) + ID3_V24 + frames) == len(footed) + len(ID3_V24)


def test_a_little_junk_before_the_first_frame_is_stepped_over_and_more_is_not() -> None:
    frames = mp3(KINDS[0], 0.5)
    assert audio_start(bytes(1000) + frames) == 1000
    assert audio_start(bytes(JUNK_LIMIT) + frames) is None


def test_a_file_of_one_frame_is_a_file() -> None:
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
def test_what_is_no_mp3_is_told_apart(payload: bytes) -> None:
    assert audio_start(payload) is None


@given(st.binary(max_size=3000))
def test_raw_audio_is_no_mp3(payload: bytes) -> None:
    assert audio_start(payload) is None


@given(st.binary(max_size=60), st.integers(0, 5), st.binary(max_size=60))
def test_no_bytes_raise(before: bytes, frames: int, behind: bytes) -> None:
    start = audio_start(before + (b"\xff\xe3\x18\xc4" + bytes(68)) * frames + behind)
    assert start is None or start < len(before) + 72 * frames + len(behind)

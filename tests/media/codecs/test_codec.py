"""What every row of the table of codecs is made of."""

import pytest

from trunkline.media.codecs.codec import Codec, UndecodablePacket, repeated


@pytest.mark.parametrize(
    ("pattern", "bytes_per_ms", "ptime", "silence"),
    [(b"\xff", 8, 20, b"\xff" * 160), (b"abcd", 8, 3, b"abcd" * 6), (b"\0\0", 32, 1, bytes(32)), (b"x", 8, 0, b"")],
)
def test_silence_is_a_pattern_over_and_over(pattern: bytes, bytes_per_ms: int, ptime: int, silence: bytes) -> None:
    assert repeated(pattern, bytes_per_ms)(ptime) == silence


def test_by_default_a_format_is_divisible_and_has_no_state() -> None:
    plain = Codec("X", 8000, 8000, 8, repeated(b"\0", 8), lambda: bytes, lambda: bytes)
    assert (plain.queued_as, plain.samples, plain.remembers, plain.tables) == (None, None, False, {})


def test_an_invalid_packet_is_a_value_error() -> None:
    assert issubclass(UndecodablePacket, ValueError)

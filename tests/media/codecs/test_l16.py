"""Linear samples in either byte order, and in pieces of any length."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.media.codecs import l16


def test_the_bytes_of_each_sample_change_places() -> None:
    assert l16.swap(b"\x01\x02\x03\x04") == b"\x02\x01\x04\x03"
    assert l16.swap(b"") == b""


def test_a_piece_that_ends_within_a_sample_keeps_its_first_byte() -> None:
    got: list[bytes] = []

    def keep(samples: bytes) -> bytes:
        got.append(samples)
        return samples

    join = l16.joiner(keep)
    assert [join(piece) for piece in (b"a", b"b", b"cde", b"", b"f", b"gh")] == [b"", b"ab", b"cd", b"", b"ef", b"gh"]
    assert got == [b"", b"ab", b"cd", b"", b"ef", b"gh"]


@pytest.mark.parametrize("convert", [bytes, l16.swap])
@given(pieces=st.lists(st.binary(max_size=7), max_size=20))
def test_pieces_of_any_length_are_whole_samples_in_order(convert: Any, pieces: list[bytes]) -> None:
    join, whole = l16.joiner(convert), b"".join(pieces)
    assert b"".join(join(piece) for piece in pieces) == convert(whole[: len(whole) & ~1])

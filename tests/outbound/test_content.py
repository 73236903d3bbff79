"""Codings of bodies, undone in pieces of any size, and bounded."""

import gzip
import itertools
import zlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.outbound.content import BadContent, ContentDecoder, codings_of, decoded

PIECE = 65_536


def bare(data: bytes) -> bytes:
    """RFC 1951 without the frame of RFC 1950."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


CODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "bare": bare,
}


def undone(codings: Sequence[str], *pieces: bytes) -> bytes:
    """The whole, of a body that came in these pieces."""
    decoders = [ContentDecoder(coding) for coding in codings]
    whole = b"".join(part for piece in pieces for part in decoded(decoders, piece))
    for decoder in decoders:
        decoder.end()
    return whole


@pytest.mark.parametrize(
    ("values", "codings"),
    [
        ([], ()),
        (["identity", ""], ()),
        (["gzip"], ("gzip",)),
        ([" GZip ,Deflate"], ("deflate", "gzip")),
        (["x-gzip", "identity"], ("x-gzip",)),
        (["deflate", "gzip"], ("gzip", "deflate")),
    ],
)
def test_the_coding_that_was_put_on_last_comes_off_first(values: list[str], codings: tuple[str, ...]) -> None:
    assert codings_of(values) == codings


def test_another_coding_or_too_many_are_named() -> None:
    with pytest.raises(BadContent, match="it is compressed with 'br', which was not asked for"):
        codings_of(["gzip, br"])
    with pytest.raises(BadContent, match=f"compressed with '{'x' * 40}', which"):
        codings_of(["x" * 41])
    with pytest.raises(BadContent, match="it is compressed 3 times"):
        codings_of(["gzip, gzip", "deflate"])


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_body_comes_back_whole(name: str, size: int) -> None:
    body, coding = bytes(size), "deflate" if name == "bare" else name
    coded = CODED[name](body)
    assert undone([coding], coded) == body
    assert undone([coding], *(bytes([byte]) for byte in coded)) == body


@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=5), st.sampled_from(["gzip", "deflate", "bare"]))
def test_a_body_cut_anywhere_comes_back_whole(body: bytes, cuts: list[int], name: str) -> None:
    coded = CODED[name](body)
    edges = [0, *sorted(cuts), len(coded)]
    pieces = [coded[a:b] for a, b in itertools.pairwise(edges)]
    assert undone(["deflate" if name == "bare" else name], *pieces) == body


def test_two_codings_come_off_one_after_the_other_and_none_is_as_it_is() -> None:
    coded = gzip.compress(zlib.compress(b"hello"))
    assert undone(codings_of(["deflate, gzip"]), coded[:7], coded[7:]) == b"hello"
    assert undone([], b"as", b" it is") == b"as it is"


def test_members_of_gzip_follow_each_other_and_padding_is_nothing() -> None:
    two = gzip.compress(b"one ") + gzip.compress(b"two")
    assert undone(["gzip"], two) == b"one two"
    assert undone(["gzip"], two + bytes(9)) == b"one two"
    assert undone(["gzip"], two, bytes(9)) == b"one two"
    assert undone(["deflate"], zlib.compress(b"one") + b"anything") == b"one"


def test_what_comes_out_is_in_pieces_that_can_be_counted() -> None:
    bomb = gzip.compress(bytes(50 * PIECE))
    pieces = list(ContentDecoder("gzip").feed(bomb))
    assert max(map(len, pieces)) == PIECE
    assert sum(map(len, pieces)) == 50 * PIECE
    assert len(next(ContentDecoder("gzip").feed(bomb))) <= PIECE, "one may stop after the first"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_does_not_match_its_coding_is_an_error(coding: str) -> None:
    with pytest.raises(BadContent, match=f"it says that it is {coding}, and is not"):
        undone([coding], b"<Response/>")
    with pytest.raises(BadContent, match=f"its {coding} breaks off"):
        undone([coding], CODED[coding](b"hello")[:-5])
    with pytest.raises(BadContent, match=f"its {coding} breaks off"):
        undone([coding], b"\x1f")
    assert undone([coding]) == b"", "an empty body needs no frame"

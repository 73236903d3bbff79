"""Messages in a byte stream."""

from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from trunkline.sip.message.framing import PING, Framer

LIMIT = 1000


def text(body: bytes = b"", name: bytes = b"Content-Length") -> bytes:
    return b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n%s: %d\r\n\r\n" % (name, len(body)) + body


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.lists(st.integers(1, 400), max_size=10))
def test_messages_come_out_whole_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(text(body) for body in bodies)
    framer = Framer(LIMIT)
    got = []
    for cut in [*cuts, len(stream)]:
        got += framer.feed(stream[:cut])
        stream = stream[cut:]
    assert got == [text(body) for body in bodies]
    assert framer.broken is None


def test_the_compact_content_length_and_bare_line_feeds_are_understood() -> None:
    assert Framer(LIMIT).feed(text(b"abc", b"l")) == [text(b"abc", b"l")]
    bare = text(b"abc").replace(b"\r\n", b"\n")
    assert Framer(LIMIT).feed(bare) == [bare]


def test_a_double_crlf_is_a_ping_also_in_pieces_and_single_ones_are_skipped() -> None:
    framer = Framer(LIMIT)
    assert framer.feed(b"\r\n\r\n") == [PING]
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n\r\n" + text()) == [PING, text()]
    assert framer.feed(b"\r\n" + text()) == [text()]


def test_a_head_without_content_length_is_returned_and_ends_the_stream() -> None:
    framer = Framer(LIMIT)
    head = b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n"
    assert framer.feed(head + text()) == [head]
    assert framer.broken == "no Content-Length"
    assert framer.feed(text()) == []


def test_a_message_over_the_limit_ends_the_stream() -> None:
    endless = Framer(LIMIT)
    assert endless.feed(b"x" * LIMIT) == []
    assert endless.broken is not None
    large = Framer(LIMIT)
    assert large.feed(text(b"x" * LIMIT)) == []
    assert large.broken is not None


def test_a_head_in_a_thousand_pieces_is_searched_once() -> None:
    head = b"x" * 1_000_000

    def seconds(piece: int) -> float:
        framer, began = Framer(len(head) + 1), process_time()
        for at in range(0, len(head), piece):
            framer.feed(head[at : at + piece])
        return process_time() - began

    assert seconds(1000) < 50 * seconds(len(head))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_bytes_are_bounded(pieces: list[bytes]) -> None:
    framer = Framer(LIMIT)
    for piece in pieces:
        assert all(len(message) <= LIMIT for message in framer.feed(piece))

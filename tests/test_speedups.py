"""Bytes to bytes, compiled and as Python: what is written, and what is read of what apps say."""

import json
from binascii import b2a_base64
from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halves import PYTHON, SPEEDUPS
from trunkline import speedups
from trunkline.streaming.messages import Media, decode

SPELLINGS = (
    lambda text: b'{"event":"media","media":{"payload":"%b"}}' % text,
    lambda text: b'{"event": "media", "media": {"payload": "%b"}}' % text,
)


@SPEEDUPS
@given(payload=st.binary(min_size=1, max_size=3000), write=st.sampled_from(SPELLINGS))
def test_what_an_app_says_is_read_as_the_general_decoder_reads_it(
    made: ModuleType, payload: bytes, write: Callable[[bytes], bytes]
) -> None:
    message = write(b2a_base64(payload, newline=False))
    general = decode(message)
    assert isinstance(general, Media)
    assert made.decode_media_fast(message) == payload == general.media.payload


@given(
    st.binary(max_size=40), st.integers(0, 120), st.integers(0, 120), st.binary(max_size=3), st.sampled_from(SPELLINGS)
)
def test_other_messages_are_left_to_the_general_decoder(
    payload: bytes, start: int, end: int, instead: bytes, write: Callable[[bytes], bytes]
) -> None:
    """A message with some of its bytes replaced: either it is read by neither half, or by both, and rightly."""
    whole = write(b2a_base64(payload, newline=False))
    message = whole[:start] + instead + whole[end:]
    read = speedups.decode_media_fast(message)
    assert read == PYTHON.decode_media_fast(message)
    if read:
        general = decode(message)
        assert isinstance(general, Media)
        assert general.media.payload == read


@SPEEDUPS
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"=",
        b"====",
        b"A===",
        b"AA==AAAA",
        b"AA=A",
        b"AB==",
        b"AAB=",
        b"AAA",
        b"AA A",
        b"AA-_",
        b"\xff\xff\xff\xff",
    ],
)
def test_base64_that_is_not_plain_is_left_to_the_general_decoder(made: ModuleType, text: bytes) -> None:
    assert made.decode_media_fast(SPELLINGS[0](text)) == b""


@SPEEDUPS
def test_the_payload_is_what_follows_the_header(made: ModuleType) -> None:
    assert [made.payload(b"headbody", start) for start in (0, 4, 8)] == [b"headbody", b"body", b""]


@SPEEDUPS
def test_a_header_is_that_of_rtp(made: ModuleType) -> None:
    """RFC 3550 section 5.1."""
    packet = bytes.fromhex("8060 0102 03040506 0708090a") + b"voice"
    assert made.pack_rtp(0x8060, 0x0102, 0x03040506, 0x0708090A, b"voice") == packet
    assert made.unpack_rtp(packet) == (0x8060, 0x0102, 0x03040506, 0x0708090A)


@SPEEDUPS
def test_a_media_message_is_the_documented_one(made: ModuleType) -> None:
    prefix = b'","media":{"track":"inbound","chunk":"'
    text = made.encode_media(prefix, 4, 2, 40, b"\xff\xfe\xfd\xfc")
    assert json.loads(text) == {
        "event": "media",
        "sequence_number": "4",
        "media": {"track": "inbound", "chunk": "2", "timestamp": "40", "payload": "//79/A=="},
    }
    assert b" " not in text


@SPEEDUPS
def test_frames_lie_in_a_journal_one_behind_the_other(made: ModuleType) -> None:
    journal = bytearray(2 * made.ENTRY_SIZE + 5)
    made.pack_entry(journal, 0, -7, True, 3, b"abc")
    made.pack_entry(journal, made.ENTRY_SIZE + 3, 1 << 40, False, 0, b"de")
    assert made.ENTRY_SIZE == 15
    assert made.unpack_entry(journal, 0) == (-7, True, 3, 3)
    assert made.unpack_entry(journal, 18) == (1 << 40, False, 2, 0)
    assert [bytes(journal[15:18]), bytes(journal[33:])] == [b"abc", b"de"]

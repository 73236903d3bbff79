"""Opus packets, against an independent decoder, and data that is no packet."""

import gc
from contextlib import suppress
from math import gcd

import numpy as np
import pytest
from av import CodecContext, Packet
from hypothesis import given
from hypothesis import strategies as st

from trunkline.media.codecs import UndecodablePacket, opus


def hum(milliseconds: float, start: int = 0) -> bytes:
    times = np.arange(start, start + int(milliseconds * 48)) / 48000
    return bytes(np.rint(8000 * np.sin(2 * np.pi * 300 * times)).astype("<i2"))


def lengths(packets: list[bytes]) -> list[int]:
    """Milliseconds in each packet, by FFmpeg's own decoder."""
    context = CodecContext.create("opus", "r")
    context.sample_rate, context.layout = 48000, "mono"
    context.open()
    return [sum(frame.samples for frame in context.decode(Packet(packet))) // 48 for packet in packets]


@pytest.mark.parametrize("ptime", [10, 20, 40, 60])
def test_a_payload_of_an_opus_length_gives_a_packet_at_once(ptime: int) -> None:
    encode = opus.encoder()
    packets = [encode(hum(ptime, number * ptime * 48)) for number in range(10)]
    assert lengths(packets) == [ptime] * 10


@pytest.mark.parametrize("ptime", [30, 50])
def test_two_payloads_of_another_length_make_a_packet(ptime: int) -> None:
    encode = opus.encoder()
    packets = [encode(hum(ptime)) for _ in range(6)]
    assert packets[::2] == [b""] * 3
    assert lengths(packets[1::2]) == [2 * ptime] * 3


def test_no_audio_gives_no_packet_and_changes_nothing() -> None:
    encode = opus.encoder()
    assert encode(b"") == b""
    assert lengths([encode(hum(20)), encode(hum(20))]) == [20, 20]


def test_a_changed_length_loses_nothing() -> None:
    encode = opus.encoder()
    packets = [encode(hum(ptime)) for ptime in (20, 20, 30, 30, 20, 20, 20, 60)]
    assert sum(lengths([packet for packet in packets if packet])) == 20 + 20 + 60 + 60 + 60


def test_a_length_that_fits_no_packet_is_sent_in_long_packets() -> None:
    encode = opus.encoder()
    packets = [encode(hum(35)) for _ in range(24)]
    assert gcd(*lengths([packet for packet in packets if packet])) == 120
    assert lengths([encode(hum(187)) for _ in range(3)]) == [120] * 3


@pytest.mark.parametrize("config", range(32))
def test_a_packets_length_is_that_of_the_decoder(config: int) -> None:
    body = bytes(range(1, 40))
    packets = [bytes([config << 3 | code]) + body + body[: code == 1] for code in (0, 1)]
    packets.append(bytes([config << 3 | 2, 10]) + body)
    packets += [bytes([config << 3 | 3, 1]) + body, bytes([config << 3 | 7, 2]) + body + body]
    decode = opus.decoder()
    assert [2 * opus.samples(packet) for packet in packets] == [len(decode(packet)) for packet in packets]


@pytest.mark.parametrize("packet", [b"", b"\xfb", b"\xfb\x00", b"\xff\xff", b"\x1b\x03"])
def test_an_invalid_packet_has_no_length(packet: bytes) -> None:
    with pytest.raises(UndecodablePacket):
        opus.samples(packet)


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 50, 60])
def test_silence_of_any_packet_time_is_one_packet(ptime: int) -> None:
    assert lengths([opus.silence(ptime)]) == [ptime]
    assert opus.decoder()(opus.silence(ptime)) == bytes(ptime * 96)


def test_the_decoder_takes_every_length_of_packet() -> None:
    decode = opus.decoder()
    for milliseconds in (2.5, 5, 10, 20, 40, 60, 80, 100, 120):
        packet = opus.encoder()(hum(milliseconds))
        assert len(decode(packet)) == milliseconds * 96


@pytest.mark.parametrize("packet", [b"", b"\xff", b"\x03\x00", b"\xfb\x80", b"\xfb\x3f", b"\xff" * 1400])
def test_an_invalid_packet_is_refused_and_does_not_harm_the_decoder(packet: bytes) -> None:
    decode = opus.decoder()
    with pytest.raises(UndecodablePacket, match="no Opus packet"):
        decode(packet)
    assert len(decode(opus.encoder()(hum(20)))) == 1920


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(packet: bytes) -> None:
    with suppress(UndecodablePacket):
        assert 0 < len(opus.decoder()(packet)) <= 120 * 96


def test_no_packet_leaves_cyclic_garbage() -> None:
    encode, decode = opus.encoder(), opus.decoder()
    decode(encode(hum(20)))
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            decode(encode(hum(20)))
        assert gc.collect() == 0
    finally:
        gc.enable()

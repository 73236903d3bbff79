"""RTP packets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.test_rtcp import PINGS
from trunkline.ids import PayloadType, RtpTime, Ssrc
from trunkline.media.rtp.packet import RtpPacket, build, is_rtcp, keeps_alive, parse, payload_of
from trunkline.speedups import DATAGRAM_LIMIT

PACKET = RtpPacket(PayloadType(8), True, 65535, RtpTime(2**32 - 1), Ssrc(0xDEADBEEF), b"audio")


@given(
    st.builds(
        RtpPacket,
        st.integers(0, 127).map(PayloadType),
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFFFFFF).map(RtpTime),
        st.integers(0, 0xFFFFFFFF).map(Ssrc),
        st.binary(max_size=500),
    )
)
def test_a_built_packet_is_parsed_back(packet: RtpPacket) -> None:
    assert parse(build(packet)) == packet


@given(st.binary(max_size=100))
def test_random_bytes_are_a_packet_or_none(data: bytes) -> None:
    packet = parse(data)
    assert packet is None or (len(packet.payload) <= len(data) - 12 and packet.payload in data)


@given(st.binary(max_size=60), st.integers(0, 255))
def test_random_lengths_in_the_header_never_reach_beyond_the_datagram(rest: bytes, first: int) -> None:
    packet = parse(bytes([0x80 | first & 0x3F, 0]) + bytes(10) + rest)
    assert packet is None or packet.payload in rest


def test_contributing_sources_extension_and_padding_are_no_payload() -> None:
    plain = build(PACKET)
    decorated = (
        bytes([0x80 | 0x20 | 0x10 | 2]) + plain[1:12] + bytes(8) + b"\xbe\xde\x00\x01" + bytes(4) + b"audio" + b"\0\0\3"
    )
    assert parse(decorated) == PACKET


def test_a_header_alone_is_a_packet_without_payload() -> None:
    packet = parse(build(PACKET)[:12])
    assert packet is not None
    assert packet.payload == b""


def test_truncated_packets_and_wrong_lengths_are_refused() -> None:
    plain = build(PACKET)
    assert parse(plain[:11]) is None
    assert parse(b"\x40" + plain[1:]) is None  # version 1
    assert parse(b"\x8f" + plain[1:]) is None  # 15 contributing sources that are not there
    assert parse(b"\x90" + plain[1:12] + b"\0\0") is None  # half an extension header
    assert parse(b"\x90" + plain[1:12] + b"\0\0\xff\xff" + b"audio") is None  # an extension of 256 KiB
    assert parse(b"\xa0" + plain[1:12] + b"audi\0") is None  # padding of no bytes
    assert parse(b"\xa0" + plain[1:12] + b"audi\xff") is None  # padding longer than the packet
    assert parse(plain + bytes(DATAGRAM_LIMIT)) is None  # longer than is read


def test_rtcp_is_distinguished_from_rtp_on_a_shared_port() -> None:
    assert is_rtcp(200)
    assert is_rtcp(203)
    assert not is_rtcp(0x80)  # PCMU with the marker bit
    assert not is_rtcp(101)


@pytest.mark.parametrize("datagram", PINGS, ids=bytes.hex)
def test_keepalives_are_recognised(datagram: bytes) -> None:
    assert payload_of(datagram) is None
    assert keeps_alive(datagram)


@pytest.mark.parametrize(
    "datagram",
    [
        b"\x80\0" + bytes(10),
        b"OPTIONS sip:x SIP/2.0\r\n\r\n",
        b"\x16\xfe\xff" + bytes(100),  # a handshake of DTLS
        b"\x10\0\0\1ZRTP" + bytes(100),
        b"\x40\0" + bytes(10),
        b"\xff" * 12,
    ],
    ids=["RTP", "SIP", "DTLS", "ZRTP", "TURN", "nothing"],
)
def test_requests_and_malformed_datagrams_are_no_keepalives(datagram: bytes) -> None:
    assert not keeps_alive(datagram)

"""RTCP: reports built and parsed, and the figures of reception."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import RtpTime, Seconds, Ssrc
from trunkline.media.rtp.rtcp import (
    Bye,
    Reception,
    Report,
    ReportBlock,
    RtcpError,
    SenderInfo,
    build,
    middle,
    ntp_time,
    parse,
)

PINGS = [
    b"",
    b"\0",
    bytes(4),
    bytes(100),
    b"\r\n",
    b"\r\n\r\n" * 5,
    b"ping",
    b"\x80\xc9\0\0",  # an empty report without an SSRC
    bytes.fromhex("0001 0000 2112a442") + bytes(range(12)),  # a binding request (RFC 8489)
    bytes.fromhex("0011 0008 2112a442") + bytes(range(20)),  # an indication
    bytes.fromhex("0001 0000") + bytes(range(16)),  # as RFC 3489 had it
    bytes.fromhex("00 14") + bytes(10),  # RTP of version 0 (RFC 6263 section 4.6)
]
"""What phones and servers on the way send besides RTP and RTCP, on the ports of both."""

U32 = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.builds(
    ReportBlock,
    U32.map(Ssrc),
    st.integers(0, 255),
    st.integers(-0x800000, 0x7FFFFF),
    U32,
    U32,
    U32,
    U32,
)
REPORTS = st.builds(
    Report,
    U32.map(Ssrc),
    st.lists(BLOCKS, max_size=3).map(tuple),
    st.none() | st.builds(SenderInfo, st.integers(0, 2**64 - 1), U32.map(RtpTime), U32, U32),
)
OURS, PEER = Ssrc(1), Ssrc(2)


def test_ntp_times_begin_again_in_2036() -> None:
    """RFC 5905 section 6: seconds since 1900 in 32 bits, fractions in 32 more."""
    assert ntp_time(0) == 2_208_988_800 << 32
    assert ntp_time(1_700_000_000.5) == (3_908_988_800 << 32) + (1 << 31)
    assert ntp_time(2_085_978_495.75) == 2**64 - (1 << 30)
    assert ntp_time(2_085_978_496.25) == 1 << 30
    assert middle(0x1234_5678_9ABC_DEF0) == 0x5678_9ABC


@given(REPORTS, st.text("abc@.", max_size=40), st.booleans())
def test_a_built_packet_is_parsed_back(report: Report, cname: str, bye: bool) -> None:
    datagram = build(report, cname, bye=bye)
    assert len(datagram) % 4 == 0
    assert parse(datagram) == [report, *([Bye((report.ssrc,))] if bye else [])]


@given(st.binary(max_size=200))
def test_random_bytes_parse_or_raise_rtcp_error(data: bytes) -> None:
    try:
        parse(data)
    except RtcpError:
        return
    assert 192 <= data[1] <= 223


@given(REPORTS, st.data())
def test_damaged_reports_parse_or_raise_our_error(report: Report, data: st.DataObject) -> None:
    damaged = bytearray(build(report, "x", bye=True))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        parse(bytes(damaged[:cut]))
    except RtcpError:
        return
    assert cut >= 8


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        ("", "empty"),
        ("80", "cut short in a header"),
        ("80c90001 00000001 80c900", "cut short in a header"),
        ("80600001 00000001", "not an RTCP packet type"),  # of a type of RTP's
        ("40c90001 00000001", "not version 2"),
        ("80c90002 00000001", "longer than the datagram"),
        ("81c90001 00000001", "report shorter than its blocks"),
        ("80c80001 00000001", "report shorter than its blocks"),  # a sender report without its numbers
        ("a0c90001 00000000", "bad padding"),  # of no bytes
        ("a0c90001 00000005", "bad padding"),  # of more than there are
        ("a0c90001 00000004 80c90001 00000001", "bad padding"),  # not of the last packet
        ("80c90001 00000001 82cb0001 00000001", "BYE shorter than its sources"),  # of two, naming one
    ],
)
def test_malformed_compounds_are_refused_with_the_reason(datagram: str, reason: str) -> None:
    with pytest.raises(RtcpError, match=f"^{reason}$"):
        parse(bytes.fromhex(datagram))


def test_padding_of_the_last_packet_is_skipped() -> None:
    assert parse(bytes.fromhex("80c90001 00000009 a1cb0002 00000009 00000004")) == [
        Report(Ssrc(9)),
        Bye((Ssrc(9),)),
    ]


@pytest.mark.parametrize(
    "datagram",
    [
        bytes.fromhex("80c90001 00000009"),  # a report without blocks
        bytes.fromhex("80c90001 00000009 80c90000"),  # and an empty one
        bytes.fromhex("81ca0003 00000009 01026869 00000000"),  # a description alone
        bytes.fromhex("81cb0001 00000009"),  # a bye alone
        bytes.fromhex("81ce0002 00000009 00000001"),  # feedback alone (RFC 5506)
        bytes.fromhex("80cf0001 00000009"),  # an extended report of nothing (RFC 3611)
    ],
)
def test_minimal_reports_of_phones_are_rtcp(datagram: bytes) -> None:
    reception = Reception(OURS, 0, wall=0)
    assert reception.receive(datagram, Seconds(1))
    assert (reception.received, reception.malformed, reception.keepalives) == (1, 0, 0)


@pytest.mark.parametrize("datagram", PINGS, ids=bytes.hex)
def test_keepalives_are_neither_rtcp_nor_malformed(datagram: bytes) -> None:
    reception = Reception(OURS, 0, wall=0)
    assert reception.receive(datagram, Seconds(1))
    assert (reception.received, reception.malformed, reception.keepalives) == (0, 0, 1)


def test_loss_is_reported_per_interval_and_in_all() -> None:
    reception = Reception(OURS, 0, wall=0)
    first = reception.block(PEER, expected=100, received=75, highest=99, jitter=0, now=Seconds(5))
    assert (first.fraction_lost, first.cumulative_lost) == (64, 25)  # a quarter, in 256ths
    second = reception.block(PEER, expected=200, received=175, highest=199, jitter=0, now=Seconds(10))
    assert (second.fraction_lost, second.cumulative_lost) == (0, 25)


def test_duplicates_make_the_loss_negative_and_the_fraction_zero() -> None:
    reception = Reception(OURS, 0, wall=0)
    block = reception.block(PEER, expected=10, received=15, highest=9, jitter=0, now=Seconds(1))
    assert (block.fraction_lost, block.cumulative_lost) == (0, -5)


def test_round_trip_is_the_time_since_our_report_less_the_delay_at_the_peer() -> None:
    reception = Reception(OURS, 0, wall=1_700_000_000.0)
    sent = reception.sent(RtpTime(0), 1, 160, Seconds(100.0))
    peer = ReportBlock(OURS, 0, 3, 10, 16, middle(sent.ntp), int(1.5 * 65536))
    assert reception.receive(build(Report(PEER, (peer,)), "p"), Seconds(101.62))
    assert reception.round_trip == pytest.approx(0.12, abs=0.001)
    assert (reception.peer_lost, reception.peer_jitter) == (3, 16)


def test_reports_about_other_sources_and_malformed_ones_change_nothing() -> None:
    reception = Reception(OURS, 0, wall=0)
    assert reception.receive(build(Report(PEER, (ReportBlock(Ssrc(99), 9, 9, 9, 9, 9, 9),)), "p"), Seconds(1))
    assert not reception.receive(b"\x80\xc9\0\x07\0\0\0\1", Seconds(1))
    assert (reception.peer_lost, reception.round_trip, reception.received, reception.malformed) == (0, None, 1, 1)


def test_our_block_quotes_the_peers_last_sender_report() -> None:
    reception = Reception(OURS, 0, wall=0)
    theirs = SenderInfo(ntp_time(1_700_000_000.5), RtpTime(1), 2, 3)
    reception.receive(build(Report(PEER, (), theirs), "p"), Seconds(10))
    block = reception.block(PEER, expected=1, received=1, highest=0, jitter=7.9, now=Seconds(12.5))
    assert (block.last_sr, block.delay_since_sr, block.jitter) == (middle(theirs.ntp), int(2.5 * 65536), 7)

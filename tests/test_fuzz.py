"""Whatever comes from outside, a parser gives a value or its own error: RTP, RTCP, SDP and the app's messages, by a
bounded number of examples, half of them noise and half of them sound input with some bytes changed."""

from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.config import MediaSettings
from trunkline.ids import LegId, PayloadType, RtpTime, Seconds, Ssrc
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.rtp import rtcp
from trunkline.media.rtp.packet import RtpPacket, build, parse, payload_of
from trunkline.sdp.negotiate import make_answer, negotiate
from trunkline.sdp.session import parse as parse_sdp
from trunkline.sdp.values import Endpoint, MediaParams, NotAcceptable, SdpError
from trunkline.speedups import DATAGRAM_LIMIT
from trunkline.streaming.messages import Clear, Dtmf, Mark, Media, Refusal, decode

EXAMPLES = settings(max_examples=250, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])

RTP = build(RtpPacket(PayloadType(0), True, 65535, RtpTime(160), Ssrc(7), bytes(160)))
EXTENDED = bytes([0xB1]) + RTP[1:12] + bytes(4) + b"\xbe\xde\x00\x01" + bytes(4) + bytes(160) + b"\x04"
EVENT = build(RtpPacket(PayloadType(101), True, 0, RtpTime(320), Ssrc(7), b"\x05\x8a\x03\x20"))
BLOCK = rtcp.ReportBlock(Ssrc(66), 3, -4, 70000, 80, 1 << 20, 65536)
RTCP = rtcp.build(
    rtcp.Report(Ssrc(7), (BLOCK, BLOCK), rtcp.SenderInfo(1 << 60, RtpTime(5), 6, 7)), "name@host", bye=True
)
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
    b"a=rtcp:4001 IN IP4 192.0.2.2\r\na=sendrecv\r\nm=video 0 RTP/AVP 31\r\n"
)
MESSAGES = (
    b'{"event":"media","media":{"payload":"//8=","track":"inbound"}}',
    b'{"event":"mark","mark":{"name":["a",1,null,{"b":1e400}]}}',
    b'{"event":"clear","stream_id":"x"}',
    b'{"event":"dtmf","dtmf":{"digit":"12#"}}',
)


@st.composite
def changed(draw: st.DrawFn, *sound: bytes) -> bytes:
    """Sound input with some bytes replaced, put in or taken out, perhaps cut short."""
    data = bytearray(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 4)))
        data[start:end] = draw(st.binary(max_size=4))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def noise_or(*sound: bytes) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=DATAGRAM_LIMIT + 8) | changed(*sound)


@given(noise_or(RTP, EXTENDED, EVENT, RTCP))
@EXAMPLES
def test_rtp(datagram: bytes) -> None:
    payload, packet = payload_of(datagram), parse(datagram)
    assert (payload is None) == (packet is None)
    if payload is not None and packet is not None:
        assert payload == packet.payload
        assert len(payload) + 12 <= len(datagram)


@given(noise_or(RTCP, RTP))
@EXAMPLES
def test_rtcp(datagram: bytes) -> None:
    try:
        found = rtcp.parse(datagram)
    except rtcp.RtcpError:
        return
    assert isinstance(found[0], rtcp.Report)
    assert 4 * len(found) <= len(datagram)


@given(st.lists(st.tuples(noise_or(RTP, EXTENDED, EVENT, RTCP), st.booleans(), st.floats(0, 0.3)), max_size=30))
@settings(EXAMPLES, max_examples=100)
def test_a_leg_takes_any_datagrams_and_its_report_adds_up(datagrams: list[tuple[bytes, bool, float]]) -> None:
    waiting: set[LegId] = set()
    params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", 9), dtmf_payload_type=101, rtcp_mux=True)
    now = Seconds(100)
    leg = Leg(LegId(1), params, MediaSettings(), random=bytes(RANDOM_BYTES), now=now, wall=0.0, waiting=waiting,
              local_port=0, first_at=0)  # fmt: skip
    for datagram, from_anywhere, step in datagrams:
        now = Seconds(now + step)
        if from_anywhere:
            leg.receive_from(datagram, ("127.0.0.1", 9), now)
        else:
            leg.inbound.receive(datagram, now)
        if waiting:
            leg.inbound.handle_waiting(now)
        leg.report_due(now)
        leg.outbound.next_packet()
    leg.inbound.close()
    report = leg.report(now)
    assert (
        report.packets_in + report.rtcp_in + report.malformed + report.unknown_payload_type
        >= report.frames_in + report.digits
    )
    assert not waiting


@given(noise_or(SDP))
@EXAMPLES
def test_sdp(body: bytes) -> None:
    try:
        offer = parse_sdp(body)
    except SdpError:
        return
    try:
        params = negotiate(offer, ("PCMU", "PCMA", "G722", "OPUS"))
    except NotAcceptable:
        return
    answer = make_answer(offer, params, Endpoint("192.0.2.9", 4000), 1, 1)
    assert parse_sdp(answer.render().encode()) == answer
    assert [media.kind for media in answer.media] == [media.kind for media in offer.media]


@pytest.mark.parametrize("kind", [bytes, memoryview])
@given(data=noise_or(*MESSAGES))
@EXAMPLES
def test_messages_of_the_app(kind: Callable[[bytes], bytes | memoryview], data: bytes) -> None:
    assert isinstance(decode(kind(data)), Media | Mark | Clear | Refusal)
    assert isinstance(decode(kind(data), extensions=True), Media | Mark | Clear | Dtmf | Refusal)

"""A leg as a whole, driven by hand: ports, learning, silence, RTCP."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.config import MediaSettings
from trunkline.ids import LegId, RtpTime, Seconds, Ssrc
from trunkline.media import rtcp
from trunkline.media.events import LegSilent
from trunkline.media.leg import Leg
from trunkline.media.report import LegReport
from trunkline.sdp.values import Direction, Endpoint, MediaParams

if TYPE_CHECKING:
    from media.conftest import RecordingPort

MakeLeg = Callable[..., Leg]
MakePort = Callable[..., "RecordingPort"]
Rtp = Callable[..., bytes]
PEER = ("127.0.0.1", 9)
NATTED = ("198.51.100.7", 61234)
STRANGER = ("203.0.113.9", 5555)


def report(datagram: bytes | None) -> rtcp.Report:
    assert datagram is not None
    first = rtcp.parse(datagram)[0]
    assert isinstance(first, rtcp.Report)
    return first


def test_a_port_hears_until_it_is_detached(make_leg: MakeLeg, make_port: MakePort, rtp: Rtp) -> None:
    leg, one, two = make_leg(), make_port(), make_port(inbound=False)
    leg.attach(one)
    leg.attach(two)
    leg.inbound.receive(rtp(0), Seconds(101))
    leg.detach(one)
    leg.detach(one)
    leg.inbound.receive(rtp(1), Seconds(101.02))
    assert (len(one.heard), len(two.heard)) == (1, 0)


def test_the_first_agreed_packet_teaches_the_source(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    leg.receive_from(b"garbage", STRANGER, Seconds(101))
    leg.receive_from(rtp(0, kind=97), STRANGER, Seconds(101))
    assert leg.source.learned is None
    leg.receive_from(rtp(0), NATTED, Seconds(101))
    leg.receive_from(rtp(0), STRANGER, Seconds(101))
    told = leg.report(Seconds(101))
    assert (told.remote, told.remote_learned) == ("198.51.100.7:61234", True)
    assert (told.malformed, told.unknown_payload_type, told.wrong_source, told.packets_in) == (1, 1, 1, 1)


def test_the_signalled_address_takes_over_and_its_stream_starts_at_once(
    make_leg: MakeLeg, make_port: MakePort, rtp: Rtp
) -> None:
    leg, port = make_leg(), make_port()
    leg.attach(port)
    leg.receive_from(rtp(500, b"stranger", ssrc=1), STRANGER, Seconds(101))
    leg.receive_from(rtp(0, b"peer", ssrc=2), PEER, Seconds(101.02))
    assert port.payloads == [b"stranger", b"peer"]
    assert leg.source.settled


def test_a_changed_address_starts_a_new_stream_at_once(
    make_leg: MakeLeg, make_port: MakePort, params: MediaParams, rtp: Rtp
) -> None:
    leg, port = make_leg(), make_port()
    leg.attach(port)
    leg.receive_from(rtp(0), PEER, Seconds(101))
    leg.update(replace(params, remote=Endpoint("127.0.0.2", 4000)), Seconds(102))
    leg.receive_from(rtp(1), PEER, Seconds(102))
    leg.receive_from(rtp(9000, ssrc=3), ("127.0.0.2", 4000), Seconds(102))
    assert [payload[0] for payload in port.payloads] == [0, 9000 & 0xFF]
    assert leg.report(Seconds(102)).wrong_source == 1


# ---------------------------------------------------------------------- silence

FIVE = MediaSettings(silence_timeout=5, rtcp_interval=1000)


def silences(leg: Leg, start: float, end: float) -> list[float]:
    """When the leg says that it hears nothing, its timers served as the engine would."""
    said = []
    now = start
    while now < end:
        if leg.deadline <= now and leg.handle_timer(Seconds(now)) == LegSilent(LegId(1), Seconds(5)):
            said.append(round(now, 1))
        now += 0.1
    return said


def test_no_packets_at_all_are_told_once(make_leg: MakeLeg) -> None:
    assert silences(make_leg(settings=FIVE), 100.0, 120.0) == [pytest.approx(105.0, abs=0.11)]


def test_silence_counts_from_the_last_packet_and_is_told_again_after_another(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg(settings=FIVE)
    leg.inbound.receive(rtp(0), Seconds(103.0))
    assert silences(leg, 103.0, 115.0) == [pytest.approx(108.0, abs=0.11)]
    leg.inbound.receive(rtp(1), Seconds(115.0))
    assert silences(leg, 115.0, 130.0) == [pytest.approx(120.0, abs=0.11)]


def test_a_held_call_may_be_silent_and_is_given_its_time_anew(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg(settings=FIVE)
    leg.update(replace(params, direction=Direction.SENDONLY), Seconds(101))
    assert silences(leg, 101.0, 120.0) == []
    leg.update(params, Seconds(120))
    assert silences(leg, 120.0, 130.0) == [pytest.approx(125.0, abs=0.11)]


def test_silence_is_not_told_when_switched_off_or_before_the_peer_is_known(
    make_leg: MakeLeg, params: MediaParams
) -> None:
    assert silences(make_leg(settings=FIVE.model_copy(update={"silence_timeout": 0})), 100.0, 120.0) == []
    leg = make_leg(replace(params, remote=Endpoint("0.0.0.0", 0)), FIVE)
    assert silences(leg, 100.0, 120.0) == []
    leg.update(params, Seconds(120))
    assert silences(leg, 120.0, 130.0) == [pytest.approx(125.0, abs=0.11)]


# ---------------------------------------------------------------------- RTCP


def test_reports_go_out_at_the_interval_as_sender_only_when_something_was_sent(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    assert leg.report_due(Seconds(104.9)) is None
    assert report(leg.report_due(Seconds(105))).sent is None
    leg.outbound.next_packet()
    leg.inbound.receive(rtp(0), Seconds(105.5))
    leg.inbound.receive(rtp(2), Seconds(105.54))
    told = report(leg.report_due(Seconds(110)))
    assert told.sent is not None
    assert (told.sent.packets, told.sent.octets) == (1, 160)
    assert told.sent.timestamp == leg.outbound.timestamp
    block = told.blocks[0]
    assert (block.ssrc, block.cumulative_lost, block.fraction_lost, block.highest_sequence) == (7, 1, 85, 2)
    assert leg.report_due(Seconds(111)) is None


def test_legs_that_open_together_report_apart(make_leg: MakeLeg) -> None:
    first, last = make_leg(phase=0), make_leg(phase=255)
    assert first.report_due(Seconds(102.6)) is not None
    assert last.report_due(Seconds(104.9)) is None
    assert last.report_due(Seconds(105)) is not None


def test_a_leg_says_goodbye_unless_nobody_is_there(make_leg: MakeLeg, params: MediaParams) -> None:
    goodbye = make_leg().close(Seconds(101))
    assert goodbye is not None
    assert isinstance(rtcp.parse(goodbye)[-1], rtcp.Goodbye)
    assert make_leg(replace(params, remote=Endpoint("0.0.0.0", 0))).close(Seconds(101)) is None


def test_closing_hands_on_what_was_held(make_leg: MakeLeg, make_port: MakePort, rtp: Rtp) -> None:
    waiting: set[LegId] = set()
    leg, port = make_leg(waiting=waiting), make_port()
    leg.attach(port)
    leg.inbound.receive(rtp(0), Seconds(101))
    leg.inbound.receive(rtp(2), Seconds(101.04))
    leg.inbound.close()
    leg.close(Seconds(101.05))
    assert [missing for _, _, missing in port.heard] == [0, 1]
    assert waiting == set()


def test_the_peers_reports_tell_round_trip_and_its_loss(make_leg: MakeLeg) -> None:
    leg = make_leg()
    leg.outbound.next_packet()
    ours = report(leg.report_due(Seconds(105)))
    assert ours.sent is not None
    block = rtcp.ReportBlock(ours.ssrc, 0, 4, 0, 80, rtcp.middle(ours.sent.ntp), 65536)
    leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(7), (block,)), "p"), ("127.0.0.1", 10), Seconds(106.05))
    told = leg.report(Seconds(107))
    assert told.round_trip_ms == pytest.approx(50, abs=0.1)
    assert (told.peer_lost, told.peer_jitter_ms, told.rtcp_in) == (4, 10.0, 1)


def test_rtcp_is_answered_where_it_came_from_but_strangers_are_not_heard(make_leg: MakeLeg) -> None:
    leg = make_leg()
    assert leg.rtcp_destination == ("127.0.0.1", 10)
    plain = rtcp.build(rtcp.Report(Ssrc(7)), "p")
    leg.receive_rtcp(plain, STRANGER, Seconds(101))
    leg.receive_rtcp(b"junk", ("127.0.0.1", 4444), Seconds(101))
    assert leg.rtcp_destination == ("127.0.0.1", 10)
    leg.receive_rtcp(plain, ("127.0.0.1", 4444), Seconds(101))
    assert leg.rtcp_destination == ("127.0.0.1", 4444)
    told = leg.report(Seconds(102))
    assert (told.wrong_source, told.rtcp_malformed, told.rtcp_in) == (1, 1, 1)


def test_rtcp_goes_where_sdp_says_until_the_source_proves_it_wrong(
    make_leg: MakeLeg, params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg(replace(params, remote_rtcp=Endpoint("127.0.0.1", 3000)))
    assert leg.rtcp_destination == ("127.0.0.1", 3000)
    leg.receive_from(rtp(0), NATTED, Seconds(101))
    assert leg.rtcp_destination == ("198.51.100.7", 61235)


def test_rtcp_on_the_rtp_port_is_heard_when_multiplexed(make_leg: MakeLeg, params: MediaParams) -> None:
    datagram = rtcp.build(rtcp.Report(Ssrc(7), (), rtcp.SenderInfo(1 << 40, RtpTime(1), 2, 3)), "p")
    leg = make_leg(replace(params, rtcp_mux=True))
    leg.receive_from(datagram, PEER, Seconds(101))
    leg.inbound.receive(datagram, Seconds(101))
    leg.receive_from(datagram, STRANGER, Seconds(101))
    told = leg.report(Seconds(102))
    assert (told.rtcp_in, told.malformed, told.packets_in, told.wrong_source) == (2, 0, 0, 1)
    assert not told.remote_learned


def test_a_report_travels_as_plain_values(make_leg: MakeLeg) -> None:
    told = make_leg().report(Seconds(101))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=LegReport) == told
    assert {type(value) for value in asdict(told).values()} <= {int, float, str, bool}
    assert (told.local_port, told.duration_ms, told.last_packet_ms) == (20000, 1000.0, -1.0)

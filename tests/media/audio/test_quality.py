"""The E-model against published figures, and the quality figures in a leg's report."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import Seconds, Ssrc
from trunkline.media.audio.quality import loss_percent, mos
from trunkline.media.leg import Leg
from trunkline.media.rtp import rtcp
from trunkline.media.rtp.packet import parse

MakeLeg = Callable[..., Leg]
Rtp = Callable[..., bytes]


def test_it_agrees_with_the_table_of_g107_between_rating_and_opinion() -> None:
    """G.107 Table B.1: R = 90, 80, 70, 60, 50 are MOS 4.34, 4.03, 3.60, 3.10, 2.58; here by choosing the loss."""
    for rating, opinion in ((90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)):
        impairment = 93.2 - rating
        assert mos(25.1 * impairment / (95 - impairment), 0, -1, 0) == pytest.approx(opinion, abs=0.011)


def test_impossible_loss_is_bounded() -> None:
    assert [loss_percent(*counts) for counts in ((0, 0), (5, 0), (-3, 100), (300, 100), (1, 3))] == [
        -1,
        -1,
        0,
        100,
        33.33,
    ]


def test_a_clean_call_is_as_good_as_g711_gets() -> None:
    assert mos(0, 0, -1, 20) == pytest.approx(4.40, abs=0.02)


@given(st.floats(0, 100), st.floats(0, 2000), st.floats(0, 100), st.floats(0, 2000))
def test_more_loss_or_delay_never_raises_the_mos(loss: float, delay: float, more: float, longer: float) -> None:
    assert 1 <= mos(min(100, loss + more), 1, delay + longer, 20) <= mos(loss, 1, delay, 20) <= 4.5


def test_a_report_has_loss_and_mos_of_both_directions(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    report = leg.report(Seconds(100))
    assert (report.loss_percent, report.peer_loss_percent, report.mos, report.peer_mos) == (-1.0, -1.0, -1.0, -1.0)
    for n in [*range(10), *range(12, 20)]:
        leg.inbound.receive(rtp(n), Seconds(101 + n * 0.02))
    leg.inbound.handle_waiting(Seconds(102))
    sequences = []
    for _ in range(50):
        packet = parse(leg.outbound.next_packet() or b"")
        assert packet is not None
        sequences.append(packet.sequence)
    # By then the peer expected 40 of our 50 packets, and had lost 4 of those.
    block = rtcp.ReportBlock(leg.outbound.ssrc, 0, 4, sequences[39], 80, 0, 0)
    leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(7), (block,)), "p"), ("127.0.0.1", 10), Seconds(103))
    report = leg.report(Seconds(103))
    assert (report.lost, report.peer_lost) == (2, 4)
    assert (report.loss_percent, report.peer_loss_percent) == (10.0, 10.0)
    assert report.mos == mos(10, report.jitter_ms, -1, 20)
    assert report.peer_mos == mos(10, 10.0, -1, 20)


def test_impossible_counts_of_the_peer_stay_in_range(make_leg: MakeLeg) -> None:
    leg = make_leg()
    leg.outbound.next_packet()
    for lost, highest in ((-5, 0), (0x7FFFFF, 0), (3, 0xFFFFFFFF), (0, 0)):
        block = rtcp.ReportBlock(leg.outbound.ssrc, 0, lost, highest, 0xFFFFFFFF, 0, 0)
        leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(7), (block,)), "p"), ("127.0.0.1", 10), Seconds(103))
        report = leg.report(Seconds(103))
        assert report.peer_loss_percent == -1 or 0 <= report.peer_loss_percent <= 100
        assert report.peer_mos == -1 or 1 <= report.peer_mos <= 4.5


def test_delay_is_half_the_round_trip_a_packet_and_twice_the_jitter() -> None:
    assert mos(0, 0, 200, 20) == mos(0, 50, -1, 20) == mos(0, 0, -1, 120) == mos(0, 25, 100, 20)
    assert mos(0, 0, 200, 20) < mos(0, 0, -1, 20) == mos(0, 0, 0, 20)


def test_it_agrees_with_the_e_model_below_and_above_the_knee() -> None:
    """G.107 with Id simplified as by Cole and Rosenbluth: R = 93.2 - 0.024 d - 0.11 (d - 177.3) H(d - 177.3) - Ie."""
    for delay, loss in ((100, 0), (177, 2), (277.3, 0), (400, 5), (60, 30)):
        rating = 93.2 - 0.024 * delay - 0.11 * max(0, delay - 177.3) - 95 * loss / (loss + 25.1)
        opinion = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating)
        assert mos(loss, 0, 2 * delay, 0) == pytest.approx(opinion, abs=0.005)
    assert (mos(100, 500, 2000, 60), mos(-1, 0, 0, 20)) == (1.0, -1.0)

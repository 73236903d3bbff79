"""A leg on a bad network: lost, late, duplicate and reordered packets, and a peer whose clock is off."""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from media.network import Network, drive
from trunkline.ids import LegId, Seconds
from trunkline.media.leg import Leg

if TYPE_CHECKING:
    from media.conftest import RecordingTap

MakeLeg = Callable[..., Leg]
MakeTap = Callable[..., "RecordingTap"]
Rtp = Callable[..., bytes]
START = 100.0


def speech(rtp: Rtp, count: int, *, ppm: float = 0.0, start: float = START + 0.5) -> list[tuple[float, bytes]]:
    """Packets 0, 1, … of a peer whose clock is fast by `ppm`; each payload is its number."""
    step = 0.02 / (1 + ppm / 1e6)
    return [(start + n * step, rtp(n, n.to_bytes(4) * 40)) for n in range(count)]


def numbers(tap: "RecordingTap") -> list[int]:
    return [int.from_bytes(payload[:4]) for payload in tap.payloads]


@pytest.mark.parametrize("jitter", [0.0, 0.005, 0.029, 0.1])
@pytest.mark.parametrize("loss", [0.0, 0.02, 0.3])
@pytest.mark.parametrize(("duplicate", "reorder"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.1)])
def test_on_any_network_frames_come_once_in_order_and_losses_are_counted(
    make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, loss: float, duplicate: float, reorder: float, jitter: float
) -> None:
    waiting: set[LegId] = set()
    leg, tap = make_leg(waiting=waiting), make_tap()
    leg.attach(tap)
    network = Network(7, loss=loss, duplicate=duplicate, reorder=reorder, jitter=jitter)
    arrivals = network.carry(speech(rtp, 150))
    for _ in drive(leg, waiting, arrivals, START, START + 5):
        pass
    heard = numbers(tap)
    assert heard == sorted(set(heard))
    expected = heard[0]
    for number, (_, _, missing) in zip(heard, tap.heard, strict=True):
        assert number == expected + missing
        expected = number + 1
    report = leg.report(Seconds(START + 5))
    assert report.lost == sum(missing for _, _, missing in tap.heard)
    before_first = sum(int.from_bytes(datagram[12:16]) < heard[0] for _, datagram in arrivals)
    assert report.frames_in + report.late + report.duplicate == len(arrivals)
    assert report.late + report.duplicate <= len(arrivals) - len(heard) + before_first


def waits(leg: Leg, tap: "RecordingTap", waiting: set[LegId], network: Network, rtp: Rtp) -> list[float]:
    """How long each frame was held back, in seconds."""
    sent = speech(rtp, 3000)
    arrivals = network.carry(sent)
    arrived = {int.from_bytes(datagram[12:16]): at for at, datagram in reversed(arrivals)}
    held: list[float] = []
    for now in drive(leg, waiting, arrivals, START, START + 62):
        held += [now - arrived[int.from_bytes(payload[:4])] for payload, _, _ in tap.heard[len(held) :]]
    return held


def test_packets_in_order_are_never_held_back(make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp) -> None:
    waiting: set[LegId] = set()
    leg, tap = make_leg(waiting=waiting), make_tap()
    leg.attach(tap)
    assert set(waits(leg, tap, waiting, Network(1), rtp)) == {0.0}


def test_where_packets_are_only_lost_the_window_shrinks(make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp) -> None:
    waiting: set[LegId] = set()
    leg, tap = make_leg(waiting=waiting), make_tap()
    leg.attach(tap)
    assert leg.report(Seconds(START)).reorder_window_ms == 60
    held = waits(leg, tap, waiting, Network(2, loss=0.05), rtp)
    assert 0.055 <= max(held[:400]) <= 0.065
    assert max(held[2000:]) <= 0.026
    assert leg.report(Seconds(START)).reorder_window_ms == 20


def test_where_packets_are_overtaken_the_window_stays_wide_enough(
    make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    waiting: set[LegId] = set()
    leg, tap = make_leg(waiting=waiting), make_tap()
    leg.attach(tap)
    waits(leg, tap, waiting, Network(8, reorder=0.05, delay=0.045), rtp)
    report = leg.report(Seconds(START))
    assert 30 <= report.reorder_window_ms < 40
    assert report.reordered > 50
    assert (report.lost, report.late, report.frames_in) == (0, 0, 3000)


def test_a_network_that_begins_to_reorder_is_learned_at_its_first_late_packet(
    make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    waiting: set[LegId] = set()
    leg, tap = make_leg(waiting=waiting), make_tap()
    leg.attach(tap)
    waits(leg, tap, waiting, Network(4, loss=0.05), rtp)
    sent = [(at, rtp(n + 3000, (n + 3000).to_bytes(4) * 40)) for n, (at, _) in enumerate(speech(rtp, 2000, start=162))]
    for _ in drive(leg, waiting, Network(5, reorder=0.05, delay=0.055).carry(sent), 162, 203):
        pass
    report = leg.report(Seconds(START))
    assert report.late == 1
    assert report.reorder_window_ms > 35


@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_an_hour_with_a_clock_that_is_off_keeps_both_tracks_aligned(
    ppm: int, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    leg, tap = make_leg(), make_tap(outbound=True)
    leg.attach(tap)
    payload = rtp(0)[12:]
    off: list[float] = []
    steps: set[int] = set()
    arrivals = Network(6, jitter=0.002, delay=0.002).carry(
        (START + n * 0.02 / (1 + ppm / 1e6), rtp(n, payload)) for n in range(180_000)
    )
    for count, (now, datagram) in enumerate(arrivals):
        leg.inbound.receive(datagram, Seconds(now))
        if count % 500 == 0:
            while not tap.sent or tap.sent[-1][1] < (now - START) * 1000 - 10:
                leg.outbound.next_packet()
            off.append(tap.heard[-1][1] - tap.sent[-1][1])
            steps.update(later[1] - earlier[1] for earlier, later in pairwise(tap.heard))
            tap.heard, tap.sent = tap.heard[-1:], tap.sent[-1:]
    assert leg.report(Seconds(now)).frames_in == 180_000
    assert max(off) - min(off) <= 2 * 5 + 20 + 2  # the slack both ways, the grid of 20 ms, and rounding
    assert steps <= ({20} if ppm == 0 else {18, 19, 20, 21, 22})

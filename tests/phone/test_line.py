"""A line with faults: what goes in, what leaves, and when."""

from itertools import pairwise
from random import Random

import pytest

from trunkline.phone.line import HELD_FOR, ImpairedLine
from trunkline.phone.values import Impairments, OutgoingDatagram

TO = ("192.0.2.1", 4000)


def packets(count: int) -> list[OutgoingDatagram]:
    return [OutgoingDatagram("rtp", number.to_bytes(2), TO) for number in range(count)]


def sent(line: ImpairedLine, count: int) -> list[tuple[float, int]]:
    """When each packet left, in order, of `count` that went in every 20 ms; the line is looked at every ms."""
    left = []
    waiting = packets(count)
    for millisecond in range(count * 20 + 1000):
        now = millisecond / 1000
        if millisecond % 20 == 0 and waiting:
            line.put(waiting.pop(0), now)
        left += [(now, int.from_bytes(packet.data)) for packet in line.due(now)]
    return left


def test_without_faults_each_packet_leaves_at_once() -> None:
    line = ImpairedLine(Impairments(), Random(1).random)
    assert sent(line, 50) == [(number / 50, number) for number in range(50)]
    assert (line.counts.sent, line.counts.dropped, line.deadline) == (50, 0, None)


def test_lost_packets_never_leave_and_are_counted() -> None:
    line = ImpairedLine(Impairments(loss=0.1), Random(1).random)
    left = sent(line, 1000)
    assert line.counts.dropped == 1000 - len(left) == pytest.approx(100, abs=30)
    assert line.counts.sent == len(left)


def test_jitter_delays_packets_and_keeps_their_order() -> None:
    line = ImpairedLine(Impairments(jitter=0.03), Random(1).random)
    left = sent(line, 500)
    assert [number for _, number in left] == list(range(500))
    delays = [at - number / 50 for at, number in left]
    assert min(delays) >= 0
    assert 0.02 < max(delays) < 0.0315
    assert sum(delays) / 500 == pytest.approx(0.016, abs=0.004)


def test_a_packet_that_is_held_back_leaves_after_the_next() -> None:
    line = ImpairedLine(Impairments(reorder=0.05), Random(2).random)
    order = [number for _, number in sent(line, 500)]
    assert sorted(order) == list(range(500))
    moved = [one for one, other in pairwise(order) if other == one - 1]
    assert len(moved) == line.counts.reordered > 10


def test_a_packet_without_a_successor_leaves_in_the_end() -> None:
    line = ImpairedLine(Impairments(reorder=1.0), Random(1).random)
    line.put(packets(1)[0], 5.0)
    assert line.deadline == 5 + HELD_FOR
    assert line.due(5.05) == []
    assert line.due(5 + HELD_FOR) == packets(1)
    assert line.deadline is None


def test_the_same_random_numbers_make_the_same_faults() -> None:
    faults = Impairments(0.1, 0.02, 0.05)
    assert sent(ImpairedLine(faults, Random(7).random), 200) == sent(ImpairedLine(faults, Random(7).random), 200)


def test_the_deadline_is_that_of_the_first_packet_in_the_queue_or_held_back() -> None:
    chance = iter([0.9, 0.5, 0.9, 1.0, 0.0])  # not held back, its delay; the same; held back
    line = ImpairedLine(Impairments(jitter=0.2, reorder=0.5), chance.__next__)
    first, second, third = packets(3)
    line.put(first, 5.0)
    assert line.deadline == 5.1
    line.put(second, 5.0)
    assert line.deadline == 5.1
    assert line.due(5.0999) == []
    assert line.due(5.1) == [first]
    assert line.deadline == pytest.approx(5.2)
    line.put(third, 5.0)
    assert line.due(5.2) == [second]
    assert line.deadline == pytest.approx(5 + HELD_FOR + 0.2)
    assert line.due(5.2999) == []
    assert line.due(5.3001) == [third]
    assert (line.counts.sent, line.counts.dropped, line.counts.reordered) == (3, 0, 0)


@pytest.mark.parametrize(("drawn", "lost"), [(0.0999, True), (0.1, False)])
def test_a_share_is_that_of_the_numbers_below_it(drawn: float, lost: bool) -> None:
    line = ImpairedLine(Impairments(loss=0.1), lambda: drawn)
    line.put(packets(1)[0], 1.0)
    assert (line.counts.dropped, len(line.due(1.0))) == (lost, not lost)
    line = ImpairedLine(Impairments(reorder=0.1), lambda: drawn)
    line.put(packets(1)[0], 1.0)
    assert len(line.due(1.0)) == (not lost)

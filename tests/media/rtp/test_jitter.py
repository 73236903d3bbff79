"""The reorder window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import Seconds, Ssrc
from trunkline.media.rtp.jitter import JitterBuffer, Released

HELD_LIMIT = 128
HISTORY = 50
MAX_DROPOUT = 3000
MAX_MISORDER = 100
ON_TRIAL = 16
REPEATED = 12
SHORTEST = Seconds(0.02)

WINDOW = Seconds(0.06)
PEER = Ssrc(7)


class Feed:
    """A buffer driven by hand, and its output: packet numbers, each with the count of missing packets before it."""

    def __init__(self) -> None:
        self.buffer: JitterBuffer = JitterBuffer(WINDOW)
        self.out: list[tuple[int, int]] = []
        self.restarts: list[int] = []

    def take(self, released: list[Released]) -> None:
        for item, missing, restart in released:
            self.out.append((item, missing))
            if restart:
                self.restarts.append(item)

    def packet(self, n: int, now: float = 0.0, ssrc: Ssrc = PEER, *, restarted: bool = False) -> None:
        if self.buffer.accepts(n & 0xFFFF, ssrc):
            self.out.append((n, 0))
        else:
            self.take(self.buffer.push(n & 0xFFFF, ssrc, n, Seconds(now), restarted=restarted))

    def reception(self) -> tuple[int, int, int]:
        """The figures for RTCP: the extended highest sequence number, packets expected, packets received."""
        return self.buffer.highest, self.buffer.expected, self.buffer.received

    def time(self, now: float) -> None:
        self.take(self.buffer.expire(Seconds(now)))

    @property
    def numbers(self) -> list[int]:
        return [n for n, _ in self.out]


def test_packets_in_order_pass_at_once_even_across_the_wrap() -> None:
    feed = Feed()
    for n in range(65530, 65545):
        feed.packet(n)
    assert feed.out == [(n, 0) for n in range(65530, 65545)]
    assert feed.buffer.deadline is None
    assert (feed.buffer.highest, feed.buffer.expected, feed.buffer.received) == (65544, 15, 15)


def test_a_gap_that_fills_within_the_window_is_put_in_order() -> None:
    feed = Feed()
    for n, now in ((0, 0.0), (2, 0.04), (3, 0.06), (1, 0.065), (4, 0.08)):
        feed.packet(n, now)
    assert feed.out == [(n, 0) for n in range(5)]
    assert (feed.buffer.reordered, feed.buffer.lost) == (1, 0)


def test_a_gap_is_given_up_after_its_window_and_its_packets_counted() -> None:
    feed = Feed()
    feed.packet(0, 0.0)
    feed.packet(3, 0.06)
    feed.packet(5, 0.1)
    assert feed.buffer.deadline == 0.06 + WINDOW
    feed.time(0.119)
    assert feed.out == [(0, 0)]
    feed.time(0.121)
    assert feed.out == [(0, 0), (3, 2)]
    feed.time(0.161)
    assert feed.out == [(0, 0), (3, 2), (5, 1)]
    assert feed.buffer.lost == 3


def test_an_arriving_packet_ends_an_overdue_gap() -> None:
    feed = Feed()
    feed.packet(0, 0.0)
    feed.packet(2, 0.04)
    feed.packet(3, 0.2)
    assert feed.out == [(0, 0), (2, 1), (3, 0)]


def test_a_packet_after_its_window_is_late_and_its_copy_a_duplicate() -> None:
    feed = Feed()
    feed.packet(0, 0.0)
    feed.packet(2, 0.02)
    feed.time(1.0)
    feed.packet(1, 1.0)
    feed.packet(1, 1.0)
    feed.packet(2, 1.0)
    assert feed.numbers == [0, 2]
    assert (feed.buffer.late, feed.buffer.duplicate) == (1, 2)


def test_a_duplicate_of_a_held_packet_is_dropped() -> None:
    feed = Feed()
    for n in (0, 2, 2, 1):
        feed.packet(n)
    assert feed.numbers == [0, 1, 2]
    assert feed.buffer.duplicate == 1


def test_another_ssrc_restarts_once_its_second_packet_confirms_it() -> None:
    feed = Feed()
    for n in (10, 11):
        feed.packet(n)
    feed.packet(500, ssrc=Ssrc(8))
    assert feed.numbers == [10, 11]
    feed.packet(501, ssrc=Ssrc(8))
    feed.packet(502, ssrc=Ssrc(8))
    assert feed.out[2:] == [(500, 0), (501, 0), (502, 0)]
    assert feed.restarts == [10, 500]
    assert (feed.buffer.restarts, feed.buffer.stray) == (1, 0)


def test_an_ssrc_of_zero_is_one_as_others_are() -> None:
    feed = Feed()
    for ssrc in (0, PEER, 0):
        for n in (10, 11):
            feed.packet(n, ssrc=Ssrc(ssrc))
    assert feed.numbers == [10, 11] * 3
    assert feed.buffer.restarts == 2


def test_two_sources_at_once_do_not_take_turns() -> None:
    feed = Feed()
    for n in range(20):
        feed.packet(n)
        feed.packet(500 + n, ssrc=Ssrc(8))
    assert feed.numbers == list(range(20))
    assert feed.buffer.restarts == 0
    assert feed.buffer.stray == 19


def test_a_single_packet_out_of_range_is_dropped() -> None:
    feed = Feed()
    feed.packet(0)
    feed.packet(MAX_DROPOUT + 1)
    feed.packet(1)
    feed.packet(40000)
    feed.packet(2)
    assert feed.numbers == [0, 1, 2]


@pytest.mark.parametrize(("ahead", "step"), [(-101, None), (-100, -100), (0, 0), (2999, 2999), (3000, None)])
@pytest.mark.parametrize("following", [200, 65536, 65536 + 50])
def test_the_range_of_a_sequence_is_that_of_the_rfc(following: int, ahead: int, step: int | None) -> None:
    feed = Feed()
    for n in range(following - 150, following):
        feed.packet(n)
    sequence = (following + ahead) & 0xFFFF
    assert feed.buffer.step(sequence, PEER) == step
    assert feed.buffer.step(sequence, Ssrc(8)) is None


@pytest.mark.parametrize(("back", "late"), [(MAX_MISORDER, 1), (MAX_MISORDER + 1, 0)])
def test_lost_packets_are_late_as_far_back_as_they_can_be_reordered(back: int, late: int) -> None:
    feed = Feed()
    feed.packet(0, 0.0)
    feed.packet(300, 0.02)
    feed.time(1.0)
    feed.packet(301 - back, 1.0)
    assert (feed.buffer.lost, feed.buffer.late, feed.buffer.duplicate) == (299, late, 0)


def test_a_packet_from_before_a_gap_is_a_duplicate() -> None:
    feed = Feed()
    for n, now in ((0, 0.0), (1, 0.02), (3, 0.06), (1, 1.0), (2, 1.0), (0, 1.0)):
        feed.packet(n, now)
        feed.time(now)
    assert (feed.buffer.late, feed.buffer.duplicate) == (1, 2)


@pytest.mark.parametrize("held", [HELD_LIMIT, HELD_LIMIT + 1])
def test_a_gap_is_given_up_early_beyond_the_limit(held: int) -> None:
    feed = Feed()
    for n in (0, *range(2, held + 2)):
        feed.packet(n)
    assert feed.numbers == ([0] if held == HELD_LIMIT else [0, *range(2, held + 2)])
    assert feed.buffer.lost == (held > HELD_LIMIT)


@pytest.mark.parametrize(("lateness", "window"), [(0.001, SHORTEST), (0.02, 0.03), (0.039, 0.0585), (0.05, WINDOW)])
def test_the_window_follows_the_latest_of_the_last_gaps_within_its_bounds(lateness: float, window: float) -> None:
    feed = Feed()
    feed.packet(0)

    def gap(n: int, late: float) -> None:
        feed.packet(n + 2, n)
        feed.packet(n + 1, n + late)

    gap(0, 0.055)
    for number in range(1, HISTORY - 1):
        gap(2 * number, 0.0)
    assert feed.buffer.window == WINDOW, "not enough gaps"
    gap(2 * HISTORY - 2, lateness)
    assert feed.buffer.window == WINDOW, "the first gap still counts"
    gap(2 * HISTORY, 0.0)
    assert feed.buffer.window == pytest.approx(window)
    assert (feed.buffer.reordered, feed.buffer.lost) == (HISTORY + 1, 0)


@pytest.mark.parametrize("apart", [ON_TRIAL - 1, ON_TRIAL])
def test_packets_too_far_apart_do_not_begin_a_sequence_together(apart: int) -> None:
    feed = Feed()
    feed.packet(0)
    for n in (20_000, 20_000 + apart, 19_999 + apart):
        feed.packet(n)
    together = apart < ON_TRIAL
    assert feed.restarts == [0, 20_000 if together else 19_999 + apart]
    assert feed.buffer.stray == (not together)


def test_a_jump_that_goes_on_is_a_restart() -> None:
    feed = Feed()
    for n in (0, 1, 30000, 30001, 30002, 20, 21, 22):
        feed.packet(n)
    assert feed.numbers == [0, 1, 30000, 30001, 30002, 20, 21, 22]
    assert feed.restarts == [0, 30000, 20]
    assert feed.buffer.lost == 0


def test_held_packets_are_delivered_before_a_restart() -> None:
    feed = Feed()
    for n in (0, 2):
        feed.packet(n)
    feed.packet(900, ssrc=Ssrc(8))
    feed.packet(901, ssrc=Ssrc(8))
    assert feed.out == [(0, 0), (2, 1), (900, 0), (901, 0)]


def test_after_a_reset_the_next_packet_starts_a_new_sequence() -> None:
    feed = Feed()
    for n in (0, 2):
        feed.packet(n)
    feed.take(feed.buffer.reset())
    feed.packet(40000, ssrc=Ssrc(9))
    assert feed.out == [(0, 0), (2, 1), (40000, 0)]
    assert feed.restarts == [0, 40000]


def test_a_flood_beyond_a_gap_is_bounded() -> None:
    feed = Feed()
    feed.packet(0)
    for n in range(2, 2 + 4 * HELD_LIMIT, 2):
        feed.packet(n)
        assert len(feed.buffer._held) <= HELD_LIMIT
    assert feed.numbers == [0, *range(2, feed.numbers[-1] + 1, 2)]


@pytest.mark.parametrize("back", [2, 3, 60, MAX_MISORDER - 1])
def test_a_sequence_that_restarts_a_little_earlier_loses_nothing(back: int) -> None:
    feed = Feed()
    for n in range(1000, 1100):
        feed.packet(n)
    restarted = [1100 - back + n for n in range(50)]
    for n in restarted:
        feed.packet(n, restarted=feed.numbers[-1] != n - 1)
    assert feed.numbers == [*range(1000, 1100), *restarted]
    assert feed.restarts == [1000, restarted[0]]
    assert (feed.buffer.duplicate, feed.buffer.late, feed.buffer.lost, feed.buffer.stray) == (0, 0, 0, 0)
    assert feed.reception() == (restarted[-1], 50, 50)


def test_a_sequence_and_timestamps_that_repeat_restart_after_some_packets() -> None:
    feed = Feed()
    for n in range(100):
        feed.packet(n)
    for n in range(40, 40 + REPEATED - 1):
        feed.packet(n)
    assert feed.numbers == [*range(100)]
    assert feed.buffer.duplicate == REPEATED - 1
    for n in range(40 + REPEATED - 1, 60):
        feed.packet(n)
    assert feed.numbers == [*range(100), *range(40, 60)]
    assert feed.buffer.duplicate == 0
    assert feed.reception() == (59, 20, 20)


def test_packets_sent_twice_in_a_row_are_duplicates() -> None:
    feed = Feed()
    for n in range(100):
        feed.packet(n)
    for n in range(50):
        feed.packet(50 + n)
        if n % (REPEATED - 1) == REPEATED - 2:
            feed.packet(100 + n // (REPEATED - 1))
    assert feed.restarts == [0]
    assert feed.numbers == [*range(104)]
    assert feed.buffer.duplicate == 50


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 3), (2, 0, 1), (0, 0, 1), (0, 3, 5, 4)])
def test_first_packets_of_another_sequence_in_any_order_are_kept(order: tuple[int, ...]) -> None:
    feed = Feed()
    for n in (10, 11):
        feed.packet(n)
    for n in order:
        feed.packet(65535 + n, 1.0, ssrc=Ssrc(8))
    feed.time(2.0)
    assert sorted(n & 0xFFFF for n in feed.numbers[2:]) == sorted({65535 + n & 0xFFFF for n in order})
    assert [n - 65535 for n in feed.numbers[2:]] == sorted(set(order))
    assert len(feed.restarts) == 2


def test_an_unconfirmed_sequence_is_bounded_and_dropped_if_the_old_one_goes_on() -> None:
    feed = Feed()
    feed.packet(0)
    for n in range(0, 4000, 2):
        feed.packet(30_000 + n)
        assert feed.buffer._trial is not None
        assert len(feed.buffer._trial.items) <= 2 * ON_TRIAL
    feed.packet(1)
    feed.packet(33_999)
    assert feed.numbers == [0, 1]


@given(st.integers(0, 65535), st.lists(st.tuples(st.integers(-30, 60), st.floats(0, 0.05)), min_size=1, max_size=60))
def test_reception_is_reported_as_the_rfc_computes_it(start: int, steps: list[tuple[int, float]]) -> None:
    """RFC 3550 appendix A.3: expected is from the first to the highest number, received is each packet that came."""
    feed = Feed()
    feed.packet(start)
    highest, came, now = start, 1, 0.0
    for step, wait in steps:
        # Two or more repeated in a row are not modelled here.
        number, now = max(start, highest + step), now + wait
        feed.time(now)
        feed.packet(number, now)
        came += 1
        if feed.buffer.restarts:
            return
        highest = max(highest, number)
        assert feed.reception() == (highest, highest - start + 1, came)
        assert feed.buffer.lost + len(set(feed.numbers)) + len(feed.buffer._held) <= highest - start + 1
    feed.take(feed.buffer.flush())
    assert feed.reception() == (highest, highest - start + 1, came)
    delivered = set(feed.numbers)
    assert feed.buffer.lost == highest - start + 1 - len(delivered)
    assert feed.buffer.late + feed.buffer.duplicate == came - len(delivered)


def test_losses_and_duplicates_are_reported_within_the_window_and_after() -> None:
    feed = Feed()
    for n, now, reception in (
        (65534, 0.00, (65534, 1, 1)),
        (65535, 0.02, (65535, 2, 2)),
        (65538, 0.04, (65538, 5, 3)),  # two are missing
        (65538, 0.04, (65538, 5, 4)),  # it comes twice
        (65536, 0.05, (65538, 5, 5)),  # one of them was late
        (65540, 0.20, (65540, 7, 6)),  # the other is given up, and one more is missing
        (65537, 0.21, (65540, 7, 7)),  # now it comes
        (65537, 0.21, (65540, 7, 8)),  # twice
        (65541, 0.22, (65541, 8, 9)),
        (65542, 0.40, (65542, 9, 10)),
    ):
        feed.packet(n, now)
        assert feed.reception() == reception, n
    assert feed.numbers == [65534, 65535, 65536, 65538, 65540, 65541, 65542]
    assert (feed.buffer.lost, feed.buffer.late, feed.buffer.duplicate) == (2, 1, 2)
    for n in (100, 101, 104):
        feed.packet(n, 1.0, ssrc=Ssrc(8))
    assert feed.reception() == (104, 5, 3)
    feed.take(feed.buffer.flush())
    assert feed.reception() == (104, 5, 3)
    assert feed.buffer.lost == 4


@given(st.integers(0, 65535), st.integers(1, 80), st.data())
def test_any_disorder_within_the_window_is_sorted_and_every_loss_counted(
    start: int, count: int, data: st.DataObject
) -> None:
    sent = range(start, start + count)
    lost = data.draw(st.sets(st.sampled_from(sent[1:]))) if count > 1 else set()
    twice = data.draw(st.lists(st.sampled_from(sent), max_size=20))
    # Each copy is delayed by less than the window; the first packet starts the sequence.
    delays = data.draw(st.lists(st.floats(0, 0.0599), min_size=count + 20, max_size=count + 20))
    copies = [n for n in [*sent[1:], *twice] if n not in lost]
    delayed = [((n - start) * 0.02 + delay, n) for n, delay in zip(copies, delays, strict=False)]
    arrivals = [(0.0, start), *delayed]
    feed = Feed()
    for now, n in sorted(arrivals):
        feed.time(now)
        feed.packet(n, now)
    feed.take(feed.buffer.flush())
    received = [n for n in sent if n not in lost]
    assert feed.numbers == received
    assert sum(missing for _, missing in feed.out) == received[-1] - start + 1 - len(received)
    position = start
    for n, missing in feed.out:
        assert n == position + missing
        position = n + 1
    assert feed.buffer.duplicate + feed.buffer.late == len(arrivals) - len(received)


@given(st.lists(st.tuples(st.integers(0, 65535), st.sampled_from([1, 2, 3]), st.floats(0, 0.1)), max_size=200))
def test_any_packets_are_delivered_once_and_none_is_kept_for_ever(packets: list[tuple[int, int, float]]) -> None:
    feed = Feed()
    now = 0.0
    for number, ssrc, step in packets:
        now += step
        feed.packet(number, now, Ssrc(ssrc))
        deadline = feed.buffer.deadline
        assert deadline is None or now < deadline <= now + WINDOW
    feed.time(now + WINDOW)
    assert feed.buffer.deadline is None
    assert len(feed.out) <= len(packets)


def test_a_late_packet_is_measured_from_the_first_that_overtook_it() -> None:
    feed = Feed()
    feed.packet(0)
    for number in range(1, 3 * HISTORY, 3):
        feed.packet(number + 1, number)
        feed.packet(number + 2, number + 0.02)
        feed.packet(number, number + 0.03)
    assert feed.numbers == list(range(3 * HISTORY + 1))
    assert feed.buffer.window == pytest.approx(1.5 * 0.03)

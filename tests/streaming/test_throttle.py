"""How fast an app is read."""

import pytest

from trunkline.streaming.throttle import Throttle

BURST = 0.02


def test_the_rate_of_a_conversation_is_never_throttled() -> None:
    throttle = Throttle()
    # The bursts of real clients: a second of 20 ms messages at once, 3 s of audio in six messages.
    for start, sizes in ((10.0, [250] * 50), (11.0, [5400] * 6)):
        assert not any(throttle.charge(size, start) for size in sizes)
    assert not any(throttle.charge(250, 12 + number * 0.02) for number in range(500))
    assert throttle.rest(30) == 0


@pytest.mark.parametrize(("size", "most"), [(0, 10_000), (1000, 5_000), (100_000, 110)])
def test_a_flood_is_read_at_a_bounded_rate(size: int, most: int) -> None:
    throttle, now, read = Throttle(), 100.0, 0
    while now < 101:
        read += 1
        if throttle.charge(size, now):
            assert throttle.rest(now) > BURST
            now += throttle.rest(now)
    assert most * 0.8 < read <= most * 1.1


def test_a_debt_of_exactly_the_burst_is_allowed() -> None:
    for size, stops in ((39_000, False), (39_001, True)):
        throttle = Throttle()
        # Five messages, whose prices are exactly 4 ms each, also as floating-point numbers.
        assert [throttle.charge(size, 0.0) for _ in range(5)] == [False] * 4 + [stops]
        assert throttle.rest(0.0) == pytest.approx(BURST, abs=1e-6)


def test_a_very_large_message_delays_the_next_ones() -> None:
    throttle = Throttle()
    assert throttle.charge(8 << 20, 5.0)
    assert throttle.rest(5.0) == pytest.approx(0.84, abs=0.01)
    assert throttle.rest(6.0) == 0

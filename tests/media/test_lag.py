"""The delay of packets on average."""

import pytest

from trunkline.media.lag import Lag


def test_the_delay_is_averaged_over_the_time_since_the_last_look() -> None:
    lag = Lag(100.0)
    assert lag.take(101.0) == 0
    for _ in range(4):  # held up for all of the time
        lag.held_up(0.25)
    assert lag.take(102.0) == pytest.approx(0.125)
    lag.held_up(0.2)
    assert lag.take(104.0) == pytest.approx(0.01), "once in two seconds"
    assert lag.take(105.0) == 0


def test_a_second_look_at_the_same_time_gives_no_delay() -> None:
    lag = Lag(100.0)
    lag.held_up(0.2)
    assert lag.take(100.0) == 0

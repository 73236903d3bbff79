"""The retry policy, with a clock driven by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.config import StreamSettings
from trunkline.streaming.retry import Disconnect, DisconnectReason, Retry

SETTINGS = StreamSettings()
REFUSED = Disconnect(DisconnectReason.UNREACHABLE, "refused")
LOST = Disconnect(DisconnectReason.LOST, "lost")
GOING_AWAY = Disconnect(DisconnectReason.GOING_AWAY, "going away")


def policy(settings: StreamSettings = SETTINGS, *, enabled: bool = True, opened: float | None = None) -> Retry:
    retry = Retry(settings, enabled=enabled)
    retry.begin(0)
    if opened is not None:
        retry.opened(opened)
    return retry


def tries(retry: Retry, gone: Disconnect, now: float) -> list[float]:
    """The times of the tries after `gone` at `now`, if every try is refused at once."""
    times = []
    while (delay := retry.after(gone, now)) is not None:
        now += delay
        times.append(now)
        gone = REFUSED
    return times


def test_a_loss_is_followed_by_tries_250_ms_doubling_to_5_s_for_30_s() -> None:
    times = tries(policy(opened=1), LOST, 100)
    assert times[:8] == [100.25, 100.75, 101.75, 103.75, 107.75, 112.75, 117.75, 122.75]
    assert times[8:] == pytest.approx([127.75, 128.875, 129.4375, 129.71875, 129.859375])


def test_an_unreachable_app_is_tried_for_10_s_at_first() -> None:
    times = tries(policy(), REFUSED, 0)
    assert times[:5] == [0.25, 0.75, 1.75, 3.75, 7.75]
    assert 9.5 < times[-1] < 10


def test_a_first_try_that_fails_otherwise_is_the_end() -> None:
    assert policy().after(Disconnect(DisconnectReason.FAILED, "HTTP 403"), 0.1) is None
    retry = policy()
    assert retry.after(REFUSED, 0) == 0.25
    assert retry.after(Disconnect(DisconnectReason.FAILED, "HTTP 403"), 0.3) is None


def test_after_a_loss_every_failure_is_worth_another_try() -> None:
    retry = policy(opened=1)
    assert retry.after(LOST, 100) == 0.25
    assert retry.after(Disconnect(DisconnectReason.FAILED, "HTTP 503"), 100.3) == 0.5


def test_a_proper_close_is_the_end() -> None:
    closed = Disconnect(DisconnectReason.CLOSED, "closed")
    assert policy(opened=1).after(closed, 100) is None
    retry = policy(opened=1)
    retry.after(LOST, 100)
    retry.opened(101)
    assert retry.after(closed, 102) is None


def test_an_app_that_goes_away_is_tried_for_like_one_that_was_lost() -> None:
    assert tries(policy(opened=1), GOING_AWAY, 100) == tries(policy(opened=1), LOST, 100)


def test_going_away_is_remembered_until_a_socket_is_lost() -> None:
    retry = policy(opened=1)
    assert not retry.going_away
    retry.after(GOING_AWAY, 100)
    retry.after(REFUSED, 101)
    retry.after(Disconnect(DisconnectReason.FAILED, "HTTP 502"), 102)
    assert retry.going_away
    retry.opened(103)
    retry.after(LOST, 104)
    assert not retry.going_away


@pytest.mark.parametrize("gone", [REFUSED, LOST, GOING_AWAY])
def test_disabled_there_is_one_try_and_one_socket(gone: Disconnect) -> None:
    assert policy(enabled=False).after(gone, 0) is None
    assert policy(enabled=False, opened=1).after(gone, 100) is None


def test_a_socket_that_stayed_open_ends_the_outage() -> None:
    retry = policy(opened=1)
    for lost_at in (100, 106, 112):
        assert retry.after(LOST, lost_at) == 0.25
        retry.opened(lost_at + 1)


def test_an_app_that_breaks_every_connection_at_once_is_given_up() -> None:
    retry = policy(opened=1)
    now, sockets = 100.0, 0
    while (delay := retry.after(LOST, now)) is not None:
        now += delay
        retry.opened(now)
        sockets += 1
    assert now < 130
    assert 10 < sockets < 20


def test_a_first_socket_that_goes_at_once_has_the_whole_window() -> None:
    assert tries(policy(opened=9), LOST, 9)[-1] > 38


def test_a_try_may_take_what_is_left_of_the_window() -> None:
    retry = policy()
    assert retry.connect_timeout(0) == 10
    assert retry.connect_timeout(8) == 2
    assert retry.connect_timeout(12) == SETTINGS.reconnect_delay
    retry.opened(1)
    retry.after(LOST, 100)
    assert retry.connect_timeout(100.25) == 10
    assert retry.connect_timeout(125) == 5


@given(
    st.lists(
        st.tuples(
            st.sampled_from([DisconnectReason.UNREACHABLE, DisconnectReason.FAILED, DisconnectReason.LOST]),
            st.floats(0, 1),
        ),
        max_size=50,
    ),
    st.floats(0.01, 5),
    st.floats(0.01, 10),
    st.floats(0.01, 60),
)
def test_no_try_begins_outside_the_window(
    failures: list[tuple[DisconnectReason, float]], delay: float, longest: float, window: float
) -> None:
    settings = StreamSettings(reconnect_delay=delay, reconnect_delay_max=longest, reconnect_window=window)
    retry = policy(settings, opened=0)
    now = 100.0
    wait = retry.after(LOST, now)
    for how, share in failures:
        if wait is None:
            return
        now += wait
        assert 100 < now < 100 + window + 1e-6
        if how is DisconnectReason.LOST:
            retry.opened(now)
            now += share * longest * 0.99  # it never stays
        else:
            now += share * retry.connect_timeout(now)
        wait = retry.after(Disconnect(how, ""), now)

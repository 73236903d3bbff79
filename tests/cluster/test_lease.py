"""Who is alive, by the rules alone."""

from hypothesis import given
from hypothesis import strategies as st

from trunkline.cluster.lease import BEAT, Arrival, Lease, OtherLife

CALM = 7.0
LEASE = 5.0
MARGIN = 0.5

OTHER = OtherLife("AAmine", "host", lease_left=LEASE, beat=1)


def other(lease_left: float, beat: int = 1, *, gone: bool = False) -> OtherLife:
    return OtherLife("AAmine", "host", lease_left, beat, gone)


def test_a_lease_holds_from_its_beat_until_a_margin_before_its_end() -> None:
    lease = Lease()
    assert not lease.holds(0)
    lease.renewed_at = 100
    assert lease.holds(100)
    assert lease.holds(100 + LEASE - MARGIN - 0.01)
    assert not lease.holds(100 + LEASE - MARGIN)


def test_a_life_has_several_tries_to_renew_its_lease() -> None:
    assert 0 < BEAT <= (LEASE - MARGIN) / 4


def test_a_lost_lease_never_holds_again() -> None:
    lease = Lease(renewed_at=100, lost=True)
    assert not lease.holds(100)
    lease.renewed_at = 101
    assert not lease.holds(101)


def test_a_lease_that_is_a_lock_needs_no_beat() -> None:
    lease = Lease(locked=True)
    assert lease.holds(1e9)
    lease.lost = True
    assert not lease.holds(0)


def test_the_first_life_enters_at_once() -> None:
    assert Arrival().observed([], 0) == "enter"


def test_a_life_whose_process_is_proved_gone_is_not_waited_for() -> None:
    assert Arrival().observed([other(LEASE, gone=True)], 0) == "enter"


def test_another_life_that_beats_is_the_reason_to_stay_away() -> None:
    arrival = Arrival()
    assert arrival.observed([other(4)], 0) == "wait"
    beaten = other(5, beat=2)
    assert arrival.observed([beaten], 1) is beaten


def test_a_lease_that_is_over_is_waited_for_as_the_database_may_have_been_away() -> None:
    arrival = Arrival()
    assert arrival.observed([other(-3600)], 0) == "wait"
    assert arrival.observed([other(-3600)], CALM - 0.1) == "wait"
    beaten = other(5, beat=2)
    assert arrival.observed([beaten], CALM) is beaten


def test_a_lease_is_over_at_its_end_and_not_before() -> None:
    arrival = Arrival()
    arrival.observed([other(4)], 1000)
    assert arrival.observed([other(0.01)], 1000 + CALM) == "wait"
    assert arrival.observed([other(0)], 1000 + CALM) == "enter"


def test_what_does_not_beat_while_it_is_watched_is_dead() -> None:
    arrival = Arrival()
    arrival.observed([other(4)], 0)
    assert arrival.observed([other(4 - CALM)], CALM) == "enter"


def test_a_lease_that_is_not_over_is_waited_for_however_long() -> None:
    arrival = Arrival()
    arrival.observed([other(60)], 0)
    assert arrival.observed([other(50)], CALM + 3) == "wait"


def test_one_of_several_decides() -> None:
    assert Arrival().observed([other(4, gone=True), OtherLife("AAtheirs", "h", 5, 1)], 0) == "wait"
    arrival = Arrival()
    quiet, living = other(4), OtherLife("AAtheirs", "h", 5, 1)
    arrival.observed([quiet, living], 0)
    beaten = OtherLife("AAtheirs", "h", 5, 2)
    assert arrival.observed([quiet, beaten], 1) is beaten


@given(offset=st.floats(0, BEAT), looks=st.lists(st.floats(0.05, 1), min_size=30, max_size=60))
def test_a_life_that_beats_is_never_buried(offset: float, looks: list[float]) -> None:
    arrival, now = Arrival(), 0.0
    for wait in looks:
        last = int(now + offset)
        verdict = arrival.observed([OtherLife("AAmine", "h", LEASE - (now + offset - last), last)], now)
        if isinstance(verdict, OtherLife):
            return
        assert verdict == "wait"
        now += wait
    assert now < CALM, "it was found within the time in which it beats"

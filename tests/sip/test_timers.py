"""The heap of timers, by a clock that is advanced by hand."""

from hypothesis import given
from hypothesis import strategies as st

from trunkline.sip import timers as module
from trunkline.sip.timers import Timer, Timers


def run(timers: Timers, now: float) -> None:
    """What the driver does at a time."""
    timers.now = now
    while (timer := timers.pop_due()) is not None:
        timer.run()


def test_a_timer_runs_once_when_it_is_due_with_its_arguments() -> None:
    timers = Timers(now=100)
    ran: list[object] = []
    timer = timers.after(5, ran.append, "due")
    assert (timers.next_deadline, len(timers)) == (105, 1)
    run(timers, 104.9)
    assert ran == []
    run(timers, 105)
    run(timers, 105)
    assert (ran, timer.live, len(timers), timers.next_deadline) == (["due"], False, 0, None)


def test_the_next_deadline_is_the_earliest() -> None:
    timers = Timers()
    deadlines = []
    for seconds in (5, 7, 3, 4):
        timers.after(seconds, lambda: None)
        deadlines.append(timers.next_deadline)
    assert deadlines == [5, 5, 3, 3]


def test_a_cancelled_timer_does_not_run_and_the_others_do() -> None:
    timers = Timers()
    ran: list[object] = []
    first = timers.after(1, ran.append, 1)
    timers.after(2, ran.append, 2)
    first.cancel()
    first.cancel()
    assert (len(timers), timers.next_deadline) == (1, 2)
    run(timers, 1)
    assert (ran, timers.next_deadline) == ([], 2)
    run(timers, 2)
    assert ran == [2]


def test_a_timer_may_start_another() -> None:
    timers = Timers()
    ran: list[object] = []
    timers.after(0, lambda: timers.after(3, ran.append, "later"))
    run(timers, 0)
    assert (timers.next_deadline, ran) == (3, [])
    run(timers, 3)
    assert ran == ["later"]


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    keep = timers.after(9, lambda: None)
    for _ in range(3 * module.CANCELLED_LIMIT):
        timers.after(10, lambda: None).cancel()
    assert len(timers) == 1
    assert len(timers._heap) <= module.CANCELLED_LIMIT + 1
    assert (keep.live, timers.next_deadline) == (True, 9)


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=30))
def test_all_that_are_not_cancelled_run_in_order_of_their_deadlines(wanted: list[tuple[float, bool]]) -> None:
    timers = Timers()
    ran: list[tuple[float, float]] = []
    made: list[tuple[Timer, bool]] = []
    for seconds, cancel in wanted:
        made.append((timers.after(seconds, lambda seconds=seconds: ran.append((timers.now, seconds))), cancel))
    for timer, cancel in made:
        if cancel:
            timer.cancel()
    while (deadline := timers.next_deadline) is not None:
        run(timers, deadline)
    assert [seconds for _, seconds in ran] == sorted(seconds for seconds, cancel in wanted if not cancel)
    assert all(at == seconds for at, seconds in ran)

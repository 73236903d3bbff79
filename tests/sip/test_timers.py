"""The heap of timers, its clock turned by hand."""

from hypothesis import given
from hypothesis import strategies as st

from trunkline.sip import timers as module
from trunkline.sip.timers import Timer, Timers


class Alarm:
    """The driver: a clock, and the last deadline that it was told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.woken: list[float] = []
        self.failures: list[Exception] = []
        self.timers = Timers(lambda: self.now, self.woken.append, self.failures.append)


def test_a_timer_runs_once_when_it_is_due_with_its_arguments() -> None:
    alarm = Alarm()
    ran: list[object] = []
    timer = alarm.timers.after(5, ran.append, "due")
    assert (alarm.woken, alarm.timers.next_deadline, len(alarm.timers)) == ([5], 5, 1)
    alarm.now = 4.9
    alarm.timers.run()
    assert ran == []
    alarm.now = 5
    alarm.timers.run()
    alarm.timers.run()
    assert (ran, timer.live, len(alarm.timers), alarm.timers.next_deadline) == (["due"], False, 0, None)


def test_only_an_earlier_deadline_wakes_the_driver() -> None:
    alarm = Alarm()
    for seconds in (5, 7, 3, 4):
        alarm.timers.after(seconds, lambda: None)
    assert alarm.woken == [5, 3]


def test_what_was_cancelled_does_not_run_and_what_remains_is_told() -> None:
    alarm = Alarm()
    ran: list[object] = []
    first = alarm.timers.after(1, ran.append, 1)
    alarm.timers.after(2, ran.append, 2)
    first.cancel()
    first.cancel()
    assert (len(alarm.timers), alarm.timers.next_deadline) == (1, 2)
    alarm.now = 1
    alarm.timers.run()
    assert (ran, alarm.woken[-1]) == ([], 2)
    alarm.now = 2
    alarm.timers.run()
    assert ran == [2]


def test_one_that_fails_is_told_and_harms_nobody() -> None:
    alarm = Alarm()
    ran: list[object] = []
    fault = RuntimeError("broken")

    def fail() -> None:
        raise fault

    alarm.timers.after(0, fail)
    alarm.timers.after(0, ran.append, "next")
    alarm.timers.run()
    assert (alarm.failures, ran) == ([fault], ["next"])


def test_a_timer_may_start_another_which_is_told_at_the_end() -> None:
    alarm = Alarm()
    ran: list[object] = []
    alarm.timers.after(0, lambda: alarm.timers.after(3, ran.append, "later"))
    alarm.timers.run()
    assert (alarm.woken, ran) == ([0, 3], [])


def test_cancelled_timers_do_not_pile_up() -> None:
    alarm = Alarm()
    keep = alarm.timers.after(9, lambda: None)
    for _ in range(3 * module.CANCELLED_LIMIT):
        alarm.timers.after(10, lambda: None).cancel()
    assert len(alarm.timers) == 1
    assert len(alarm.timers._heap) <= module.CANCELLED_LIMIT + 1
    assert (keep.live, alarm.timers.next_deadline) == (True, 9)


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=30))
def test_all_that_are_not_cancelled_run_in_order_of_their_deadlines(wanted: list[tuple[float, bool]]) -> None:
    alarm = Alarm()
    ran: list[tuple[float, float]] = []
    made: list[tuple[Timer, bool]] = []
    for seconds, cancel in wanted:
        made.append((alarm.timers.after(seconds, lambda seconds=seconds: ran.append((alarm.now, seconds))), cancel))
    for timer, cancel in made:
        if cancel:
            timer.cancel()
    while (deadline := alarm.timers.next_deadline) is not None:
        alarm.now = deadline
        alarm.timers.run()
    assert [seconds for _, seconds in ran] == sorted(seconds for seconds, cancel in wanted if not cancel)
    assert all(at == seconds for at, seconds in ran)

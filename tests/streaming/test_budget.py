"""What the streams of one account hold: taken, given back, refused and counted."""

from collections import Counter

from trunkline.streaming.budget import CLOSED, UNBOUNDED, Budget, Budgets


def test_what_is_too_much_is_refused_counted_and_takes_nothing() -> None:
    counters = Counter[str]()
    budget = Budget(100, counters)
    assert [budget.take(60), budget.take(41), budget.take(40)] == [True, False, True]
    assert (budget.held, counters) == (100, {"stream_memory_refused": 1})
    budget.give(60)
    assert budget.take(60)


def test_without_an_account_there_is_no_limit_and_for_what_is_over_no_byte() -> None:
    assert UNBOUNDED.take(1 << 50)
    UNBOUNDED.give(1 << 50)
    assert not CLOSED.take(1)
    assert CLOSED.held == 0


def test_the_streams_of_an_account_share_a_budget_and_accounts_do_not() -> None:
    budgets = Budgets()
    ours, theirs = budgets.of("a", 10), budgets.of("b", 10)
    assert budgets.of("a", 99) is ours
    assert ours.take(10)
    assert not ours.take(1)
    assert theirs.take(10)
    assert budgets.counters == {"stream_memory_refused": 1}


def test_a_budget_that_no_stream_refers_to_is_gone() -> None:
    budgets = Budgets()
    budgets.of("a", 10)
    assert budgets.of("a", 20).limit == 20

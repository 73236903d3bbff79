"""Which request may start, and which requests do not wait for each other."""

from collections import Counter
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.outbound.turns import Limits, TooMany, Turn, Turns

KNOWN_LIMIT = 10_000

LIMITS = Limits(total=8, account=6, host=3, silent=1, waiting=20)


class Queue:
    """Turns, and who has had one, in order."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.turns = Turns(limits)
        self.gone: list[str] = []
        self.asked: dict[str, Turn] = {}

    def ask(self, *names: str) -> None:
        """Each name is account, host and a number."""
        for name in names:
            account, host, _ = name.split("/")
            self.asked[name] = self.turns.ask(account, host, partial(self.gone.append, name))

    def leave(self, *names: str, answered: bool | None = True) -> None:
        for name in names:
            self.turns.leave(self.asked.pop(name), answered=answered)


def test_accounts_take_turns_and_in_them_hosts() -> None:
    queue = Queue(Limits(total=1, account=1, host=1, silent=1))
    queue.ask("a/x/1", "a/x/2", "a/x/3", "a/y/1", "b/x/1", "b/x/2")
    for _ in range(5):
        queue.leave(queue.gone[-1])
    assert queue.gone == ["a/x/1", "a/x/2", "b/x/1", "a/y/1", "b/x/2", "a/x/3"]


def test_a_host_and_an_account_have_bounds_and_the_others_go_past() -> None:
    queue = Queue()
    queue.ask(*(f"a/x/{n}" for n in range(5)))
    assert queue.gone == ["a/x/0", "a/x/1", "a/x/2"]
    queue.ask("a/y/1", "b/x/1")
    assert queue.gone[3:] == ["a/y/1", "b/x/1"]


def test_whatever_is_silent_a_host_that_answers_has_a_free_slot_at_once() -> None:
    queue = Queue(Limits(total=400, account=300, host=8, silent=2))
    queue.ask("a/good/0")
    queue.leave("a/good/0")
    queue.ask(*(f"a/dead{n}/{m}" for n in range(200) for m in range(3)))
    assert len(queue.gone) == 1 + 225, "three quarters of the account's"
    queue.ask("a/good/1", "b/new/1")
    assert queue.gone[-2:] == ["a/good/1", "b/new/1"]


def test_a_silent_host_gets_one_request_at_once_until_it_answers() -> None:
    queue = Queue()
    queue.ask(*(f"a/x/{n}" for n in range(9)))
    queue.leave("a/x/0", "a/x/1", "a/x/2", answered=False)
    assert queue.gone[3:] == ["a/x/3"]
    queue.ask("b/x/0", "b/x/1")
    assert queue.gone[4:] == ["b/x/0", "b/x/1"], "a host that is silent for one account is not slowed for another"
    queue.turns.answers(queue.asked["a/x/3"])
    queue.leave("a/x/3")
    assert queue.gone[6:] == ["a/x/4", "a/x/5", "a/x/6"]


def test_the_host_that_was_not_asked_for_longest_is_forgotten() -> None:
    queue = Queue()
    queue.ask("a/old/0", "a/kept/0")
    queue.leave("a/old/0", "a/kept/0", answered=False)
    for n in range(KNOWN_LIMIT - 1):
        queue.ask(f"b/{n}/0")
        queue.leave(f"b/{n}/0")
    queue.gone.clear()
    queue.ask("a/kept/1", "a/kept/2", "a/old/1", "a/old/2")
    assert queue.gone == ["a/kept/1", "a/old/1", "a/old/2"], "of the other it is remembered that it was silent"


def test_a_request_that_was_given_up_says_nothing_of_its_host() -> None:
    queue = Queue()
    queue.ask(*(f"a/x/{n}" for n in range(9)))
    queue.leave("a/x/0", "a/x/5", answered=None)
    assert queue.gone == ["a/x/0", "a/x/1", "a/x/2", "a/x/3"]
    queue.leave("a/x/1", "a/x/2", "a/x/3", answered=None)
    assert queue.gone[4:] == ["a/x/4", "a/x/6", "a/x/7"]


def test_a_queue_is_bounded() -> None:
    queue = Queue()
    queue.ask(*(f"a/x/{n}" for n in range(23)))
    with pytest.raises(TooMany):
        queue.ask("a/y/1")
    queue.ask("b/y/1")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_the_bounds_hold_and_all_have_their_turn(seed: int) -> None:
    chance = Random(seed)
    queue = Queue()
    number = 0
    for _ in range(300):
        if chance.random() < 0.5:
            number += 1
            name = f"{chance.choice('abc')}/{chance.choice('xyz')}/{number}"
            try:
                queue.ask(name)
            except TooMany:
                assert sum(other[0] == name[0] and other not in queue.gone for other in queue.asked) == 20
        elif queue.asked:
            queue.leave(chance.choice(sorted(queue.asked)), answered=chance.choice([True, False, None]))
        under_way = [name for name in queue.gone if name in queue.asked]
        assert len(under_way) == queue.turns.under_way <= 8
        assert queue.turns.waiting == len(queue.asked) - len(under_way)
        assert all(count <= 6 for count in Counter(name[0] for name in under_way).values())
        assert all(count <= 3 for count in Counter(name[:3] for name in under_way).values())
    while queue.asked:
        queue.leave(next(name for name in queue.gone if name in queue.asked))
    assert queue.turns.under_way == queue.turns.waiting == 0
    queue.ask(*(f"c/z/{n}" for n in range(3)))
    assert len(queue.gone) >= 3

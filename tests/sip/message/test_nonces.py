"""Nonces: for one address, one lifetime, and each count once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.sip.message.nonces import Nonces

NONCE_LIFETIME = 60.0
WINDOW = 32

HERE, THERE = "203.0.113.9", "203.0.113.10"


def nonces(server: str = "a") -> Nonces:
    return Nonces(b"k" * 32, "trunkline", server)


def test_a_nonce_is_for_the_address_that_got_it_and_for_its_lifetime() -> None:
    issued = nonces().issue(HERE, 100)
    assert nonces().fault(issued, HERE, 100) == nonces().fault(issued, HERE, 100 + NONCE_LIFETIME) == ""
    assert nonces().fault(issued, HERE, 101 + NONCE_LIFETIME) == nonces().fault(issued, HERE, 99) == "an expired nonce"
    assert "this address" in nonces().fault(issued, THERE, 100)
    assert "this address" in Nonces(b"x" * 32, "trunkline").fault(issued, HERE, 100)
    assert "this address" in Nonces(b"k" * 32, "other", "a").fault(issued, HERE, 100)


def test_no_two_nonces_are_the_same() -> None:
    kept = nonces()
    assert kept.issue(HERE, 100) != kept.issue(HERE, 100)


def test_the_uses_of_a_nonce_are_known_as_long_as_it_can_be_used() -> None:
    kept = nonces()
    issued = kept.issue(HERE, 100)
    assert kept.use(issued, 1, b"first", 101)
    assert kept.fault(issued, HERE, 160) == ""
    assert not kept.use(issued, 1, b"second", 160)
    assert kept.fault(issued, HERE, 160.01) == "an expired nonce"


@given(st.text(max_size=80))
def test_a_nonce_that_was_made_up_is_refused(text: str) -> None:
    assert "this address" in nonces().fault(text, HERE, 100)


def test_each_count_is_used_once_in_any_order_within_the_window() -> None:
    kept = nonces()
    issued = kept.issue(HERE, 0)
    counts = (0, 1, 1, 3, 2, 2, 40, 9, 8, 3)
    taken = [kept.use(issued, count, b"%d" % number, 1) for number, count in enumerate(counts)]
    assert taken == [True, True, False, True, True, False, True, True, False, False]
    assert kept.use(issued, 2**32 - 1, b"last", 1)
    assert not kept.use(issued, 40, b"40", 1)


@given(st.lists(st.integers(1, 3 * WINDOW), max_size=60))
def test_no_count_is_ever_used_twice(counts: list[int]) -> None:
    kept = nonces()
    issued = kept.issue(HERE, 0)
    taken = [count for number, count in enumerate(counts) if kept.use(issued, count, b"%d" % number, 1)]
    assert len(taken) == len(set(taken))
    assert not counts or taken


def test_the_same_request_again_is_the_same_use() -> None:
    kept = nonces()
    issued = kept.issue(HERE, 0)
    assert kept.use(issued, 1, b"first", 1)
    assert kept.use(issued, 1, b"first", 1)
    assert kept.use(issued, 2, b"second", 1)
    assert not kept.use(issued, 1, b"first", 1)


def test_without_counts_a_nonce_is_used_once() -> None:
    kept = nonces()
    issued = kept.issue(HERE, 0)
    assert kept.use(issued, None, b"first", 1)
    assert not kept.use(issued, None, b"second", 1)
    assert not kept.use(issued, 5, b"third", 1)


def test_a_nonce_of_another_server_with_our_key_is_used_once() -> None:
    ours, issued = nonces("a"), nonces("b").issue(HERE, 0)
    assert ours.fault(issued, HERE, 1) == ""
    assert ours.use(issued, 7, b"first", 1)
    assert not ours.use(issued, 8, b"second", 1)


def test_without_a_label_nonces_are_those_of_one_server() -> None:
    ours, issued = nonces(""), Nonces(b"k" * 32, "trunkline").issue(HERE, 0)
    assert [ours.use(issued, count, b"%d" % count, 1) for count in (7, 8)] == [True, True]


def test_uses_are_bounded_and_what_is_dropped_counts_as_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.sip.message.nonces.USED_LIMIT", 2)
    kept = nonces()
    first, unused, second, third, late = (kept.issue(HERE, now) for now in (0, 1, 2, 3, 200))
    assert kept.use(second, 1, b"", 4)
    assert kept.use(first, 1, b"", 4)
    assert kept.use(third, 1, b"", 4)
    assert not kept.use(second, 2, b"2", 4)
    assert not kept.use(unused, 1, b"3", 4)
    assert kept.use(first, 2, b"4", 4)
    assert kept.use(late, 1, b"5", 200)
    assert kept.use(late, 2, b"6", 200)

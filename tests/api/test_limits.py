"""The rate limit and the memory of answers, with a clock moved by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.api import limits
from trunkline.api.limits import Recent, TokenBuckets
from trunkline.ids import Seconds


def _at(now: float) -> Seconds:
    return Seconds(now)


def _take(buckets: TokenBuckets, key: str, now: float) -> float:
    return buckets.take(key, _at(now))


def test_a_burst_of_two_seconds_worth_then_the_rate() -> None:
    buckets = TokenBuckets(10)
    assert [_take(buckets, "k", 0) for _ in range(20)] == [0] * 20
    assert _take(buckets, "k", 0) == pytest.approx(0.1)
    assert _take(buckets, "k", 0.05) == pytest.approx(0.05)
    assert _take(buckets, "k", 0.2) == 0


def test_each_key_has_its_own_bucket() -> None:
    buckets = TokenBuckets(0.5)
    assert [_take(buckets, key, 0) for key in "aab"] == [0, pytest.approx(2), 0]


def test_a_long_pause_fills_no_more_than_the_burst() -> None:
    buckets = TokenBuckets(1)
    _take(buckets, "k", 0)
    assert [_take(buckets, "k", 1000) == 0 for _ in range(3)] == [True, True, False]


def test_a_very_low_rate_still_lets_single_requests_through() -> None:
    buckets = TokenBuckets(0.1)
    assert _take(buckets, "k", 0) == 0
    assert _take(buckets, "k", 0) == pytest.approx(10)
    assert _take(buckets, "k", 10) == 0


def test_zero_is_no_limit() -> None:
    buckets = TokenBuckets(0)
    assert {_take(buckets, "k", 0) for _ in range(1000)} == {0}


@given(st.lists(st.floats(0, 0.5), max_size=60))
def test_never_more_than_burst_and_rate_allow(pauses: list[float]) -> None:
    buckets, now, granted = TokenBuckets(5), 0.0, 0
    for pause in pauses:
        now += pause
        granted += _take(buckets, "k", now) == 0
    assert granted <= 10 + 5 * now + 1e-6


def test_the_buckets_are_bounded_and_the_least_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEY_LIMIT", 2)
    buckets = TokenBuckets(0.5)
    for key in "abac":
        _take(buckets, key, 0)
    assert _take(buckets, "a", 0) > 0
    assert _take(buckets, "b", 0) == 0


def test_a_value_is_remembered_for_its_lifetime() -> None:
    memory: Recent[str] = Recent(_at(60))
    memory.put(b"k", "v", _at(0))
    assert memory.get(b"k", _at(59.9)) == "v"
    assert memory.get(b"k", _at(60)) is None
    assert memory.get(b"other", _at(0)) is None


def test_a_newer_value_lives_its_own_lifetime() -> None:
    memory: Recent[str] = Recent(_at(60))
    memory.put(b"k", "old", _at(0))
    memory.put(b"k", "new", _at(30))
    assert memory.get(b"k", _at(89)) == "new"


def test_dropping_leaves_what_has_taken_the_place() -> None:
    memory: Recent[str] = Recent(_at(60))
    memory.put(b"k", "new", _at(0))
    memory.drop(b"k", "old")
    assert memory.get(b"k", _at(0)) == "new"
    memory.drop(b"k", "new")
    assert memory.get(b"k", _at(0)) is None


def test_the_memory_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEY_LIMIT", 2)
    memory: Recent[int] = Recent(_at(60))
    for number, key in enumerate((b"a", b"b", b"c")):
        memory.put(key, number, _at(0))
    assert [memory.get(key, _at(0)) for key in (b"a", b"b", b"c")] == [None, 1, 2]

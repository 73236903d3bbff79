"""Limits on the calls of accounts and trunks."""

from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.calls.quotas import Excess, Quotas
from trunkline.config import SipSettings
from trunkline.ids import AccountSid, CallSid

MINUTE = 60.0

ANN, BOB = AccountSid("ann"), AccountSid("bob")


def settings(trunk: dict[str, Any] | None = None, **account: int) -> SipSettings:
    trunks = [{"name": name, "targets": ["sip:t"], **given} for name, given in (("t", trunk or {}), ("free", {}))]
    return SipSettings.model_validate({"trunks": trunks, **account})


class Bench:
    def __init__(self, **given: Any) -> None:
        self.quotas = Quotas(settings(**given))
        self._sids = count()
        self.admitted: list[CallSid] = []

    def call(self, account: AccountSid = ANN, trunk: str | None = None, now: float = 0) -> Excess | None:
        sid = CallSid(str(next(self._sids)))
        excess = self.quotas.admit(sid, account, trunk, now)
        if excess is None:
            self.admitted.append(sid)
        return excess


def test_by_default_there_is_no_limit() -> None:
    bench = Bench()
    assert not any(bench.call(trunk=trunk) for trunk in (None, "t", "free", "unknown") for _ in range(500))


def test_an_account_has_a_number_of_calls_at_once() -> None:
    bench = Bench(account_call_limit=2)
    assert bench.call() is bench.call(trunk="free") is None
    assert bench.call() == Excess(
        "account", "limit", "the account has 2 calls, which is sip.account_call_limit", retry_after=5
    )
    assert bench.call(BOB) is None
    bench.quotas.release(bench.admitted[0])
    bench.quotas.release(bench.admitted[0])
    assert bench.call() is None
    assert bench.call() is not None


def test_a_trunk_has_a_number_of_calls_at_once_of_all_accounts() -> None:
    bench = Bench(trunk={"call_limit": 2})
    assert bench.call(ANN, "t") is bench.call(BOB, "t") is None
    excess = bench.call(ANN, "t")
    assert excess == Excess("trunk", "limit", "trunk t has 2 calls, which is its call_limit", retry_after=5)
    assert bench.call(ANN, "free") is bench.call(ANN) is None
    bench.quotas.release(bench.admitted[1])
    assert bench.call(ANN, "t") is None


@pytest.mark.parametrize("of", ["account", "trunk"])
def test_new_calls_a_minute_are_limited_and_the_wait_is_named(of: str) -> None:
    bench = Bench(account_call_rate=3) if of == "account" else Bench(trunk={"call_rate": 3})
    for now in (0, 10, 20):
        assert bench.call(ANN, "t", now) is None
        bench.quotas.release(bench.admitted[-1])
    excess = bench.call(ANN, "t", 20.5)
    assert excess is not None
    assert (excess.of, excess.kind, excess.retry_after) == (of, "rate", 40)
    assert "_rate" in excess.detail
    late = bench.call(ANN, "t", MINUTE - 0.1)
    assert late is not None
    assert late.retry_after == 1
    assert bench.call(ANN, "t", MINUTE) is None
    assert bench.call(ANN, "t", MINUTE) is not None
    assert bench.call(ANN, "t", MINUTE + 10) is None


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
@example([0.1, 0.0], 1)
@example([30.000000000000004, 0.0], 1)
def test_no_minute_has_more_calls_than_the_rate(pauses: list[float], rate: int) -> None:
    bench, now, begun = Bench(account_call_rate=rate), 0.0, []
    for pause in pauses:
        now += pause
        excess = bench.call(now=now)
        if excess is None:
            begun.append(now)
        else:
            assert Bench(account_call_rate=rate).call() is None
            assert 1 <= excess.retry_after <= MINUTE
    for first, last in zip(begun, begun[rate:], strict=False):
        assert last - first >= MINUTE


def test_a_refused_call_counts_for_nothing() -> None:
    bench = Bench(account_call_limit=1, trunk={"call_limit": 1})
    assert bench.call(ANN, "t") is None
    assert bench.call(BOB, "t") is not None
    assert bench.call(BOB) is None


def test_new_limits_hold_for_new_calls() -> None:
    bench = Bench()
    for _ in range(3):
        assert bench.call(trunk="t") is None
    bench.quotas.take(settings({"call_limit": 3}))
    assert bench.call(trunk="t") is not None
    bench.quotas.take(SipSettings())
    bench.quotas.release(bench.admitted[0])
    assert bench.call(trunk="t") is None

"""Fixtures of the SIP room's tests."""

import pytest
import sippy.Time.Timeout

from sip.bench import Bench, HandClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """The library's timers, turned by hand."""
    clock = HandClock()
    monkeypatch.setattr(sippy.Time.Timeout, "ED2", clock)
    return clock


@pytest.fixture
def bench(clock: HandClock) -> Bench:
    """Dialogs on a wire."""
    return Bench(clock)

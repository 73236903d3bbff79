"""Fixtures of the SIP room's tests."""

import pytest

from sip.bench import Bench, HandClock


@pytest.fixture
def clock() -> HandClock:
    """A clock that is advanced by hand."""
    return HandClock()


@pytest.fixture
def bench(clock: HandClock) -> Bench:
    """Dialogs on a wire."""
    return Bench(clock)

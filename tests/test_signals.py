"""What each signal asks of the server."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from trunkline.signals import Signals


class Asked:
    """Signals of this process, and what they led to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.signals = Signals(lambda: self.calls.append("stop"), lambda: self.calls.append("reload"))
        self.signals.install()

    async def by(self, *numbers: signal.Signals) -> tuple[list[str], bool, bool]:
        """Send them, and wait until they have arrived."""
        for number in numbers:
            os.kill(os.getpid(), number)
            for _ in range(10):
                await asyncio.sleep(0)
        return self.calls, self.signals.stop.is_set(), self.signals.hurry.is_set()


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    made = Asked()
    yield made
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        loop.remove_signal_handler(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_stops_and_the_second_hurries(asked: Asked, number: signal.Signals) -> None:
    assert await asked.by(number) == (["stop"], True, False)
    assert await asked.by(signal.SIGTERM) == (["stop"], True, True)


async def test_a_drain_may_be_asked_for_again_and_a_signal_after_it_does_not_hurry(asked: Asked) -> None:
    assert await asked.by(signal.SIGUSR1, signal.SIGUSR1) == (["stop"], True, False)
    assert await asked.by(signal.SIGTERM) == (["stop"], True, False)
    assert await asked.by(signal.SIGTERM) == (["stop"], True, True)


async def test_a_hang_up_reloads_each_time(asked: Asked) -> None:
    assert await asked.by(signal.SIGHUP, signal.SIGHUP) == (["reload", "reload"], False, False)

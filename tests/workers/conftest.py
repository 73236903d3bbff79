"""Fixtures of the tests with a real decoder, which takes seconds to import its code: one for each file of tests."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from steady import SteadyClock
from trunkline.config import MediaSettings
from trunkline.media import engine
from trunkline.workers.worker.decoder_client import DecoderClient
from workers.bench import Bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoder() -> AsyncIterator[DecoderClient]:
    """A decoder process that takes files."""
    decoder = DecoderClient()
    decoder.start()
    await asyncio.wait_for(decoder.ready.wait(), 60)
    yield decoder
    await decoder.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def make_bench(decoder: DecoderClient, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Bench]]:
    """Makes benches by settings of `media`; their clock stops while the tests are delayed."""
    monkeypatch.setattr(engine, "_now", SteadyClock())
    await asyncio.wait_for(decoder.ready.wait(), 60)  # an earlier test may have ended it
    made: list[Bench] = []

    def make(**settings: int) -> Bench:
        made.append(Bench(decoder, MediaSettings(port_rest=0, **settings)))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest_asyncio.fixture(loop_scope="module")
async def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A bench with default settings."""
    return make_bench()

"""Fixtures of the tests with a runner."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from control.bench import GIVEN, Bench
from trunkline.config import Settings, StoreSettings
from trunkline.store.store import Store

Make = Callable[..., Bench]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    opened = await Store.open(StoreSettings(directory=tmp_path))
    benches: list[Bench] = []

    def bench(**settings: Any) -> Bench:
        store = {"directory": tmp_path, **settings.pop("store", {})}
        benches.append(Bench(Settings.model_validate({**GIVEN, **settings, "store": store}), opened))
        return benches[-1]

    yield bench
    for each in benches:
        for entry in each.runner.registry:
            each.over(entry)
        await each.writer.stop()
    await opened.close()


@pytest.fixture
async def bench(make: Make) -> Bench:
    return make()

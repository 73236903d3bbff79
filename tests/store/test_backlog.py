"""How many callbacks wait, as `/metrics` has it."""

import asyncio
from typing import Any

import pytest

from trunkline.store import backlog as backlog_module
from trunkline.store.backlog import Backlog
from trunkline.store.records import callback_row
from trunkline.store.store import Store


async def test_it_follows_the_store_and_outlives_an_outage(
    store: Store, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "INTERVAL", 0.001)
    failed = asyncio.Event()

    async def fail(*_: object) -> dict[str, int]:
        failed.set()
        raise OSError("away")

    async with Backlog(store) as backlog, asyncio.timeout(30):
        while not backlog.pending:  # noqa: ASYNC110 - it gives no sign
            await asyncio.sleep(0)
        assert sum(backlog.pending.values()) == 0
        with monkeypatch.context() as broken:
            broken.setattr(store, "pending_by_age", fail)
            await failed.wait()
            assert sum(backlog.pending.values()) == 0, "what was seen last"
        await store.write([], [], [callback_row(make.callback("c1")) | {"position": 1}])
        while backlog.pending["older"] != 1:  # noqa: ASYNC110
            await asyncio.sleep(0)

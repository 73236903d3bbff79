"""How many callbacks wait, as `/metrics` has it."""

from typing import Any

import pytest

from trunkline.store.backlog import Backlog
from trunkline.store.records import callback_row
from trunkline.store.store import Store


async def test_it_follows_the_store_and_outlives_an_outage(
    store: Store, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> dict[str, int]:
        raise OSError("away")

    backlog = Backlog(store)
    await backlog.look()
    assert sum(backlog.pending.values()) == 0
    await store.write([], [], [callback_row(make.callback("c1")) | {"position": 1}])
    with monkeypatch.context() as broken:
        broken.setattr(store, "pending_by_age", fail)
        await backlog.look()
        assert sum(backlog.pending.values()) == 0, "what was seen last"
    await backlog.look()
    assert backlog.pending["older"] == 1

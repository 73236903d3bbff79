"""What is old is deleted, in batches, and what is not stays."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from trunkline.calls.views import CallFilter, RecordingView
from trunkline.config import StoreSettings
from trunkline.ids import CallSid
from trunkline.store import pruner as pruner_module
from trunkline.store.pruner import Pruner
from trunkline.store.records import call_row, callback_row, recording_row, stream_row
from trunkline.store.store import Store
from trunkline.tasks import repeated

NOW = datetime.now(UTC)


async def fill(store: Store, make: Any, days: Sequence[float]) -> None:
    """A call with a stream and a callback that ended so many days ago, each."""
    calls, streams, callbacks = [], [], []
    for n, ago in enumerate(days):
        at = NOW - timedelta(days=ago)
        sid = CallSid(f"v3:{n}")
        calls.append(call_row(replace(make.call(status="completed", ended=1), sid=sid, ended_at=at)))
        streams.append(stream_row(replace(make.stream(f"s{n}"), call_sid=sid, status="stopped", updated_at=at)))
        callbacks.append(callback_row(replace(make.callback(f"c{n}"), position=n + 1)) | {"finished_at": at})
    await store.write(calls, streams, callbacks)


async def no_files(views: Sequence[RecordingView]) -> None:
    """There are no recordings."""
    raise AssertionError(views)


async def none(_before: datetime) -> int:
    """There are no captures."""
    return 0


def recording(sid: str, days: float | None, make: Any) -> RecordingView:
    """One that ended so many days ago, or has not ended."""
    at = None if days is None else NOW - timedelta(days=days)
    status: Any = "in-progress" if days is None else "completed"
    return RecordingView(sid, make.account, CallSid("v3:one"), status, "RecordVerb", 1, NOW, NOW, at, 2.5, 40044)


async def test_recordings_are_kept_for_their_days_and_deleted_in_batches(
    store: Store, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruner_module, "FIRST_BATCH", 2)
    days = {"r1": 95, "r2": 92, "r3": 91, "r4": 89, "r5": None}
    rows = [recording_row(recording(sid, ago, make)) for sid, ago in days.items()]
    await store.write([], [], [], (), rows)
    deleted: list[list[str]] = []

    async def delete(views: Sequence[RecordingView]) -> None:
        deleted.append([view.sid for view in views])
        await store.delete_recordings(deleted[-1])

    async def prune(before: datetime) -> int:
        deleted.append([f"captures before {NOW - before}"])
        return 1

    assert await Pruner(store, StoreSettings(keep_recordings=0), no_files, none).prune(NOW) == 0
    assert await Pruner(store, StoreSettings(keep_recordings=90), delete, prune).prune(NOW) == 3
    assert deleted == [["r1", "r2"], ["r3"], ["captures before 90 days, 0:00:00"]]
    assert [view.sid for view in await store.open_recordings()] == ["r5"]
    assert await store.recordings_used() == {make.account: 2 * 40044}


async def sids(store: Store, make: Any) -> list[str]:
    calls, _ = await store.calls(make.account, CallFilter(), offset=0, limit=1000)
    return sorted(call.sid for call in calls)


async def test_each_kind_is_kept_for_its_days(store: Store, make: Any) -> None:
    await fill(store, make, [1, 8, 91])
    await store.write([call_row(replace(make.call(), sid=CallSid("v3:live")))], [stream_row(make.stream("live"))], [])
    pruner = Pruner(store, StoreSettings(keep_calls=90, keep_callbacks=7), no_files, none)
    assert await pruner.prune(NOW) == 1 + 1 + 2
    assert await sids(store, make) == ["v3:0", "v3:1", "v3:live"]
    assert [stream.sid for stream in await store.streams(make.account, CallSid("v3:1"))] == ["s1"]
    assert await pruner.prune(NOW + timedelta(days=9000)) == 2 + 2 + 1, "what is live stays"
    assert await sids(store, make) == ["v3:live"]


async def test_zero_days_keep_all(store: Store, make: Any) -> None:
    await fill(store, make, [1000])
    assert await Pruner(store, StoreSettings(keep_calls=0, keep_callbacks=0), no_files, none).prune(NOW) == 0


async def test_batches_leave_room_for_writes(store: Store, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruner_module, "FIRST_BATCH", 2)
    monkeypatch.setattr(pruner_module, "LARGEST_BATCH", 4)
    await fill(store, make, [100] * 20)
    pruner = Pruner(store, StoreSettings(keep_calls=90, keep_callbacks=0), no_files, none)
    pruning = asyncio.create_task(pruner.prune(NOW))
    await store.write([call_row(replace(make.call(), sid=CallSid("v3:live")))], [], [])
    assert not pruning.done(), "a write waits for a batch, not for all of them"
    assert await pruning == 40


async def test_an_sqlite_file_shrinks(store: Store, make: Any, any_settings: StoreSettings) -> None:
    await fill(store, make, [100] * 2000)
    await Pruner(store, StoreSettings(keep_callbacks=1), no_files, none).prune(NOW)
    assert not await store.shrink(500), "nothing is left to be given back"
    for file in any_settings.directory.glob("trunkline.db"):
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("PRAGMA freelist_count").fetchone() == (0,)
            assert database.execute("PRAGMA page_count").fetchone()[0] < 200


async def test_it_runs_at_the_start_and_again_after_a_failure(
    store: Store, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, make, [100])
    failed = asyncio.Event()

    async def fail(*_: object) -> int:
        failed.set()
        raise OSError("disk on fire")

    with capture_logs() as lines, monkeypatch.context() as broken:
        broken.setattr(store, "prune", fail)
        async with repeated(Pruner(store, StoreSettings(), no_files, none).run, 0.001, "pruner"):
            await failed.wait()
            broken.undo()
            async with asyncio.timeout(10):
                while "store_pruned" not in [line["event"] for line in lines]:
                    await sids(store, make)
    assert {"event": "store_prune_failed", "reason": "disk on fire", "log_level": "warning"} in lines
    assert await sids(store, make) == []

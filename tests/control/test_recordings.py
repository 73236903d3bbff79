"""Records of recordings, their quota and the disk that they leave free, deletion and erasure."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from control.bench import ACCOUNT, NOW, Bench
from control.test_captures import put
from stream_params import stream_params
from trunkline.calls.recordings import RecordingFiles
from trunkline.calls.registry import LiveCall
from trunkline.calls.views import RecordingView
from trunkline.control.recordings import MEGABYTE, Recordings
from trunkline.control.service import CallService
from trunkline.errors import Unavailable
from trunkline.ids import AccountSid, IdsOfLife
from trunkline.workers import orders, reports
from trunkline.workers.messages import FromLeg

TWO_CHANNELS = orders.RecordingOptions(channels=2)
OTHER = AccountSid("5f1c9d2e-0000-4000-8000-000000000002")


async def stored(bench: Bench, entry: LiveCall) -> list[RecordingView]:
    await bench.recorded()
    return await bench.store.recordings_of([entry.call.view.sid])


def ended(bench: Bench, entry: LiveCall, **changes: Any) -> None:
    values: dict[str, Any] = {"job": 1, "seconds": 2.5, "reason": "hangup", "size": 40044}
    bench.runner.on_pool(FromLeg(entry.leg, reports.RecordingEnded(**(values | changes))))


async def test_a_recording_is_recorded_when_it_begins_and_when_it_ends(bench: Bench) -> None:
    entry = await bench.up()
    sid = bench.runner.record(entry, 1, TWO_CHANNELS, "RecordVerb")
    (order,) = [order for _, order in bench.media.orders if isinstance(order, orders.StartRecording)]
    assert order.path == str(bench.recordings.files.path(ACCOUNT, sid))
    assert order.options == TWO_CHANNELS
    (begun,) = await stored(bench, entry)
    assert (begun.sid, begun.account_sid, begun.status, begun.channels) == (sid, ACCOUNT, "in-progress", 2)
    assert (begun.source, begun.ended_at) == ("RecordVerb", None)
    ended(bench, entry)
    (over,) = await stored(bench, entry)
    assert (over.status, over.duration, over.size, over.error) == ("completed", 2.5, 40044, None)
    assert over.ended_at is not None
    ended(bench, entry, seconds=9.0)
    assert await stored(bench, entry) == [over], "a second end changes nothing"


async def test_a_recording_that_fails_says_why(bench: Bench) -> None:
    entry = await bench.up()
    bench.runner.record(entry, 1, TWO_CHANNELS, "RecordVerb")
    ended(bench, entry, error="the disk is too slow", reason="error")
    (over,) = await stored(bench, entry)
    assert (over.status, over.error) == ("failed", "the disk is too slow")


async def test_of_a_worker_that_dies_the_file_is_what_was_written(bench: Bench) -> None:
    entry = await bench.up()
    sid = bench.runner.record(entry, 1, TWO_CHANNELS, "RecordVerb")
    path = bench.recordings.files.path(ACCOUNT, sid)
    assert path is not None
    path.write_bytes(b"x" * 99)
    bench.runner.record(entry, 2, TWO_CHANNELS, "RecordVerb")
    bench.runner.on_pool(FromLeg(entry.leg, reports.WorkerLost("it died")))
    found = {view.sid: (view.status, view.size, view.error) for view in await stored(bench, entry)}
    assert found.pop(sid) == ("failed", 99, "it died")
    assert list(found.values()) == [("failed", 0, "it died")], "nothing was written of the other"


async def test_a_quota_is_an_accounts_own(make: Callable[..., Bench]) -> None:
    bench = make(store={"recordings_quota": 0.05})
    entry = await bench.up()
    bench.runner.record(entry, 1, TWO_CHANNELS, "RecordVerb")
    ended(bench, entry, size=50_000)
    with pytest.raises(Unavailable, match=r"take 0\.05 MB or more \(store\.recordings_quota\)"):
        bench.runner.record(entry, 2, TWO_CHANNELS, "RecordVerb")
    assert bench.recordings.order(OTHER, 1, TWO_CHANNELS)
    await bench.recordings.delete(await stored(bench, entry))
    assert bench.runner.record(entry, 2, TWO_CHANNELS, "RecordVerb")


async def test_no_recording_begins_where_the_disk_is_nearly_full(make: Callable[..., Bench]) -> None:
    bench = make(store={"recordings_floor": 1e9})
    entry = await bench.up()
    with pytest.raises(Unavailable, match=r"Less than 1e\+09 MB of the disk are free \(store\.recordings_floor\)"):
        bench.runner.record(entry, 1, TWO_CHANNELS, "RecordVerb")
    assert await stored(bench, entry) == []


async def test_a_running_one_is_given_the_floor(make: Callable[..., Bench]) -> None:
    bench = make(store={"recordings_floor": 1})
    bench.runner.record(await bench.up(), 1, TWO_CHANNELS, "RecordVerb")
    (order,) = [order for _, order in bench.media.orders if isinstance(order, orders.StartRecording)]
    assert order.floor == MEGABYTE


async def test_a_folder_that_is_gone_is_said(bench: Bench, tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path / "gone", str)
    ids: IdsOfLife = bench.runner.ids
    made = Recordings(files, ids, bench.writer, bench.store, bench.settings.store, {})
    with pytest.raises(Unavailable, match="cannot be read: No such file"):
        made.order(ACCOUNT, 1, TWO_CHANNELS)


async def test_one_that_a_crash_cut_is_stopped(bench: Bench) -> None:
    entry = await bench.up()
    sid = bench.runner.record(entry, 1, TWO_CHANNELS, "RecordVerb")
    path = bench.recordings.files.path(ACCOUNT, sid)
    assert path is not None
    path.write_bytes(b"x" * 99)
    await bench.recorded()
    await bench.runner.settle([], [], await bench.store.open_recordings())
    (over,) = await stored(bench, entry)
    assert (over.status, over.size, over.error) == ("stopped", 99, "the server stopped without warning")
    assert await bench.store.open_recordings() == []


async def test_a_callers_data_is_erased_with_its_files(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make(streams={"capture": tmp_path / "captures"})
    service = CallService(
        bench.runner, bench.directory, bench.store, bench.writer, bench.recordings, bench.destinations, bench.captures
    )
    entry = await bench.up()
    number, sid = entry.call.view.from_, bench.runner.record(entry, 1, TWO_CHANNELS, "RecordVerb")
    path = bench.recordings.files.path(ACCOUNT, sid)
    assert path is not None
    path.write_bytes(b"RIFF")
    stream = (await service.start_stream(ACCOUNT, entry.call.view.sid, stream_params("ws://a/"))).sid
    captures = [put(tmp_path / "captures", ACCOUNT, one, 1) for one in (stream, "another")]
    ended(bench, entry)
    await bench.recorded()
    assert (await service.erase(ACCOUNT, number)).in_progress == 1
    assert path.exists()
    bench.over(entry)
    bench.runner.on_pool(FromLeg(entry.leg, reports.StreamEnded(stream, None, "the call ended", None)))
    await bench.recorded()
    assert (await service.erase(OTHER, number)).calls == 0, "another account's call"
    assert (await service.erase(ACCOUNT, "+999")).calls == 0
    erased = await service.erase(ACCOUNT, number)
    assert (erased.calls, erased.recordings, erased.captures, erased.in_progress) == (1, 1, 1, 0)
    assert not path.exists()
    assert [capture.exists() for capture in captures] == [False, True]
    assert await bench.store.recordings_of([entry.call.view.sid]) == []
    assert (await service.erase(ACCOUNT, number)).calls == 0
    assert await bench.store.old_recordings(NOW + timedelta(days=9999), 9) == []

"""Records of recordings, their quota and the disk that they leave free, deletion and erasure."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from control.bench import ACCOUNT, LOCAL, NOW, Bench, sdp
from control.test_captures import put
from sent import check_form
from stream_params import stream_params
from trunkline.calls.commands import RecordingCallback, RecordingRequest
from trunkline.calls.recordings import RecordingFiles
from trunkline.calls.registry import LiveCall
from trunkline.calls.views import RecordingView
from trunkline.control.recordings import MEGABYTE, Recordings
from trunkline.control.service import CallService
from trunkline.errors import CallEnded, InvalidRequest, InvalidUrl, ResourceNotFound, Unavailable
from trunkline.faces.telnyx.callbacks import CALLBACKS
from trunkline.ids import AccountSid, CallSid, IdsOfLife
from trunkline.media.audio.mp3 import audio_start
from trunkline.sip import values as sip
from trunkline.workers import orders, reports
from trunkline.workers.decoder.wavfile import WavFile
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
    made = Recordings(files, ids, bench.writer, bench.store, bench.settings.store, {}, CALLBACKS)
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
    service = bench.service()
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


async def told(bench: Bench) -> list[dict[str, str]]:
    """The forms of callbacks of recordings, once all is stored."""
    await bench.recorded()
    forms = [dict(parse_qsl(record.form, keep_blank_values=True)) for record in bench.stored]
    return [form for form in forms if "RecordingSid" in form]


def request(**callback: Any) -> RecordingRequest:
    return RecordingRequest(TWO_CHANNELS, RecordingCallback("http://customer/r", **callback), play_beep=True)


@pytest.fixture
def service(bench: Bench) -> CallService:
    """What the API may ask."""
    return bench.service()


async def test_one_is_started_paused_resumed_and_stopped_with_its_callbacks(bench: Bench, service: CallService) -> None:
    entry = await bench.up()
    call = entry.call.view.sid
    started = await service.start_recording(ACCOUNT, call, request(events="in-progress completed", sends_url=False))
    assert (started.source, started.status) == ("StartCallRecordingAPI", "in-progress")
    start, beep = [order for _, order in bench.media.orders][-2:]
    assert isinstance(start, orders.StartRecording)
    assert isinstance(beep, orders.StartPlayback)
    assert (start.options, beep.path) == (TWO_CHANNELS, str(bench.beep()))
    assert start.job != beep.job
    sid = started.sid
    for paused, status in ((True, "paused"), (False, "in-progress")):
        assert (await service.pause_recording(ACCOUNT, call, sid, paused=paused)).status == status
        assert bench.media.orders[-1] == (entry.leg, orders.PauseRecording(start.job, paused))
        assert (await service.recording(ACCOUNT, sid)).status == status
    for account, other in ((OTHER, call), (ACCOUNT, CallSid("v3:other"))):
        with pytest.raises(ResourceNotFound):
            await service.stop_recording(account, other, sid)
        with pytest.raises(ResourceNotFound):
            await service.pause_recording(account, other, sid, paused=True)
    assert (await service.stop_recording(ACCOUNT, call, sid)).sid == sid
    assert bench.media.orders[-1] == (entry.leg, orders.StopRecording(start.job))
    ended(bench, entry, job=start.job, reason="stopped")
    await bench.recorded()
    assert (await service.stop_recording(ACCOUNT, call, sid)).status == "completed"
    with pytest.raises(InvalidRequest, match=r"The recording is over\."):
        await service.pause_recording(ACCOUNT, call, sid, paused=True)
    begun, over = await told(bench)
    assert {check_form(begun), check_form(over)} == {"RecordingStatus"}
    assert (begun["RecordingStatus"], over["RecordingStatus"]) == ("in-progress", "completed")
    assert (over["RecordingSid"], over["RecordingDuration"], over["RecordingChannels"]) == (sid, "2", "2")
    assert "RecordingUrl" not in over


@pytest.mark.parametrize(("size", "reported"), [(44, "absent"), (0, "absent"), (46, "completed")])
async def test_the_end_says_whether_there_is_audio(
    bench: Bench, service: CallService, size: int, reported: str
) -> None:
    entry = await bench.up()
    started = await service.start_recording(ACCOUNT, entry.call.view.sid, request(events="completed absent"))
    found = bench.recordings.running(started.sid)
    assert found is not None
    ended(bench, entry, job=found[1], size=size)
    [form] = await told(bench)
    assert form["RecordingStatus"] == reported
    assert form.get("RecordingUrl") == (service.recording_url(ACCOUNT, started.sid) if size > 44 else None)


async def test_what_a_crash_left_is_reported_with_its_length(bench: Bench, service: CallService) -> None:
    entry = await bench.up()
    started = await service.start_recording(ACCOUNT, entry.call.view.sid, request())
    path = bench.recordings.files.path(ACCOUNT, started.sid)
    assert path is not None
    file = WavFile(path, 8000, 2)
    file.append(bytes(3 * 32000))
    file.close()
    left = await bench.store.open_recordings()
    await bench.runner.settle([], [], left)
    [form] = await told(bench)
    assert (form["RecordingStatus"], form["RecordingDuration"]) == ("completed", "3")
    view = await service.recording(ACCOUNT, started.sid)
    assert (view.status, view.duration, view.size) == ("stopped", 3.0, 44 + 96000)


async def test_a_call_has_four_at_most_and_needs_to_be_up(bench: Bench, service: CallService) -> None:
    entry = await bench.up()
    call = entry.call.view.sid
    for _ in range(4):
        await service.start_recording(ACCOUNT, call, request())
    with pytest.raises(InvalidRequest, match="The call has 4 recordings under way"):
        await service.start_recording(ACCOUNT, call, request())
    with pytest.raises(ResourceNotFound):
        await service.start_recording(OTHER, call, request())
    with pytest.raises(InvalidUrl, match="RecordingStatusCallback"):
        await service.start_recording(
            ACCOUNT, call, RecordingRequest(TWO_CHANNELS, RecordingCallback("http://169.254.169.254/"))
        )
    bench.over(entry)
    ended(bench, entry, job=next(iter(bench.recordings._running))[1])
    with pytest.raises(CallEnded):
        await service.start_recording(ACCOUNT, call, request())


async def test_a_placed_call_is_recorded_from_its_answer(bench: Bench) -> None:
    callback = RecordingCallback("http://customer/r", events="in-progress")
    entry = await bench.place(recording=RecordingRequest(TWO_CHANNELS, callback))
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    assert [order for _, order in bench.media.orders if isinstance(order, orders.StartRecording)] == []
    bench.runner.on_sip(sip.InviteAccepted(sip.DialogId(100), sdp()))
    await bench.recorded()
    [order] = [order for _, order in bench.media.orders if isinstance(order, orders.StartRecording)]
    assert order.options == TWO_CHANNELS
    [recording] = await stored(bench, entry)
    assert recording.source == "OutboundAPI"
    [form] = await told(bench)
    assert form["RecordingStatus"] == "in-progress"


async def test_a_placed_call_goes_on_where_it_cannot_be_recorded(make: Callable[..., Bench]) -> None:
    bench = make(store={"recordings_floor": 1e9})
    entry = await bench.place(recording=RecordingRequest(TWO_CHANNELS))
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    bench.runner.on_sip(sip.InviteAccepted(sip.DialogId(100), sdp()))
    await bench.recorded()
    assert entry.call.answered
    [note] = entry.call.view.notes
    assert note.startswith("the call is not recorded: Less than")


@pytest.mark.process
async def test_an_mp3_file_is_made_once_and_deleted_with_the_recording(bench: Bench, service: CallService) -> None:
    entry = await bench.up()
    sid = bench.runner.record(entry, 1, TWO_CHANNELS, "RecordVerb")
    await bench.recorded()
    with pytest.raises(InvalidRequest, match="under way"):
        await service.recording_mp3(ACCOUNT, sid)
    ended(bench, entry)
    await bench.recorded()
    path = bench.recordings.files.path(ACCOUNT, sid)
    assert path is not None
    with pytest.raises(ResourceNotFound):
        await service.recording_mp3(ACCOUNT, sid)
    path.write_bytes(b"no wav file")
    with pytest.raises(Unavailable, match="could not be made"):
        await service.recording_mp3(ACCOUNT, sid)
    file = WavFile(path, 8000, 2)
    file.append(bytes(32000))
    file.close()
    made, again = await asyncio.gather(*(service.recording_mp3(ACCOUNT, sid) for _ in range(2)))
    assert made == again
    assert audio_start(made.read_bytes()) is not None
    assert sorted(one.suffix for one in path.parent.glob(f"*{sid}*")) == [".mp3", ".wav"]
    with pytest.raises(ResourceNotFound):
        await service.recording_mp3(OTHER, sid)
    await service.delete_recording(ACCOUNT, sid)
    assert list(path.parent.glob(f"*{sid}*")) == []

"""Captures on a disk: whole, bounded, and without waiting for it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trunkline.config import StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.capture import RecordKind
from trunkline.streaming.params import StreamIdentity, StreamParams
from trunkline.workers.worker import capture_writer
from trunkline.workers.worker.capture_writer import CaptureWriter

PARAMS = StreamParams(WebSocketUrl.parse("ws://bot/"))


def identity(name: str) -> StreamIdentity:
    return StreamIdentity(
        StreamSid(name), AccountSid("a"), CallSid("c"), CallSessionId("s"), "+13120001234", "+13121230000"
    )


def writer(directory: Path, **settings: float | str) -> CaptureWriter:
    asked = StreamSettings.model_validate({"capture": directory, **settings})

    def soon(call: Callable[[], None]) -> None:
        call()

    return CaptureWriter(asked, lambda: 1.0, soon)


def test_each_stream_has_a_file_that_is_complete_at_the_end(tmp_path: Path) -> None:
    writing = writer(tmp_path / "new")
    for name in ("one", "two"):
        capture = writing.begin(identity(name), PARAMS, "PCMU")
        capture.put(RecordKind.TO_APP, b'{"event":"connected"}')
        capture.note("end", reason=name)
        writing.end(capture)
    writing.close()
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name.partition("-")[2] for file in files] == ["one.capture.jsonl", "two.capture.jsonl"]
    lines = [json.loads(row) for row in files[0].read_text().splitlines()]
    assert lines[0]["stream_id"] == "one"
    assert lines[1:] == [
        {"ms": 0.0, "to": "app", "message": {"event": "connected"}},
        {"ms": 0.0, "note": "end", "reason": "one"},
    ]
    assert writing.counters == {"captures": 2}


def test_a_long_capture_is_in_parts_and_the_oldest_files_make_room(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.capture.jsonl").write_bytes(bytes(400_000))
        os.utime(tmp_path / f"{number}.capture.jsonl", (number, number))
    (tmp_path / "other.txt").write_bytes(bytes(9_000_000))
    writing = writer(tmp_path, capture_limit=1)
    capture = writing.begin(identity("one"), PARAMS, "PCMU")
    for _ in range(25):
        capture.put(RecordKind.TO_SERVER, b"x" * 10_000)
    writing.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.partition(".")[2] for name in names if "-one" in name] == [
        "002.capture.jsonl", "003.capture.jsonl", "capture.jsonl",
    ]  # fmt: skip
    assert "other.txt" in names
    assert "0.capture.jsonl" not in names
    assert "2.capture.jsonl" in names
    assert sum(path.stat().st_size for path in tmp_path.glob("*.capture.jsonl")) <= 1_000_000


def test_what_the_disk_is_too_slow_for_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_writer, "QUEUE_LIMIT", 1000)
    writing = writer(tmp_path)
    capture = writing.begin(identity("one"), PARAMS, "PCMU")
    capture.put(RecordKind.TO_SERVER, bytes(2000))
    assert writing.counters["capture_records_dropped"] == 1
    capture.note("end")
    writing.close()
    [file] = tmp_path.iterdir()
    assert [json.loads(row).get("records") for row in file.read_text().splitlines()[1:]] == [1, None]


def test_a_disk_that_fails_ends_the_capture_of_that_stream_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    writing = writer(tmp_path / "file")
    capture = writing.begin(identity("one"), PARAMS, "PCMU")
    for _ in range(3):
        capture.note("open")
    writing.end(capture)
    writing.close()
    assert writing.counters["capture_write_failures"] == 1
    assert not writing.running

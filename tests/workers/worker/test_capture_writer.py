"""Captures on a disk: whole, bounded, and without waiting for it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trunkline.config import StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.capture import RecordKind
from trunkline.streaming.params import StreamIdentity, StreamParams
from trunkline.workers.worker import capture_writer
from trunkline.workers.worker.capture_writer import CaptureWriter

PARAMS = StreamParams(WebSocketUrl.parse("ws://bot/"))


def identity(name: str, account: str = "a") -> StreamIdentity:
    return StreamIdentity(
        StreamSid(name), AccountSid(account), CallSid("c"), CallSessionId("s"), "+13120001234", "+13121230000"
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
    files = sorted((tmp_path / "new" / "a").iterdir())
    assert [file.name.partition("-")[2] for file in files] == ["one.capture.jsonl", "two.capture.jsonl"]
    lines = [json.loads(row) for row in files[0].read_text().splitlines()]
    assert lines[0]["stream_id"] == "one"
    assert lines[1:] == [
        {"ms": 0.0, "to": "app", "message": {"event": "connected"}},
        {"ms": 0.0, "note": "end", "reason": "one"},
    ]
    assert writing.counters == {"captures": 2}


def old(folder: Path, numbers: range, size: int) -> None:
    """Captures of long ago, the first the oldest."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        path = folder / f"20200101T0000{number:02}-{number}.capture.jsonl"
        path.write_bytes(bytes(size))
        os.utime(path, (number, number))


def streams_in(folder: Path) -> list[str]:
    """The names of the files there without their times."""
    return [path.name.partition("-")[2] for path in sorted(folder.iterdir())]


def test_a_long_capture_is_in_parts_and_the_oldest_files_make_room(tmp_path: Path) -> None:
    old(tmp_path / "a", range(3), 400_000)
    (tmp_path / "a" / "other.txt").write_bytes(bytes(9_000_000))
    writing = writer(tmp_path, capture_limit=1)
    capture = writing.begin(identity("one"), PARAMS, "PCMU")
    for _ in range(25):
        capture.put(RecordKind.TO_SERVER, b"x" * 10_000)
    writing.close()
    found = streams_in(tmp_path / "a")
    assert found == ["2.capture.jsonl", "one.002.capture.jsonl", "one.003.capture.jsonl", "one.capture.jsonl", ""]
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.capture.jsonl")) <= 1_000_000
    heads = [json.loads(path.read_text().partition("\n")[0]) for path in tmp_path.glob("a/*-one*")]
    assert [head["stream_id"] for head in heads] == ["one"] * 3


def test_an_account_that_captures_much_deletes_its_own_files_alone(tmp_path: Path) -> None:
    old(tmp_path / "little", range(2), 200_000)
    old(tmp_path / "much", range(2, 5), 200_000)
    writing = writer(tmp_path, capture_limit=1)
    capture = writing.begin(identity("one", "much"), PARAMS, "PCMU")
    for _ in range(30):
        capture.put(RecordKind.TO_SERVER, b"x" * 10_000)
    writing.close()
    assert streams_in(tmp_path / "little") == ["0.capture.jsonl", "1.capture.jsonl"]
    assert "2.capture.jsonl" not in streams_in(tmp_path / "much")


def test_there_is_a_limit_of_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_writer, "FILE_LIMIT", 10)
    monkeypatch.setattr(capture_writer, "FILES_UNSEEN", 5)
    writing = writer(tmp_path)
    for number in range(40):
        capture = writing.begin(identity(f"s{number:02}"), PARAMS, "PCMU")
        capture.note("open")
        writing.end(capture)
    writing.close()
    assert len(streams_in(tmp_path / "a")) <= 10


def test_a_capture_under_way_can_be_read(tmp_path: Path) -> None:
    writing = writer(tmp_path)
    capture = writing.begin(identity("one"), PARAMS, "PCMU")
    for _ in range(200):
        capture.put(RecordKind.TO_SERVER, b"y" * 5_000)
    [path] = wait_for(lambda: [*tmp_path.glob("a/*")])
    rows = wait_for(lambda: path.read_text().splitlines()[:-1])
    assert all(json.loads(row) for row in rows)
    writing.close()
    assert len(path.read_text().splitlines()) == 201


def wait_for(look: Callable[[], Any]) -> Any:
    """The first result that is something."""
    deadline = time.monotonic() + 10
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return found


def test_what_the_disk_is_too_slow_for_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_writer, "QUEUE_LIMIT", 1000)
    writing = writer(tmp_path)
    capture = writing.begin(identity("one"), PARAMS, "PCMU")
    capture.put(RecordKind.TO_SERVER, bytes(2000))
    assert writing.counters["capture_records_dropped"] == 1
    capture.note("end")
    writing.close()
    [file] = (tmp_path / "a").iterdir()
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

"""Captures that lie on a disk: each account sees its own, page by page."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trunkline.config import StreamSettings
from trunkline.control.captures import HEAD_LIMIT, Captures
from trunkline.errors import InvalidRequest, ResourceNotFound, Unavailable
from trunkline.ids import AccountSid
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.capture_names import CaptureName, folder_of
from trunkline.streaming.params import StreamParams

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINE, OTHERS = AccountSid("mine"), AccountSid("../others")


def put(directory: Path, account: str, stream: str, minute: int, part: int = 1, payloads: str = "whole") -> Path:
    """A file as the server writes it."""
    path = directory / folder_of(account) / CaptureName(NOON + timedelta(minutes=minute), stream, part).file
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"capture": 1, "account_sid": account, "call_sid": f"call of {stream}", "payloads": payloads}
    path.write_text(json.dumps(head) + "\n")
    return path


@pytest.fixture
def captures(tmp_path: Path) -> Captures:
    """Of a server with the setting."""
    return Captures(StreamSettings(capture=tmp_path))


async def test_each_account_has_its_own_newest_first(captures: Captures, tmp_path: Path) -> None:
    sizes = [put(tmp_path, MINE, "long", 2, part).stat().st_size for part in (1, 2)]
    put(tmp_path, MINE, "old", 1, payloads="hash")
    put(tmp_path, OTHERS, "secret", 3)
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "mine" / "20260301T120000-broken.capture.jsonl").write_text("not JSON")
    views, more = await captures.page(MINE, None, offset=0, limit=9)
    assert [(view.stream_sid, view.has_audio, view.size) for view in views] == [
        ("long", True, sum(sizes)),
        ("old", False, views[1].size),
    ]
    assert not more
    assert (views[0].call_sid, views[0].file_name) == ("call of long", "20260301T120200-long.capture.jsonl")
    assert views[0].started_at == NOON + timedelta(minutes=2)
    assert [part.path.name.count(".002") for part in views[0].parts] == [0, 1]
    assert (await captures.capture(OTHERS, "secret")).stream_sid == "secret"
    with pytest.raises(ResourceNotFound):
        await captures.capture(MINE, "secret")


async def test_a_line_that_is_not_whole_does_not_count(captures: Captures, tmp_path: Path) -> None:
    paths = [put(tmp_path, MINE, name, 1) for name in ("whole", "torn", "long")]
    whole = [path.stat().st_size for path in paths]
    for path, more in zip(paths, (b"", b'{"ms":', b"x" * 200_000), strict=True):
        path.write_bytes(path.read_bytes() + more)
    assert [(await captures.capture(MINE, name)).size for name in ("whole", "torn", "long")] == whole


async def test_pages_follow_each_other(captures: Captures, tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path, MINE, f"s{number}", number)
    first, more = await captures.page(MINE, None, offset=0, limit=2)
    last, no_more = await captures.page(MINE, None, offset=4, limit=2)
    assert [view.stream_sid for view in (*first, *last)] == ["s4", "s3", "s0"]
    assert (more, no_more) == (True, False)
    some, _ = await captures.page(MINE, {"s1", "s9"}, offset=0, limit=9)
    assert [view.stream_sid for view in some] == ["s1"]


async def test_nothing_is_there_before_the_first(captures: Captures) -> None:
    assert await captures.page(MINE, None, offset=0, limit=9) == ([], False)
    assert await Captures(StreamSettings()).page(MINE, None, offset=0, limit=9) == ([], False)
    assert await captures.delete(MINE, {"s"}) == 0
    assert await Captures(StreamSettings()).prune(NOON) == 0


async def test_all_parts_of_a_stream_are_deleted_and_no_others(captures: Captures, tmp_path: Path) -> None:
    gone = [put(tmp_path, MINE, "gone", 1, part) for part in (1, 2)]
    left = [put(tmp_path, MINE, "left", 1), put(tmp_path, OTHERS, "gone", 1)]
    assert await captures.delete(MINE, {"gone"}) == 1
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in left)


async def test_what_was_last_written_long_ago_is_pruned(captures: Captures, tmp_path: Path) -> None:
    old, new, other = put(tmp_path, MINE, "old", 1), put(tmp_path, OTHERS, "new", 1), tmp_path / "mine" / "notes.txt"
    other.write_text("mine")
    for path in (old, other):
        os.utime(path, (1000, 1000))
    assert await captures.prune(NOON) == 1
    assert [path.exists() for path in (old, new, other)] == [False, True, True]


async def test_a_directory_that_cannot_be_read_is_said(captures: Captures, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(Unavailable, match="directory of captures"):
        await captures.page(MINE, None, offset=0, limit=9)


def test_to_capture_needs_the_operators_setting(captures: Captures) -> None:
    params = StreamParams(WebSocketUrl.parse("ws://bot/"), capture=True)
    captures.check(params)
    with pytest.raises(InvalidRequest, match=r"streams\.capture") as refused:
        Captures(StreamSettings()).check(params)
    assert refused.value.pointer == "/Capture"
    Captures(StreamSettings()).check(StreamParams(WebSocketUrl.parse("ws://bot/"), capture=False))


@pytest.mark.parametrize("torn", [HEAD_LIMIT - 1, HEAD_LIMIT, HEAD_LIMIT + 1, 2 * HEAD_LIMIT])
async def test_a_torn_line_may_be_longer_than_what_is_read_at_once(
    captures: Captures, tmp_path: Path, torn: int
) -> None:
    path = put(tmp_path, MINE, "torn", 1)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"x" * torn)
    assert (await captures.capture(MINE, "torn")).size == whole
    path.write_bytes(b"x" * torn)
    assert (await captures.page(MINE, None, offset=0, limit=9)) == ([], False), "no line of it is whole"

"""Captures are fetched by their account alone, as many lines as there were."""

from pathlib import Path

import httpx
import pytest

from api.conftest import CALL, NOW, OTHER_KEY, MemoryCalls
from trunkline.calls.views import CapturePart, CaptureView

STREAM = "e9cea0be-7dbd-4b98-98b1-c0089d9d43b0"
PATH = f"/v2/trunkline/captures/{STREAM}"
FIRST, SECOND = b'{"capture":1}\n' + b"x" * 600_000 + b"\n", b'{"capture":1}\n'


@pytest.fixture
def parts(control: MemoryCalls, tmp_path: Path) -> list[Path]:
    """Two, of which the second has grown since it was looked at."""
    made = []
    for number, (content, more) in enumerate(((FIRST, b""), (SECOND, b'{"ms":'))):
        path = tmp_path / f"{number}"
        path.write_bytes(content + more)
        made.append(CapturePart(path, len(content)))
    control.captured[STREAM] = CaptureView(STREAM, CALL, NOW, "a.capture.jsonl", True, tuple(made))
    return [part.path for part in made]


async def test_all_parts_come_as_one_file(client: httpx.AsyncClient, parts: list[Path]) -> None:
    answer = await client.get(PATH)
    assert (answer.status_code, answer.content) == (200, FIRST + SECOND)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-length"] == str(len(FIRST + SECOND))
    name = "a.capture.jsonl"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


async def test_what_made_room_for_others_is_not_there(client: httpx.AsyncClient, parts: list[Path]) -> None:
    parts[1].unlink()
    assert (await client.get(PATH)).status_code == 404


async def test_another_account_can_neither_fetch_nor_delete_it(
    client: httpx.AsyncClient, parts: list[Path], control: MemoryCalls
) -> None:
    theirs = {"Authorization": f"Bearer {OTHER_KEY}"}
    for method in ("GET", "DELETE"):
        assert (await client.request(method, PATH, headers=theirs)).status_code == 404
    assert (await client.get("/v2/trunkline/captures", headers=theirs)).json()["captures"] == []
    assert STREAM in control.captured
    assert (await client.delete(PATH)).status_code == 200
    assert (await client.get(PATH)).status_code == 404

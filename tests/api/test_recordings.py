"""The audio of recordings over real HTTP."""

from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from api.conftest import MemoryCalls

ACCOUNT = "61bf923e-5e4d-4595-a110-56190ea18a1b"
OTHER_ACCOUNT = "00000000-5e4d-4595-a110-56190ea18a1b"
SID = "6a09cdc3-8948-47f0-aa62-74ac943d6c58"
AUDIO = b"RIFF" + bytes(range(256)) * 1000


@pytest.fixture
def path(control: "MemoryCalls") -> str:
    control.audio[SID].write_bytes(AUDIO)
    return f"/v2/texml/Accounts/{ACCOUNT}/Recordings/{SID}.wav"


async def test_a_recording_is_fetched_whole_and_in_parts(client: httpx.AsyncClient, path: str) -> None:
    whole = await client.get(path)
    assert (whole.status_code, whole.content) == (200, AUDIO)
    assert whole.headers["content-type"] == "audio/wav"
    part = await client.get(path, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, AUDIO[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(AUDIO)}"
    head = await client.head(path)
    assert (head.headers["content-length"], head.content) == (str(len(AUDIO)), b"")


async def test_another_account_cannot_fetch_it(client: httpx.AsyncClient, path: str) -> None:
    for other in (path.replace(ACCOUNT, OTHER_ACCOUNT), path.replace(SID, "..%2F" + SID), path.replace(SID, "x")):
        refused = await client.get(other)
        assert (refused.status_code, refused.json()) == (404, {"errors": [{"detail": "Resource not found"}]})
    client.headers["authorization"] = "Bearer KEY9876543210"
    assert (await client.get(path)).status_code == 404
    del client.headers["authorization"]
    assert (await client.get(path)).status_code == 401

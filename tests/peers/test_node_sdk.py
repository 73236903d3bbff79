"""The official Node SDK, which sends forms, starts and stops streams, is refused in the documented words, and finds
our callbacks' signatures good."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from peers.harness import RecordingApp, ended, events, happens
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import Caller
from trunkline.demo.server import ServerProcess

NODE = Path(__file__).with_name("node")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not shutil.which("node") or not (NODE / "node_modules" / "telnyx").exists(),
        reason="node or its telnyx package is not installed; `make test` installs both",
    ),
]


async def node(task: dict[str, Any]) -> Any:
    """Run the program in node/ on one task; its report."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(NODE / "streams.mjs")), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        report, _ = await process.communicate(json.dumps(task).encode())
    assert process.returncode == 0
    return json.loads(report)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_the_node_sdk_starts_stops_is_refused_and_verifies(
    method: str,
    server: ServerProcess,
    caller: Caller,
    app: RecordingApp,
    callbacks: CallbackReceiver,
) -> None:
    report = await node(
        {
            "job": "streams",
            "method": method,
            "api_key": server.api_key,
            "base_url": server.base_url,
            "account_sid": server.account_sid,
            "call_sid": caller.call_sid,
            "url": app.url,
            "status_callback": callbacks.url,
        }
    )
    started, stopped = report["started"], report["stopped"]
    assert set(started) == {"account_sid", "call_sid", "sid", "name", "status", "date_updated", "uri"}
    assert started["name"] == "from node & back"
    assert started["status"] == "in-progress"
    assert stopped["status"] == report["again"]["status"] == "stopped"
    assert stopped["sid"] == started["sid"]
    assert set(stopped) == set(started) - {"name"}
    end = await ended(callbacks, started["sid"])
    assert end["StreamEvent"] == "stream-stopped"
    assert end["StreamName"] == "from node & back"
    expected: dict[str, tuple[int, str, str | None]] = {
        "second": (422, "90045", None),
        "no_url": (422, "10004", "/Url"),
        "bad_track": (422, "10032", "/Track"),
        "no_key": (401, "10009", None),
    }
    for name, (status, code, pointer) in expected.items():
        refused = report[name]
        error = refused["body"]["errors"][0]
        assert (refused["status"], error["code"]) == (status, code), name
        assert pointer is None or error["source"]["pointer"] == pointer
    assert report["no_call"]["status"] == 404
    assert report["no_call"]["body"] == {"errors": [{"detail": "Resource not found"}]}
    received = callbacks.received
    await happens(callbacks.watch, "both callbacks", lambda: "stream-stopped" in events(callbacks))
    assert {callback.method for callback in received} == {method}
    pairs = [{"body": callback.body.decode(), "headers": callback.headers} for callback in received]
    forged = {"body": received[0].body.decode() + "x", "headers": received[0].headers}
    check: dict[str, Any] = {
        "job": "signatures",
        "public_key": await server.public_key(),
        "callbacks": [*pairs, forged],
    }
    verdicts = await node(check)
    assert verdicts[:-1] == ["good"] * len(received)
    assert verdicts[-1] != "good"

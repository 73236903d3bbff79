"""The official Node SDK, which sends forms, starts and stops streams, is refused in the documented words, and finds
our callbacks' signatures good."""

import pytest

from peers.customer import needs_node, node, node_verifies
from peers.harness import RecordingApp, ended, events, happens
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = [pytest.mark.peer, needs_node]


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_the_node_sdk_starts_stops_is_refused_and_verifies(
    method: str,
    server: ServerProcess,
    caller: DemoCaller,
    app: RecordingApp,
    callbacks: CallbackReceiver,
) -> None:
    report = await node(
        "streams",
        method=method,
        api_key=server.api_key,
        base_url=server.base_url,
        account_sid=server.account_sid,
        call_sid=caller.call_sid,
        url=app.url,
        status_callback=callbacks.url,
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
    await node_verifies(server, received)

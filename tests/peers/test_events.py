"""The event WebSocket of a real server, while a real call is streamed to a real app."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from telnyx import AsyncTelnyx
from websockets.asyncio.client import ClientConnection, connect

from peers.harness import RecordingApp, events, happens
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
LOUD = bytes((0, 128)) * 80
"""20 ms of PCMU at full scale."""


class Listener:
    """A client of the event WebSocket that keeps what it gets."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []

    async def until(self, event: str, **members: Any) -> dict[str, Any]:
        """The first event with these members, from the beginning on."""
        index = 0
        async with asyncio.timeout(30):
            while True:
                for found in self.seen[index:]:
                    if found["event"] == event and found.items() >= members.items():
                        return found
                index = len(self.seen)
                self.seen.append(json.loads(await self.socket.recv()))


@pytest.fixture
async def listener(server: ServerProcess) -> AsyncIterator[Listener]:
    url = f"ws://127.0.0.1:{server.http_port}/v2/events?watch=all"
    async with connect(url, additional_headers={"Authorization": f"Bearer {server.api_key}"}) as socket:
        listener = Listener(socket)
        await listener.until("hello")
        yield listener


async def test_a_call_is_seen_from_its_invite_to_its_end(
    listener: Listener,
    caller: DemoCaller,
    app: RecordingApp,
    client: AsyncTelnyx,
    server: ServerProcess,
    callbacks: CallbackReceiver,
) -> None:
    call = caller.call_sid
    answered = await listener.until("call-answered", call_sid=call)
    assert (answered["call"]["sid"], answered["codec"]) == (call, "PCMU")
    for direction, summary in (("received", "INVITE"), ("sent", "200 OK"), ("received", "ACK")):
        async with asyncio.timeout(30):
            while not any(
                one["event"] == "sip-message" and one["direction"] == direction and one["summary"].startswith(summary)
                for one in listener.seen
            ):
                listener.seen.append(json.loads(await listener.socket.recv()))
    started = await client.texml.accounts.calls.streams_json(
        call, account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp", status_callback=callbacks.url
    )
    about = {"call_sid": call, "stream_sid": started.sid}
    await listener.until("stream-started", **about)
    tried = await listener.until("callback-tried", **about)
    assert (tried["state"], tried["status"]) == ("delivered", 200)
    stored = await listener.until("callback-stored", callback_id=tried["callback_id"])
    assert stored["form"]["StreamEvent"] == "stream-started"
    socket = await app.socket()
    await socket.play(LOUD * 150)
    await socket.send({"event": "mark", "mark": {"name": "end"}})
    first = await listener.until("first-audio", **about)
    assert 0 < first["milliseconds"] < 20_000
    loud = await listener.until("levels", call_sid=call)
    while loud["outbound"]["level_db"] < -10 or loud["inbound"]["level_db"] < -40:
        loud = json.loads(await listener.socket.recv())
        listener.seen.append(loud)
        loud = loud if loud["event"] == "levels" else {"outbound": {"level_db": -96}, "inbound": {"level_db": -96}}
    assert loud["streams"][0]["stream_sid"] == started.sid
    assert loud["streams"][0]["queued_ms"] > 0
    await socket.send({"event": "clear"})
    asked = await listener.until(
        "stream-message", direction="received", message={"event": "mark", "mark": {"name": "end"}}
    )
    assert asked.items() >= about.items()
    await listener.until("stream-message", direction="received", message={"event": "clear"})
    cleared = [one for one in listener.seen if one["event"] == "stream-message" and one["direction"] == "sent"]
    while not cleared:
        listener.seen.append(json.loads(await listener.socket.recv()))
        cleared = [one for one in listener.seen if one["event"] == "stream-message" and one["direction"] == "sent"]
    assert cleared[0]["message"]["mark"] == {"name": "end"}
    await caller.hang_up()
    await listener.until("stream-stopped", **about)
    over = await listener.until("call-completed", call_sid=call)
    assert over["reason"] == "caller hung up"
    numbers = [one["sequence"] for one in listener.seen if "sequence" in one]
    assert numbers == sorted(numbers)


async def test_a_client_that_was_away_gets_what_it_missed(
    listener: Listener, caller: DemoCaller, server: ServerProcess
) -> None:
    answered = await listener.until("call-answered", call_sid=caller.call_sid)
    session = listener.seen[0]["session"]
    await listener.socket.close()
    await caller.hang_up()
    url = f"ws://127.0.0.1:{server.http_port}/v2/events?after={answered['sequence']}&session={session}"
    async with connect(url, additional_headers={"Authorization": f"Bearer {server.api_key}"}) as socket:
        again = Listener(socket)
        await again.until("call-completed", call_sid=caller.call_sid)
    assert "call-answered" not in [one["event"] for one in again.seen]


async def test_a_callback_is_listed_and_sent_again_with_an_id_of_its_own(
    caller: DemoCaller, app: RecordingApp, client: AsyncTelnyx, server: ServerProcess, callbacks: CallbackReceiver
) -> None:
    started = await client.texml.accounts.calls.streams_json(
        caller.call_sid, account_sid=server.account_sid, url=app.url, status_callback=callbacks.url
    )
    await happens(callbacks.watch, "stream-started comes", lambda: bool(events(callbacks, started.sid)))
    headers = {"authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, verify=False, headers=headers) as http:
        listed = (await http.get("/trunkline/callbacks")).json()["callbacks"]
        [found] = [one for one in listed if one["stream_sid"] == started.sid]
        assert found["form"]["StreamEvent"] == "stream-started"
        again = await http.post(f"/trunkline/callbacks/{found['id']}/redeliver")
        assert again.status_code == 201
        assert (await http.post("/trunkline/callbacks/unknown/redeliver")).status_code == 404
    await happens(callbacks.watch, "it comes again", lambda: len(events(callbacks, started.sid)) >= 2)
    ids = [one.headers["webhook-id"] for one in callbacks.received if one.fields["StreamSid"] == started.sid]
    assert ids[:2] == [found["id"], again.json()["data"]["id"]]

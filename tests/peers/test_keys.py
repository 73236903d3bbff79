"""Keys that the app presses, as a phone hears them."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, RtpEndpoint, happens, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import FRAME_BYTES, speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
EVENTS = 101


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server with the extensions on."""
    async with running(new_server(tmp_path_factory.mktemp("server"), streams__extensions=True)) as server:
        yield server


async def test_keys_interrupt_what_the_app_plays_and_cost_none_of_it(
    server: ServerProcess, client: AsyncTelnyx, app: RecordingApp, caller: DemoCaller
) -> None:
    await client.texml.accounts.calls.streams_json(
        caller.call_sid,
        account_sid=server.account_sid,
        url=app.url,
        track="both_tracks",
        bidirectional_mode="rtp",
    )
    socket = await app.socket()
    said = speech(100)
    await socket.play(b"".join(said))
    await socket.send({"event": "mark", "mark": {"name": "played"}})
    await happens(caller.watch, "it plays", lambda: said[5] in [packet.payload for packet in caller.heard])
    await socket.send({"event": "dtmf", "dtmf": {"digit": "1" * 65}})
    await socket.send({"event": "dtmf", "dtmf": {"digit": "x"}})
    await socket.send({"event": "dtmf", "dtmf": {"digit": "4"}})
    await socket.send({"event": "dtmf", "dtmf": {"digit": "4#"}})
    await happens(app.watch, "the mark comes back", lambda: bool(socket.all("mark")))
    await happens(caller.watch, "all of it", lambda: said[-1] in [packet.payload for packet in caller.heard])
    assert [message["payload"]["code"] for message in socket.all("error")] == [100005, 100003]
    assert [packet.payload for packet in caller.heard if packet.payload in said] == said
    events = [packet for packet in caller.heard if packet.payload_type == EVENTS]
    presses = list(dict.fromkeys((packet.timestamp, packet.payload[0]) for packet in events))
    assert [event for _, event in presses] == [4, 4, 11]
    for timestamp, _ in presses:
        payloads = [packet.payload for packet in events if packet.timestamp == timestamp]
        assert [payload[1] >> 7 for payload in payloads] == [0] * 7 + [1] * 3
        assert [int.from_bytes(payload[2:]) for payload in payloads] == [*range(160, 1281, 160), 1280, 1280]
    sequence = [packet.sequence for packet in caller.heard]
    assert sequence == [(sequence[0] + n) % 65536 for n in range(len(sequence))]
    first, last = (next(packet for packet in caller.heard if packet.payload == frame) for frame in (said[0], said[-1]))
    assert (last.timestamp - first.timestamp) % 2**32 >= (99 + 30) * FRAME_BYTES
    outbound = [message["media"] for message in socket.all("media") if message["media"]["track"] == "outbound"]
    assert [int(media["chunk"]) for media in outbound] == [*range(1, len(outbound) + 1)]
    assert len(outbound) >= 100 + 30, "a frame for each packet, the events included"


async def test_a_key_on_a_call_without_telephone_events_is_an_error(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMA_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, _ = await run.answered()
            await client.texml.accounts.calls.streams_json(call_sid, account_sid=server.account_sid, url=app.url)
            socket = await app.socket()
            await socket.send({"event": "dtmf", "dtmf": {"digit": "5"}})
            await happens(app.watch, "an error", lambda: bool(socket.all("error")))
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    (error,) = socket.all("error")
    assert error["payload"]["code"] == 100002
    assert "telephone-event" in error["payload"]["detail"]

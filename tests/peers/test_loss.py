"""sipp speaks over a network that loses, delays and doubles packets; the chunk numbers show exactly what was lost."""

from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, happens, new_server, running
from peers.lossy import LossyRelay, fates
from peers.sipp import SippRun
from trunkline.demo.audio import speech
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
NEAR = "127.0.0.2"
"""Where the server says that its media is: the relay."""
WINDOW = 500
"""ms: no pause of a busy machine is as long between two packets that the relay sends at once. The server keeps to it
until it has met with fifty gaps."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with running(new_server(tmp_path, media__advertised_host=NEAR, media__reorder_window=WINDOW)) as server:
        yield server


@pytest.fixture
async def relay(server: ServerProcess) -> AsyncIterator[LossyRelay]:
    """Between sipp and the server, on all of its media ports."""
    first, last = int(server.setting("media.port_min")), int(server.setting("media.port_max"))
    async with LossyRelay(NEAR, server.host, range(first, last, 2)) as relay:
        yield relay


async def test_chunk_gaps_are_the_lost_packets_and_the_rest_comes_in_order(
    server: ServerProcess,
    relay: LossyRelay,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    tmp_path: Path,
) -> None:
    audio = tmp_path / "speech.ulaw"
    audio.write_bytes(b"".join(speech(3000)))
    body = steps.sdp(steps.PCMU_LINES)
    async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.stream(audio, 1), steps.byed()) as run:
        call_sid, _ = await run.answered()
        streams = client.texml.accounts.calls
        await streams.streams_json(call_sid, account_sid=server.account_sid, url=app.url)
        socket = await app.socket()
        await happens(app.watch, "audio arrives", lambda: bool(socket.payloads()))
        relay.begin(fates(7, 300, drop=0.06, delay=0.06, double=0.05))
        await happens(
            app.watch,
            "the network recovers",
            lambda: relay.recovered is not None and relay.numbers[socket.payloads()[-1]] >= relay.recovered,
            20,
        )
        path = f"/texml/Accounts/{server.account_sid}/Calls/{call_sid}/media.json"
        report = await client.get(path, cast_to=object)
        await client.calls.actions.hangup(call_sid)
        await run.succeeds()
    heard = [relay.numbers[payload] for payload in socket.payloads()]
    assert min(len(relay.dropped), len(relay.delayed), len(relay.doubled)) > 10
    assert heard == [number for number in sorted(set(relay.passed)) if heard[0] <= number <= heard[-1]]
    chunks = [int(message["media"]["chunk"]) for message in socket.all("media")]
    assert [b - a for a, b in pairwise(chunks)] == [b - a for a, b in pairwise(heard)]
    gaps = {number for a, b in pairwise(heard) for number in range(a + 1, b)}
    assert gaps == set(relay.dropped)
    assert isinstance(report, dict)
    leg = report["leg"]
    assert (leg["lost"], leg["late"], leg["duplicate"], leg["reordered"]) == (
        len(relay.dropped),
        0,
        len(relay.doubled),
        len(relay.delayed),
    )

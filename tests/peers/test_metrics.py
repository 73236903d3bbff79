"""What `/metrics` says of a call that was real."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, ended, happens, new_server, no_call_left, running
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A server that has taken no call before."""
    async with running(new_server(tmp_path)) as server:
        yield server


async def scraped(server: ServerProcess) -> dict[str, float]:
    """The samples, as Prometheus' own parser reads them."""
    async with httpx.AsyncClient(timeout=20) as http:
        text = (await http.get(server.base_url.replace("/v2", "/metrics"))).text
    return {
        "_".join((sample.name.removeprefix("trunkline_"), *sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_call_with_a_stream_is_measured_once_in_each_metric(
    server: ServerProcess,
    caller: DemoCaller,
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
) -> None:
    stream = await client.texml.accounts.calls.streams_json(
        caller.call_sid,
        account_sid=server.account_sid,
        url=app.url,
        bidirectional_mode="rtp",
        status_callback=callbacks.url,
    )
    socket = await app.socket()
    await happens(app.watch, "half a second of audio", lambda: len(socket.payloads()) >= 25)
    during = await scraped(server)
    assert (during["calls_active_inbound"], during["streams_active_rtp"]) == (1, 1)
    assert during["rtp_ports_in_use"] == 1
    assert (during["call_setup_seconds_count"], during["stream_connect_seconds_count"]) == (1, 1)
    assert 0 < during["call_setup_seconds_sum"] < 30
    await client.calls.actions.hangup(caller.call_sid)
    assert stream.sid
    await ended(callbacks, stream.sid)
    await no_call_left(client, server.account_sid)
    after = await scraped(server)
    assert after["calls_total_completed_inbound"] == 1
    assert (after["calls_active_inbound"], after["streams_active_rtp"], after["rtp_ports_in_use"]) == (0, 0, 0)
    assert (after["rtp_jitter_seconds_count"], after["mos_count"], after["rtp_packets_lost_total"]) == (1, 1, 0)
    assert 3.5 < after["mos_sum"] < 5
    assert after["callback_delivery_seconds_count"] >= 1

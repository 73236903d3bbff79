"""Bad input on every port of a running server: an error answer, no harm to a live call, and no traceback."""

import asyncio
import random
import socket as sockets
from contextlib import suppress

import httpx
import pytest
from telnyx import AsyncTelnyx
from websockets.exceptions import ConnectionClosed

from peers.harness import RecordingApp, Socket, happens
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
INVITE = (
    b"INVITE sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\n"
    b"Call-ID: x\r\nCSeq: 1 INVITE\r\n"
)


@pytest.fixture
async def socket(server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx, app: RecordingApp) -> Socket:
    """The app's side of a bidirectional stream."""
    await client.texml.accounts.calls.streams_json(
        caller.call_sid, account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp"
    )
    return await app.socket()


async def goes_on(app: RecordingApp, socket: Socket, caller: DemoCaller) -> None:
    """Another second of the call arrives, and nothing was lost since the beginning."""
    enough = len(socket.payloads()) + 50
    await happens(app.watch, "frames flow on", lambda: len(socket.payloads()) >= enough)
    numbers = [caller.frames.index(payload) for payload in socket.payloads()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert caller.up


def noise(count: int) -> list[bytes]:
    """Random bytes, the same each time, and pieces of SIP."""
    chance = random.Random(7)
    pieces = [INVITE[: chance.randrange(len(INVITE))] for _ in range(count // 2)]
    return pieces + [chance.randbytes(chance.randrange(1400)) for _ in range(count // 2)]


async def test_noise_on_the_sip_and_rtp_ports_disturbs_no_call(
    server: ServerProcess, caller: DemoCaller, app: RecordingApp, socket: Socket
) -> None:
    first, last = server.http_port + 2, server.http_port + 41
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as sender:
        for datagram in noise(400):
            sender.sendto(datagram, server.sip_address)
        for port in range(first, last + 1):
            for datagram in noise(20):
                sender.sendto(datagram, (server.host, port))
    for piece in noise(10):
        _, writer = await asyncio.open_connection(*server.sip_address)
        writer.write(piece)
        writer.close()
        await writer.wait_closed()
    await goes_on(app, socket, caller)
    async with DemoCaller(server.sip_address, speech(10)) as second:
        await second.call()


async def test_each_bad_message_from_the_app_gets_its_error_and_the_stream_goes_on(
    server: ServerProcess, caller: DemoCaller, app: RecordingApp, socket: Socket
) -> None:
    bad: list[tuple[str | bytes, int]] = [
        ("no json", 100003),
        (b"\x00\x01", 100003),
        ("{}", 100003),
        ('{"event":"media"}', 100003),
        ('{"event":"media","media":{"payload":"%%%"}}', 100004),
    ]
    for text, _ in bad:
        await socket.connection.send(text)
    await happens(app.watch, "as many errors", lambda: len(socket.all("error")) >= len(bad))
    assert [message["payload"]["code"] for message in socket.all("error")] == [code for _, code in bad]
    assert all(message["payload"]["detail"] for message in socket.all("error"))
    await goes_on(app, socket, caller)
    assert await caller.hang_up()
    async with asyncio.timeout(10), httpx.AsyncClient() as http:  # workers report theirs every second
        while True:
            text = (await http.get(server.base_url.replace("/v2", "/metrics"))).text
            if 'trunkline_media_total{event="stream_error_malformed_frame"} 4.0' in text:
                break


async def test_a_ten_megabyte_message_closes_the_socket_with_1009_and_not_the_call(
    caller: DemoCaller, app: RecordingApp, socket: Socket
) -> None:
    with suppress(ConnectionClosed):  # the server need not read it to the end
        await socket.connection.send('{"event":"media","media":{"payload":"' + "A" * 10_000_000 + '"}}')
    await happens(app.watch, "the socket closes", lambda: socket.close_code is not None)
    assert socket.close_code == 1009
    assert caller.up


async def test_bad_requests_get_their_status_and_the_call_goes_on(
    server: ServerProcess, caller: DemoCaller, app: RecordingApp, socket: Socket
) -> None:
    path = f"{server.base_url}/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}/Streams.json"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as http:
        assert (await http.delete(path)).status_code == 405
        assert (await http.post(path, content=b"<x/>", headers={"Content-Type": "text/xml"})).status_code == 415
        assert (await http.post(path, json={"Url": "x" * 70_000})).status_code == 413
        assert (await http.post(path, content=b"{", headers={"Content-Type": "application/json"})).status_code in (
            400,
            422,
        )
        try:
            huge = await http.get(path, headers={"X-Huge": "x" * 1_000_000})
        except httpx.TransportError:
            pass  # hung up on while it was still sending
        else:
            assert huge.status_code == 431
        assert (await http.get(path)).status_code == 200
    await goes_on(app, socket, caller)

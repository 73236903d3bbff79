"""A phone's call to a real server: sockets, clock, and what an app at the server hears."""

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import numpy as np
import pytest
import pytest_asyncio

from peers.harness import RecordingApp, happens, new_server, running
from trunkline.demo.server import ServerProcess
from trunkline.phone import call
from trunkline.phone.audio import FRAMES_WAITING
from trunkline.phone.call import PhoneCall
from trunkline.phone.measures import measure
from trunkline.phone.values import CallOver, CallRefused, CallUnreachable, Impairments, PhoneError, PhoneEvent

pytestmark = pytest.mark.process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """The server of this file."""
    directory = tmp_path_factory.mktemp("server")
    async with running(new_server(directory, media__codecs="PCMU,G722,OPUS")) as server:
        yield server


@pytest.fixture
def uri(server: ServerProcess) -> str:
    host, port = server.sip_address
    return f"sip:+13125550123@{host}:{port}"


def tone(milliseconds: int) -> bytes:
    at = np.arange(16 * milliseconds)
    return (8000 * np.sin(2 * np.pi * 440 * at / 16000)).astype("<i2").tobytes()


async def stream(server: ServerProcess, phone: PhoneCall, app: RecordingApp, codec: str = "PCMU") -> None:
    """Start a stream of the call to the app."""
    path = f"/v2/texml/Accounts/{server.account_sid}/Calls/{phone.call_sid}/Streams.json"
    fields = {"Url": app.url, "Track": "inbound_track", "BidirectionalMode": "rtp", "BidirectionalCodec": codec}
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.http_port}", headers=headers) as client:
        (await client.post(path, data=fields)).raise_for_status()
    await app.socket()


@pytest.mark.parametrize("codec", ["PCMU", "G722", "OPUS"])
async def test_what_the_phone_says_comes_back_from_an_app_that_echoes(
    server: ServerProcess, uri: str, codec: str
) -> None:
    async with RecordingApp() as app, PhoneCall(uri, codecs=[codec]) as phone:
        app.echo = True
        await phone.wait_answered()
        await stream(server, phone, app, codec)
        phone.play(tone(600))
        loud = 0
        async with asyncio.timeout(30):
            async for frame in phone.frames():
                loud += float(np.abs(np.frombuffer(frame.pcm, "<i2")).mean()) > 2000
                if loud >= 25:
                    break
        assert phone.is_up
        await phone.wait_played()
    assert phone.is_over
    heard = np.frombuffer(phone.recording(), "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(heard))
    assert abs(np.argmax(spectrum) * 16000 / len(heard) - 440) < 5
    report = phone.report()
    assert report is not None
    assert (report.codec, report.lost) == (codec, 0)
    assert report.mos > 4


async def test_keys_reach_the_app_and_its_digits_the_phone(server: ServerProcess, uri: str) -> None:
    async with RecordingApp() as app, PhoneCall(uri) as phone:
        await phone.wait_answered()
        await stream(server, phone, app)
        phone.send_digits("1w#")
        await happens(
            app.watch,
            "the app gets both keys",
            lambda: [one["dtmf"]["digit"] for one in app.sockets[0].all("dtmf")] == ["1", "#"],
        )


async def test_lost_packets_do_not_reach_the_server(server: ServerProcess, uri: str) -> None:
    async with RecordingApp() as app, PhoneCall(uri, impairments=Impairments(loss=0.3), seed=5) as phone:
        await phone.wait_answered()
        await stream(server, phone, app)
        phone.play(tone(1500))
        await phone.wait_played()
    assert phone.core.line.counts.dropped > 10
    chunks = [int(one["media"]["chunk"]) for one in app.sockets[0].all("media")]
    missing = chunks[-1] - chunks[0] + 1 - len(chunks)
    assert 0.15 < missing / (chunks[-1] - chunks[0] + 1) < 0.45


async def test_packets_out_of_order_and_of_30_ms_reach_the_app_whole(server: ServerProcess, uri: str) -> None:
    faults = Impairments(reorder=0.2)
    async with RecordingApp() as app, PhoneCall(uri, impairments=faults, seed=5, ptime=30) as phone:
        await phone.wait_answered()
        await stream(server, phone, app)
        phone.play(tone(1500))
        await phone.wait_played()
    assert phone.core.line.counts.reordered > 5
    media = [one["media"] for one in app.sockets[0].all("media")]
    assert {len(payload) for payload in app.sockets[0].payloads()} == {240}
    assert {int(later["chunk"]) - int(one["chunk"]) for one, later in pairwise(media)} == {1}
    assert {int(later["timestamp"]) - int(one["timestamp"]) for one, later in pairwise(media)} == {30}


async def test_a_fast_clock_sends_more_than_a_call_lasts_and_nothing_is_lost(server: ServerProcess, uri: str) -> None:
    async with RecordingApp() as app, PhoneCall(uri, drift_ppm=80_000.0) as phone:
        await phone.wait_answered()
        await stream(server, phone, app)
        phone.play(tone(1500))
        await phone.wait_played()
    found = measure(phone.core, phone.loop_time)
    assert found.report is not None
    assert found.report.packets_out * 20 > found.duration_ms * 1.03
    chunks = [int(one["media"]["chunk"]) for one in app.sockets[0].all("media")]
    assert {later - one for one, later in pairwise(chunks)} == {1}


async def test_events_are_reported_as_they_happen_and_a_remote_hang_up_ends_the_call(
    server: ServerProcess, uri: str
) -> None:
    seen: list[PhoneEvent] = []
    async with PhoneCall(uri, on_event=seen.append) as phone:
        await phone.wait_answered()
        path = f"/v2/texml/Accounts/{server.account_sid}/Calls/{phone.call_sid}"
        headers = {"Authorization": f"Bearer {server.api_key}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.http_port}", headers=headers) as client:
            (await client.post(path, data={"Status": "completed"})).raise_for_status()
        assert await phone.wait_over(30)
        assert len([frame async for frame in phone.frames()]) <= FRAMES_WAITING
        with pytest.raises(CallOver):
            phone.send_digits("1")
    assert [event.kind for event in seen] == ["invited", "ringing", "answered", "ended"]
    assert seen[-1].detail.startswith("them: ")
    assert sorted(event.at for event in seen) == [event.at for event in seen] == [event.at for event in phone.events]


def test_a_call_that_was_not_placed_is_not_up() -> None:
    assert not PhoneCall("sip:+1@127.0.0.1").is_up


async def test_nothing_at_the_address_is_reported_soon() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    async with PhoneCall(f"sip:+1@127.0.0.1:{port}") as phone:
        with pytest.raises(CallUnreachable, match="refused"):
            await phone.wait_answered(20)


async def test_a_call_that_nothing_answers_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "SETTLE_TIME", 0.1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with PhoneCall(f"sip:+1@127.0.0.1:{silent.getsockname()[1]}") as phone:
            with pytest.raises(CallUnreachable, match="no answer within"):
                await phone.wait_answered(0.2)
            await phone.hang_up()
            assert phone.is_over


async def test_a_refusal_is_an_error_with_the_status(server: ServerProcess) -> None:
    host, port = server.sip_address
    async with PhoneCall(f"sip:+1@{host}:{port}", codecs=["PCMA"]) as phone:  # which this server has not
        with pytest.raises(CallRefused) as refused:
            await phone.wait_answered(30)
    assert refused.value.status == 488


@pytest.mark.parametrize("uri", ["hello", "tel:+1", "sips:a@b", "sip:"])
def test_what_is_no_sip_uri_is_refused_before_anything_is_sent(uri: str) -> None:
    with pytest.raises(PhoneError):
        PhoneCall(uri)


async def test_a_name_that_does_not_resolve_is_an_error() -> None:
    with pytest.raises(CallUnreachable, match=r"nowhere\.invalid"):
        async with PhoneCall("sip:bob@nowhere.invalid"):
            pass


def test_outside_the_context_there_is_no_call() -> None:
    with pytest.raises(CallOver):
        PhoneCall("sip:bob@127.0.0.1").play(b"")

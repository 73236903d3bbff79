"""mp3 mode, the default, over a real call: files that LAME made."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from mp3files import KINDS, mp3, signal_to_noise
from peers.harness import RecordingApp, happens, new_server, running
from trunkline.demo.audio import RATE, decode, speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
SECONDS = 1.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server that takes files at any rate, so that none comes too late to follow the one before without a gap."""
    async with running(new_server(tmp_path_factory.mktemp("server"), streams__mp3_interval=0)) as server:
        yield server


async def test_five_kinds_of_mp3_play_one_after_another_as_one_tone(
    server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx, app: RecordingApp
) -> None:
    await client.texml.accounts.calls.streams_json(caller.call_sid, account_sid=server.account_sid, url=app.url)
    socket = await app.socket()
    # The tone has whole periods in each file, so their seams are smooth if and only if nothing is added or lost.
    for kind in KINDS:
        await socket.play(mp3(kind, SECONDS))
        await socket.send({"event": "mark", "mark": {"name": kind}})
    await happens(app.watch, "all files are played", lambda: len(socket.all("mark")) == len(KINDS))
    assert [message["mark"]["name"] for message in socket.all("mark")] == list(KINDS)
    assert socket.all("error") == []
    length = round(len(KINDS) * SECONDS * RATE)
    before = len(caller.heard)
    await happens(caller.watch, "the last of it, and silence", lambda: len(caller.heard) >= before + 10)
    sound = _sound(caller)
    loud = np.flatnonzero(np.abs(sound) > 4000)
    assert loud[-1] - loud[0] == pytest.approx(length, abs=RATE // 100)
    steady = sound[loud[0] + RATE // 20 : loud[-1] - RATE // 20]
    assert signal_to_noise(steady, RATE) > 15
    assert np.abs(steady[: len(steady) // 16 * 16]).reshape(-1, 16).max(axis=1).min() > 8000, "no gap anywhere"


def _sound(caller: DemoCaller) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return decode(b"".join(packet.payload for packet in caller.heard))


async def test_mp3_files_sent_too_fast_and_raw_audio_are_reported_errors(app: RecordingApp, tmp_path: Path) -> None:
    async with (
        running(new_server(tmp_path, streams__mp3_interval=60)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        DemoCaller(server.sip_address, speech(1000)) as caller,
    ):
        await caller.call()
        await client.texml.accounts.calls.streams_json(
            caller.call_sid, account_sid=server.account_sid, url=app.url, bidirectional_mode="mp3"
        )
        socket = await app.socket()
        await socket.play(mp3(seconds=0.2))
        await socket.play(mp3(seconds=0.2))
        await socket.play(b"\xff" * 160)
        await socket.send({"event": "mark", "mark": {"name": "end"}})
        await happens(app.watch, "the mark", lambda: bool(socket.all("mark")))
    first, second = (message["payload"] for message in socket.all("error"))
    assert (first["code"], second["code"]) == (100005, 100004)
    assert "BidirectionalMode=rtp" in second["detail"]
    loud = np.flatnonzero(np.abs(_sound(caller)) > 4000)
    assert len(loud) < 0.25 * RATE, "one file was played"


async def test_two_streams_in_mp3_mode_are_mixed(
    server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx, app: RecordingApp
) -> None:
    streams = client.texml.accounts.calls.streams_json
    for _ in range(2):
        await streams(caller.call_sid, account_sid=server.account_sid, url=app.url)
    await happens(app.watch, "both start", lambda: sum(socket.started for socket in app.sockets) == 2)
    for socket, hertz in zip(app.sockets, (500, 1500), strict=True):
        await socket.play(mp3(seconds=0.5, hertz=hertz))
        await socket.send({"event": "mark", "mark": {"name": "end"}})
    await happens(app.watch, "both are played", lambda: all(socket.all("mark") for socket in app.sockets))
    spectrum = np.abs(np.fft.rfft(_sound(caller), n=RATE * 10))
    assert spectrum[4900:5100].max() > 4 * spectrum[5500:14500].max()
    assert spectrum[14900:15100].max() > 4 * spectrum[5500:14500].max()
    assert all(socket.all("error") == [] for socket in app.sockets)

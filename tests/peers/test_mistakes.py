"""Bots that make the common mistakes, on real calls: `why` names each one, and what to change."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from mp3files import mp3
from peers.harness import RecordingApp, Socket, new_server, running
from peers.test_why import WhyClient
from trunkline.apps.speech import speak
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess
from trunkline.media.codecs import CODECS

pytestmark = pytest.mark.peer

GOOD = b"".join(speech(300))
PCM = speak("Good morning. Thank you for calling. We are open from nine to five, but not on Sundays.", 8000)
WAV = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0\xc0\x5d\0\0\x80\xbb\0\0\2\0\x10\0data\xff\xff\xff\xff"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One server for all bots."""
    async with running(new_server(tmp_path_factory.mktemp("server"))) as server:
        yield server


class EchoBot(RecordingApp):
    """Sends back all audio that it gets, of whatever track, as many an example does."""

    async def _received(self, socket: Socket, message: dict[str, Any]) -> None:
        await super()._received(socket, message)
        if message["event"] == "media":
            await socket.send({"event": "media", "media": {"payload": message["media"]["payload"]}})


@pytest.fixture
def why(server: ServerProcess, client: AsyncTelnyx) -> WhyClient:
    return WhyClient(server, client)


@pytest.mark.parametrize(
    ("audio", "fields", "code", "words"),
    [
        (PCM, {}, "wrong_audio", "it is 16-bit PCM. Convert it to the stream's codec"),
        (
            WAV + PCM,
            {},
            "wrong_audio",
            "it is a WAV file (16-bit PCM, 24000 Hz, 1 channel). In rtp mode",
        ),
        (mp3(), {}, "wrong_audio", "start the stream with BidirectionalMode=mp3"),
        (base64.b64encode(GOOD), {}, "wrong_audio", "Encode the audio in base64 once"),
        (
            CODECS["L16/8000/big"].encoder()(PCM),
            {"bidirectional_codec": "L16"},
            "wrong_audio",
            "L16 in the other byte order. Swap the two bytes",
        ),
        (PCM, {"bidirectional_mode": "mp3"}, "wrong_mode", "BidirectionalMode=rtp"),
    ],
    ids=["pcm16", "wav", "mp3", "base64", "byte_order", "raw_in_mp3_mode"],
)
async def test_audio_that_is_not_what_the_stream_says(
    why: WhyClient,
    caller: DemoCaller,
    app: RecordingApp,
    audio: bytes,
    fields: dict[str, Any],
    code: str,
    words: str,
) -> None:
    await why.start(caller.call_sid, app.url, **{"bidirectional_mode": "rtp", **fields})
    socket = await app.socket()
    for start in range(0, len(audio), 1000):
        await socket.play(audio[start : start + 1000])
    finding = await why.finds(caller.call_sid, code)
    assert finding["severity"] == "error"
    assert words in finding["text"]


async def test_a_bot_whose_messages_are_all_refused(why: WhyClient, caller: DemoCaller, app: RecordingApp) -> None:
    await why.start(caller.call_sid, app.url, bidirectional_mode="rtp")
    socket = await app.socket()
    await socket.send({"event": "Media", "media": {"payload": base64.b64encode(GOOD[:160]).decode()}})
    finding = await why.finds(caller.call_sid, "all_refused")
    assert finding["severity"] == "error"
    assert "unknown event 'Media'; known are media" in finding["text"]
    code, output = await why.command(caller.call_sid)
    assert code == 1
    assert max(map(len, output.splitlines()[1:])) <= 80


@pytest.mark.parametrize(
    ("size", "pause", "code", "words"),
    [(320, 0.02, "backlog_grows", "16-bit PCM at 8000 Hz: is that"), (80, 0.02, "too_slow", "No prebuffer helps")],
)
async def test_a_bot_that_sends_too_fast_or_too_slowly(
    why: WhyClient, caller: DemoCaller, app: RecordingApp, size: int, pause: float, code: str, words: str
) -> None:
    await why.start(caller.call_sid, app.url, bidirectional_mode="rtp")
    socket = await app.socket()

    async def talk() -> None:
        loop, count = asyncio.get_running_loop(), 0
        began = loop.time()
        while True:
            at = count * size % (len(GOOD) - size)
            await socket.play(GOOD[at : at + size])
            count += 1
            await asyncio.sleep(max(0, began + count * pause - loop.time()))

    talking = asyncio.create_task(talk())
    try:
        assert words in (await why.finds(caller.call_sid, code))["text"]
    finally:
        talking.cancel()


async def test_an_echo_bot_on_the_outbound_track(why: WhyClient, caller: DemoCaller) -> None:
    async with EchoBot() as bot:
        await why.start(caller.call_sid, bot.url, track="outbound_track", bidirectional_mode="rtp")
        finding = await why.finds(caller.call_sid, "hears_itself")
    assert finding["severity"] == "error"
    assert "Start the stream with Track=inbound_track" in finding["text"]


async def test_a_bot_that_stops_reading(why: WhyClient, caller: DemoCaller) -> None:
    """As one does whose event loop is blocked. 130 kB a second, so that what the kernels keep is soon full."""
    async with RecordingApp() as app:
        app.reads = False
        await why.start(
            caller.call_sid, app.url, track="both_tracks", extra_body={"Codec": "L16", "SamplingRate": 24000}
        )
        finding = await why.finds(caller.call_sid, "app_does_not_read")
    assert finding["severity"] == "error"
    assert "a call that blocks its event loop" in finding["text"]


async def test_a_bot_that_stops_sending(why: WhyClient, caller: DemoCaller, app: RecordingApp) -> None:
    await why.start(caller.call_sid, app.url, bidirectional_mode="rtp")
    socket = await app.socket()
    await socket.play(GOOD[:8000])
    finding = await why.finds(caller.call_sid, "queue_empty")
    assert "All that the app has sent so far is played (1000 ms)" in finding["text"]


async def test_a_bot_without_tls_at_a_wss_url(why: WhyClient, caller: DemoCaller, app: RecordingApp) -> None:
    await why.start(caller.call_sid, app.url.replace("ws://", "wss://"))
    finding = await why.finds(caller.call_sid, "stream_failed")
    assert finding["severity"] == "error"
    assert "is it ws://" in finding["text"]
    assert "without the s?" in finding["text"]

"""Streams on bridged legs of a real worker, with phones on real sockets: tracks of both legs, and target legs."""

from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from mp3files import signal_to_noise
from peers.harness import RecordingApp, Socket, happens
from trunkline.config import MediaSettings, Settings
from trunkline.demo.server import free_ports
from trunkline.demo.watch import Watch
from trunkline.ids import AccountSid, CallSessionId, LegId, StreamSid
from trunkline.media.codecs import CODECS
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, TargetLegs, Track
from trunkline.workers import messages, orders, reports
from trunkline.workers.pool import WorkerPool
from workers.bench import Phone, ReceivedReports, call_of

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

BASE = free_ports(20)
SETTINGS = Settings(media=MediaSettings(workers=1, port_min=BASE, port_max=BASE + 19))
PCMU, G722 = ("PCMU", 0), ("G722", 9)
ONE, OTHER = LegId(1), LegId(2)


def tone(codec: str, packets: int, hertz: float) -> list[bytes]:
    row = CODECS[codec]
    wave = np.rint(8000 * np.sin(2 * np.pi * hertz * np.arange(packets * row.sample_rate // 50) / row.sample_rate))
    coded = row.encoder()(wave.astype("<i2").tobytes())
    return [coded[start : start + 160] for start in range(0, len(coded), 160)]


def clarity(payloads: list[bytes], codec: str, hertz: float) -> float:
    """Of the tone, in dB, in the clearest 200 ms."""
    row = CODECS[codec]
    pcm: NDArray[np.float64] = np.frombuffer(row.decoder()(b"".join(payloads)), "<i2").astype(np.float64)
    size = row.sample_rate // 5
    windows = [pcm[start : start + size] for start in range(0, len(pcm) - size, size // 4)]
    return max(
        [signal_to_noise(window, row.sample_rate, hertz) for window in windows if window.std() > 50], default=-99
    )


class Stage:
    """A worker, two legs and an app."""

    def __init__(self, pool: WorkerPool, received: ReceivedReports, app: RecordingApp) -> None:
        self.pool, self._received, self._app = pool, received, app
        self.phones: dict[LegId, Phone] = {}
        self.codecs: dict[LegId, tuple[str, int]] = {}
        self.ports: dict[LegId, int] = {}

    async def open(self, leg: LegId, codec: tuple[str, int]) -> None:
        self.phones[leg], self.codecs[leg] = Phone(), codec
        assert self.pool.place(leg)
        params = replace(self.phones[leg].params, codec=codec[0], payload_type=codec[1])
        self.pool.send(leg, orders.OpenLeg(call_of(leg), params))
        self.ports |= await self._received.opened(leg)

    async def stream(self, leg: LegId, target: TargetLegs = TargetLegs.SELF) -> Socket:
        sid = StreamSid(f"stream {len(self._app.sockets)}")
        identity = StreamIdentity(sid, AccountSid("a"), call_of(leg), CallSessionId("s"), "1", "2")
        params = StreamParams(
            WebSocketUrl.parse(self._app.url), Track.BOTH, mode=BidirectionalMode.RTP, target_legs=target
        )
        self.pool.send(leg, orders.OpenStream(identity, params, self.codecs[leg][0]))
        await self._received.until(lambda events: messages.FromLeg(leg, reports.StreamStarted(sid)) in events)
        return self._app.sockets[-1]

    async def talk(self, packets: int, hertz: dict[LegId, float]) -> None:
        """Both parties at once, 20 ms for each packet that comes."""
        said = {leg: tone(self.codecs[leg][0], packets, hertz[leg]) for leg in self.phones}
        self.phones[ONE].forget()
        for n in range(packets):
            for leg, frames in said.items():
                self.phones[leg].speak(n, frames[n], self.ports[leg], self.codecs[leg][1])
            await self.phones[ONE].packet()

    async def app_plays(self, socket: Socket, hertz: float) -> dict[LegId, float]:
        """The clarity, in dB, of the app's tone at each party, once its mark has been returned."""
        for phone in self.phones.values():
            phone.forget()
        count = len(socket.all("mark"))
        await socket.play(b"".join(tone("PCMU", 20, hertz)))
        await socket.send({"event": "mark", "mark": {"name": "played"}})
        await happens(self._app.watch, "the mark comes back", lambda: len(socket.all("mark")) > count)
        heard = {leg: [(await phone.packet())[1] for _ in range(30)] for leg, phone in self.phones.items()}
        return {leg: clarity(payloads, self.codecs[leg][0], hertz) for leg, payloads in heard.items()}

    async def unheard(self, leg: LegId) -> int:
        reported = await self.pool.report(leg)
        assert reported is not None
        return reported.streams[0].report.unheard_ms

    @property
    def watch(self) -> Watch:
        """Set at each message to the app."""
        return self._app.watch

    async def close(self) -> None:
        for leg, phone in self.phones.items():
            phone.sock.close()
            self.pool.send(leg, orders.CloseLeg("over"))
        await self._received.until(
            lambda events: sum(isinstance(event.report, reports.LegClosed) for event in events) >= 2
        )
        for leg in self.phones:
            self.pool.release(leg)
        self._received.events.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[tuple[WorkerPool, ReceivedReports]]:
    received = ReceivedReports()
    pool = WorkerPool(SETTINGS, received, sign_of_life=10)
    await pool.start()
    yield pool, received
    await pool.stop(2)


@pytest_asyncio.fixture(loop_scope="module")
async def stage(running: tuple[WorkerPool, ReceivedReports], request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Two legs: PCMU and G722, if the test does not say otherwise."""
    async with RecordingApp() as app:
        stage = Stage(*running, app)
        for leg, codec in zip((ONE, OTHER), getattr(request, "param", (PCMU, G722)), strict=True):
            await stage.open(leg, codec)
        yield stage
        await stage.close()


async def test_a_stream_on_either_leg_receives_both_tracks_of_its_leg(stage: Stage) -> None:
    stage.pool.send(ONE, orders.Bridge(call_of(OTHER)))
    sockets = [await stage.stream(leg) for leg in (ONE, OTHER)]
    await stage.talk(50, {ONE: 1000, OTHER: 600})
    for socket, codec, said, heard in zip(sockets, ("PCMU", "G722"), (1000, 600), (600, 1000), strict=True):
        assert socket.all("start")[0]["start"]["media_format"]["encoding"] == codec
        assert clarity(socket.payloads("inbound"), codec, said) > 20
        assert clarity(socket.payloads("outbound"), codec, heard) > 20
        assert clarity(socket.payloads("outbound"), codec, said) < 3


@pytest.mark.parametrize("stage", [(PCMU, PCMU), (G722, G722)], indirect=True)
async def test_with_the_same_codec_on_both_legs_payloads_arrive_byte_for_byte(stage: Stage) -> None:
    stage.pool.send(ONE, orders.Bridge(call_of(OTHER)))
    sockets = {leg: await stage.stream(leg) for leg in (ONE, OTHER)}
    stage.phones[OTHER].forget()
    # All at once, as after a stall, so that hardly one is concealed or trimmed, however busy the machine is. 0x7f is
    # minus zero in mu-law, which decoding and encoding make plus zero.
    said = [bytes([n, 0x7F]) * 80 for n in range(20)]
    for n, payload in enumerate(said):
        stage.phones[ONE].speak(n, payload, stage.ports[ONE], stage.codecs[ONE][1])
    heard = [(await stage.phones[OTHER].packet())[1] for _ in range(60)]
    passed = [payload for payload in heard if payload in said]
    assert passed == [payload for payload in said if payload in passed]
    assert len(passed) > len(said) / 2
    party, opposite = sockets[ONE].payloads, sockets[OTHER].payloads
    await happens(stage.watch, "the app receives the party", lambda: said[-1] in party("inbound"))
    await happens(
        stage.watch, "the app receives the audio of the opposite leg", lambda: passed[-1] in opposite("outbound")
    )
    assert [payload for payload in party("inbound") if payload in said] == said
    assert [payload for payload in opposite("outbound") if payload in said] == passed


async def test_the_apps_audio_is_played_to_the_opposite_leg_when_there_is_one(stage: Stage) -> None:
    socket = await stage.stream(ONE, TargetLegs.OPPOSITE)
    heard = await stage.app_plays(socket, 1200)
    assert max(heard.values()) < 3
    assert await stage.unheard(ONE) == 400
    stage.pool.send(OTHER, orders.Bridge(call_of(ONE)))
    heard = await stage.app_plays(socket, 1200)
    assert heard[ONE] < 3
    assert heard[OTHER] > 20
    stage.pool.send(OTHER, orders.Unbridge())
    heard = await stage.app_plays(socket, 1200)
    assert max(heard.values()) < 3
    assert await stage.unheard(ONE) == 800


async def test_the_apps_audio_is_played_to_both_legs_and_to_one_after_the_bridge(stage: Stage) -> None:
    stage.pool.send(ONE, orders.Bridge(call_of(OTHER)))
    socket = await stage.stream(ONE, TargetLegs.BOTH)
    heard = await stage.app_plays(socket, 1200)
    assert min(heard.values()) > 20
    stage.pool.send(ONE, orders.Unbridge())
    heard = await stage.app_plays(socket, 1200)
    assert heard[ONE] > 20
    assert heard[OTHER] < 3
    assert await stage.unheard(ONE) == 0

"""Orders about legs with real sockets and a real decoder process: files are heard, keys pressed, calls bridged."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mp3files import mp3, signal_to_noise
from trunkline.config import MediaSettings
from trunkline.ids import CallSid, LegId
from trunkline.media.codecs import CODECS
from trunkline.media.engine import Engine
from trunkline.media.events import MediaEvent
from trunkline.media.rtp import parse
from trunkline.sdp.values import Direction, Endpoint, MediaParams
from trunkline.workers import messages as wire
from trunkline.workers.files import DecoderProcess
from trunkline.workers.orders import Orders

HOST = "127.0.0.1"
ONE, OTHER = LegId(1), LegId(2)
PORTS = range(23460, 23490)


class Phone:
    """A socket where a leg's packets arrive."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((HOST, 0))

    @property
    def params(self) -> MediaParams:
        return MediaParams("PCMU", 0, 20, Endpoint(HOST, self.sock.getsockname()[1]), dtmf_payload_type=101)

    async def packet(self) -> tuple[int, bytes]:
        """Payload type and payload of the next one."""
        async with asyncio.timeout(5):
            packet = parse(await asyncio.get_running_loop().sock_recv(self.sock, 2048))
        assert packet is not None
        return packet.payload_type, packet.payload

    async def audio(self, packets: int, codec: str = "PCMU") -> NDArray[np.float64]:
        """What comes from the first packet on that is not silence."""
        silence = CODECS[codec].silence(20)
        payloads: list[bytes] = []
        while len(payloads) < packets:
            _, payload = await self.packet()
            if payloads or payload != silence:
                payloads.append(payload)
        return np.frombuffer(CODECS[codec].decoder()(b"".join(payloads)), "<i2").astype(np.float64)

    async def keys(self, count: int) -> list[int]:
        """The next events, each once."""
        async with asyncio.timeout(10):
            return await self._keys(count)

    async def _keys(self, count: int) -> list[int]:
        pressed: list[int] = []
        ended = False
        while len(pressed) < count:
            kind, payload = await self.packet()
            if kind == 101 and payload[1] & 0x80:
                if not ended:
                    pressed.append(payload[0])
                ended = True
            elif kind == 101:
                ended = False
        return pressed


class Bench:
    """A worker's engine, decoder and orders, and two phones."""

    def __init__(self, decoder: DecoderProcess, settings: MediaSettings) -> None:
        self.reports: asyncio.Queue[wire.Happening] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self.engine = Engine(settings, PORTS, self._on_event, loop)
        self.orders = Orders(self.engine, decoder, self.reports.put_nowait, loop.call_soon)
        self.phones = {ONE: Phone(), OTHER: Phone()}
        self.ports: dict[LegId, int] = {}
        self.engine.start()

    def _on_event(self, event: MediaEvent) -> None:
        raise AssertionError(event)

    def open(self, leg: LegId, codec: str = "PCMU", kind: int = 0) -> Phone:
        params = replace(self.phones[leg].params, codec=codec, payload_type=kind)
        self.ports[leg] = self.engine.open_leg(leg, params)
        self.orders.opened(leg, CallSid(f"call {leg}"))
        return self.phones[leg]

    async def told(self) -> wire.Happening:
        async with asyncio.timeout(10):
            return await self.reports.get()

    def close(self) -> None:
        self.engine.stop()
        for phone in self.phones.values():
            phone.sock.close()


@pytest.fixture
async def decoder() -> AsyncIterator[DecoderProcess]:
    decoder = DecoderProcess()
    decoder.start()
    await asyncio.wait_for(decoder.ready.wait(), 10)
    yield decoder
    await decoder.stop()


@pytest.fixture
async def make_bench(decoder: DecoderProcess) -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**settings: int) -> Bench:
        made.append(Bench(decoder, MediaSettings(port_rest=0, **settings)))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
async def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


def wav(path: Path, seconds: float, hertz: float = 1000) -> str:
    """A tone at half of full scale, 8000 samples a second."""
    wave = (16384 * np.sin(2 * np.pi * hertz * np.arange(round(8000 * seconds)) / 8000)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None, :], format="s16", layout="mono")
    frame.sample_rate = 8000
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


async def test_a_wav_file_is_heard_over_and_over_without_a_gap(bench: Bench, tmp_path: Path) -> None:
    phone = bench.open(ONE)
    bench.orders.play(wire.Play(ONE, 7, wav(tmp_path / "tone.wav", 0.3), 3))
    heard = await phone.audio(45)
    assert signal_to_noise(heard, 8000) > 30
    assert await bench.told() == wire.Played(ONE, 7, None)


async def test_an_mp3_file_is_heard_in_g722_and_goes_on_in_another_codec(bench: Bench, tmp_path: Path) -> None:
    phone = bench.open(ONE, "G722", 9)
    (tmp_path / "tone.mp3").write_bytes(mp3(seconds=3))
    bench.orders.play(wire.Play(ONE, 7, str(tmp_path / "tone.mp3"), 0))
    heard = await phone.audio(40, "G722")
    assert signal_to_noise(heard[1600:], 16000) > 25
    bench.engine.update_leg(ONE, phone.params)
    while (await phone.packet())[0] != 0:
        pass
    heard = await phone.audio(30)
    assert signal_to_noise(heard[800:], 8000) > 20
    bench.orders.stop_playing(wire.StopPlaying(ONE, 7))
    assert await bench.told() == wire.Played(ONE, 7, None)
    bench.orders.stop_playing(wire.StopPlaying(ONE, 7))
    while (await phone.packet())[1] != b"\xff" * 160:
        pass


async def test_what_cannot_be_played_is_told_in_words(
    make_bench: Callable[..., Bench], tmp_path: Path, decoder: DecoderProcess
) -> None:
    bench = make_bench(players_per_leg=1)
    bench.open(ONE)
    text = tmp_path / "text.wav"
    text.write_text("#EXTM3U\nhttp://127.0.0.1/x.wav\n" * 50)
    for path, words in ((tmp_path / "none.wav", "No such file"), (text, "no audio file"), (tmp_path, "directory")):
        bench.orders.play(wire.Play(ONE, 1, str(path), 1))
        told = await bench.told()
        assert isinstance(told, wire.Played)
        assert words in str(told.error)
    bench.orders.play(wire.Play(ONE, 2, wav(tmp_path / "a.wav", 1), 0))
    bench.orders.play(wire.Play(ONE, 3, wav(tmp_path / "b.wav", 1), 0))
    assert "players_per_leg" in str(await bench.told())
    bench.orders.closing(ONE)
    assert await bench.told() == wire.Played(ONE, 2, "the call ended")
    bench.orders.play(wire.Play(LegId(9), 4, "a.wav", 1))
    assert await bench.told() == wire.Played(LegId(9), 4, "the call ended")
    assert bench.orders.counters == {"plays": 6, "plays_failed": 6, "digits_refused": 0}
    assert decoder.counters["decoder_restarts"] == 0


async def test_a_recording_is_refused_at_once(bench: Bench, tmp_path: Path) -> None:
    bench.open(ONE)
    bench.orders.record(wire.Record(ONE, 3, str(tmp_path / "a.wav"), 1, 0, 0, ""))
    told = await bench.told()
    assert isinstance(told, wire.Recorded)
    assert (told.job, told.reason, told.error) == (3, "error", "this server cannot record calls")


async def test_keys_are_pressed_with_waits_and_heard(bench: Bench) -> None:
    phone, other = bench.open(ONE), bench.open(OTHER)
    bench.orders.send_digits(wire.SendDigits(ONE, "1w#"))
    assert await phone.keys(2) == [1, 11]
    bench.orders.send_digits(wire.SendDigits(ONE, "12x"))
    bench.engine.update_leg(ONE, replace(phone.params, dtmf_payload_type=None))
    bench.orders.send_digits(wire.SendDigits(ONE, "1"))
    bench.orders.send_digits(wire.SendDigits(LegId(9), "1"))
    assert bench.orders.counters["digits_refused"] == 2
    bench.engine.update_leg(ONE, phone.params)
    # A key on the line is told, one by signalling is known already; over a bridge both go on.
    bench.orders.bridge(wire.Bridge(ONE, OTHER))
    bench.orders.press_key(wire.PressKey(ONE, "4"))
    event = bytes.fromhex("80650001000000000000002a")
    phone.sock.sendto(event + bytes.fromhex("058a0500"), (HOST, bench.ports[ONE]))
    assert await other.keys(2) == [4, 5]
    assert await bench.told() == wire.DigitHeard(ONE, "5")
    assert bench.reports.empty()


async def test_a_bridge_replaces_the_one_before_and_carries_codecs_that_differ(bench: Bench) -> None:
    speaker, listener = bench.open(ONE), bench.open(OTHER, "G722", 9)
    third = LegId(3)
    bench.phones[third] = Phone()
    bench.open(third)
    bench.orders.bridge(wire.Bridge(ONE, third))
    bench.orders.bridge(wire.Bridge(OTHER, ONE))
    rate = 8000
    wave = np.rint(16384 * np.sin(2 * np.pi * 1000 * np.arange(2 * rate) / rate)).astype("<i2").tobytes()
    coded = CODECS["PCMU"].encoder()(wave)
    heard: list[bytes] = []
    for n in range(80):
        header = bytes.fromhex("8000") + n.to_bytes(2) + (n * 160).to_bytes(4) + bytes(4)
        speaker.sock.sendto(header + coded[n * 160 : n * 160 + 160], (HOST, bench.ports[ONE]))
        heard.append((await listener.packet())[1])
    pcm = np.frombuffer(CODECS["G722"].decoder()(b"".join(heard)), "<i2").astype(np.float64)
    assert signal_to_noise(pcm[6400:], 16000) > 20
    assert all([(await bench.phones[third].packet())[1] == b"\xff" * 160 for _ in range(60)])
    # Held: the listener's direction takes no audio, so nothing is sent to it, and the bridge stands.
    bench.engine.update_leg(OTHER, replace(listener.params, codec="G722", payload_type=9, direction=Direction.INACTIVE))
    assert bench.engine.report(OTHER).on_hold
    bench.orders.unbridge(wire.Unbridge(ONE))
    bench.orders.bridge(wire.Bridge(ONE, LegId(9)))

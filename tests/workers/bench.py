"""A worker's engine, decoder and orders with real sockets, and phones at the other end: for tests of orders."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from trunkline.config import MediaSettings
from trunkline.demo.server import free_ports
from trunkline.ids import CallSid, LegId
from trunkline.media.codecs import CODECS
from trunkline.media.engine import Engine
from trunkline.media.events import MediaEvent
from trunkline.media.rtp.packet import parse
from trunkline.sdp.values import Endpoint, MediaParams
from trunkline.workers import messages, reports
from trunkline.workers.worker.decoder_client import DecoderClient
from trunkline.workers.worker.leg_services import LegServices

HOST = "127.0.0.1"
ONE, OTHER = LegId(1), LegId(2)
PORTS = range(_FIRST := free_ports(30), _FIRST + 30)


def call_of(leg: LegId) -> CallSid:
    """The call of a leg, in these tests."""
    return CallSid(f"v3:{leg}")


class ReceivedReports:
    """The reports of a pool, with a way to wait for more."""

    def __init__(self) -> None:
        self.events: list[messages.FromLeg] = []
        self._changed = asyncio.Event()

    def __call__(self, event: messages.FromLeg) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, enough: Callable[[list[messages.FromLeg]], bool]) -> None:
        async with asyncio.timeout(60):
            while not enough(self.events):
                self._changed.clear()
                await self._changed.wait()

    async def opened(self, *legs: LegId) -> dict[LegId, int]:
        """The ports of all legs, once `legs` are open."""
        await self.until(lambda _: set(legs) <= self._ports().keys())
        return self._ports()

    def _ports(self) -> dict[LegId, int]:
        return {one.leg: one.report.local.port for one in self.events if isinstance(one.report, reports.LegOpened)}


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
        async with asyncio.timeout(30):
            packet = parse(await asyncio.get_running_loop().sock_recv(self.sock, 2048))
        assert packet is not None
        return packet.payload_type, packet.payload

    def speak(self, number: int, payload: bytes, port: int, kind: int = 0) -> None:
        """One packet to a leg's port, the `number`th of 20 ms."""
        header = bytes([0x80, kind]) + number.to_bytes(2) + (number * 160).to_bytes(4) + bytes(4)
        self.sock.sendto(header + payload, (HOST, port))

    def forget(self) -> None:
        """Discard the packets received so far."""
        with contextlib.suppress(BlockingIOError):
            while self.sock.recv(2048):
                pass

    async def audio(self, packets: int, codec: str = "PCMU") -> NDArray[np.float64]:
        """The audio from the first packet that is not silence."""
        silence = CODECS[codec].silence(20)
        payloads: list[bytes] = []
        while len(payloads) < packets:
            _, payload = await self.packet()
            if payloads or payload != silence:
                payloads.append(payload)
        return np.frombuffer(CODECS[codec].decoder()(b"".join(payloads)), "<i2").astype(np.float64)

    async def keys(self, count: int) -> list[int]:
        """The next events, each once."""
        async with asyncio.timeout(30):
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

    def __init__(self, decoder: DecoderClient, settings: MediaSettings) -> None:
        self.reports: asyncio.Queue[messages.FromLeg] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self.engine = Engine(settings, PORTS, self._on_event, loop)
        loud = settings.recording_silence
        self.services = LegServices(self.engine, decoder, self.reports.put_nowait, loop.call_soon, loud)
        self.phones = {ONE: Phone(), OTHER: Phone()}
        self.ports: dict[LegId, int] = {}
        self.kinds: dict[LegId, int] = {}
        self.engine.start()

    def _on_event(self, event: MediaEvent) -> None:
        raise AssertionError(event)

    def open(self, leg: LegId, codec: str = "PCMU", kind: int = 0) -> Phone:
        params = replace(self.phones[leg].params, codec=codec, payload_type=kind)
        self.kinds[leg] = kind
        self.ports[leg] = self.engine.open_leg(leg, params)
        self.services.opened(leg, call_of(leg))
        return self.phones[leg]

    async def report(self) -> messages.FromLeg:
        """The next report."""
        async with asyncio.timeout(30):
            return await self.reports.get()

    def speak(self, leg: LegId, number: int, payload: bytes) -> None:
        """One packet to a leg, the `number`th of 20 ms."""
        self.phones[leg].speak(number, payload, self.ports[leg], self.kinds[leg])

    def press(self, leg: LegId, event: int, number: int = 1) -> None:
        """The end packet of a pressed key, with sequence number `number`."""
        header = bytes.fromhex("8065") + number.to_bytes(2) + bytes(8)
        self.phones[leg].sock.sendto(header + bytes([event]) + bytes.fromhex("8a0500"), (HOST, self.ports[leg]))

    def close(self) -> None:
        self.engine.stop()
        for phone in self.phones.values():
            phone.sock.close()


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

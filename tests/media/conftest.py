"""Shared by the media tests: a recording tap, packets made by hand, and a reader of captures."""

import asyncio
from collections.abc import Callable

import pytest

from captures import DIRECTORY, read_capture
from trunkline.config import MediaSettings
from trunkline.ids import LegId, PayloadType, RtpTime, Seconds, Ssrc
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.rtp.packet import RtpPacket, build
from trunkline.sdp.values import Endpoint, MediaParams


class RecordingTap:
    """A tap that records each call and plays the frames in `to_play`."""

    def __init__(self, *, inbound: bool = True, outbound: bool = False, plays: bool = False) -> None:
        self.inbound = inbound
        self.outbound = outbound
        self.plays = plays
        self.heard: list[tuple[bytes, int, int]] = []
        self.sent: list[tuple[bytes, int]] = []
        self.digits = ""
        self.changes: list[tuple[str, int]] = []
        self.peers: list[str] = []
        self.to_play: list[bytes] = []
        self.asked: list[int] = []
        self.holdups: list[tuple[int, int, int, int]] = []
        """The last field is the number of frames received until then."""
        self._news = asyncio.Event()

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        self.heard.append((payload, at, missing))
        self._news.set()

    def outbound_frame(self, payload: bytes, at: int) -> None:
        self.sent.append((payload, at))
        self._news.set()

    def digit(self, digit: str) -> None:
        self.digits += digit
        self._news.set()

    def next_frame(self, at: int) -> bytes | None:
        self.asked.append(at)
        self._news.set()
        return self.to_play.pop(0) if self.to_play else None

    def held_up(self, at: int, skipped: int, late: int) -> None:
        self.holdups.append((at, skipped, late, len(self.heard)))

    def leg_changed(self, codec: str, ptime: int) -> None:
        self.changes.append((codec, ptime))

    def peer_changed(self, codec: str) -> None:
        self.peers.append(codec)

    @property
    def payloads(self) -> list[bytes]:
        return [payload for payload, _, _ in self.heard]

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until `true` returns True; evaluated after each call of the tap."""
        async with asyncio.timeout(30):
            while not true():
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def make_tap() -> type[RecordingTap]:
    return RecordingTap


@pytest.fixture
def settings() -> MediaSettings:
    return MediaSettings()


@pytest.fixture
def params() -> MediaParams:
    """PCMU, telephone-event 101, to the discard port of the loopback interface."""
    return MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", 9), dtmf_payload_type=101)


@pytest.fixture
def make_leg(params: MediaParams, settings: MediaSettings) -> Callable[..., Leg]:
    """A leg that was opened at 100.0 s on the clock."""

    def make(
        params: MediaParams = params,
        settings: MediaSettings = settings,
        waiting: set[LegId] | None = None,
        phase: int = 255,
        confirmed: bool = True,
    ) -> Leg:
        return Leg(
            LegId(1),
            params,
            settings,
            random=bytes([*range(RANDOM_BYTES - 1), phase]),
            now=Seconds(100.0),
            wall=1_700_000_000.0,
            waiting=set() if waiting is None else waiting,
            local_port=20000,
            first_at=0,
            confirmed=confirmed,
        )

    return make


@pytest.fixture
def rtp() -> Callable[..., bytes]:
    """Packet number `n` of a peer's PCMU stream."""

    def make(
        n: int,
        payload: bytes = b"",
        *,
        kind: int = 0,
        timestamp: int | None = None,
        ssrc: int = 7,
        marker: bool = False,
    ) -> bytes:
        return build(
            RtpPacket(
                PayloadType(kind),
                marker,
                n & 0xFFFF,
                RtpTime((n * 160 if timestamp is None else timestamp) & 0xFFFFFFFF),
                Ssrc(ssrc),
                payload or bytes([n & 0xFF]) * 160,
            )
        )

    return make


@pytest.fixture
def capture() -> Callable[[str], list[tuple[float, bytes]]]:
    """Reads a capture that comes with sipp: seconds and UDP payload of each packet."""
    if not DIRECTORY.exists():
        pytest.skip("sip-tester is not installed")
    return read_capture

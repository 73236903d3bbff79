"""Levels of audio, and probes that measure them. Pure, and off the packet path.

A level is the RMS in dBFS (dB relative to full scale, at most 0). Digital silence is `SILENT`; speech on a telephone
lies between -50 and -10, and audio below `QUIET` is inaudible.
"""

from math import log10

import numpy as np

from trunkline.media.audio.content import ContentCheck
from trunkline.media.codecs import CODECS, UndecodablePacket
from trunkline.media.frames import BaseTap
from trunkline.media.report import QUIET, LegReport, LiveLegReport

SILENT = -96
"""dBFS; also the level of no audio at all."""
SAMPLE_MS = 100
"""Audio of one measurement."""
REST_MS = 1000
"""Audio between two measurements; a longer message is always measured."""
HEARD_REST_MS = 10_000
"""The same once the audio was louder than `QUIET`: the question is whether the app sends silence, and a measurement
costs as much as a hundred messages."""
PROBE_LIMIT = 100
"""Packets that a probe keeps of each track."""


def level(pcm: bytes) -> int:
    """dBFS of 16-bit little-endian PCM."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float64)
    power = float(np.mean(samples * samples)) if len(samples) else 0.0
    return max(SILENT, round(10 * log10(power) - 20 * log10(32768))) if power else SILENT


class LevelMeter:
    """The loudest level of one stream's audio, in a codec whose payloads may be cut anywhere, and what the audio is.

    It gathers `SAMPLE_MS` of audio, measures it, and skips `HEARD_REST_MS` of audio, or `REST_MS` while the audio was
    silent or is suspicious.
    """

    __slots__ = {
        "_codec": "Codec of the audio.",
        "_gathered": "Audio of the measurement in progress.",
        "_length": "Bytes of `SAMPLE_MS`.",
        "_odd": "Bytes before the next message or before the rest began, modulo 2.",
        "_per_ms": "Bytes of a millisecond, at most.",
        "_rest": "Bytes to skip before the next measurement.",
        "_rested": "The same when the rest began.",
        "content": "What the audio is; None for audio that was decoded here.",
        "loudest": "Loudest level, in dBFS.",
        "samples": "Measurements made.",
    }

    def __init__(self, codec: str, *, bare: bool = True) -> None:
        self.loudest = SILENT
        """dB."""
        self.samples = 0
        """Measurements."""
        self.content = ContentCheck(codec) if bare else None
        self.follow(codec)

    def follow(self, codec: str) -> None:
        """The audio is in this codec from here on."""
        self._codec = CODECS[codec]
        self._per_ms = self._codec.bytes_per_ms or self._codec.sample_rate // 500
        self._length = self._per_ms * SAMPLE_MS
        self._rest = 0
        self.restart()

    def restart(self) -> None:
        """The next message begins with a whole sample."""
        self._gathered = b""
        self._odd = 0
        self._rested = self._rest

    def see(self, payload: bytes, size: int) -> None:
        """A message's audio, `size` bytes. Of a long one the middle is measured: synthesis begins and ends silent."""
        rest = self._rest
        if rest > size:
            self._rest = rest - size
            return
        self._odd = (self._odd + self._rested - rest) & 1
        self._rest = self._rested = 0
        if not self._gathered and self.content is not None:
            self.content.begin(payload)
        start = max(0, size - self._length) // 4 * 2
        start += (self._odd + start + len(self._gathered)) & 1
        self._gathered += payload[start : start + self._length]
        self._odd = (self._odd + size) & 1
        if len(self._gathered) >= self._length:
            self._measure()

    def _measure(self) -> None:
        codec, piece = self._codec, self._gathered[: len(self._gathered) // 2 * 2]
        pcm = codec.decoder()(piece)
        # The second half: G.722 needs the first to adapt.
        half = pcm[len(pcm) // 4 * 2 :]
        self.loudest = max(self.loudest, level(half))
        self.samples += 1
        self._gathered = b""
        often = self.loudest < QUIET
        if self.content is not None:
            self.content.see(piece, half if codec.remembers else pcm)
            often = often or self.content.suspicious
        self._rest = self._rested = self._per_ms * (REST_MS if often else HEARD_REST_MS)


class LevelProbe(BaseTap):
    """Listens to both tracks for a moment."""

    inbound = outbound = True

    def __init__(self) -> None:
        self._codec = self._peers = ""
        self._heard: list[bytes] = []
        self._said: list[bytes] = []

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        if len(self._heard) < PROBE_LIMIT:
            self._heard.append(payload)

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""
        if len(self._said) < PROBE_LIMIT:
            self._said.append(payload)

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`. Audio in the former codec is dropped."""
        if codec != self._codec:
            self._codec = codec
            self._said.clear()
        self.peer_changed(codec)

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`. Audio in the former codec is dropped."""
        if codec != self._peers:
            self._peers = codec
            self._heard.clear()

    def measure(self, leg: LegReport) -> LiveLegReport:
        """The leg's counters with the level of each track."""
        return LiveLegReport(
            **leg.counters(),
            heard_frames=len(self._heard),
            heard_level_db=_level(self._peers, self._heard),
            said_frames=len(self._said),
            said_level_db=_level(self._codec, self._said),
        )


def _level(codec: str, payloads: list[bytes]) -> int:
    decode = CODECS[codec].decoder()
    try:
        return level(b"".join(map(decode, payloads)))
    except UndecodablePacket:
        return SILENT

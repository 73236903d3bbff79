"""The audio of a phone: PCM to play in, PCM that was heard out, and what both sounded like and when. Pure.

A `PhoneAudio` is the tap of the phone's leg (`media/frames.py`). It converts between the call's codec and 16-bit
little-endian mono PCM at one sample rate, whatever the codec is.
"""

from collections import deque
from typing import NamedTuple

from trunkline.media.audio.level import SILENT, level
from trunkline.media.codecs import UndecodablePacket, transcoder
from trunkline.media.frames import BaseTap
from trunkline.phone.values import HeardFrame

FRAMES_WAITING = 100
"""Frames that wait for a reader of what is heard: two seconds. Of more the oldest are dropped."""
KEPT_MS = 3_600_000
"""Audio that is kept of what was heard and said: an hour. What comes later is not kept."""


AUDIBLE = -50
"""dBFS; what is quieter counts as silence: line noise and comfort noise are below it, speech is above."""


class Loudness(NamedTuple):
    """How loud one packet's audio was."""

    at: float
    """Seconds of the driver's clock: the arrival of what was heard, the sending of what was said."""
    milliseconds: int
    """Its duration."""
    decibels: int
    """dBFS, see `media/audio/level.py`."""


class PhoneAudio(BaseTap):
    """Both directions. The owner sets `now` before each call of the leg."""

    inbound = True
    plays = True

    def __init__(self, rate: int, *, keep: bool = True) -> None:
        """`keep`: keep what is heard, for `recording`."""
        self.rate = rate
        self.now = 0.0
        """Seconds of the driver's clock."""
        self.heard: list[Loudness] = []
        """Loudness of each frame that was heard, up to `KEPT_MS`."""
        self.said: list[Loudness] = []
        """The same of what was played; silence between is left out."""
        self.waiting: deque[HeardFrame] = deque(maxlen=FRAMES_WAITING)
        """Frames that wait for a reader."""
        self.dropped = 0
        """Frames that were dropped as `FRAMES_WAITING` others waited."""
        self.undecodable = 0
        """Packets that the codec could not decode; silence stands for them."""
        self.audible_ms = 0
        """Audible audio that was heard."""
        self.audible_at: float | None = None
        """When the last of it was heard; None: there was none."""
        self.spoke_at: float | None = None
        """When the last audible packet of ours was played; None: there was none."""
        self.digits: list[str] = []
        """Keys that the other side has pressed; the owner takes them."""
        self._bytes_per_ms = rate // 500
        self._keep = keep
        self._frames: list[tuple[int, bytes]] = []
        self._kept_ms = 0
        self._queue = bytearray()
        self._ptime = 20
        self._pcm = f"L16/{rate}"
        self.leg_changed("PCMU", 20)

    # ── to the other side ───────────────────────────────────────────────────────────────────────────────────

    @property
    def queued_ms(self) -> float:
        """Audio that is still to be played."""
        return len(self._queue) / self._bytes_per_ms

    def play(self, pcm: bytes, newest_ms: int | None = None) -> None:
        """Play after what is queued. `newest_ms`: of live audio, drop the oldest of what would be queued beyond it."""
        self._queue += pcm[: len(pcm) & ~1]
        if newest_ms is not None and (excess := len(self._queue) - newest_ms * self._bytes_per_ms) > 0:
            del self._queue[: excess + excess % 2]

    def stop_playing(self) -> None:
        """Forget what is queued."""
        self._queue.clear()

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`: the next packet of what is queued; the last one is filled up with silence."""
        if not self._queue:
            return None
        size = self._ptime * self._bytes_per_ms
        pcm = bytes(self._queue[:size])
        del self._queue[:size]
        pcm += bytes(size - len(pcm))
        loudness = level(pcm)
        if loudness >= AUDIBLE:
            self.spoke_at = self.now
        if len(self.said) * self._ptime < KEPT_MS:
            self.said.append(Loudness(self.now, self._ptime, loudness))
        return self._encode(pcm) or None

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self._ptime = ptime
        self._encode = transcoder(self._pcm, codec).convert
        self.peer_changed(codec)

    # ── from the other side ─────────────────────────────────────────────────────────────────────────────────

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
        self._decode = transcoder(codec, self._pcm).convert

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        try:
            pcm = self._decode(payload)
        except UndecodablePacket:
            self.undecodable += 1
            pcm = bytes(self._ptime * self._bytes_per_ms)
        milliseconds, loudness = len(pcm) // self._bytes_per_ms, level(pcm)
        if loudness >= AUDIBLE:
            self.audible_ms += milliseconds
            self.audible_at = self.now
        self.dropped += len(self.waiting) == FRAMES_WAITING
        self.waiting.append(HeardFrame(self.now, at, pcm, missing))
        if self._kept_ms < KEPT_MS:
            self._kept_ms += milliseconds
            self.heard.append(Loudness(self.now, milliseconds, loudness))
            if self._keep:
                self._frames.append((at, pcm))

    def digit(self, digit: str) -> None:
        """See `LegTap`."""
        self.digits.append(digit)

    def recording(self) -> bytes:
        """All that was heard, on the call's timeline: what was lost, and pauses between packets, are silence."""
        out = bytearray()
        slack = self._ptime * self._bytes_per_ms
        for at, pcm in self._frames:
            gap = at * self._bytes_per_ms - len(out)
            if gap > slack:  # less is the timeline following the clocks
                out += bytes(gap)
            out += pcm
        return bytes(out)

    @property
    def loudest(self) -> int:
        """Level of the loudest frame that was heard, in dBFS."""
        return max((one.decibels for one in self.heard), default=SILENT)

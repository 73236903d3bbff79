"""A leg's audio on its way to a file: both tracks as 16-bit PCM, side by side, in blocks of half a second. Pure.

The clock is the outbound track, which has a frame for each packet time; the peer's frames are put at their own times.
A block is handed out `LATE_MS` after its end, so that late packets are in it. Lost packets are silence.

The inbound timeline follows the peer's clock in steps of 1 or 2 ms. Frames are joined over such steps, which would be
clicks, until frame and timeline differ by `JOIN_MS`.
"""

from collections.abc import Callable
from math import inf
from typing import Literal

import numpy as np

from trunkline.media.audio.level import level
from trunkline.media.codecs import CODECS, UndecodablePacket, transcoder
from trunkline.media.frames import BaseTap

BLOCK_MS = 500
LATE_MS = 1200
"""Packets of a source on trial come that late (`source.py`)."""
JOIN_MS = 10
AHEAD_MS = 3000
"""A frame may lie this far beyond the oldest audio held; the timelines keep both within half of it."""

Over = Literal["silence", "key", "limit"]
"""Why a recording ended by itself."""


class PcmTrack:
    """The audio of one side: 16-bit little-endian samples from its owner's time 0 on."""

    __slots__ = ("_bytes_per_ms", "_convert", "_pcm")

    def __init__(self) -> None:
        self._pcm = bytearray()

    def follow(self, codec: str, rate: int) -> None:
        self._bytes_per_ms = 2 * rate // 1000
        self._convert = transcoder(codec, f"L16/{rate}").convert

    def put(self, payload: bytes, at: int) -> bytes:
        """Add a payload, `at` ms after the base; return its PCM, empty if it is undecodable."""
        try:
            pcm = self._convert(payload)
        except UndecodablePacket:
            return b""  # treated as lost
        gap = at * self._bytes_per_ms - len(self._pcm)
        if gap > JOIN_MS * self._bytes_per_ms:
            self._pcm += bytes(gap)
        elif gap < -JOIN_MS * self._bytes_per_ms:
            self._pcm += pcm[-gap:]
            return pcm
        self._pcm += pcm
        return pcm

    def clear(self) -> None:
        """Remove all audio."""
        self._pcm.clear()

    def take(self, milliseconds: int) -> bytes:
        """Remove the oldest audio, padded with silence, in ms."""
        size = milliseconds * self._bytes_per_ms
        taken = bytes(self._pcm[:size])
        del self._pcm[:size]
        return taken.ljust(size, b"\0")


class Recorder(BaseTap):
    """Records a leg. Ends by itself on its conditions; `finish`, once it is detached, hands out the rest."""

    inbound = outbound = True

    def __init__(
        self,
        channels: int,
        *,
        max_length: float,
        silence: float,
        loud: int,
        finish_on: str,
        track: str = "both",
        after_speech: bool = False,
        on_block: Callable[[bytes], object],
        on_over: Callable[[Over, str], object],
    ) -> None:
        """`max_length`, `silence`: seconds, 0 = none; `loud`: level in dBFS from which the peer counts as
        speaking; `track`, `after_speech`: see `orders.RecordingOptions`. Both functions are called on the packet path;
        `on_over` once, with the reason and, for `key`, the key."""
        self._said, self._heard = PcmTrack(), PcmTrack()
        self._stereo = channels == 2
        self._says, self._hears = track != "outbound", track != "inbound"
        self._after_speech = after_speech
        self._paused = False
        self._longest = round(max_length * 1000) or inf
        self._silence_ms = round(silence * 1000)
        self._loud = loud
        self._finish_on = finish_on
        self._on_block = on_block
        self._on_over = on_over
        self._over = False
        self._base: int | None = None
        self._now = 0.0
        self._limit = inf
        self._spoken = 0.0
        self._ptime = 20
        self.rate = 0
        """Sample rate of the file in Hz: 16000 on a wideband call, else 8000. Fixed once the recording has begun."""
        self.recorded_ms = 0
        """Audio handed out."""

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        base = self._base
        if base is None or self._over or at - base > AHEAD_MS:
            return
        pcm = self._said.put(payload, at - base)
        if self._silence_ms and level(pcm) >= self._loud:
            self._spoken = at

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""
        if self._over or self._paused:
            return
        if self._base is None:
            self._base = at
            self._spoken = inf if self._after_speech else at
            self._limit = at + self._longest - self.recorded_ms
        if self._hears:
            self._heard.put(payload, at - self._base)
        self._now = at + self._ptime
        while self._now - self._base >= BLOCK_MS + LATE_MS:
            self._hand_out(BLOCK_MS)
            self._base += BLOCK_MS
        if self._now >= self._limit:
            self._end("limit", "")
        elif self._silence_ms and self._now - self._spoken >= self._silence_ms:
            self._end("silence", "")

    def digit(self, digit: str) -> None:
        """See `LegTap`."""
        if digit in self._finish_on and not self._over:
            self._end("key", digit)

    def _end(self, why: Over, digit: str) -> None:
        self._over = True
        self._on_over(why, digit)

    def _hand_out(self, milliseconds: int) -> None:
        said, heard = (np.frombuffer(track.take(milliseconds), "<i2") for track in (self._said, self._heard))
        if not self._says:
            said = np.zeros_like(said)
        self.recorded_ms += milliseconds
        if self._stereo:
            self._on_block(np.column_stack((said, heard)).tobytes())
        else:
            mix = said.astype(np.int32) + heard
            self._on_block(mix.clip(-32768, 32767).astype("<i2").tobytes())

    def pause(self, paused: bool) -> None:
        """Leave out what comes from here on, or record it again."""
        self._paused = paused
        self._rest()

    def finish(self) -> None:
        """Hand out the rest; end the recording."""
        self._over = True
        self._rest()

    def _rest(self) -> None:
        if self._base is not None:
            rest = round(min(self._now, self._limit)) - self._base
            self._base = None
            while rest > 0:
                self._hand_out(min(rest, BLOCK_MS))
                rest -= BLOCK_MS
            self._said.clear()
            self._heard.clear()

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        if not self.rate:
            self.rate = 16000 if CODECS[codec].sample_rate > 8000 else 8000
        self._ptime = ptime
        for track in (self._said, self._heard):
            track.follow(codec, self.rate)

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
        self._said.follow(codec, self.rate)

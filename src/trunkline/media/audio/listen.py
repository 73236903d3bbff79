"""A leg's audio for those who listen in: a tap that gives both tracks as PCM, side by side. Pure, and off the packet
path: it is attached only while someone listens.

A frame is kept with its time as it comes, and decoded when the owner takes what there is. The inbound track is put at
its own times beside the outbound one; what is `LATE_MS` old is given out, lost packets as silence.
"""

import numpy as np

from trunkline.media.audio.recorder import PcmTrack
from trunkline.media.frames import BaseTap

RATE = 16000
"""Samples per second of each track."""
LATE_MS = 100
"""A frame that is older than others by more than this is dropped."""
AHEAD_MS = 3000
"""Beyond what was given out. After a longer gap it goes on without one."""
KEPT = 300
"""Frames of both tracks between two calls of `take`; of more the oldest are dropped."""
PIECE_MS = 500
"""At most in one `take`; what lies before it is dropped: the listener is that far behind."""


class LegEar(BaseTap):
    """Both tracks of one leg."""

    inbound = outbound = True

    def __init__(self) -> None:
        self._heard, self._said = PcmTrack(), PcmTrack()
        self._frames: list[tuple[PcmTrack, bytes, int]] = []
        self._codecs = ("", "")
        self._base: int | None = None
        self._now = 0
        self._ptime = 20

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        self._keep(self._heard, payload, at)

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""
        self._keep(self._said, payload, at)

    def _keep(self, track: PcmTrack, payload: bytes, at: int) -> None:
        self._frames.append((track, payload, at))
        if len(self._frames) > KEPT:
            del self._frames[0]

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self._ptime = ptime
        self._follow(codec, codec)

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
        self._follow(codec, self._codecs[1])

    def _follow(self, heard: str, said: str) -> None:
        self._decode()
        for track, codec, former in zip((self._heard, self._said), (heard, said), self._codecs, strict=True):
            if codec != former:
                track.follow(codec, RATE)
        self._codecs = heard, said

    def _decode(self) -> None:
        frames, self._frames = self._frames, []
        for track, payload, at in frames:
            if self._base is None or at - self._base > AHEAD_MS:
                self._begin(at)
            assert self._base is not None
            track.put(payload, at - self._base)
            self._now = max(self._now, at + self._ptime)

    def _begin(self, at: int) -> None:
        self._base = self._now = at
        for track in (self._heard, self._said):
            track.clear()

    def take(self) -> tuple[int, bytes]:
        """Audio that was not given out yet: its time on the leg's timeline in ms, and 16-bit little-endian samples of
        inbound and outbound in turn."""
        self._decode()
        if self._base is None:
            return 0, b""
        length = self._now - self._base - LATE_MS
        if length > PIECE_MS:
            for track in (self._heard, self._said):
                track.take(length - PIECE_MS)
            self._base += length - PIECE_MS
            length = PIECE_MS
        at = self._base
        if length <= 0:
            return at, b""
        self._base += length
        sides = [np.frombuffer(track.take(length), "<i2") for track in (self._heard, self._said)]
        return at, np.column_stack(sides).tobytes()

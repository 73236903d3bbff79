"""What a leg sounds like, for those who watch the call: a tap that measures both tracks, and how fast the app is. Pure,
and off the packet path: it is attached only while the call is watched.

A frame is kept with its time as it comes, and decoded when the owner takes a sample, ten times a second.
"""

from collections.abc import Callable, Sequence

import numpy as np

from trunkline.media.audio.level import level
from trunkline.media.codecs import CODECS, UndecodablePacket
from trunkline.media.frames import BaseTap
from trunkline.media.report import QUIET, LegSample, TrackLevels

KEPT = 50
"""Frames of one track, or keys, between two samples; of more the oldest are dropped."""
SPEECH = -42
"""dBFS of a frame from which on it counts as speech of the caller."""
ONSET = 3
"""Frames of speech in a row with which it begins."""
REST = 0.3
"""Seconds without speech after which a frame of speech is a new onset; and seconds after the last frame to the caller
that was not quiet in which the app counts as speaking."""
ANSWER_LIMIT = 5.0
"""Seconds after the caller began to speak in which a `clear` is the answer to it."""


class _WatchedTrack:
    """One track's frames since the last sample."""

    def __init__(self) -> None:
        self.codec = ""
        self.frames: list[tuple[float, bytes]] = []
        self._decode: Callable[[bytes], bytes] | None = None

    def follow(self, codec: str) -> None:
        """The frames are in this codec from here on; those in another are dropped."""
        if codec != self.codec:
            self.codec = codec
            self.frames.clear()
            self._decode = CODECS[codec].decoder()

    def add(self, now: float, payload: bytes) -> None:
        self.frames.append((now, payload))
        del self.frames[:-KEPT]

    def take(self) -> tuple[TrackLevels, list[tuple[float, int]]]:
        """The levels, and time and level of each frame."""
        frames, self.frames = self.frames, []
        peaks, times, all_pcm = [], [], b""
        for now, payload in frames:
            try:
                pcm = b"" if self._decode is None else self._decode(payload)
            except UndecodablePacket:
                pcm = b""
            samples = np.abs(np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.int32))
            peaks.append(min(255, int(samples.max(initial=0)) >> 7))
            times.append((now, level(pcm)))
            all_pcm += pcm
        return TrackLevels(len(frames), level(all_pcm), peaks), times


class LegWatch(BaseTap):
    """Both tracks of one leg; `clock` in seconds, monotonic."""

    inbound = outbound = True

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard = _WatchedTrack()
        self._said = _WatchedTrack()
        self._digits: list[str] = []
        self._at = 0
        self._turns = SpeechTurns()

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        self._at = at
        self._heard.add(self._clock(), payload)

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""
        self._at = at
        self._said.add(self._clock(), payload)

    def digit(self, digit: str) -> None:
        """See `LegTap`."""
        self._digits.append(digit)
        del self._digits[:-KEPT]

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self._said.follow(codec)
        self._heard.follow(codec)

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
        self._heard.follow(codec)

    def started(self, stream: str) -> None:
        """A stream's `start` was sent now."""
        self._turns.starts[stream] = self._clock()

    def sample(self, clears: Sequence[float]) -> LegSample:
        """What came since the last sample; `clears` are the times of the app's `clear` messages."""
        inbound, heard = self._heard.take()
        outbound, said = self._said.take()
        digits, self._digits = self._digits, []
        barge_ins, first = self._turns.over(heard, said, clears)
        return LegSample(self._at, inbound, outbound, "".join(digits), barge_ins, first)


class SpeechTurns:
    """Who speaks when: the latency of first audio, and of a `clear` when the caller speaks over the app."""

    def __init__(self) -> None:
        self.starts: dict[str, float] = {}
        """Streams of which no audio was heard yet, and when their `start` was sent."""
        self._spoken_at = self._played_at = float("-inf")
        """When the last frame came that was speech, and the last one to the caller that was not quiet."""
        self._loud: list[float] = []
        """Times of the frames of speech that may become an onset."""
        self._onset: float | None = None
        """When the caller began to speak over the app, until the `clear`."""

    def over(
        self, heard: Sequence[tuple[float, int]], said: Sequence[tuple[float, int]], clears: Sequence[float]
    ) -> tuple[list[int], list[tuple[str, int]]]:
        """Time and level of frames, from the caller and to it, and the times of `clear`: the latencies that end in
        them, in ms."""
        barge_ins: list[int] = []
        first: list[tuple[str, int]] = []
        happened = (
            [(now, 0, db) for now, db in said] + [(now, 1, db) for now, db in heard] + [(at, 2, 0) for at in clears]
        )
        for now, kind, db in sorted(happened):
            if kind == 0 and db > QUIET:
                self._played_at = now
                first += [(sid, round((now - at) * 1000)) for sid, at in self.starts.items() if now >= at]
                self.starts = {sid: at for sid, at in self.starts.items() if now < at}
            elif kind == 1:
                self._heard(now, db)
            elif kind == 2 and self._onset is not None:
                if now - self._onset <= ANSWER_LIMIT:
                    barge_ins.append(round((now - self._onset) * 1000))
                self._onset = None
        return barge_ins, first

    def _heard(self, now: float, db: int) -> None:
        if db < SPEECH:
            self._loud.clear()
            return
        rested = now - self._spoken_at > REST
        if rested or self._loud:
            self._loud.append(now)
            if len(self._loud) >= ONSET:
                if self._loud[0] - self._played_at <= REST:
                    self._onset = self._loud[0]
                self._loud.clear()
                self._spoken_at = now
        else:
            self._spoken_at = now

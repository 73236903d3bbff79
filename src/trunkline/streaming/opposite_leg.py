"""Playback to the opposite leg of a bridged call (`BidirectionalTargetLegs`). Pure.

`opposite`: the opposite leg's clock drives the queue (`OppositeLegPlayer`); without a bridge the own leg's does, and
the audio is dropped. `both`: the own leg's clock drives it, and the opposite leg plays a copy cut into its own packets
(`OppositeLegCopy`). Both clocks are ours and run in step, so a copy delays by at most one packet of each leg.
"""

from collections.abc import Callable

from trunkline.media.codecs import CODECS, transcoder
from trunkline.media.frames import BaseTap, LegTap
from trunkline.streaming.params import TargetLegs
from trunkline.streaming.playback import Playback

LIMIT_MS = 500
"""Audio that waits in a copy at most, as while that leg is on hold; the oldest is dropped first."""


class OppositeLegPlayer(BaseTap):
    """Plays the stream on the opposite leg alone."""

    plays = True

    def __init__(
        self,
        next_frame: Callable[[int], bytes | None],
        leg_changed: Callable[[str, int], None],
        held_up: Callable[[int, int, int], None],
        at: int,
    ) -> None:
        """`at`: the stream's time (ms) of the last packet. Each leg has its own timeline, on which the stream's would
        jump, so this counts on from there."""
        self._next_frame = next_frame
        self._leg_changed = leg_changed
        self._held_up = held_up
        self._at = at
        self._ptime = 20

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        self._at += self._ptime
        return self._next_frame(self._at)

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """See `LegTap`."""
        self._held_up(self._at + self._ptime, skipped, late)
        self._at += skipped

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self._ptime = ptime
        self._leg_changed(codec, ptime)


class OppositeLegCopy(BaseTap):
    """Plays what the own leg plays."""

    plays = True

    def __init__(self) -> None:
        self._leg_codec = self._codec = "PCMU"
        self._audio = b""
        self._playing = False
        self._fed = 0
        self._waited = 0
        self.leg_changed("PCMU", 20)

    def feed(self, audio: bytes, codec: str) -> None:
        """One packet of the own leg, in `codec`."""
        if codec != self._codec:
            self._codec = codec
            self.leg_changed(self._leg_codec, self._ptime)
        self._fed, self._waited = len(audio), 0
        self._audio = (self._audio + audio)[-LIMIT_MS * self._row.bytes_per_ms :]

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        audio, packet = self._audio, self._packet
        self._waited += packet
        if not self._playing:
            # Audio too short to start with is played when no more follows it.
            needed = packet + self._fed
            self._playing = len(audio) >= needed or (audio != b"" and self._waited > needed)
        if not self._playing or not audio:
            self._playing = False
            return None
        self._audio = audio[packet:]
        return self._convert(audio[:packet] + self._row.silence(self._ptime)[len(audio) :])

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`. Waiting audio is dropped."""
        self._leg_codec, self._ptime = codec, ptime
        self._row = CODECS[self._codec]
        self._packet = ptime * self._row.bytes_per_ms
        self._audio = b""
        self._convert = transcoder(self._codec, codec).convert


class PlaybackRouter:
    """Which legs hear the app, where `target` is not `self`."""

    __slots__ = ("_at", "_own_leg", "_playback", "_tap", "_target", "undelivered_ms")

    def __init__(self, target: TargetLegs, playback: Playback) -> None:
        self._target = target
        self._playback = playback
        self._tap: OppositeLegCopy | OppositeLegPlayer | None = None
        """What is attached to the opposite leg, while there is one."""
        self._own_leg = "PCMU", 20
        """Codec and packet time (ms)."""
        self._at = 0
        """The stream's time of the last packet, in ms."""
        self.undelivered_ms = 0
        """Audio played for the opposite leg while there was none."""

    def own_leg_changed(self, codec: str, ptime: int) -> None:
        """The own leg's codec, or its packet time in ms."""
        self._own_leg = codec, ptime

    def bridged(
        self, next_frame: Callable[[int], bytes | None], held_up: Callable[[int, int, int], None]
    ) -> tuple[LegTap, bool]:
        """There is an opposite leg. Returns the tap to attach to it, and whether the own leg's clock drives the queue;
        `next_frame` and `held_up` are the stream's."""
        if self._target is TargetLegs.BOTH:
            self._tap = OppositeLegCopy()
            return self._tap, True
        self._tap = OppositeLegPlayer(next_frame, self._playback.leg_changed, held_up, self._at)
        return self._tap, False

    def parted(self) -> None:
        """The opposite leg is gone: the own leg's clock drives the queue again."""
        self._tap = None
        self._playback.leg_changed(*self._own_leg)

    def route(self, frame: bytes | None, at: int) -> bytes | None:
        """Returns the frame for the leg whose clock asked for it, at the stream's time `at` (ms)."""
        self._at = at
        tap = self._tap
        if frame is not None and self._target is TargetLegs.OPPOSITE and tap is None:
            self.undelivered_ms += self._own_leg[1]
            return None
        if frame is not None and isinstance(tap, OppositeLegCopy):
            tap.feed(self._playback.taken, self._playback.codec)
        return frame

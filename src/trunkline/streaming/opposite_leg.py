"""The app's audio on the leg that the stream's own leg is bridged with (`BidirectionalTargetLegs`). Pure.

Where only the opposite leg is to hear the app, its clock asks the queue, as the own leg's does otherwise. Where both
are, the own leg's clock asks, and the other leg gets a copy, in its own packets: both clocks are ours and in step, so
one packet of the one and one of the other is all that has to wait.
"""

from collections.abc import Callable

from trunkline.media.codecs import CODECS, transcoder
from trunkline.media.frames import BaseTap

LIMIT_MS = 500
"""Audio of a copy that waits at most, as while that leg is on hold; more is dropped, the oldest first."""


class OppositeLegPlayer(BaseTap):
    """Asks the stream for the opposite leg."""

    plays = True

    def __init__(
        self,
        next_frame: Callable[[int], bytes | None],
        leg_changed: Callable[[str, int], None],
        held_up: Callable[[int, int, int], None],
        at: int,
    ) -> None:
        """`at`: the last time of which the stream was asked. Each leg has a timeline of its own, on which the stream's
        would jump; so it is counted on from there."""
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
    """Plays what it is fed."""

    plays = True

    def __init__(self) -> None:
        self._leg_codec = self._codec = "PCMU"
        self._audio = b""
        self._playing = False
        self._fed = 0
        self._waited = 0
        self.leg_changed("PCMU", 20)

    def feed(self, audio: bytes, codec: str) -> None:
        """A packet of the own leg's time."""
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
            # What is too short to begin with, and is not followed by more, is all of it.
            needed = packet + self._fed
            self._playing = len(audio) >= needed or (audio != b"" and self._waited > needed)
        if not self._playing or not audio:
            self._playing = False
            return None
        self._audio = audio[packet:]
        return self._convert(audio[:packet] + self._row.silence(self._ptime)[len(audio) :])

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`. What waits is dropped."""
        self._leg_codec, self._ptime = codec, ptime
        self._row = CODECS[self._codec]
        self._packet = ptime * self._row.bytes_per_ms
        self._audio = b""
        self._convert = transcoder(self._codec, codec).convert

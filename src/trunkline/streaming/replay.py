"""Media kept for the next socket (docs/reference/websocket.md#limits-and-ends). Pure.

The last seconds of media are kept, sent or not: an app that vanished may not have read what was sent. Kept frames are
in the format of the media to the app, so a change of the leg's codec does not affect them. They are in one ring buffer,
the journal, each behind an entry that describes it: as objects they would take twice the memory, and they are most of
a stream's memory. Frames that were not sent on any socket are the newest ones; each one dropped before there is a
socket is counted as lost.

Key presses are kept only while there is no socket: a key seen twice is worse than one not seen, as it may be part of a
number.
"""

from datetime import datetime

from trunkline import speedups
from trunkline.speedups import ENTRY_SIZE

FRAMES_PER_SECOND = 200
"""Two tracks of 10 ms packets. Bounds by number hold even if the frames' times do not advance."""
SLACK = 5
"""Frames over the bound before the packet path drops the old ones."""
PACE = 400
"""Milliseconds of recent frames from which the final size of a journal is estimated when it is too small; usually the
second frame is enough."""
SHORTEST = 10
"""Milliseconds of the shortest packet. If fewer are known, a journal grows by one part in `GROWTH`."""
GROWTH = 32
DIGIT_LIMIT = 256
"""Key presses kept: more than a caller presses before a stream without a socket is given up."""

ReplayFrame = tuple[int, bool, bytes, int]
"""A frame: the leg's time (ms), whether of the outbound track, the payload in the format sent to the app, and how many
frames were lost before it."""


class Replay:
    """The last `seconds` of media of one stream with `tracks` tracks; 0 keeps none. The oldest are dropped first,
    `SLACK` at a time."""

    __slots__ = (
        "_count",
        "_digits",
        "_end",
        "_first",
        "_journal",
        "_limit",
        "_next",
        "_span",
        "_tracks",
        "_trim_at",
        "_unsent",
        "dropped",
    )

    def __init__(self, seconds: float, tracks: int = 1) -> None:
        self._span = seconds * 1000
        self._tracks = tracks
        self._limit = int(seconds * FRAMES_PER_SECOND)
        self._journal = bytearray()
        self._first = self._next = 0
        """Where the oldest frame begins, and where the next one will."""
        self._end = -1
        """End of the frames that are older than those at the journal's beginning; -1: there are none."""
        self._count = 0
        self._trim_at = SLACK
        self._unsent = 0
        self._digits: list[tuple[str, datetime]] = []
        self.dropped = 0
        """Frames that were not sent on any socket."""

    def keep(self, at: int, outbound: bool, payload: bytes, missing: int) -> None:
        """A frame that is sent now; as in `ReplayFrame`."""
        size = ENTRY_SIZE + len(payload)
        start = self._room(size, at, outbound)
        speedups.pack_entry(self._journal, start, at, outbound, missing, payload)
        self._next = start + size
        self._count = count = self._count + 1
        if count > self._trim_at:
            self._trim(at)

    def _room(self, size: int, at: int, outbound: bool) -> int:
        """Where to write so many bytes, of a frame of this time and track."""
        start = self._next
        if self._end < 0:
            if start + size <= len(self._journal):
                return start
            if size < self._first:
                self._end = start
                return 0
        elif start + size < self._first:
            return start
        return self._grow(size, at, outbound)

    def _grow(self, size: int, at: int, outbound: bool) -> int:
        """The same, after moving all frames in order into a larger journal."""
        journal, first = self._journal, self._first
        kept = journal[first : self._next] if self._end < 0 else journal[first : self._end] + journal[: self._next]
        start = len(kept)
        more = start // GROWTH
        lately, passed = _lately(kept, at, outbound)
        if passed >= SHORTEST:
            # The other track will have the same rate, even if it has not begun; one frame more lies across the end.
            foreseen = self._tracks * lately * self._span / passed + (SLACK + 2) * size
            more = max(more, int(min(foreseen, self._limit * size)) - start)
        # Allocated at once: a bytearray that grows takes an eighth more than needed.
        grown = bytearray(start + more + size)
        grown[:start] = kept
        self._journal, self._first, self._end = grown, 0, -1
        return start

    def hold(self, frame: ReplayFrame) -> None:
        """A frame that cannot be sent, as there is no socket."""
        self.keep(*frame)
        self._unsent += 1
        self._trim(frame[0])

    def unsent(self, count: int) -> None:
        """The newest `count` frames that were sent had not left when their socket was lost."""
        self._unsent = min(count, len(self.frames()))
        self.dropped += count - self._unsent

    def sent(self) -> None:
        """All kept frames were sent on a socket."""
        self._unsent = 0

    def frames(self) -> list[ReplayFrame]:
        """The kept frames, oldest first."""
        frames: list[ReplayFrame] = []
        start = self._first
        for _ in range(self._count):
            if start == self._end:
                start = 0
            at, outbound, size, missing = speedups.unpack_entry(self._journal, start)
            start += ENTRY_SIZE + size
            frames.append((at, outbound, bytes(self._journal[start - size : start]), missing))
        if frames:
            self._trim(frames[-1][0])
        return frames[len(frames) - self._count :]

    def _trim(self, newest: int) -> None:
        """Drop the frames that are too old, `newest` being the time of the newest one, or too many."""
        oldest, limit, journal = newest - self._span, self._limit, self._journal
        count, start = self._count, self._first
        while count:
            if start == self._end:
                start, self._end = 0, -1
            at, _, size, _ = speedups.unpack_entry(journal, start)
            if at > oldest and count <= limit:
                break
            count -= 1
            start += ENTRY_SIZE + size
        if not count:
            start = self._next = 0
            self._end = -1
        self._first = start
        self._count, self._trim_at = count, count + SLACK
        if self._unsent > count:
            self.dropped += self._unsent - count
            self._unsent = count

    def press(self, digit: str, occurred_at: datetime) -> None:
        """A key was pressed while there was no socket."""
        self._digits.append((digit, occurred_at))
        del self._digits[:-DIGIT_LIMIT]

    def digits(self) -> list[tuple[str, datetime]]:
        """Remove and return the keys."""
        digits, self._digits = self._digits, []
        return digits


def _lately(journal: bytearray, at: int, outbound: bool) -> tuple[int, int]:
    """Bytes of this track's frames of the last `PACE` ms before `at`, and how many ms before it the first one is."""
    begin = taken = passed = 0
    while begin < len(journal):
        time, track, size, _ = speedups.unpack_entry(journal, begin)
        begin += ENTRY_SIZE + size
        if track == outbound and time >= at - PACE:
            passed = passed or at - time
            taken += ENTRY_SIZE + size
    return taken, passed

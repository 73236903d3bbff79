"""What the next socket is told of the time before it (docs/reference/websocket.md#limits-and-ends). Pure.

The last so many seconds of media are kept, whether they were sent or not: what was sent to an app that then vanished
may never have been read. Kept frames are in the fork's format, so that a leg which changes its codec meanwhile changes
nothing here. They stand in one journal, each behind a note of what it is: as objects they would take twice the memory,
and this is most of what a stream takes. It is written round and round, so that nothing in it is ever moved. Frames that
no socket was given are the newest ones; each that has to go before a socket comes is a loss, and counted.

Key presses are kept only while there is no socket: to see one twice would be worse than not to see it, as it may be
part of a number.
"""

from datetime import datetime

from trunkline import speedups
from trunkline.speedups import ENTRY_SIZE

FRAMES_PER_SECOND = 200
"""Two tracks of 10 ms packets: bounds by number, should the frames' times stand still."""
SLACK = 5
"""Frames over the bound before the packet path looks for those that are too old."""
PACE = 400
"""Milliseconds of frames by which a journal that is too small is made as large as it will have to be if things go on
like this: mostly the second frame of all tells."""
SHORTEST = 10
"""Milliseconds of the shortest packet. Where less is known a journal grows by one part in `GROWTH`."""
GROWTH = 32
DIGIT_LIMIT = 256
"""Key presses kept; nobody presses more keys before a stream without a socket is given up."""

ReplayFrame = tuple[int, bool, bytes, int]
"""A frame: the leg's time (ms), whether of the outbound track, the payload in the fork's format, and how many
frames were lost before it."""


class Replay:
    """The last `seconds` of media of one stream, of so many tracks; 0 keeps none. The oldest go first, `SLACK` at a
    time."""

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
        """Where the oldest frame begins, and where the next one would."""
        self._end = -1
        """Where the frames end that are to be read before those at the journal's beginning; -1: there are none such."""
        self._count = 0
        self._trim_at = SLACK
        self._unsent = 0
        self._digits: list[tuple[str, datetime]] = []
        self.dropped = 0
        """Frames that no socket was given."""

    def keep(self, at: int, outbound: bool, payload: bytes, missing: int) -> None:
        """A frame that is being sent; as in `ReplayFrame`."""
        size = ENTRY_SIZE + len(payload)
        start = self._room(size, at, outbound)
        speedups.pack_entry(self._journal, start, at, outbound, missing, payload)
        self._next = start + size
        self._count = count = self._count + 1
        if count > self._trim_at:
            self._trim(at)

    def _room(self, size: int, at: int, outbound: bool) -> int:
        """Where so many bytes may be written, of a frame of this time and track."""
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
        """The same, in a larger journal, where all stands in order."""
        journal, first = self._journal, self._first
        kept = journal[first : self._next] if self._end < 0 else journal[first : self._end] + journal[: self._next]
        start = len(kept)
        more = start // GROWTH
        lately, passed = _lately(kept, at, outbound)
        if passed >= SHORTEST:
            # The other track will have the same pace, be it that it has not begun; one frame more lies across the end.
            foreseen = self._tracks * lately * self._span / passed + (SLACK + 2) * size
            more = max(more, int(min(foreseen, self._limit * size)) - start)
        # Made at once: a bytearray that grows takes an eighth more than it is asked for.
        grown = bytearray(start + more + size)
        grown[:start] = kept
        self._journal, self._first, self._end = grown, 0, -1
        return start

    def hold(self, frame: ReplayFrame) -> None:
        """A frame for which there is no socket."""
        self.keep(*frame)
        self._unsent += 1
        self._trim(frame[0])

    def unsent(self, count: int) -> None:
        """The newest `count` frames of those that were being sent did not get away before their socket went."""
        self._unsent = min(count, len(self.frames()))
        self.dropped += count - self._unsent

    def sent(self) -> None:
        """All that is kept has been given to a socket."""
        self._unsent = 0

    def frames(self) -> list[ReplayFrame]:
        """What is kept, oldest first."""
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
        """Let those go that are too old beside the newest, which is of this time, or too many."""
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
        """A key was pressed while there is no socket."""
        self._digits.append((digit, occurred_at))
        del self._digits[:-DIGIT_LIMIT]

    def digits(self) -> list[tuple[str, datetime]]:
        """Take out the keys."""
        digits, self._digits = self._digits, []
        return digits


def _lately(journal: bytearray, at: int, outbound: bool) -> tuple[int, int]:
    """What the frames of this track take that are no more than `PACE` earlier than `at`, and how much the first is."""
    begin = taken = passed = 0
    while begin < len(journal):
        time, track, size, _ = speedups.unpack_entry(journal, begin)
        begin += ENTRY_SIZE + size
        if track == outbound and time >= at - PACE:
            passed = passed or at - time
            taken += ENTRY_SIZE + size
    return taken, passed

"""The return path: what the app sends, cut to the packets that the leg sends (spec section 2.3). Pure.

The app's audio is joined into one string of bytes in the stream's bidirectional codec. The leg's clock asks for one
packet at a time, cut here and transcoded when the leg speaks another codec. That clock is the only one: `at`, the
leg's time in ms, comes with each request, and all waiting is counted in it.

Playback starts once as much is queued as the `Prebuffer` has learnt that this app needs, or once nothing came for as
long (a short last word). A rest shorter than a packet waits one packet's time for more and is then padded with silence.
When nothing is left playback has run dry and the prebuffer is filled again; more audio soon after that is an underrun,
later it is the next utterance.

A mark remembers how many bytes were queued before it and comes back in `returned` when as many have been played.
"""

from trunkline.media.codecs import CODECS, converter
from trunkline.media.level import Meter
from trunkline.streaming.prebuffer import GAP, Prebuffer

JOIN_LIMIT = 319
"""Bytes up to which chunks are joined as they come, so that many small ones take little more memory than a large one;
less than two packets of 20 ms at 8 kHz, which are then queued and played as they come."""


class Playback:
    """The queue of one stream: bytes of `codec`, and marks among them.

    Bounds: `limit` seconds of audio and `mark_limit` marks; what is over them is refused, nothing is dropped.
    `prebuffer` is in ms. `returned` holds the names of marks that are due, in order; the owner takes them out.
    """

    __slots__ = (
        "_afresh",
        "_chunks",
        "_cleared",
        "_convert",
        "_dry_at",
        "_fresh",
        "_last_media",
        "_leg_codec",
        "_limit",
        "_limit_ms",
        "_mark_limit",
        "_marks",
        "_offset",
        "_packet",
        "_per_ms",
        "_played",
        "_playing",
        "_position",
        "_prebuffer",
        "_ptime",
        "_queued",
        "_ran_dry",
        "_row",
        "_target",
        "codec",
        "meter",
        "overruns",
        "returned",
        "taken",
        "underruns",
    )

    def __init__(self, codec: str, *, prebuffer: int, limit: float, mark_limit: int) -> None:
        self.codec = codec
        self._row = CODECS[codec]
        self._per_ms = self._row.bytes_per_ms
        self._limit_ms = int(limit * 1000)
        self._prebuffer = Prebuffer(prebuffer)
        self._mark_limit = mark_limit
        self._chunks: list[bytes] = []
        self._offset = 0  # bytes of the first chunk that are gone
        self._queued = 0
        self._marks: list[tuple[int, bytes]] = []
        self._position = 0
        self._played = 0
        self._cleared = 0
        self._playing = False
        self._ran_dry = False
        self._afresh = True
        self._dry_at = 0
        self._target: int | None = None
        self._fresh = False
        self._last_media = 0
        self.returned: list[bytes] = []
        self.taken = b""
        """The last packet, in `codec`."""
        self.meter = Meter(codec)
        self.underruns = 0
        self.overruns = 0
        """Times that audio was refused because too much was queued."""
        self.leg_changed(codec, 20)

    @property
    def played_ms(self) -> int:
        """Audio of the app's that was played, padding not counted."""
        return self._played // self._per_ms

    @property
    def cleared_ms(self) -> int:
        """Audio that was thrown away by `clear`."""
        return self._cleared // self._per_ms

    @property
    def queued_ms(self) -> int:
        """Audio that waits."""
        return self._queued // self._per_ms

    def leg_changed(self, codec: str, ptime: int) -> None:
        """The leg wants packets of `ptime` ms in this codec from here on."""
        self._leg_codec = codec
        self._ptime = ptime
        self._packet = ptime * self._per_ms
        self._limit = self._limit_ms * self._per_ms
        self._convert = converter(self.codec, codec)

    def follow_leg(self) -> None:
        """Take audio in the leg's codec from here on, or in the one that this is queued as, unless some is queued."""
        codec = CODECS[self._leg_codec].queued_as or self._leg_codec
        if self._queued or self.codec == codec:
            return
        before, self.codec, self._row = self._per_ms, codec, CODECS[codec]
        self._per_ms = self._row.bytes_per_ms
        self._played = self._played * self._per_ms // before
        self._cleared = self._cleared * self._per_ms // before
        self.meter.follow(codec)
        self.leg_changed(self._leg_codec, self._ptime)

    def rests(self) -> bool:
        """Nothing waits or has just been played: until audio is put, `next_frame` gives None and changes nothing."""
        return not (self._queued or self._playing or self._fresh)

    @property
    def room(self) -> int:
        """Bytes that may be queued more."""
        return self._limit - self._queued

    @property
    def marks(self) -> int:
        """Marks that wait."""
        return len(self._marks)

    def put(self, payload: bytes) -> bool:
        """Queue audio; False, and nothing queued, when it is too much."""
        size = len(payload)
        queued = self._queued + size
        if queued > self._limit:
            self.overruns += 1
            return False
        chunks = self._chunks
        if chunks and len(chunks[-1]) + size <= JOIN_LIMIT:
            chunks[-1] += payload
        else:
            chunks.append(payload)
        self._queued = queued
        self._fresh = True
        self.meter.see(payload, size)
        return True

    def mark(self, name: bytes) -> bool:
        """Queue a mark, which is due at once when no audio waits; False, and nothing queued, when there are too
        many."""
        if not self._queued:
            self.returned.append(name)
        elif len(self._marks) >= self._mark_limit:
            return False
        else:
            self._marks.append((self._position + self._queued, name))
        return True

    def clear(self) -> None:
        """Throw the queue away; all its marks are due."""
        self._cleared += self._queued
        self._position += self._queued
        self._chunks.clear()
        self._offset = self._queued = 0
        self._playing = self._ran_dry = False
        self._afresh = True
        self._return_marks()

    def next_frame(self, at: int) -> bytes | None:
        """The next packet for the leg, or None; `at` grows from call to call."""
        queued = self._queued
        if self._fresh:
            self._fresh = False
            self._arrived(at)
        if not queued:
            if self._playing:
                self._run_dry(at)
            return None
        if not self._playing and not self._starts(queued, at):
            return None
        if queued >= self._packet:
            return self._take(self._packet)
        if at - self._last_media < self._ptime:
            return None
        self._run_dry(at)
        return self._take(queued)

    def _run_dry(self, at: int) -> None:
        self._playing, self._ran_dry, self._afresh, self._dry_at = False, True, True, at

    def _arrived(self, at: int) -> None:
        """Audio was put since the last packet."""
        self._last_media = at
        if self._ran_dry and at - self._dry_at <= GAP:
            self.underruns += 1
        self._ran_dry = False
        received = (self._position + self._queued) // self._per_ms
        self._prebuffer.arrived(at, received, self._afresh)
        self._afresh = False
        self._target = None

    def _starts(self, queued: int, at: int) -> bool:
        target = self._target
        if target is None:
            # Only where playback begins: while it goes on, no message has to pay for the reckoning.
            target = self._target = self._prebuffer.target(self._ptime)
        if queued < target * self._per_ms and at - self._last_media < target:
            return False
        self._playing = True
        return True

    def _take(self, count: int) -> bytes:
        frame = self._cut(count)
        self._queued -= count
        self._position += count
        self._played += count
        if self._marks and self._marks[0][0] <= self._position:
            self._return_marks()
        if count < self._packet:
            frame += self._row.silence(self._ptime)[count:]
        self.taken = frame
        return frame if self._convert is None else self._convert(frame)

    def _cut(self, count: int) -> bytes:
        """The next `count` bytes, of at least as many."""
        chunks, start = self._chunks, self._offset
        if not start and len(chunks[0]) == count:
            return chunks.pop(0)
        self._offset = start + count
        if self._offset < len(chunks[0]):
            return chunks[0][start : self._offset]
        parts = [chunks.pop(0)[start:]]
        missing = count - len(parts[0])
        while missing and len(chunks[0]) <= missing:
            missing -= len(chunks[0])
            parts.append(chunks.pop(0))
        if missing:
            parts.append(chunks[0][:missing])
        self._offset = missing
        return b"".join(parts)

    def _return_marks(self) -> None:
        due = [name for position, name in self._marks if position <= self._position]
        self.returned += due
        del self._marks[: len(due)]

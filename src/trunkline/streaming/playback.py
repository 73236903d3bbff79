"""The return path: the app's audio, cut to the leg's packets (docs/reference/websocket.md#messages-from-the-app). Pure.

The app's audio is one queue of bytes in the stream's bidirectional codec. The leg's clock asks for one packet at a
time, which is cut here and transcoded if the leg has another codec. That clock is the only one: each request has the
leg's time `at` in ms.

Playback starts when as much is queued as the `Prebuffer` has learnt that this app needs, or when nothing arrived for as
long (a short last word). A rest shorter than a packet waits one packet time for more and is then padded with silence.
When the queue is empty, the prebuffer is filled again. More audio soon after that, or after a packet of silence while a
rest waited, is an underrun; later it is the next utterance. The delay that an underrun adds is removed again
(`CatchUp`) and counted in `discarded_ms`, except of files.

A mark remembers how many bytes were queued before it. It is due, in `returned`, when they have been played: one packet
time after the last of them was given to the leg.
"""

from collections.abc import Callable

import numpy as np

from trunkline.media.audio.level import LevelMeter, level
from trunkline.media.codecs import CODECS, converter, transcoder
from trunkline.streaming.budget import CLOSED, UNBOUNDED, Budget
from trunkline.streaming.catchup import FAINT, SPACING, CatchUp, squeeze
from trunkline.streaming.prebuffer import GAP, Prebuffer

JOIN_LIMIT = 319
"""Bytes up to which arriving chunks are joined, so that many small ones take little more memory than a large one. Less
than two packets of 20 ms at 8 kHz, so that these are queued and played as they are."""

BLOCK = 16384
"""Bytes of audio for which memory is taken from the budget at once: two seconds of PCMU. One block is kept."""
BLOCK_COST = BLOCK * 5 // 4
"""Bytes that these take: in the smallest chunks a quarter more."""
MARK_COST = 160
"""Bytes that a mark takes besides its name."""

_NEVER = 1 << 60
"""More bytes than are ever queued."""


class Playback:
    """The queue of one stream: bytes of `codec`, and marks among them.

    Bounds: `limit` seconds of audio, `mark_limit` marks, and for both the account's `budget`; more is refused, and
    nothing is dropped. `prebuffer` is in ms. `live`: the delay of late audio is removed. `returned` holds the names of
    the marks that are due, in order; the owner takes them by `take_returned`.
    """

    __slots__ = (
        "_afresh",
        "_ahead",
        "_allowed",
        "_behind",
        "_budget",
        "_catch",
        "_chunks",
        "_cleared",
        "_convert",
        "_decode",
        "_discarded",
        "_dry_at",
        "_enough",
        "_faint",
        "_fresh",
        "_last_media",
        "_leg_codec",
        "_limit",
        "_limit_ms",
        "_live",
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
        "_reserved",
        "_row",
        "_since",
        "_tail",
        "_target",
        "codec",
        "meter",
        "overruns",
        "returned",
        "short",
        "taken",
        "underruns",
    )

    def __init__(
        self,
        codec: str,
        *,
        prebuffer: int,
        limit: float,
        mark_limit: int,
        live: bool = True,
        budget: Budget = UNBOUNDED,
    ) -> None:
        self.codec = codec
        self._budget = budget
        self._reserved = 0  # bytes of audio for which memory was taken
        self._allowed = 0  # bytes that may be queued without a look at the budget
        self._ahead = 0  # bytes that were promised
        self._row = CODECS[codec]
        self._per_ms = self._row.bytes_per_ms
        self._limit_ms = int(limit * 1000)
        self._prebuffer = Prebuffer(prebuffer)
        self._mark_limit = mark_limit
        self._chunks: list[bytes] = []
        self._offset = 0  # bytes of the first chunk that were taken
        self._queued = 0
        self._marks: list[tuple[int, bytes]] = []
        self._position = 0
        self._played = 0
        self._cleared = 0
        self._discarded = 0
        self._playing = False
        self._tail = False  # the last packet emptied the queue, and was padded
        self._ran_dry = False
        self._afresh = True
        self._live = live
        self._catch: CatchUp | None = None  # made when first needed
        self._behind = False  # it is needed
        self._since = 0  # packets since the last squeezed one
        self._faint = False  # the last packet was inaudible
        self._dry_at = 0
        self._target: int | None = None
        self._fresh = False
        self._last_media = 0
        self.returned: list[bytes] = []
        self.taken = b""
        """The last packet, in `codec`."""
        self.meter = LevelMeter(codec, bare=live)
        self.underruns = 0
        self.overruns = 0
        """Times that audio was refused, as too much was queued."""
        self.short = False
        """The last refusal was the budget's."""
        self.leg_changed(codec, 20)

    @property
    def played_ms(self) -> int:
        """Audio of the app that was played, without padding."""
        return self._played // self._per_ms

    @property
    def cleared_ms(self) -> int:
        """Audio that `clear` dropped."""
        return self._cleared // self._per_ms

    @property
    def discarded_ms(self) -> int:
        """Audio that was removed to reduce the delay."""
        return self._discarded // self._per_ms

    @property
    def queued_ms(self) -> int:
        """Audio in the queue."""
        return self._queued // self._per_ms

    @property
    def app_pace(self) -> int:
        """See `Prebuffer.percent`."""
        return self._prebuffer.percent

    def leg_changed(self, codec: str, ptime: int) -> None:
        """The leg takes packets of `ptime` ms in this codec from now on."""
        self._leg_codec = codec
        self._ptime = ptime
        self._packet = ptime * self._per_ms
        self._measure()
        self._limit = self._limit_ms * self._per_ms
        self._allowed = min(self._limit, self._reserved)
        self._convert = converter(self.codec, codec)
        self._decode: Callable[[bytes], bytes] | None = None

    def follow_leg(self) -> None:
        """Take audio in the leg's codec from now on, or in that which it is queued as; not while audio is queued."""
        codec = CODECS[self._leg_codec].queued_as or self._leg_codec
        if self._queued or self.codec == codec:
            return
        before, self.codec, self._row = self._per_ms, codec, CODECS[codec]
        self._per_ms = self._row.bytes_per_ms
        self._played = self._played * self._per_ms // before
        self._cleared = self._cleared * self._per_ms // before
        self._discarded = self._discarded * self._per_ms // before
        self.meter.follow(codec)
        self.leg_changed(self._leg_codec, self._ptime)

    def rests(self) -> bool:
        """Nothing is queued or was just played: until audio is put, `next_frame` returns None and changes nothing."""
        return not (self._queued or self._playing or self._fresh or self._tail or self._marks)

    @property
    def room(self) -> int:
        """Bytes that may still be queued."""
        return self._limit - self._queued - self._ahead

    @property
    def marks(self) -> int:
        """Marks in the queue."""
        return len(self._marks)

    def put(self, payload: bytes) -> bool:
        """Queue audio. Returns False, and queues nothing, if it is too much."""
        size = len(payload)
        queued = self._queued + size
        if queued > self._allowed and not self._admit(queued):
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

    def _admit(self, queued: int) -> bool:
        """Whether so many bytes may be queued; takes memory for them."""
        self.short = False
        if queued <= self._limit:
            blocks = -(-queued // BLOCK)
            if self._budget.take(blocks * BLOCK_COST - self._reserved // BLOCK * BLOCK_COST):
                self._reserved = blocks * BLOCK
                self._allowed = min(self._limit, self._reserved)
                return True
            self.short = True
        self.overruns += 1
        return False

    def _shrink(self) -> None:
        """Give back the memory of all but what is queued or promised, or one block."""
        blocks = -(-max(BLOCK, self._queued + self._ahead) // BLOCK)
        spare = self._reserved // BLOCK - blocks
        if spare > 0:
            self._budget.give(spare * BLOCK_COST)
            self._reserved = blocks * BLOCK
            self._allowed = min(self._limit, self._reserved)

    def promise(self, size: int) -> bool:
        """Keep room for audio that comes later, by `put_promised`. Returns False, and keeps none, if it is too much."""
        queued = self._queued + self._ahead + size
        if queued > self._allowed and not self._admit(queued):
            return False
        self._ahead += size
        return True

    def put_promised(self, payload: bytes) -> None:
        """Queue audio for which there is room."""
        self._ahead -= len(payload)
        self.put(payload)

    def mark(self, name: bytes) -> bool:
        """Queue a mark, which is due at once if no audio is queued or playing. Returns False, and queues nothing, if
        there are too many."""
        waits = self._queued or self._playing or self._tail
        if waits and len(self._marks) >= self._mark_limit:
            self.short = False
            return False
        if not self.pay_mark(name):
            return False
        self.queue_mark(name)
        return True

    def pay_mark(self, name: bytes) -> bool:
        """Take the memory of a mark that is queued now or later. Returns False if there is none."""
        self.short = not self._budget.take(MARK_COST + len(name))
        return not self.short

    def queue_mark(self, name: bytes) -> None:
        """Queue a mark that is paid."""
        if self._queued or self._playing or self._tail:
            self._marks.append((self._position + self._queued, name))
        else:
            self.returned.append(name)

    def take_returned(self) -> list[bytes]:
        """The marks that are due, which are the caller's from now on."""
        names, self.returned = self.returned, []
        self._budget.give(MARK_COST * len(names) + sum(map(len, names)))
        return names

    def release(self) -> None:
        """The last call: give all memory back."""
        self.take_returned()
        names = [name for _, name in self._marks]
        self._budget.give(MARK_COST * len(names) + sum(map(len, names)) + self._reserved // BLOCK * BLOCK_COST)
        self._budget = CLOSED
        self._reserved = self._allowed = 0
        self._marks.clear()

    def clear(self) -> None:
        """Drop the queue; all its marks are due."""
        self._cleared += self._queued
        self._position += self._queued
        self._chunks.clear()
        self._offset = self._queued = 0
        self._playing = self._tail = self._ran_dry = self._behind = False
        if self._catch is not None:
            self._catch.forget()
        self._measure()
        self._afresh = True
        self.meter.restart()
        self._return_marks()
        self._shrink()

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """The leg's clock was delayed from its time `at` on: it will not ask for `skipped` ms, whose audio is skipped,
        and then ask for `late` ms at once."""
        if not self._live or self.rests():
            return
        self._caught_up_with().held_up(at, skipped + late, self._prebuffer.pace)
        if skipped and self._queued and not self._playing:
            if self._fresh:
                self._last_media = at
            awaited = max(0, self._awaited() - (at - self._last_media))
            skipped -= awaited
            at += awaited
            if skipped > 0:
                self._begin(at)
        if skipped > 0 and self._playing:
            missed = skipped * self._per_ms
            passed = min(missed, self._queued)
            self._discard(passed)
            if passed < missed:
                self._run_dry(at + passed // self._per_ms)

    def next_frame(self, at: int) -> bytes | None:
        """The next packet for the leg, or None; `at` grows from call to call."""
        if self._marks and self._marks[0][0] <= self._position:
            self._return_marks()
        if self._fresh:
            self._fresh = False
            self._arrived(at)
        queued = self._queued
        if not queued:
            if self._playing:
                self._run_dry(at)
            self._tail = False
            return None
        if not self._playing and not self._starts(queued, at):
            return None
        if queued >= self._enough:
            return self._take(self._packet)
        if queued >= self._packet:
            return self._take_and_remove(at)
        return self._take_rest(queued, at)

    def _take_rest(self, queued: int, at: int) -> bytes | None:
        """The rest of the queue, if no more audio has arrived in time."""
        if at - self._last_media < self._ptime:
            self._ran_dry, self._dry_at = True, at
            self._behind = True
            if self._live:
                self._fall_silent(at)
            return None
        self._begin(at)
        self._run_dry(at, queued // self._per_ms)
        self._tail = True
        return self._take(queued)

    def _run_dry(self, at: int, left: int = 0) -> None:
        """The queue is empty, except for the `left` ms that are played now."""
        self._playing, self._dry_at = False, at
        self._ran_dry = self._afresh = self._behind = True
        if self._reserved > BLOCK:
            self._shrink()
        if self._live:
            self._fall_silent(at + left)

    def _fall_silent(self, at: int) -> None:
        self._caught_up_with().ran_dry(at, self._prebuffer.pace)
        self._behind = True
        self._measure()

    def _caught_up_with(self) -> CatchUp:
        if self._catch is None:
            self._catch = CatchUp()
        return self._catch

    def _measure(self) -> None:
        """Set how many bytes must be queued for the plain path: a packet is taken and nothing is removed."""
        self._enough = _NEVER if self._catch is not None and self._catch.due else self._packet

    def _arrived(self, at: int) -> None:
        """Audio arrived since the last packet."""
        self._last_media = at
        received = (self._position + self._queued) // self._per_ms
        self._prebuffer.arrived(at, received, self._afresh)
        self._afresh = False
        self._target = None
        if self._behind:
            self._catch_up(at, at - received)

    def _catch_up(self, at: int, pace: int) -> None:
        """After an underrun: measure the delay of the audio that arrived."""
        catch = self._caught_up_with()
        if self._ran_dry and at - self._dry_at <= GAP and not catch.excused:
            self.underruns += 1
        self._ran_dry = False
        self._behind = self._live and catch.goes_on(at)
        if self._behind:
            missed = min(catch.missed(at, pace), self._queued // self._per_ms)
            if missed > 0:
                self._discard(missed * self._per_ms)
                catch.skipped(missed)
                self._playing = self._playing or self._queued >= self._packet
            if self._playing:
                self._begin(at)
                self._behind = catch.measure(at, pace)
        self._measure()

    def _awaited(self) -> int:
        """Milliseconds to queue before playback starts."""
        if self._target is None:
            # Computed only when playback starts, not for each message.
            # With less than a packet it would begin with silence.
            self._target = max(self._ptime, self._prebuffer.target(self._ptime))
        return self._target

    def _starts(self, queued: int, at: int) -> bool:
        self._tail = False
        target = self._awaited()
        if queued < target * self._per_ms and at - self._last_media < target:
            return False
        self._begin(at)
        return True

    def _begin(self, at: int) -> None:
        self._playing = True
        if self._behind:
            self._caught_up_with().started(at)

    def _take(self, count: int) -> bytes:
        frame = self._cut(count)
        self._queued -= count
        self._position += count
        self._played += count
        if count < self._packet:
            frame += self._row.silence(self._ptime)[count:]
        self.taken = frame
        return frame if self._convert is None else self._convert(frame)

    def _take_and_remove(self, at: int) -> bytes:
        """A packet, with some audio removed."""
        catch, packet = self._caught_up_with(), self._packet
        decode = self._row.decoder
        spare = self._queued - packet
        self._since += 1
        if self._faint and level(decode()(self._front(packet))) < FAINT:
            faint = min(catch.due, packet // self._per_ms, spare // self._per_ms)
            self._discard(faint * self._per_ms, faint=True)
            catch.removed(at, faint)
        elif self._since >= SPACING and spare >= packet and not self._row.remembers:
            self._squeeze(catch, at)
        self._measure()
        frame = self._take(packet)
        self._faint = level(decode()(self.taken)) < FAINT
        return frame

    def _squeeze(self, catch: CatchUp, at: int) -> None:
        """Make one packet of the next two."""
        packet, row = self._packet, self._row
        pcm = np.frombuffer(row.decoder()(self._front(2 * packet)), "<i2")
        samples = len(pcm) // 2
        most = catch.due * row.sample_rate // 1000
        if most < samples // 2:
            return
        made, shift = squeeze(pcm, samples, most)
        left_out = shift * packet // samples
        self._discard(left_out)
        self._cut(packet)
        if self._offset:
            self._chunks[0] = self._chunks[0][self._offset :]
            self._offset = 0
        self._chunks.insert(0, row.encoder()(made.tobytes()))
        catch.removed(at, -(-left_out // self._per_ms))
        self._since = 0

    def _front(self, count: int) -> bytes:
        """The next `count` bytes, which stay in the queue. At least as many are queued."""
        found, start = b"", self._offset
        for chunk in self._chunks:
            found += chunk[start : start + count - len(found)]
            start = 0
            if len(found) == count:
                break
        return found

    def _discard(self, count: int, *, faint: bool = False) -> None:
        """Remove the next `count` bytes, of at least as many; `faint`: they are inaudible."""
        if count:
            left_out = self._cut(count)
            self._queued -= count
            self._position += count
            self._discarded += count
            # A leg with the same codec would get another encoder within speech, which is worse.
            if self._row.remembers and (faint or self._decode is not None or self.codec != self._leg_codec):
                self._decode_here(left_out)

    def _decode_here(self, left_out: bytes) -> None:
        """A decoder with state cannot decode what follows without the audio that is left out. So from now on the queue
        is decoded here, and encoded again for the leg."""
        if self._decode is None:
            decode = self._row.decoder()
            encode = transcoder(f"L16/{self._row.sample_rate}", self._leg_codec).convert
            if self.taken:
                encode(decode(self.taken))
            self._decode, self._convert = decode, lambda payload: encode(decode(payload))
        self._decode(left_out)

    def _cut(self, count: int) -> bytes:
        """Remove and return the next `count` bytes, of at least as many."""
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

"""The receiving half of a leg: datagrams in, frames and digits to the attached taps in order.

A packet in order takes the short way: header, jitter buffer's `accepts`, frame to the taps. Everything else (events,
odd headers, gaps, other payload types, holds) goes the long way round. A peer may use whatever was agreed, under either
side's numbers, and change in mid-call: the first packet of another type goes the long way, and from then on that type
is the one that takes the short way.

The timeline counts from the moment the leg opened. Anchored at the arrival of the first packet it goes on by the length
of each frame. Where the RTP timestamp says something else, `clock.py` judges; where arrival is later by `DRIFT_LIMIT`,
the timeline is anchored anew.

The peer's clock is not ours: at 200 ppm it would be off by 0.7 s after an hour, and the inbound track by as much from
the outbound one. So the timeline follows arrival, too, by small steps (`Clock.follow`).

Ports are called straight from here. The method under way is kept in `calling`, so that the owner that catches what a
tap should not have raised can tell whose fault it was, at hardly any cost per packet.
"""

from collections.abc import Callable
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple

from trunkline import speedups
from trunkline.ids import LegId, RtpTime, Seconds, Ssrc
from trunkline.media.codecs import CODECS, Codec, UndecodablePacket
from trunkline.media.frames import LegTap
from trunkline.media.rtp.clock import WINDOW, Clock
from trunkline.media.rtp.jitter import MAX_MISORDER, JitterBuffer, Released
from trunkline.media.rtp.packet import HEADER_LENGTH, MARKER, PLAIN, is_rtcp, keeps_alive, payload_of
from trunkline.media.rtp.presses import DigitReceiver, EventPacket
from trunkline.media.rtp.rtcp import Reception
from trunkline.sdp.values import COMFORT_NOISE, TELEPHONE_EVENT, MediaParams
from trunkline.speedups import DATAGRAM_LIMIT

_ALWAYS = {13: COMFORT_NOISE, 19: COMFORT_NOISE}
"""What needs no agreement: the number of RFC 3389, and that of its drafts."""

DRIFT_LIMIT = 1.0
"""Seconds that arrival is later than the timeline: a network stall is shorter."""

LEAP = 20
"""Packets that may be missing without a look at the timestamp: fewer are rather lost than a new beginning."""

LEAP_MS = 2000
"""How much may be missing at once without as much silence."""

PACKETS_PER_SECOND = 100
"""Of 10 ms, the shortest there are."""

CHANGE_BURST = 16
CHANGES_PER_SECOND = 4
"""To another codec, which costs each tap a new decoder: more than any device makes, and what a hostile peer may cost
us. What comes in another codec beyond that is counted as not agreed."""

REMEMBERED_MS = MAX_MISORDER * 60
"""How far back a packet's timestamp may be that is late, or comes twice."""


@lru_cache(maxsize=64)
def _types(
    payload_type: int, codec: str, dtmf_payload_type: int | None, heard: tuple[tuple[int, str], ...]
) -> dict[int, str]:
    """What each payload type that may come stands for: one table for all legs that agreed on the same."""
    events = {} if dtmf_payload_type is None else {dtmf_payload_type: TELEPHONE_EVENT}
    return {**_ALWAYS, payload_type: codec, **events, **dict(heard)}


class _Arrival(NamedTuple):
    """A packet in the jitter buffer."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    at: Seconds


class Inbound:
    """What comes from the peer. `waiting` is the owner's set of legs whose `handle_waiting` should be called soon."""

    __slots__ = (
        "_changed_at",
        "_changes_left",
        "_clock",
        "_digit_taps",
        "_drift_limit",
        "_dtmf",
        "_due",
        "_frame_taps",
        "_least",
        "_leg",
        "_length",
        "_media_stamp",
        "_media_time",
        "_missing",
        "_opened",
        "_payload_type",
        "_plain",
        "_receives",
        "_reception",
        "_row",
        "_rtcp_mux",
        "_size",
        "_taps",
        "_transit",
        "_types",
        "_units",
        "_waiting",
        "bytes",
        "calling",
        "clock_rate",
        "codec",
        "digits",
        "frames",
        "heard",
        "jitter",
        "jitter_units",
        "keepalives",
        "malformed",
        "packets",
        "unknown",
        "unknown_type",
        "while_on_hold",
    )

    def __init__(
        self, leg: LegId, params: MediaParams, window: Seconds, reception: Reception, waiting: set[LegId], now: Seconds
    ) -> None:
        self._leg = leg
        self._opened = now
        self._reception = reception
        self._waiting = waiting
        self._frame_taps: tuple[Callable[[bytes, int, int], None], ...] = ()
        self._digit_taps: tuple[Callable[[str], None], ...] = ()
        self._taps: tuple[LegTap, ...] = ()
        self._dtmf = DigitReceiver()
        self._missing = 0
        self._media_stamp = 0
        self._media_time = 0
        self._due = self._size = -1
        self._length = 0
        """Of the last frame, in RTP units. `_due`: what the next timestamp is further, if all is well; -1 asks the
        clock. `_size`: the packet's whose frame is known to be that long; -1 measures each."""
        self._transit = 0.0
        self._least = inf
        self.calling: Callable[..., Any] | None = None
        self.jitter: JitterBuffer = JitterBuffer(window)
        self.jitter_units = 0.0
        self._units = CODECS[params.codec].clock_rate // 1000
        self._clock = Clock(self._units)
        self._types: dict[int, str] = {}
        """What each payload type that may come stands for."""
        self.codec = ""
        """What the peer sends in."""
        self._payload_type = -1
        self._changes_left = float(CHANGE_BURST)
        self._changed_at = now
        self.heard: Seconds | None = None
        self.packets = self.bytes = self.frames = self.digits = 0
        self.keepalives = self.malformed = self.unknown = self.while_on_hold = 0
        self.unknown_type = -1
        self.configure(params)

    def configure(self, params: MediaParams) -> None:
        """Take on negotiated parameters; what is held goes out under the former ones first (`flush`). A peer that has
        been heard is taken to go on as it does, as long as that is agreed, until its packets show something else."""
        self._types = types = _types(params.payload_type, params.codec, params.dtmf_payload_type, params.heard)
        self._receives = params.direction.receives
        self._rtcp_mux = params.rtcp_mux
        self._missing = 0
        kind, codec = self._payload_type, self.codec
        if self.heard is None or types.get(kind) != codec:
            kind, codec = params.payload_type, params.codec
            if types[kind] != codec:
                kind = -1  # the number is an event's here; the first packet will tell
        self._follow_peer(kind, codec)

    def _follow_peer(self, kind: int, codec: str) -> None:
        """Packets of this type take the short way from here on."""
        self._payload_type, self.codec = kind, codec
        self._plain = PLAIN << 8 | kind if self._receives and kind >= 0 else -1
        """The first two bytes of a packet that takes the short way."""
        self._count_by(CODECS[codec])

    def _count_by(self, codec: Codec) -> None:
        """Frames are this codec's, and the timeline is counted by its clock."""
        units, before = codec.clock_rate // 1000, self._units
        if units != before:
            self.jitter_units *= units / before
            self._media_time = self._media_time * units // before
            self._length = self._length * units // before
            self._transit *= units / before
            self._least = inf
            self._clock.rescale(units)
            self._due = -1
        self._row, self._units = codec, units
        self._size = -1
        self.clock_rate = units * 1000
        """Of RTP timestamps and `jitter_units`, per second."""
        self._drift_limit = DRIFT_LIMIT * self.clock_rate

    def set_taps(self, taps: tuple[LegTap, ...]) -> None:
        """Call these taps from now on."""
        self._frame_taps = tuple(tap.inbound_frame for tap in taps if tap.inbound)
        self._digit_taps = tuple(tap.digit for tap in taps)
        self._taps = taps

    def receive(self, datagram: bytes, now: Seconds) -> None:
        """A datagram on the RTP tap from the peer."""
        size = len(datagram)
        if HEADER_LENGTH < size < DATAGRAM_LIMIT:
            first, sequence, timestamp, ssrc = speedups.unpack_rtp(datagram)
            if first == self._plain and self.jitter.accepts(sequence, ssrc):
                self.packets += 1
                self.bytes += size
                self.heard = now
                payload = speedups.payload(datagram, HEADER_LENGTH)
                self._frame(timestamp, payload, now)
                if size != self._size:
                    self._measure(payload)
                return
        self._receive_other(datagram, now)

    def is_rtcp(self, datagram: bytes) -> bool:
        """Whether a datagram on the RTP tap is RTCP: where that was agreed, or cannot be anything else."""
        if len(datagram) < 2 or not is_rtcp(datagram[1]):
            return False
        return self._rtcp_mux or not self.is_agreed(datagram[1] & 0x7F)

    def is_agreed(self, payload_type: int) -> bool:
        """Whether this payload type may come, after what was negotiated."""
        return payload_type in self._types

    def continues(self, packet: bytes, silence: float) -> bool:
        """Whether a packet from elsewhere goes on with the stream that was heard so many seconds ago: the same SSRC and
        payload type, and a sequence number that it may have come to meanwhile."""
        first, sequence, _, ssrc = speedups.unpack_rtp(packet)
        ahead = sequence - self.jitter.highest & 0xFFFF
        farthest = MAX_MISORDER + silence * PACKETS_PER_SECOND
        return first & 0x7F == self._payload_type and ssrc == self.jitter.ssrc and 0 < ahead <= farthest

    def _receive_other(self, datagram: bytes, now: Seconds) -> None:
        """The long way round: whatever is not a plain packet of the codec in its turn."""
        if self.is_rtcp(datagram):
            self._reception.receive(datagram, now)
            return
        payload = payload_of(datagram)
        if payload is None:
            self.count_malformed(datagram)
            return
        first, sequence, timestamp, ssrc = speedups.unpack_rtp(datagram)
        self.packets += 1
        self.bytes += len(datagram)
        silence = now - (self.heard or now)
        self.heard = now
        arrival = _Arrival(first & 0x7F, bool(first & MARKER), sequence, timestamp, ssrc, payload, now)
        step = self.jitter.step(sequence, ssrc)
        is_event = self._types.get(arrival.payload_type) == TELEPHONE_EVENT
        if is_event and (step is None or step < 0):
            self._event(arrival)  # without a turn, or too late for it: a on_dtmf is told from others without its help
        if step is not None or not is_event:
            anew = step is not None and self._is_anew(step, arrival, silence)
            self._deliver(self.jitter.push(sequence, Ssrc(ssrc), arrival, now, anew=anew))
        if self.jitter.deadline is not None or self._dtmf.deadline is not None:
            self._waiting.add(self._leg)

    def count_malformed(self, datagram: bytes) -> None:
        """Count a datagram that is no RTP."""
        if keeps_alive(datagram):
            self.keepalives += 1
        else:
            self.malformed += 1

    def _is_anew(self, step: int, arrival: _Arrival, silence: float) -> bool:
        """Whether a packet `step` beyond the next in order, after so many seconds, shows that the peer's sequence has
        begun anew with the same SSRC. What is late or comes twice has no timestamp ahead; of what was lost both the
        clocks know, or one of them if it was little."""
        if not self.frames or arrival.payload_type != self._payload_type:
            return False
        ahead = _nearest(arrival.timestamp - self._media_stamp)
        if step < 0:
            return not -REMEMBERED_MS * self._units <= ahead <= 0
        lost = step * self._length
        if lost > LEAP_MS * self._units and silence * self.clock_rate < lost / 4 and self.jitter.deadline is None:
            return True  # nor does another packet wait that came after as much silence
        return step >= LEAP and ahead < lost / 4

    def handle_waiting(self, now: Seconds) -> None:
        """Give up gaps and key presses whose time is over; leaves `waiting` when none is left."""
        self._deliver(self.jitter.expire(now))
        if self._dtmf.deadline is not None and self._dtmf.deadline <= now:
            self.on_dtmf(self._dtmf.expire())
        if self.jitter.deadline is None and self._dtmf.deadline is None:
            self._waiting.discard(self._leg)

    def flush(self) -> None:
        """Hand on what is held."""
        self._deliver(self.jitter.flush())

    def reset(self) -> None:
        """Hand on what is held; the next packet is another source's."""
        self._deliver(self.jitter.reset())

    def close(self) -> None:
        """Hand on what is held and end a key on_dtmf."""
        self._waiting.discard(self._leg)
        self.flush()
        self.on_dtmf(self._dtmf.expire())

    def _deliver(self, released: list[Released]) -> None:
        for arrival, missing, restart in released:
            if restart:
                self._restart()
            self._missing += missing
            if arrival.payload_type == self._payload_type:
                self._audio(arrival)
            else:
                self._other(arrival)

    def _other(self, arrival: _Arrival) -> None:
        kind = arrival.payload_type
        meaning = self._types.get(kind)
        if meaning is None:
            self.count_unknown_pt(kind)
        elif meaning == TELEPHONE_EVENT:
            self._event(arrival)
        elif meaning != COMFORT_NOISE:
            if arrival.payload and not self._changes(kind, meaning, arrival.at):
                self.count_unknown_pt(kind)
            else:
                self._audio(arrival)

    def _changes(self, kind: int, codec: str, now: Seconds) -> bool:
        """Whether the peer goes on in another codec, or under another number, from here on."""
        if codec == self.codec:
            self._follow_peer(kind, codec)
            return True
        left = min(CHANGE_BURST, self._changes_left + (now - self._changed_at) * CHANGES_PER_SECOND)
        self._changed_at, self._changes_left = now, left
        if left < 1:
            return False
        self._changes_left = left - 1
        self._follow_peer(kind, codec)
        for tap in self._taps:
            self.calling = tap.peer_changed
            tap.peer_changed(codec)
        self.calling = None
        return True

    def count_unknown_pt(self, payload_type: int) -> None:
        """Count a packet of a type that was not agreed."""
        self.unknown += 1
        self.unknown_type = payload_type

    def _restart(self) -> None:
        self._clock.restarted = True
        self._due = -1
        self._reception.restart()

    def _audio(self, arrival: _Arrival) -> None:
        if not self._receives:
            self.while_on_hold += 1
            self._missing = 0
        elif arrival.payload:
            self._frame(arrival.timestamp, arrival.payload, arrival.at)
            self._measure(arrival.payload)

    def _frame(self, timestamp: int, payload: bytes, now: Seconds) -> None:
        """An audio payload in its turn: advance the timeline, reckon the jitter, hand it on. `_measure` follows."""
        step = timestamp - self._media_stamp
        self._media_stamp = timestamp
        if step != self._due:
            step = self._judged(step, now)
        media_time = self._media_time + step
        transit = (now - self._opened) * self.clock_rate - media_time
        if transit < self._drift_limit:
            # RFC 3550 appendix A.8
            self.jitter_units += (abs(transit - self._transit) - self.jitter_units) / 16
            if transit < self._least:
                self._least = transit
        else:
            media_time = round((now - self._opened) * self.clock_rate)
            transit = self._least = 0.0
            self._clock.rejoin()
        self._media_time = media_time
        self._transit = transit
        self.frames = frames = self.frames + 1
        if not frames % WINDOW:
            self._follow(frames)
        at = media_time // self._units
        missing = self._missing
        if missing:
            self._missing = 0
        for push in self._frame_taps:
            self.calling = push
            push(payload, at, missing)
        self.calling = None

    def _judged(self, step: int, now: Seconds) -> int:
        """How far a frame is from the one before, whose timestamp does not simply go on."""
        clock = self._clock
        length, missing = self._length, self._missing
        late = (now - self._opened) * self.clock_rate - self._media_time - length * (missing + 1)
        advance = clock.advance(_nearest(step), length, missing, late, self.frames)
        self._least += clock.held_back
        self._due = -1 if clock.ahead else length
        return advance

    def _follow(self, frames: int) -> None:
        """Move the timeline towards the arrivals, if they have drifted apart."""
        move = self._clock.follow(self._least, frames, self._length)
        self._least = inf
        self._media_time += move
        self._transit -= move
        if self._clock.ahead:
            self._due = -1

    def _measure(self, payload: bytes) -> None:
        """Learn how long a frame is from its payload."""
        codec = self._row
        if codec.bytes_per_ms:
            length = len(payload) * self._units // codec.bytes_per_ms
            self._size = HEADER_LENGTH + len(payload)
        elif codec.samples is not None:
            try:
                length = codec.samples(payload) * self.clock_rate // codec.sample_rate
            except UndecodablePacket:
                return
        else:
            return
        self._length = length
        if self._due >= 0:
            self._due = length

    def _event(self, arrival: _Arrival) -> None:
        _, marker, sequence, timestamp, ssrc, payload, at = arrival
        ended = self._dtmf.receive(EventPacket(payload, RtpTime(timestamp), sequence, Ssrc(ssrc), marker, at))
        if ended is None:
            self.malformed += 1
        else:
            self.on_dtmf(ended)

    def signalled(self, digit: str, now: Seconds) -> None:
        """Signalling tells of a key (SIP INFO)."""
        self.on_dtmf(self._dtmf.signalled(digit, now))

    def on_dtmf(self, digits: str) -> None:
        """Tell the taps of keys, each once, in order."""
        for digit in digits:
            self.digits += 1
            for push in self._digit_taps:
                self.calling = push
                push(digit)
        self.calling = None


def _nearest(difference: int) -> int:
    """Of two timestamps, the nearer way around."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000

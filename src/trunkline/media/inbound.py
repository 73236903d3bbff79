"""The receiving half of a leg: datagrams in, frames and digits to the attached taps in order.

A packet in order takes the fast path: header, jitter buffer's `accepts`, frame to the taps. Everything else (events,
other headers, gaps, other payload types, holds) takes the slow path. A peer may send all agreed codecs, under the
payload types of either side, and change in mid-call: the first packet of another type takes the slow path, and from
then on that type has the fast path.

The timeline counts from the moment the leg opened. It is anchored at the arrival of the first packet and advances by
the length of each frame. Where the RTP timestamp differs, `clock.py` decides; where arrival is later by `DRIFT_LIMIT`,
the timeline is anchored again.

A peer's clock that is off by 200 ppm would part the inbound track from the outbound one by 0.7 s in an hour. So the
timeline also follows the arrivals, in small steps (`Clock.follow`).

Taps are called directly. The method in progress is kept in `calling`, so that the owner that catches what a tap raised
knows which one it was, at hardly any cost per packet.
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
"""Payload types that need no negotiation: those of RFC 3389 and of its drafts."""

UNKNOWN = -1 << 40
"""No step between two timestamps, which have 32 bits; -1 is one."""

DRIFT_LIMIT = 1.0
"""Seconds by which arrival is later than the timeline before it is anchored again: network stalls are shorter."""

LEAP = 20
"""Missing packets below which the timestamp is not examined: so few are a loss, not a restart."""

LEAP_MS = 2000
"""Loss that needs as much silence before it; without it the sequence has restarted."""

PACKETS_PER_SECOND = 100
"""Packets of 10 ms, the shortest packet time."""

CHANGE_BURST = 16
CHANGES_PER_SECOND = 4
"""Codec changes, which cost each tap a new decoder: more than any device makes, and what a hostile peer may cost us.
Packets in another codec beyond that count as unnegotiated."""

REMEMBERED_MS = MAX_MISORDER * 60
"""How far back the timestamp of a late or duplicate packet may be."""


@lru_cache(maxsize=64)
def _types(
    payload_type: int, codec: str, dtmf_payload_type: int | None, heard: tuple[tuple[int, str], ...]
) -> dict[int, str]:
    """Codec or kind of each payload type that may come: one table for all legs with the same parameters."""
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
    """The receiving half. `waiting` is the owner's set of legs whose `handle_waiting` is to be called soon."""

    __slots__ = {
        "_changed_at": "When the peer last changed its codec.",
        "_changes_left": "Codec changes that the peer may make at once (token bucket).",
        "_clock": "Judges timestamps that do not simply continue.",
        "_digit_taps": "`digit` of all taps.",
        "_drift_limit": "`DRIFT_LIMIT` in RTP units.",
        "_dtmf": "Key presses of the peer.",
        "_due": "Expected step to the next timestamp, in RTP units; `UNKNOWN`: ask the clock.",
        "_frame_taps": "`inbound_frame` of the taps that listen.",
        "_least": "Smallest transit time of this window, in RTP units: the fastest packet.",
        "_leg": "Identifier of the leg, for `_waiting`.",
        "_length": "Duration of the last frame, in RTP units.",
        "_media_stamp": "RTP timestamp of the last frame.",
        "_media_time": "The last frame on the leg's timeline, in RTP units.",
        "_missing": "Lost packets to be reported with the next frame.",
        "_opened": "When the leg opened.",
        "_payload_type": "Payload type of the fast path; -1: none.",
        "_plain": "First two bytes of a packet of the fast path; -1: none.",
        "_receives": "The negotiated direction allows audio from the peer.",
        "_reception": "RTCP accounting.",
        "_row": "Codec that the peer sends.",
        "_rtcp_mux": "RTP and RTCP share a port (RFC 5761).",
        "_size": "Size of a datagram whose frame is known to last `_length`; -1: measure each frame.",
        "_taps": "Attached taps.",
        "_transit": "Transit time of the last packet, in RTP units.",
        "_types": "Codec or kind of each payload type that may come.",
        "_units": "RTP units per ms.",
        "_waiting": "The owner's set of legs whose `handle_waiting` is to be called.",
        "bytes": "Bytes of accepted packets, headers included.",
        "calling": "The tap's method in progress, for the owner that catches what it raised; None otherwise.",
        "clock_rate": "RTP units per second, of timestamps and `jitter_units`.",
        "codec": "Name of the codec that the peer sends.",
        "digits": "Key presses received.",
        "frames": "Audio frames delivered.",
        "heard": "Arrival of the last RTP packet; None: none came.",
        "jitter": "The jitter buffer.",
        "jitter_units": "Inter-arrival jitter (RFC 3550 appendix A.8), in RTP units.",
        "keepalives": "Datagrams that only keep a NAT open (RFC 6263).",
        "malformed": "Datagrams that are not RTP.",
        "packets": "RTP packets accepted.",
        "unknown": "Packets with an unnegotiated payload type.",
        "unknown_type": "The last such payload type; -1: none.",
        "while_on_hold": "Audio packets that the negotiated direction does not allow.",
    }

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
        self._due, self._size = UNKNOWN, -1
        self._length = 0
        self._transit = 0.0
        self._least = inf
        self.calling: Callable[..., Any] | None = None
        self.jitter: JitterBuffer = JitterBuffer(window)
        self.jitter_units = 0.0
        self._units = CODECS[params.codec].clock_rate // 1000
        self._clock = Clock(self._units)
        self._types: dict[int, str] = {}
        self.codec = ""
        self._payload_type = -1
        self._changes_left = float(CHANGE_BURST)
        self._changed_at = now
        self.heard: Seconds | None = None
        self.packets = self.bytes = self.frames = self.digits = 0
        self.keepalives = self.malformed = self.unknown = self.while_on_hold = 0
        self.unknown_type = -1
        self.configure(params)

    def configure(self, params: MediaParams) -> None:
        """Apply negotiated parameters; call `flush` before, so that held packets go out under the former ones. A peer
        that has sent is assumed to keep its codec, while it is agreed, until its packets show another."""
        self._types = types = _types(params.payload_type, params.codec, params.dtmf_payload_type, params.heard)
        self._receives = params.direction.receives
        self._rtcp_mux = params.rtcp_mux
        self._missing = 0
        kind, codec = self._payload_type, self.codec
        if self.heard is None or types.get(kind) != codec:
            kind, codec = params.payload_type, params.codec
            if types[kind] != codec:
                kind = -1  # this payload type is telephone-event here; the first packet decides
        self._follow_peer(kind, codec)

    def _follow_peer(self, kind: int, codec: str) -> None:
        """Packets of this type take the fast path from here on."""
        self._payload_type, self.codec = kind, codec
        self._plain = PLAIN << 8 | kind if self._receives and kind >= 0 else -1
        self._count_by(CODECS[codec])

    def _count_by(self, codec: Codec) -> None:
        """Frames are of this codec from here on, and the timeline counts in its clock."""
        units, before = codec.clock_rate // 1000, self._units
        if units != before:
            self.jitter_units *= units / before
            self._media_time = self._media_time * units // before
            self._length = self._length * units // before
            self._transit *= units / before
            self._least = inf
            self._clock.rescale(units)
            self._due = UNKNOWN
        self._row, self._units = codec, units
        self._size = -1
        self.clock_rate = units * 1000
        self._drift_limit = DRIFT_LIMIT * self.clock_rate

    def set_taps(self, taps: tuple[LegTap, ...]) -> None:
        """Call these taps from now on."""
        self._frame_taps = tuple(tap.inbound_frame for tap in taps if tap.inbound)
        self._digit_taps = tuple(tap.digit for tap in taps)
        self._taps = taps

    def receive(self, datagram: bytes, now: Seconds) -> None:
        """A datagram on the RTP port from the peer."""
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
        """Whether a datagram on the RTP port is RTCP: rtcp-mux was negotiated, or it cannot be RTP."""
        if len(datagram) < 2 or not is_rtcp(datagram[1]):
            return False
        return self._rtcp_mux or not self.is_agreed(datagram[1] & 0x7F)

    def is_agreed(self, payload_type: int) -> bool:
        """Whether this payload type may come."""
        return payload_type in self._types

    def continues(self, packet: bytes, silence: float) -> bool:
        """Whether a packet from another source continues the stream that fell silent so many seconds ago: the same SSRC
        and payload type, and a sequence number that it can have reached meanwhile."""
        first, sequence, _, ssrc = speedups.unpack_rtp(packet)
        ahead = sequence - self.jitter.highest & 0xFFFF
        farthest = MAX_MISORDER + silence * PACKETS_PER_SECOND
        return first & 0x7F == self._payload_type and ssrc == self.jitter.ssrc and 0 < ahead <= farthest

    def _receive_other(self, datagram: bytes, now: Seconds) -> None:
        """The slow path: everything but a plain packet of the codec in order."""
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
            self._event(arrival)  # presses are distinguished without order
        if step is not None or not is_event:
            restarted = step is not None and self._has_restarted(step, arrival, silence)
            self._deliver(self.jitter.push(sequence, Ssrc(ssrc), arrival, now, restarted=restarted))
        if self.jitter.deadline is not None or self._dtmf.deadline is not None:
            self._waiting.add(self._leg)

    def count_malformed(self, datagram: bytes) -> None:
        """Count a datagram that is not RTP."""
        if keeps_alive(datagram):
            self.keepalives += 1
        else:
            self.malformed += 1

    def _has_restarted(self, step: int, arrival: _Arrival, silence: float) -> bool:
        """Whether a packet `step` beyond the next in order, after so many seconds, shows that the peer's sequence has
        restarted with the same SSRC. Late and duplicate packets have no timestamp ahead; a loss shows in both the RTP
        clock and the arrival, a short one in one of them."""
        if not self.frames or arrival.payload_type != self._payload_type:
            return False
        ahead = _nearest(arrival.timestamp - self._media_stamp)
        if step < 0:
            return not -REMEMBERED_MS * self._units <= ahead <= 0
        lost = step * self._length
        if lost > LEAP_MS * self._units and silence * self.clock_rate < lost / 4 and self.jitter.deadline is None:
            return True  # and no held packet came after as much silence
        return step >= LEAP and ahead < lost / 4

    def handle_waiting(self, now: Seconds) -> None:
        """Give up gaps and key presses that timed out; leave `waiting` when none is left."""
        self._deliver(self.jitter.expire(now))
        if self._dtmf.deadline is not None and self._dtmf.deadline <= now:
            self.on_dtmf(self._dtmf.expire())
        if self.jitter.deadline is None and self._dtmf.deadline is None:
            self._waiting.discard(self._leg)

    def flush(self) -> None:
        """Deliver what is held."""
        self._deliver(self.jitter.flush())

    def reset(self) -> None:
        """Deliver what is held; the next packet is of another source."""
        self._deliver(self.jitter.reset())

    def close(self) -> None:
        """Deliver what is held and end a key press."""
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
        """Whether the peer has changed its codec or payload type; apply the change."""
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
        """Count a packet with an unnegotiated payload type."""
        self.unknown += 1
        self.unknown_type = payload_type

    def _restart(self) -> None:
        self._clock.restarted = True
        self._due = UNKNOWN
        self._reception.restart()

    def _audio(self, arrival: _Arrival) -> None:
        if not self._receives:
            self.while_on_hold += 1
            self._missing = 0
        elif arrival.payload:
            self._frame(arrival.timestamp, arrival.payload, arrival.at)
            self._measure(arrival.payload)

    def _frame(self, timestamp: int, payload: bytes, now: Seconds) -> None:
        """An audio payload in order: advance the timeline, compute the jitter, deliver. `_measure` follows."""
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
        """Distance of a frame from the one before when its timestamp does not simply continue."""
        clock = self._clock
        length, missing = self._length, self._missing
        late = (now - self._opened) * self.clock_rate - self._media_time - length * (missing + 1)
        advance = clock.advance(_nearest(step), length, missing, late, self.frames)
        self._least += clock.held_back
        self._due = UNKNOWN if clock.ahead else length
        return advance

    def _follow(self, frames: int) -> None:
        """Move the timeline towards the arrivals, if they have drifted apart."""
        move = self._clock.follow(self._least, frames, self._length)
        self._least = inf
        self._media_time += move
        self._transit -= move
        if self._clock.ahead:
            self._due = UNKNOWN

    def _measure(self, payload: bytes) -> None:
        """Set the length of a frame from its payload."""
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
        """A key press by SIP INFO."""
        self.on_dtmf(self._dtmf.signalled(digit, now))

    def on_dtmf(self, digits: str) -> None:
        """Report key presses to the taps, each once, in order."""
        for digit in digits:
            self.digits += 1
            for push in self._digit_taps:
                self.calling = push
                push(digit)
        self.calling = None


def _nearest(difference: int) -> int:
    """The difference of two timestamps, modulo 2**32, nearest to zero."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000

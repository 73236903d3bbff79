"""The receiving half of a leg: datagrams in, frames and digits to the attached ports in order.

A packet in order takes the short way: header, jitter buffer's `accepts`, frame to the ports. Everything else (events,
odd headers, gaps, other payload types, holds) goes the long way round. A peer may use whatever was agreed, under either
side's numbers, and change in mid-call: the first packet of another type goes the long way, and from then on that type
is the one that takes the short way.

The timeline counts from the moment the leg opened. Anchored at the arrival of the first packet it follows the RTP
clock; it is anchored anew after a restart of the sequence, in a codec of another clock, and when both are apart by
`DRIFT_LIMIT`.

The peer's clock is not ours: at 200 ppm it would be off by 0.7 s after an hour, and the inbound track by as much from
the outbound one. So the timeline follows arrival, too, by small steps. What is compared with it is the packet that was
fastest of the last `FOLLOW_EVERY`, since only the others were delayed by the network.

Ports are called straight from here. The method under way is kept in `calling`, so that the owner that catches what a
port should not have raised can tell whose fault it was, at hardly any cost per packet.
"""

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

from trunkline import kernel
from trunkline.ids import LegId, RtpTime, Seconds, Ssrc
from trunkline.kernel import DATAGRAM_LIMIT
from trunkline.media.codecs import CODECS
from trunkline.media.frames import LegPort
from trunkline.media.jitter import MAX_MISORDER, JitterBuffer, Released
from trunkline.media.presses import DigitReceiver, EventPacket
from trunkline.media.rtcp import Reception
from trunkline.media.rtp import HEADER_LENGTH, MARKER, PLAIN, is_rtcp, payload_of
from trunkline.sdp.values import COMFORT_NOISE, TELEPHONE_EVENT, MediaParams

_ALWAYS = {13: COMFORT_NOISE, 19: COMFORT_NOISE}
"""What needs no agreement: the number of RFC 3389, and that of its drafts."""

DRIFT_LIMIT = 1.0
"""Seconds between the timeline and arrival: a network stall is shorter, a jump of the RTP clock longer."""

FOLLOW_EVERY = 256
"""Frames: five seconds, in which a clock of 200 ppm drifts by one millisecond."""

SLACK_MS = 5
"""How far off the timeline may be before it is moved, so that a peer with a good clock has even timestamps."""

STEP_MS = 2
"""The most that the timeline is moved at once: less than any packet's time, so that it never goes backwards."""

PACKETS_PER_SECOND = 100
"""Of 10 ms, the shortest there are."""

CHANGE_BURST = 16
CHANGES_PER_SECOND = 4
"""To another codec, which costs each port a new decoder: more than any device makes, and what a hostile peer may cost
us. What comes in another codec beyond that is counted as not agreed."""

_UNANCHORED = -(1 << 62)
"""RTP units: a media time so far off that the next frame anchors the timeline."""


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
        "_digit_taps",
        "_drift_limit",
        "_dtmf",
        "_least",
        "_leg",
        "_leg_codec",
        "_media_stamp",
        "_media_time",
        "_missing",
        "_opened",
        "_payload_type",
        "_peer_taps",
        "_plain",
        "_receives",
        "_reception",
        "_rtcp_mux",
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
        self._taps: tuple[Callable[[bytes, int, int], None], ...] = ()
        self._digit_taps: tuple[Callable[[str], None], ...] = ()
        self._peer_taps: tuple[Callable[[str], None], ...] = ()
        self._dtmf = DigitReceiver()
        self._missing = 0
        self._media_stamp = 0
        self._media_time = _UNANCHORED
        self._transit = 0.0
        self._least = inf
        self.calling: Callable[..., Any] | None = None
        self.jitter: JitterBuffer = JitterBuffer(window)
        self.jitter_units = 0.0
        self._units = CODECS[params.codec].clock_rate // 1000
        self._types: dict[int, str] = {}
        """What each payload type that may come stands for."""
        self._leg_codec = ""
        self.codec = ""
        """What the peer sends in."""
        self._payload_type = -1
        self._changes_left = float(CHANGE_BURST)
        self._changed_at = now
        self.heard: Seconds | None = None
        self.packets = self.bytes = self.frames = self.digits = 0
        self.malformed = self.unknown = self.while_on_hold = 0
        self.unknown_type = -1
        self.configure(params)

    def configure(self, params: MediaParams) -> None:
        """Take on negotiated parameters; what is held goes out under the former ones first (`flush`)."""
        types = {**_ALWAYS, params.payload_type: params.codec}
        if params.dtmf_payload_type is not None:
            types[params.dtmf_payload_type] = TELEPHONE_EVENT
        self._types = types = {**types, **dict(params.heard)}
        self._receives = params.direction.receives
        self._rtcp_mux = params.rtcp_mux
        self._missing = 0
        kind, codec = self._payload_type, self.codec
        if params.codec != self._leg_codec or types.get(kind) != codec:
            kind, codec = params.payload_type, params.codec
            if types[kind] != codec:
                kind = -1  # the number is an event's here; the first packet will tell
        self._leg_codec = params.codec
        self._follow_peer(kind, codec)

    def _follow_peer(self, kind: int, codec: str) -> None:
        """Packets of this type take the short way from here on."""
        self._payload_type, self.codec = kind, codec
        self._plain = PLAIN << 8 | kind if self._receives and kind >= 0 else -1
        """The first two bytes of a packet that takes the short way."""
        units = CODECS[codec].clock_rate // 1000
        if units != self._units:
            self.jitter_units *= units / self._units
            self._media_time = _UNANCHORED  # the timeline was counted by another clock
        self._units = units
        self.clock_rate = units * 1000
        """Of RTP timestamps and `jitter_units`, per second."""
        self._drift_limit = DRIFT_LIMIT * self.clock_rate

    def bind(self, ports: tuple[LegPort, ...]) -> None:
        """Call these ports from now on."""
        self._taps = tuple(port.inbound_frame for port in ports if port.inbound)
        self._digit_taps = tuple(port.digit for port in ports)
        self._peer_taps = tuple(port.peer_changed for port in ports if port.inbound)

    def receive(self, datagram: bytes, now: Seconds) -> None:
        """A datagram on the RTP port from the peer."""
        size = len(datagram)
        if HEADER_LENGTH < size < DATAGRAM_LIMIT:
            first, sequence, timestamp, ssrc = kernel.unpack_rtp(datagram)
            if first == self._plain and self.jitter.accepts(sequence, ssrc):
                self.packets += 1
                self.bytes += size
                self.heard = now
                self._frame(timestamp, kernel.payload(datagram, HEADER_LENGTH), now)
                return
        self._receive_other(datagram, now)

    def is_rtcp(self, datagram: bytes) -> bool:
        """Whether a datagram on the RTP port is RTCP."""
        return self._rtcp_mux and len(datagram) > 1 and is_rtcp(datagram[1])

    def is_agreed(self, payload_type: int) -> bool:
        """Whether this payload type may come, after what was negotiated."""
        return payload_type in self._types

    def continues(self, packet: bytes, silence: float) -> bool:
        """Whether a packet from elsewhere goes on with the stream that was heard so many seconds ago: the same SSRC and
        payload type, and a sequence number that it may have come to meanwhile."""
        first, sequence, _, ssrc = kernel.unpack_rtp(packet)
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
            self.malformed += 1
            return
        first, sequence, timestamp, ssrc = kernel.unpack_rtp(datagram)
        self.packets += 1
        self.bytes += len(datagram)
        self.heard = now
        arrival = _Arrival(first & 0x7F, bool(first & MARKER), sequence, timestamp, ssrc, payload, now)
        step = self.jitter.step(sequence, ssrc)
        is_event = self._types.get(arrival.payload_type) == TELEPHONE_EVENT
        if is_event and (step is None or step < 0):
            self._event(arrival)  # without a turn, or too late for it: a press is told from others without its help
        if step is not None or not is_event:
            self._deliver(self.jitter.push(sequence, Ssrc(ssrc), arrival, now))
        if self.jitter.deadline is not None or self._dtmf.deadline is not None:
            self._waiting.add(self._leg)

    def handle_waiting(self, now: Seconds) -> None:
        """Give up gaps and key presses whose time is over; leaves `waiting` when none is left."""
        self._deliver(self.jitter.expire(now))
        if self._dtmf.deadline is not None and self._dtmf.deadline <= now:
            self.press(self._dtmf.expire())
        if self.jitter.deadline is None and self._dtmf.deadline is None:
            self._waiting.discard(self._leg)

    def flush(self) -> None:
        """Hand on what is held."""
        self._deliver(self.jitter.flush())

    def forget(self) -> None:
        """Hand on what is held; the next packet is another source's."""
        self._deliver(self.jitter.forget())

    def close(self) -> None:
        """Hand on what is held and end a key press."""
        self._waiting.discard(self._leg)
        self.flush()
        self.press(self._dtmf.expire())

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
            self.surprise(kind)
        elif meaning == TELEPHONE_EVENT:
            self._event(arrival)
        elif meaning != COMFORT_NOISE:
            if arrival.payload and not self._changes(kind, meaning, arrival.at):
                self.surprise(kind)
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
        for tell in self._peer_taps:
            self.calling = tell
            tell(codec)
        self.calling = None
        return True

    def surprise(self, payload_type: int) -> None:
        """Count a packet of a type that was not agreed."""
        self.unknown += 1
        self.unknown_type = payload_type

    def _restart(self) -> None:
        self._media_time = _UNANCHORED
        self._reception.restart()

    def _audio(self, arrival: _Arrival) -> None:
        if not self._receives:
            self.while_on_hold += 1
            self._missing = 0
        elif arrival.payload:
            self._frame(arrival.timestamp, arrival.payload, arrival.at)

    def _frame(self, timestamp: int, payload: bytes, now: Seconds) -> None:
        """An audio payload in its turn: advance the timeline, reckon the jitter, hand it on."""
        step = timestamp - self._media_stamp
        if not -0x80000000 <= step < 0x80000000:
            step += 0x100000000 if step < 0 else -0x100000000
        self._media_stamp = timestamp
        media_time = self._media_time + step
        transit = (now - self._opened) * self.clock_rate - media_time
        limit = self._drift_limit
        if -limit < transit < limit:
            # RFC 3550 appendix A.8
            self.jitter_units += (abs(transit - self._transit) - self.jitter_units) / 16
            if transit < self._least:
                self._least = transit
        else:
            media_time = round((now - self._opened) * self.clock_rate)
            transit = self._least = 0.0
        self._media_time = media_time
        self._transit = transit
        self.frames = frames = self.frames + 1
        if not frames % FOLLOW_EVERY:
            self._follow()
        at = media_time // self._units
        missing = self._missing
        if missing:
            self._missing = 0
        for push in self._taps:
            self.calling = push
            push(payload, at, missing)
        self.calling = None

    def _follow(self) -> None:
        """Move the timeline towards the arrivals, if they have drifted apart."""
        least, self._least = self._least, inf
        slack, step = SLACK_MS * self._units, STEP_MS * self._units
        if abs(least) > slack:
            move = round(max(-step, min(step, least)))
            self._media_time += move
            self._transit -= move

    def _event(self, arrival: _Arrival) -> None:
        _, marker, sequence, timestamp, ssrc, payload, at = arrival
        ended = self._dtmf.receive(EventPacket(payload, RtpTime(timestamp), sequence, Ssrc(ssrc), marker, at))
        if ended is None:
            self.malformed += 1
        else:
            self.press(ended)

    def signalled(self, digit: str, now: Seconds) -> None:
        """Signalling tells of a key (SIP INFO)."""
        self.press(self._dtmf.signalled(digit, now))

    def press(self, digits: str) -> None:
        """Tell the ports of keys, each once, in order."""
        for digit in digits:
            self.digits += 1
            for push in self._digit_taps:
                self.calling = push
                push(digit)
        self.calling = None

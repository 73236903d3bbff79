"""The sending half of a leg: once per `ptime` the playing tap's frame, or silence, becomes the next packet.
Several playing taps are mixed (`mixer.py`); a single one is called directly.

Sequence numbers have no gap; the timestamp advances also while nothing is sent (RFC 3550 section 5.1). Taps that listen
to this track get a frame each `ptime` whatever is sent, so that its timeline has no holes. While nothing may be sent,
the playing tap is not called: playback waits.

Playback also waits while keys are pressed (`dtmf.py`): telephone events replace audio, in the same sequence and with
the timestamp of the press (RFC 4733), and the taps that listen get silence, in the pauses between keys too.
"""

from collections.abc import Callable
from typing import Any

from trunkline import speedups
from trunkline.ids import RtpTime, Ssrc
from trunkline.media.audio.mixer import Mixer, Player
from trunkline.media.codecs import CODECS
from trunkline.media.frames import LegTap
from trunkline.media.rtp.dtmf import DigitSender, NoTelephoneEvent, TooManyDigits
from trunkline.media.rtp.packet import FIRST_SEQUENCE_MASK, MARKER, PLAIN, SEQUENCE_MASK, TIME_MASK
from trunkline.sdp.values import MediaParams


class Outbound:
    """What goes to the peer."""

    __slots__ = {
        "_codec": "Name of the codec that we send.",
        "_event_at": "RTP timestamp of the key press in progress.",
        "_event_type": "Payload type of telephone-event; None: not negotiated.",
        "_frame_taps": "`outbound_frame` of the taps that listen.",
        "_keys": "`digits` while it has work and telephone-event is negotiated, else None.",
        "_mixer": "Mixes several players; None with fewer than two.",
        "_payload_type": "Payload type of the codec.",
        "_play_at": "Time of the next packet on the leg's timeline, in ms.",
        "_players": "`next_frame` of the taps that play.",
        "_sequence": "Sequence number of the next packet.",
        "_silence": "A payload of silence.",
        "_step": "RTP units per packet.",
        "_talking": "The last packet time had a packet: no marker bit is due.",
        "_timestamp": "RTP timestamp of the next packet.",
        "_units": "RTP units per ms.",
        "bytes": "Payload bytes sent.",
        "calling": "The tap's method in progress, for the owner that catches what it raised; None otherwise.",
        "digits": "Key presses to send.",
        "digits_lost": "Key presses of a bridged leg that could not be relayed.",
        "packets": "RTP packets sent.",
        "player": "Called for the next frame; None: no tap plays.",
        "ptime": "Packet time, in ms.",
        "send_silence": "Silence is sent when nothing plays.",
        "sending": "Packets may leave: the leg sets it from direction and destination.",
        "skipped_ms": "Packet time that was skipped after stalls.",
        "ssrc": "Our SSRC.",
    }

    def __init__(
        self, params: MediaParams, *, ssrc: Ssrc, sequence: int, timestamp: int, send_silence: bool, first_at: int
    ) -> None:
        """`sequence` and `timestamp` are random starts; `first_at`: ms on the timeline of the first `next_packet`."""
        self.ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self.send_silence = send_silence
        self._play_at = first_at
        self._frame_taps: tuple[Callable[[bytes, int], None], ...] = ()
        self._talking = False
        self._players: tuple[Player, ...] = ()
        self._mixer: Mixer | None = None
        self.player: Player | None = None
        self.calling: Callable[..., Any] | None = None
        self.digits = DigitSender()
        self._keys: DigitSender | None = None
        self._event_at = 0
        self._event_type: int | None = None
        self._units = 0
        self.ptime = 0
        self.sending = False
        self.packets = self.bytes = self.skipped_ms = self.digits_lost = 0
        self.configure(params)

    def configure(self, params: MediaParams) -> None:
        """Apply negotiated parameters."""
        codec = CODECS[params.codec]
        before = self._units, self.ptime, self._event_type
        # Packets leave on a grid of 5 ms; every packet time in use is a multiple of ten.
        self.ptime = min(max(params.ptime // 10 * 10, 10), 60)
        self._units = codec.clock_rate // 1000
        self._step = self.ptime * self._units
        self._event_type = params.dtmf_payload_type
        if before != (self._units, self.ptime, self._event_type):
            self.digits.release()
        self._resume_dtmf()
        self._silence = codec.silence(self.ptime)
        self._payload_type = params.payload_type
        self._codec = params.codec
        self._arrange()

    def set_taps(self, taps: tuple[LegTap, ...]) -> None:
        """Call these taps from now on."""
        self._frame_taps = tuple(tap.outbound_frame for tap in taps if tap.outbound)
        players = tuple(tap.next_frame for tap in taps if tap.plays)
        if players != self._players:
            self._players = players
            self._arrange()

    def _arrange(self) -> None:
        """Choose the player: none, the only one, or a mixer."""
        players = self._players
        self._mixer = Mixer(self._codec, players) if len(players) > 1 else None
        self.player = self._mixer.next_frame if self._mixer else next(iter(players), None)

    def send_dtmf(self, digits: str) -> None:
        """Press keys, after those that wait. Raises NoTelephoneEvent, TooManyDigits."""
        if self._event_type is None:
            raise NoTelephoneEvent("the call has no telephone-event (RFC 4733), so no key can be sent to it")
        self.digits.add(digits)
        self._resume_dtmf()

    def relay_dtmf(self, digit: str) -> None:
        """Send a key press of the bridged leg; one that cannot be sent is counted."""
        try:
            self.send_dtmf(digit)
        except (NoTelephoneEvent, TooManyDigits):
            self.digits_lost += 1

    def _resume_dtmf(self) -> None:
        """Send waiting key presses if telephone-event is negotiated; otherwise they wait and audio continues."""
        self._keys = self.digits if self.digits.work and self._event_type is not None else None

    @property
    def failed(self) -> Callable[..., Any] | None:
        """After an exception: the tap's method that raised it, if it was one."""
        mixed = self._mixer.calling if self._mixer else None
        return mixed or self.calling

    def recover(self) -> None:
        """Forget the exception that `failed` reported."""
        self.calling = None
        if self._mixer:
            self._mixer.calling = None

    @property
    def asks(self) -> bool:
        """Whether the playing taps are called for the next packet."""
        return self.sending and self._keys is None

    @property
    def play_at(self) -> int:
        """Milliseconds on the timeline of the next packet."""
        return self._play_at

    @property
    def timestamp(self) -> RtpTime:
        """Of the next packet."""
        return RtpTime(self._timestamp)

    def change_ssrc(self) -> Ssrc:
        """Take another SSRC, and return it (RFC 3711 section 3.3.1, see `srtp.py`)."""
        self.ssrc = Ssrc((self.ssrc + 1) & 0xFFFFFFFF)
        self._sequence &= FIRST_SEQUENCE_MASK
        self._talking = False
        self.digits.release()
        self._resume_dtmf()
        return self.ssrc

    def next_packet(self) -> bytes | None:
        """The packet to send now; None: nothing to send. Called every `ptime`."""
        at = self._play_at
        timestamp = self._timestamp
        self._play_at = at + self.ptime
        self._timestamp = (timestamp + self._step) & TIME_MASK
        payload = None
        if self.sending:
            if self._keys is not None:
                return self._key_packet(self._keys, at, timestamp)
            player = self.player
            if player is not None:
                self.calling = player
                payload = player(at)
            if payload is None and self.send_silence:
                payload = self._silence
        for push in self._frame_taps:
            self.calling = push
            push(self._silence if payload is None else payload, at)
        self.calling = None
        if payload is None:
            self._talking = False
            return None
        first = PLAIN << 8 | self._payload_type
        if not self._talking:
            # The first packet after a pause in sending (RFC 3551 section 4.1).
            self._talking = True
            first |= MARKER
        sequence = self._sequence
        self._sequence = (sequence + 1) & SEQUENCE_MASK
        self.packets += 1
        self.bytes += len(payload)
        return speedups.pack_rtp(first, sequence, timestamp, self.ssrc, payload)

    def _key_packet(self, keys: DigitSender, at: int, timestamp: int) -> bytes | None:
        payload = keys.next_payload(self.ptime, self._units)
        self._resume_dtmf()
        for push in self._frame_taps:
            self.calling = push
            push(self._silence, at)
        self.calling = None
        if not payload:
            self._talking = False
            return None
        first = PLAIN << 8 | (self._event_type or 0)
        if keys.fresh:
            self._event_at = timestamp
            first |= MARKER
        sequence = self._sequence
        self._sequence = (sequence + 1) & SEQUENCE_MASK
        self.packets += 1
        self.bytes += len(payload)
        return speedups.pack_rtp(first, sequence, self._event_at, self.ssrc, payload)

    def skip(self, milliseconds: int) -> None:
        """The clock stalled for this long: the timeline advances without these packets."""
        self._play_at += milliseconds
        self._timestamp = (self._timestamp + milliseconds * self._units) & TIME_MASK
        self.skipped_ms += milliseconds

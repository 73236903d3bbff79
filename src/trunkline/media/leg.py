"""One leg's media as a pure object: an inbound and an outbound half, the peer's address, the taps, RTCP and timers.

The owner passes RTP datagrams to `receive`, or to `receive_from` while not `latched`, and RTCP to `receive_rtcp`. It
calls `next_packet` every `outbound.ptime` ms, and `handle_timer` and `report_due` when `deadline` has come.

A callee speaks as soon as it answers, which may be before its 200 arrives, and before a tap that listens (a stream, the
other leg of a bridge) is attached. So its first packets are held for the first listener, for `LISTENER_WAIT` at most.
"""

from collections import deque
from math import inf
from typing import Any

from trunkline.config import MediaSettings
from trunkline.errors import TrunklineError
from trunkline.ids import LegId, Seconds, Ssrc
from trunkline.media.audio.quality import loss_percent, mos
from trunkline.media.audio.watch import LegWatch
from trunkline.media.codecs import CODECS
from trunkline.media.events import SilenceDetected
from trunkline.media.frames import LegTap
from trunkline.media.inbound import Inbound
from trunkline.media.outbound import Outbound
from trunkline.media.report import LegReport
from trunkline.media.rtp import rtcp
from trunkline.media.rtp.packet import FIRST_SEQUENCE_MASK, payload_of
from trunkline.media.rtp.source import KEPT, Address, Kept, Source, SourceDecision, address_of, trim
from trunkline.media.srtp import Channel
from trunkline.sdp.values import Endpoint, MediaParams, SrtpKeys

RANDOM_BYTES = 23
"""SSRC 4, first sequence 2, first timestamp 4, CNAME 12 (RFC 7022 section 4.2), RTCP phase 1."""

LISTENER_WAIT = 1.0
"""Seconds after an answer in which the peer's packets are held for the first listener."""

SILENT = 1.0
"""Seconds without a packet after which a peer may have moved to another address."""

LOOK_INTERVAL = 5.0
"""Seconds between two looks at the signalled address, where another source is learned and latched."""

UNCONFIRMED_PACKETS = 10
"""RTP packets that a caller gets before it has shown that it called: an INVITE with a forged source
brings a third party no more than these."""

PAUSE = 1000
"""Milliseconds that the clock skips, above which they do not count as the peer's silence."""

RTCP_KEPT = 8
"""RTCP datagrams kept while the peer is not known; of more the oldest are dropped."""


class TooManyPlayers(TrunklineError):
    """`media.players_per_leg` taps play to this leg already."""


class Leg:
    """One leg. Times are seconds of the monotonic clock."""

    __slots__ = {
        "__weakref__": "Legs are weakly referenced.",
        "_channel": "SRTP channel in use; None: not encrypted.",
        "_cname": "CNAME of our RTCP (RFC 7022).",
        "_early_rtcp": "RTCP datagrams, with address and arrival, kept while the peer is not known.",
        "_had_listener": "A tap has listened to the peer, so nothing is held for the first one any more.",
        "_held": "RTP packets of the peer, with arrival, to be delivered before new ones; None once all are.",
        "_last_channel": "SRTP channel in use or used last; kept for its counters.",
        "_local_port": "Our RTP port.",
        "_look_at": "When the next look at the signalled address is due.",
        "_opened": "When the leg opened.",
        "_packets_reported": "Packets sent up to our last sender report.",
        "_params": "Negotiated parameters.",
        "_reception": "RTCP accounting.",
        "_rtcp_at": "When the next RTCP report is due.",
        "_rtcp_out": "RTCP packets built.",
        "_rtcp_source": "Address that the peer's RTCP came from; None: not known.",
        "_settings": "Settings of media.",
        "_silence_at": "When the peer counts as silent; infinite while it is not watched.",
        "_silence_reported": "Start of the last silence that was reported.",
        "_taps": "Attached taps.",
        "_trial_at": "When `_process_held` is due.",
        "_unconfirmed": "The caller has sent neither an ACK nor RTP yet.",
        "_unlatch_at": "When the owner checks whether a silent peer's socket is to be unlatched.",
        "_wait_until": "Until when packets are held for the first listener.",
        "_watched_since": "Start of the present watch for silence.",
        "deadline": "When `handle_timer` is due, the earliest of the times above.",
        "id": "Identifier of the leg.",
        "inbound": "The receiving half.",
        "outbound": "The sending half.",
        "receive_errors": "Errors of the sockets when reading.",
        "send_errors": "Packets that the network refused.",
        "source": "The source of the peer's RTP: learned and signalled addresses.",
    }

    def __init__(
        self,
        leg: LegId,
        params: MediaParams,
        settings: MediaSettings,
        *,
        random: bytes,
        now: Seconds,
        wall: float,
        waiting: set[LegId],
        local_port: int,
        first_at: int,
        confirmed: bool = True,
    ) -> None:
        """`random`: `RANDOM_BYTES` of it. `wall` + monotonic time = Unix time. `waiting`: the owner's set of legs
        whose `inbound.handle_waiting` should be called soon. `first_at`: ms until the first packet is sent.
        `confirmed`: False for a caller until `confirm`."""
        self.id = leg
        self.source = Source(params.remote, strict=settings.strict_source, answered=confirmed)
        self.source.listening = params.direction.receives
        self._settings = settings
        self._params = params
        self._opened = now
        self._local_port = local_port
        self._taps: tuple[LegTap, ...] = ()
        ssrc = Ssrc(int.from_bytes(random[:4]))
        self._reception = rtcp.Reception(ssrc, int.from_bytes(random[4:6]), wall)
        window = Seconds(settings.reorder_window / 1000)
        self.inbound = Inbound(leg, params, window, self._reception, waiting, now)
        self.outbound = Outbound(
            params,
            ssrc=ssrc,
            sequence=int.from_bytes(random[4:6]) & FIRST_SEQUENCE_MASK,
            timestamp=int.from_bytes(random[6:10]),
            send_silence=settings.send_silence and confirmed,
            first_at=first_at,
        )
        self._unconfirmed = not confirmed
        self._cname = random[10:22].hex()
        self._channel: Channel | None = None
        self._last_channel: Channel | None = None
        self._set_keys(params.srtp)
        self._rtcp_source: Address | None = None
        # Legs that open together must not report together (RFC 3550 section 6.2), which would delay a tick.
        self._rtcp_at = now + settings.rtcp_interval * (0.5 + random[22] / 512)
        self._rtcp_out = 0
        self._packets_reported = 0
        self._watched_since = now
        self._silence_reported: Seconds | None = None
        self._unlatch_at = now + SILENT
        self._look_at = now + LOOK_INTERVAL
        self._trial_at = inf
        self._held: deque[Kept] | None = None
        self._wait_until = -inf
        self._had_listener = False
        self._early_rtcp: list[tuple[bytes, Address, Seconds]] = []
        self.send_errors = 0
        self.receive_errors = 0
        self._recompute()

    def _set_keys(self, keys: SrtpKeys | None) -> None:
        """Encrypt with these keys from now on; None: do not encrypt."""
        if keys is None:
            self._channel = None
            return
        if self._last_channel is None:
            self._last_channel = Channel(keys)
        elif self._last_channel.rekey(keys):
            self._reception.ours = self.outbound.change_ssrc()
        self._channel = self._last_channel

    def _recompute(self) -> None:
        """Recompute what depends on both the parameters and the source."""
        self.outbound.sending = self._params.direction.sends and self.source.destination is not None
        watched = self._settings.silence_timeout > 0 and not self._params.on_hold and self.source.destination
        self._silence_at = self._watched_since + self._settings.silence_timeout if watched else inf
        self._set_deadline()

    def _set_deadline(self) -> None:
        # Each packet to an unconfirmed caller is counted before the next.
        times = min(self._silence_at, self._rtcp_at, self._unlatch_at, self._trial_at)
        self.deadline = -inf if self._unconfirmed else times

    @property
    def latched(self) -> bool:
        """The source is latched and none of its packets is held: the socket may be connected."""
        return self.source.latched and self._held is None

    def confirm(self, now: Seconds) -> None:
        """The caller has our answer: it sent the ACK, or RTP. Until then it gets `UNCONFIRMED_PACKETS` at most, none of
        silence, and playback waits (RFC 3261 section 13.2.2.4: an INVITE alone proves no address)."""
        if not self._unconfirmed:
            return
        self._unconfirmed = False
        self.outbound.send_silence = self._settings.send_silence
        self.source.confirm(now)
        self._trial_at = now
        self._recompute()

    def update(self, params: MediaParams, now: Seconds, *, early: bool = False) -> None:
        """Apply renegotiated parameters, of a provisional response if `early`. `latched` may change."""
        before, ptime, codec_in = self._params, self.outbound.ptime, self.inbound.codec
        moved = self.source.signal(params.remote, now, early=early)
        self.source.listening = params.direction.receives
        self._had_listener = self._had_listener or self._has_listener()
        if not self._had_listener:
            self._held = self._held or deque()
            self._wait_until = now + LISTENER_WAIT
        self._trial_at = now
        if params == before:
            self._set_deadline()  # a refresh, as of a session timer (RFC 4028)
            return
        self.inbound.flush()
        if moved:
            self.inbound.reset()
            self._rtcp_source = None
        elif params.direction.receives and not before.direction.receives:
            self.inbound.reset()  # packets that the peer sent elsewhere meanwhile are no loss
        if before.on_hold != params.on_hold or before.remote != params.remote:
            self._watched_since = now
        self._params = params
        self.inbound.configure(params)
        self.outbound.configure(params)
        self._set_keys(params.srtp)
        self._recompute()
        if params.codec != before.codec or self.outbound.ptime != ptime or self.inbound.codec != codec_in:
            for tap in self._taps:
                self._announce_codecs(tap)

    def _announce_codecs(self, tap: LegTap) -> None:
        """Announce the codecs of both directions to a tap."""
        tap.leg_changed(self._params.codec, self.outbound.ptime)
        if self.inbound.codec != self._params.codec:
            tap.peer_changed(self.inbound.codec)

    # ------------------------------------------------------------------ taps

    def attach(self, tap: LegTap) -> None:
        """Attach a tap from now on. Raises TooManyPlayers."""
        limit = self._settings.players_per_leg
        if tap.plays and sum(other.plays for other in self._taps) >= limit:
            raise TooManyPlayers(f"{limit} sources play to this call already (media.players_per_leg)")
        self._announce_codecs(tap)
        self._set_taps((*self._taps, tap))

    def detach(self, tap: LegTap) -> None:
        """Detach a tap; one that is not attached is ignored."""
        self._set_taps(tuple(other for other in self._taps if other is not tap))

    def taps_changed(self) -> None:
        """An attached tap has changed its `inbound`, `outbound` or `plays`."""
        self._set_taps(self._taps)

    def _set_taps(self, taps: tuple[LegTap, ...]) -> None:
        self._taps = taps
        self.inbound.set_taps(taps)
        self.outbound.set_taps(taps)
        if not self._had_listener and self._has_listener():
            self._had_listener = True
            self._trial_at = self.deadline = -inf

    def _has_listener(self) -> bool:
        return not self.source.awaiting and any(tap.inbound and not isinstance(tap, LegWatch) for tap in self._taps)

    def held_up(self, skipped: int, late: int) -> None:
        """The clock was delayed: `skipped` ms of packets are left out, then `late` ms are sent at once."""
        outbound = self.outbound
        if outbound.asks:
            for tap in self._taps:
                if tap.plays:
                    tap.held_up(outbound.play_at, skipped, late)
        if skipped:
            outbound.skip(skipped)
        if skipped > PAUSE:  # The peer has not been silent: we did not run.
            since = max(self.inbound.heard or self._watched_since, self._watched_since)
            self._watched_since = Seconds(since + skipped / 1000)

    def failed_tap(self) -> LegTap | None:
        """After an exception: the tap that raised it; None when no tap did."""
        failed = self.inbound.calling or self.outbound.failed
        self.inbound.calling = None
        self.outbound.recover()
        for tap in self._taps:
            if failed in (tap.inbound_frame, tap.outbound_frame, tap.digit, tap.next_frame, tap.peer_changed):
                return tap
        return None

    # ------------------------------------------------------------------ packets

    def receive(self, datagram: bytes, now: Seconds) -> None:
        """A datagram on the RTP port from the latched source, decrypted if need be."""
        if self._channel is None:
            self.inbound.receive(datagram, now)
        else:
            self._receive_encrypted(self._channel, datagram, now)

    def _receive_encrypted(self, channel: Channel, datagram: bytes, now: Seconds) -> None:
        inbound = self.inbound
        is_rtcp = inbound.is_rtcp(datagram)
        packet = channel.unprotect_rtcp(datagram) if is_rtcp else channel.unprotect(datagram)
        if packet is not None:
            inbound.receive(packet, now)

    def next_packet(self) -> bytes | None:
        """The packet to send now, encrypted if need be; called every `outbound.ptime` ms. None: nothing to send."""
        if self._channel is None:
            return self.outbound.next_packet()
        packet = self.outbound.next_packet()
        return None if packet is None else self._channel.protect(packet)

    def receive_from(self, datagram: bytes, address: Address, now: Seconds) -> None:
        """A datagram on the RTP port from `address`, while not `latched`: may learn its source."""
        if self.source.is_early(address):
            self.source.keep_early(address, datagram, now)
            return
        if self._trial_at <= now:
            self._process_held(now)
        self._admit(datagram, address, now)
        if self._trial_at <= now:
            self._process_held(now)

    def _admit(self, datagram: bytes, address: Address, now: Seconds) -> None:
        inbound, source = self.inbound, self.source
        if inbound.is_rtcp(datagram):
            self.receive_rtcp(datagram, address, now)
            return
        channel = self._channel
        packet = datagram if channel is None else channel.unprotect(datagram)
        if packet is None:
            return
        if payload_of(packet) is None:
            inbound.count_malformed(packet)
            return
        learned, heard, continues = source.learned, inbound.heard, False
        if address != learned:
            if not inbound.is_agreed(packet[1] & 0x7F):
                inbound.count_unknown_pt(packet[1] & 0x7F)
                return
            continues = heard is not None and inbound.continues(packet, now - heard)
        verdict = source.admit(address, packet, now, heard, continues=continues, proven=channel is not None)
        if verdict is SourceDecision.TAKE:
            if source.learned != learned:
                self._follow(now, continues=continues)
            if self._held is None:
                inbound.receive(packet, now)
            else:
                self._held.append((now, packet))
                source.dropped += trim(self._held, -inf if self._had_listener else now - KEPT)
        elif verdict is SourceDecision.KEEP:
            self._trial_at = min(self._trial_at, source.due(heard))
            self._set_deadline()

    def _follow(self, now: Seconds, *, continues: bool) -> None:
        """Another source is learned: `_process_held` delivers its kept packets before new ones."""
        if not continues:
            self.inbound.reset()
        self._rtcp_source = None
        kept = self.source.accepted()
        if kept:
            self._held = (self._held or deque()) + kept
            self._trial_at = now
        self._recompute()
        self._receive_early_rtcp()

    def _process_held(self, now: Seconds) -> None:
        """Process what was held: packets from before an answer, sources on trial, packets for the first listener. If
        a tap raises, the rest is delivered the next time."""
        source = self.source
        for at, address, datagram in source.take_early():
            self._admit(datagram, address, at)
        if source.decide(now, self.inbound.heard):
            self._follow(now, continues=False)
        held, again = self._held, inf
        if held is not None and not self._had_listener and now < self._wait_until:
            source.dropped += trim(held, now - KEPT)
            again = self._wait_until
        elif held is not None:
            while held:
                at, packet = held.popleft()
                self.inbound.receive(packet, at)
            self._held = None
        self._trial_at = min(again, source.due(self.inbound.heard))
        self._set_deadline()

    def receive_rtcp(self, datagram: bytes, address: Address, now: Seconds) -> None:
        """A datagram on the RTCP port, or RTCP on a shared port; accepted only from the host of the peer's RTP. Ours
        goes to another port than expected only if RTCP from there shows that it is the peer's: it has the SRTP key,
        its sender sends the RTP, or it reports on our SSRC."""
        if not self._sends_rtcp(address):
            if self.source.may_be(address[0]):
                self._keep_rtcp(datagram, address, now)
            else:
                self.source.refuse(address, now)
            return
        channel = self._channel
        packet = datagram if channel is None else channel.unprotect_rtcp(datagram)
        if packet is None or not self._reception.receive(packet, now) or self.rtcp_mux:
            return
        expected = self._expected_rtcp
        settled = self._rtcp_source is not None and self._rtcp_source == expected
        proven = channel is not None or self._reception.is_from(Ssrc(self.inbound.jitter.ssrc))
        if address == expected or (proven and not settled):
            self._rtcp_source = address

    def _sends_rtcp(self, address: Address) -> bool:
        """Whether the peer's RTCP may come from there."""
        source = self.source
        if self._settings.strict_source:
            return address == (source.signalled if self.rtcp_mux else self._expected_rtcp)
        known = (source.learned, source.signalled, self.rtcp_destination)
        return address[0] in {peer[0] for peer in known if peer is not None}

    def _keep_rtcp(self, datagram: bytes, address: Address, now: Seconds) -> None:
        if len(self._early_rtcp) == RTCP_KEPT:
            del self._early_rtcp[0]
            self.source.dropped += 1
        self._early_rtcp.append((datagram, address, now))

    def _receive_early_rtcp(self) -> None:
        early, self._early_rtcp = self._early_rtcp, []
        for datagram, address, at in early:
            self.receive_rtcp(datagram, address, at)

    # ------------------------------------------------------------------ timers and RTCP

    def handle_timer(self, now: Seconds) -> SilenceDetected | None:
        """Called when `deadline` has come, before `report_due`."""
        if self._unconfirmed:
            if self.inbound.heard is not None:
                self.confirm(now)
            elif self.outbound.packets >= UNCONFIRMED_PACKETS:
                self.outbound.sending = False
        if now >= self._trial_at:
            self._process_held(now)
        silent = None
        if now >= self._silence_at:
            timeout = self._settings.silence_timeout
            since = max(self.inbound.heard or self._watched_since, self._watched_since)
            if now - since < timeout:
                self._silence_at = since + timeout
            else:
                self._silence_at = now + timeout
                if self._silence_reported != since:
                    self._silence_reported = since
                    silent = SilenceDetected(self.id, Seconds(timeout))
        if now >= self._unlatch_at:
            heard = self.inbound.heard
            self._unlatch_at = (heard if heard is not None and now - heard < SILENT else now) + SILENT
            if now >= self._look_at:
                self._look_at = now + LOOK_INTERVAL
                self.source.look(now)
        self._set_deadline()
        return silent

    def report_due(self, now: Seconds) -> bytes | None:
        """The RTCP report to send; None when none is due or the peer's address is not known."""
        if now < self._rtcp_at:
            return None
        self._rtcp_at = now + self._settings.rtcp_interval
        self._set_deadline()
        return self._compound(now, bye=False)

    def close(self, now: Seconds) -> bytes | None:
        """Detach all taps; return the RTCP BYE, None when the peer has no address. `inbound.close` comes first."""
        self._set_taps(())
        self.source.close()
        self.source.dropped += len(self._held or ()) + len(self._early_rtcp)
        return self._compound(now, bye=True)

    def _compound(self, now: Seconds, *, bye: bool) -> bytes | None:
        if self.source.destination is None or self._unconfirmed:
            return None
        jitter, outbound = self.inbound.jitter, self.outbound
        sent = None
        if outbound.packets > self._packets_reported:
            self._packets_reported = outbound.packets
            sent = self._reception.sent(outbound.timestamp, outbound.packets, outbound.bytes, now)
        blocks: tuple[rtcp.ReportBlock, ...] = ()
        if jitter.received:
            block = self._reception.block(
                jitter.ssrc,
                expected=jitter.expected,
                received=jitter.received,
                highest=jitter.highest,
                jitter=self.inbound.jitter_units,
                now=now,
            )
            blocks = (block,)
        self._rtcp_out += 1
        packet = rtcp.build(rtcp.Report(outbound.ssrc, blocks, sent), self._cname, bye=bye)
        channel = self._channel
        return packet if channel is None else channel.protect_rtcp(packet)

    @property
    def rtcp_mux(self) -> bool:
        """RTP and RTCP share a port (RFC 5761)."""
        return self._params.rtcp_mux

    @property
    def rtcp_destination(self) -> Address | None:
        """Destination of RTCP on a port of its own: the source of the peer's RTCP, else where it is expected."""
        return self._rtcp_source or self._expected_rtcp

    @property
    def _expected_rtcp(self) -> Address | None:
        """As signalled (RFC 3605), else the port above the peer's RTP."""
        destination = self.source.destination
        if destination is None:
            return None
        signalled = self._params.remote_rtcp
        if signalled is not None and destination == self.source.signalled:
            return address_of(signalled)
        return (destination[0], destination[1] + 1) if destination[1] < 65535 else None

    def report(self, now: Seconds) -> LegReport:
        """Present counters."""
        inbound, outbound, reception, jitter = self.inbound, self.outbound, self._reception, self.inbound.jitter
        channel = self._last_channel
        return LegReport(
            codec=self._params.codec,
            codec_in=inbound.codec,
            srtp=self._params.srtp.suite if self._params.srtp else "",
            payload_type=self._params.payload_type,
            direction=self._params.direction.value,
            local_port=self._local_port,
            on_hold=self._params.on_hold,
            packets_in=inbound.packets,
            bytes_in=inbound.bytes,
            frames_in=inbound.frames,
            packets_out=outbound.packets,
            bytes_out=outbound.bytes,
            lost=jitter.lost,
            late=jitter.late,
            duplicate=jitter.duplicate,
            reordered=jitter.reordered,
            reorder_window_ms=round(jitter.window * 1000, 1),
            stray=jitter.stray,
            restarts=jitter.restarts,
            malformed=inbound.malformed + (channel.malformed if channel else 0),
            keepalives=inbound.keepalives + reception.keepalives + (channel.keepalives if channel else 0),
            unknown_payload_type=inbound.unknown,
            seen_payload_type=inbound.unknown_type,
            while_on_hold=inbound.while_on_hold,
            srtp_auth_failed=channel.auth_failed if channel else 0,
            srtp_replayed=channel.replayed if channel else 0,
            rtcp_in=reception.received,
            rtcp_out=self._rtcp_out,
            rtcp_malformed=reception.malformed,
            send_errors=self.send_errors,
            receive_errors=self.receive_errors,
            skipped_ms=outbound.skipped_ms,
            peer_lost=reception.peer_lost,
            last_packet_ms=-1.0 if inbound.heard is None else round((now - inbound.heard) * 1000, 1),
            duration_ms=round((now - self._opened) * 1000, 1),
            digits=inbound.digits,
            digits_out=outbound.digits.sent,
            digits_waiting=outbound.digits.waiting,
            digits_lost=outbound.digits_lost,
            **self._source_report(now),
            **self._quality(),
        )

    def _quality(self) -> dict[str, Any]:
        """Loss, jitter, round trip and MOS of both directions."""
        inbound, reception, ptime = self.inbound, self._reception, self.outbound.ptime
        lost = inbound.jitter.lost
        jitter_ms = round(inbound.jitter_units * 1000 / inbound.clock_rate, 3)
        peer_jitter_ms = round(reception.peer_jitter * 1000 / CODECS[self._params.codec].clock_rate, 3)
        round_trip_ms = -1.0 if reception.round_trip is None else round(reception.round_trip * 1000, 3)
        loss = loss_percent(lost, lost + inbound.packets)
        peer_loss = loss_percent(reception.peer_lost, reception.peer_expected)
        return {
            "jitter_ms": jitter_ms,
            "round_trip_ms": round_trip_ms,
            "peer_jitter_ms": peer_jitter_ms,
            "loss_percent": loss,
            "peer_loss_percent": peer_loss,
            "mos": mos(loss, jitter_ms, round_trip_ms, ptime),
            "peer_mos": mos(peer_loss, peer_jitter_ms, round_trip_ms, ptime),
        }

    def _source_report(self, now: Seconds) -> dict[str, Any]:
        source = self.source
        return {
            "expected": _words(source.signalled),
            "remote": _words(source.destination),
            "remote_learned": source.learned is not None,
            "wrong_source": source.refused,
            "unexpected_source": _words(source.unexpected_source),
            "unexpected_source_ms": -1.0
            if source.unexpected_source is None
            else round((now - source.unexpected_at) * 1000, 1),
            "kept_dropped": source.dropped,
        }


def _words(address: Address | None) -> str:
    return str(Endpoint(*address)) if address else ""

"""The orders of a leg besides streams: play files, record, press keys, bridge. `process.py` calls a method for each
order; recordings have a file of their own, `recordings.py`.

A play is answered by exactly one `PlaybackEnded`, whatever becomes of it and of its leg.
"""

from collections.abc import Callable
from functools import partial

import structlog

from trunkline.ids import CallSid, LegId
from trunkline.media.audio.player import Player
from trunkline.media.engine import Engine, UnknownLeg
from trunkline.media.frames import LegTap
from trunkline.media.leg import TooManyPlayers
from trunkline.media.rtp.dtmf import DIGITS, WAITS, NoTelephoneEvent, TooManyDigits
from trunkline.workers import orders
from trunkline.workers.messages import FromLeg
from trunkline.workers.reports import DigitHeard, PlaybackEnded
from trunkline.workers.worker.decoder_client import DecoderClient
from trunkline.workers.worker.recordings import CALL_ENDED, Key, LegRecordings

_log = structlog.get_logger()


class Keys:
    """A `LegTap` that reports pressed keys."""

    inbound = outbound = plays = False

    def __init__(self, on_key: Callable[[str], object]) -> None:
        self._on_key = on_key

    def digit(self, digit: str) -> None:
        """See `LegTap`."""
        self._on_key(digit)

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        return None

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """See `LegTap`."""

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""


class LegServices:
    """Carries them out. `soon` calls a function when the packet path is done with its ports."""

    def __init__(
        self,
        engine: Engine,
        decoder: DecoderClient,
        send: Callable[[FromLeg], object],
        soon: Callable[[Callable[[], None]], object],
        loud: int,
    ) -> None:
        """`loud`: see `Recorder`."""
        self._engine = engine
        self._decoder = decoder
        self._send = send
        self._soon = soon
        self._calls: dict[LegId, CallSid] = {}
        self._accounts: dict[LegId, str] = {}
        self._legs: dict[CallSid, LegId] = {}
        self._plays: dict[Key, tuple[Player, int]] = {}
        """The player, and the decoder's number of its file."""
        self.recordings = LegRecordings(engine, decoder, send, soon, loud)
        self.counters = {"plays": 0, "plays_failed": 0, "digits_refused": 0}

    # ── legs ────────────────────────────────────────────────────────────────────────────────────────────────

    def opened(self, leg: LegId, call: CallSid, account: str = "") -> None:
        """A leg is there, of a call of that account."""
        self._calls[leg] = call
        self._accounts[leg] = account
        self._legs[call] = leg
        self._engine.attach(leg, Keys(lambda digit: self._send(FromLeg(leg, DigitHeard(digit)))))

    def closing(self, leg: LegId) -> None:
        """A leg is about to close: what goes on there ends."""
        for key in [key for key in self._plays if key[0] == leg]:
            self._play_over(key, CALL_ENDED)
        self.recordings.closing(leg)
        del self._legs[self._calls.pop(leg)], self._accounts[leg]

    def notify_dtmf(self, leg: LegId, order: orders.NotifyDtmf) -> None:
        """Report a key of SIP INFO as one of RTP, unless the same key came in RTP."""
        if leg in self._calls:
            self._engine.on_dtmf(leg, order.digit)

    # ── plays ───────────────────────────────────────────────────────────────────────────────────────────────

    def play(self, leg: LegId, order: orders.StartPlayback) -> None:
        """Begin to play a file."""
        key = (leg, order.job)
        player = Player(
            partial(self._piece_played, key), lambda error: self._soon(partial(self._play_over, key, error))
        )
        try:
            self._engine.attach(leg, player)
        except (UnknownLeg, TooManyPlayers) as refused:
            self._played(key, CALL_ENDED if isinstance(refused, UnknownLeg) else str(refused))
            return
        job = self._decoder.play(order.path, player.codec, order.loop, player, self._accounts[leg])
        if job is None:
            self._engine.detach(leg, player)
            self._played(key, "the decoder is being restarted")
            return
        self._plays[key] = player, job

    def _piece_played(self, key: Key) -> None:
        playing = self._plays.get(key)
        if playing is not None:
            self._decoder.more(playing[1])

    def stop_playback(self, leg: LegId, order: orders.StopPlayback) -> None:
        """End it."""
        self._play_over((leg, order.job), None)

    def failed(self, leg: LegId, port: LegTap) -> None:
        """A port was taken off its leg by a fault."""
        for key, (player, _) in list(self._plays.items()):
            if player is port and key[0] == leg:
                self._play_over(key, "internal error on the packet path")
        self.recordings.failed(leg, port)

    def _play_over(self, key: Key, error: str | None) -> None:
        playing = self._plays.pop(key, None)
        if playing is not None:
            player, job = playing
            self._decoder.forget(job)
            self._engine.detach(key[0], player)
            self._played(key, error)

    def _played(self, key: Key, error: str | None) -> None:
        leg, job = key
        self.counters["plays"] += 1
        if error is not None and error is not CALL_ENDED:
            self.counters["plays_failed"] += 1
            _log.warning("playback_failed", call_sid=self._calls.get(leg), reason=error)
        self._send(FromLeg(leg, PlaybackEnded(job, error)))

    # ── recordings ──────────────────────────────────────────────────────────────────────────────────────────

    def record(self, leg: LegId, order: orders.StartRecording) -> None:
        """Begin to record."""
        self.recordings.record(leg, order, self._calls.get(leg))

    # ── keys and bridges ────────────────────────────────────────────────────────────────────────────────────

    def send_digits(self, leg: LegId, order: orders.SendDigits) -> None:
        """Press keys. What cannot be sent is logged."""
        try:
            wrong = set(order.digits) - set(DIGITS) - set(WAITS)
            if wrong:
                self._refuse_digits(leg, f"these are no keys: {''.join(sorted(wrong))}")
            else:
                self._engine.send_digits(leg, order.digits)
        except (NoTelephoneEvent, TooManyDigits) as refused:
            self._refuse_digits(leg, str(refused))
        except UnknownLeg:
            return  # the call has ended, and was reported

    def _refuse_digits(self, leg: LegId, why: str) -> None:
        self.counters["digits_refused"] += 1
        _log.error("digits_not_sent", call_sid=self._calls.get(leg), reason=why)

    def bridge(self, leg: LegId, order: orders.Bridge) -> None:
        """Connect the audio of two legs."""
        other = self._legs.get(order.other)
        if other is None:
            return  # it has ended, which was reported
        try:
            self._engine.bridge(leg, other)
        except UnknownLeg:
            return  # the leg has ended, which was reported
        except TooManyPlayers as refused:
            _log.error("bridge_failed", call_sid=self._calls.get(leg), reason=str(refused))

    def unbridge(self, leg: LegId, _order: orders.Unbridge) -> None:
        """Part a leg from those it is bridged with."""
        self._engine.unbridge(leg)

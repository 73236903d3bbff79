"""One call of a phone: SIP and RTP as an object without I/O. Pure.

The driver passes in what its three sockets receive, calls `handle_timer` when `deadline` has come, and after each input
sends what `to_send` returns. `events` grows with each thing that happens. SIP is that of `sip/user_agent.py`, offer and
answer are those of `calls/offers.py`, and the media is a leg of `media/leg.py`, with `PhoneAudio` as its tap.

    idle --place--> calling --1xx--> ringing --2xx--> up --hang_up, BYE--> ended
                       └──────────────┴──── hang_up, 3xx-6xx ───────────────^
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from trunkline.calls.offers import OfferRules, Offers
from trunkline.codecs import CODEC_TABLE
from trunkline.config import MediaSettings, SipSettings
from trunkline.ids import LegId, Seconds
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.report import LegReport
from trunkline.phone.audio import PhoneAudio
from trunkline.phone.line import ImpairedLine
from trunkline.phone.values import CallOver, CallPlan, OutgoingDatagram, Pacing, PhoneEvent, PhoneEventKind
from trunkline.sdp.negotiate import PTIME_DEFAULT, family_of
from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Endpoint, MediaParams, NotAcceptable
from trunkline.sip.events import TargetsRequired
from trunkline.sip.message.headers import is_address
from trunkline.sip.message.validation import Discard, Rejection, SipRequest, SipResponse, parse, refusal, validate
from trunkline.sip.targets import Target, Unreachable, uri_target
from trunkline.sip.timers import Timers
from trunkline.sip.user_agent import UserAgentCore
from trunkline.sip.values import (
    AcceptReinvite,
    DialogEnded,
    EndDialog,
    InfoDigitReceived,
    InviteAccepted,
    InviteProgressed,
    InviteRefused,
    PeerIdentity,
    ReinviteReceived,
    RejectReinvite,
    SendInvite,
    SessionRefreshed,
)

STALL = 0.2
"""Seconds that our clock may be late; what is more is left out of what we send."""
VIOLATIONS_KEPT = 50
"""Violations that are reported; further ones are counted."""
CALL_SID = "x-trunkline-call-sid"
"""Header of the 200 of Trunkline."""

_MEDIA = MediaSettings(silence_timeout=0)
_SIP = SipSettings()


class PhoneState(Enum):
    """Where the call is."""

    IDLE = "idle"
    CALLING = "calling"
    RINGING = "ringing"
    UP = "up"
    ENDED = "ended"


class _NoCallsHere:
    """The admission of calls to us: none."""

    def identify(self, request: SipRequest, source: Endpoint, now: float) -> PeerIdentity:
        """Raises Rejection."""
        raise Rejection(486, "Busy Here")


class _UdpFlow:
    """The flow of the phone's SIP socket: what is sent goes to the outbox."""

    transport = "udp"

    def __init__(self, local: Endpoint, outbox: list[OutgoingDatagram]) -> None:
        self.local = local
        self._outbox = outbox

    def send(self, data: bytes, to: Endpoint) -> None:
        """See `Flow`."""
        self._outbox.append(OutgoingDatagram("sip", data, (to.host, to.port)))

    def admitted(self, *, identified: bool) -> None:
        """See `Flow`."""


class PhoneCore:
    """One call. Times are seconds of one steady clock."""

    def __init__(
        self,
        plan: CallPlan,
        sip: Endpoint,
        rtp: Endpoint,
        *,
        tag: Callable[[], str],
        random: bytes,
        now: float,
        wall: float,
        line: ImpairedLine,
        keep: bool = True,
    ) -> None:
        """`sip`, `rtp`: our addresses. `tag` makes tags of at least 64 random bits; `random`: `media.leg.RANDOM_BYTES`
        bytes. `wall` + `now` = Unix time. `line` is what our packets pass. `keep`: keep what is heard."""
        self.plan = plan
        self.state = PhoneState.IDLE
        self.events: list[PhoneEvent] = []
        """In order."""
        self.violations: list[str] = []
        """What the other side did against the protocol, at most `VIOLATIONS_KEPT`."""
        self.violation_count = 0
        self.failure: InviteRefused | None = None
        """Why there is no call."""
        self.ended_by: str = ""
        """`us` or `them`, once it was up and has ended."""
        self.call_sid = ""
        """`X-Trunkline-Call-Sid` of the 200; empty without it."""
        self.audio = PhoneAudio(plan.rate, keep=keep)
        self.leg: Leg | None = None
        self.line = line
        self.pacing = Pacing()
        self._outbox: list[OutgoingDatagram] = []
        self._timers = Timers(now)
        self._counters: Counter[str] = Counter()
        self._flow = _UdpFlow(sip, self._outbox)
        self._agent = UserAgentCore(tag, lambda _: self._flow, _NoCallsHere(), _SIP, self._counters, self._timers)
        self._dialog = self._agent.new_dialog()
        session = int.from_bytes(random[:6])
        self._offers = Offers(OfferRules(plan.codecs, "off", family_of(rtp.host)), session, lambda count: bytes(count))
        self._offers.local = rtp
        self._random = random[:RANDOM_BYTES]
        self._wall = wall
        self._opened = now
        self._tick = 1 / (1 + plan.drift_ppm * 1e-6) / 1000
        """Seconds of real time in a millisecond of ours."""
        self._waiting: set[LegId] = set()
        self._report: LegReport | None = None

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────────────────

    def place(self, now: float) -> None:
        """Send the INVITE."""
        # The negotiation describes the usual packet time; what we ask for is ours to say (RFC 8866 section 6.4).
        sdp = self._offers.offer().replace(
            f"a=ptime:{PTIME_DEFAULT}\r\n", f"a=ptime:{self.plan.ptime or PTIME_DEFAULT}\r\n"
        )
        self.state = PhoneState.CALLING
        self._happened(now, "invited", self.plan.uri)
        plan = self.plan
        invite = SendInvite(
            self._dialog, "uri", "", plan.uri, plan.user, "", sdp, headers=plan.headers, credentials=plan.credentials
        )
        self._agent.perform(invite, now)
        self._drain(now)

    def receive_sip(self, data: bytes, source: Endpoint, now: float) -> None:
        """A datagram on the SIP socket."""
        message: SipRequest | SipResponse | None = None
        try:
            message = parse(data, stream=False)
            validate(message, stream=False)
        except Discard as discarded:
            if data.strip() and source == self.plan.target:
                self._violated(now, f"SIP: {discarded}")
            return
        except Rejection as rejection:
            self._violated(now, f"SIP: {rejection}")
            self._refuse(message, source, rejection)
            return
        try:
            if isinstance(message, SipRequest):
                self._agent.receive_request(message, source, self._flow, now)
            else:
                if message.cseq[1] == "INVITE" and message.status == 200:
                    self.call_sid = message.value(CALL_SID) or self.call_sid
                self._agent.receive_response(message, now)
        except Discard:
            pass  # a late response, of a transaction that is over
        except Rejection as rejection:
            self._refuse(message, source, rejection)
        self._drain(now)

    def sip_failed(self, reason: str, now: float) -> None:
        """The network refused what the SIP socket has sent."""
        self._agent.flow_failed(self._flow, reason, self.plan.target, now)
        self._drain(now)

    def receive_rtp(self, data: bytes, source: tuple[str, int], now: float) -> None:
        """A datagram on the RTP socket."""
        leg = self.leg
        if leg is None or self.state is PhoneState.ENDED:
            return
        self.audio.now = now
        if leg.latched and source == leg.source.learned:
            leg.receive(data, Seconds(now))
        else:
            leg.receive_from(data, source, Seconds(now))
        self._take_digits(now)

    def receive_rtcp(self, data: bytes, source: tuple[str, int], now: float) -> None:
        """A datagram on the RTCP socket."""
        if self.leg is not None and self.state is not PhoneState.ENDED:
            self.leg.receive_rtcp(data, source, Seconds(now))

    def hang_up(self, now: float) -> None:
        """Send BYE, or CANCEL if the call is not answered yet; later calls have no effect."""
        if self.state in (PhoneState.IDLE, PhoneState.ENDED):
            return
        self._agent.perform(EndDialog(self._dialog), now)
        self._ended(now, "us", "hung up" if self.state is PhoneState.UP else "given up")
        self._drain(now)

    def send_digits(self, digits: str) -> None:
        """Press keys, `0`-`9`, `*`, `#`, `A`-`D`, with `w` and `W` for pauses of 0.5 and 1 s. Raises CallOver,
        `media.rtp.dtmf.NoTelephoneEvent` and `TooManyDigits`."""
        if self.leg is None or self.state is not PhoneState.UP:
            raise CallOver("no key can be pressed: the call is not up")
        self.leg.outbound.send_dtmf(digits)

    @property
    def keys_waiting(self) -> bool:
        """A key is down, or further ones are to be pressed."""
        return self.leg is not None and self.leg.outbound.digits.work

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` is due; None: there is nothing to wait for."""
        times = [at for at in (self._timers.next_deadline, self.line.deadline) if at is not None]
        if self._sends and self.leg is not None:
            times.append(self._packet_due(self.leg))
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._timers.now = now
        while (timer := self._timers.pop_due()) is not None:
            timer.run()
        self._drain(now)
        if self._sends and self.leg is not None:
            self._run_leg(self.leg, now)
        self._outbox += self.line.due(now)

    def to_send(self) -> list[OutgoingDatagram]:
        """What is to be sent now, once each."""
        sent = list(self._outbox)
        self._outbox.clear()
        return sent

    @property
    def is_settled(self) -> bool:
        """The other side knows that the call is over: nothing waits for a response of it."""
        return self._agent.empty

    def report(self, now: float) -> LegReport | None:
        """Counters of the media; those at the end of the call once it has ended. None: there was no media."""
        if self._report is not None or self.leg is None:
            return self._report
        return self.leg.report(Seconds(now))

    # ── media ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _sends(self) -> bool:
        return self.leg is not None and self.state is not PhoneState.ENDED

    def _packet_due(self, leg: Leg) -> float:
        return self._opened + leg.outbound.play_at * self._tick

    def _run_leg(self, leg: Leg, now: float) -> None:
        self.audio.now = now
        behind = now - self._packet_due(leg)
        if behind > STALL:
            ptime = leg.outbound.ptime
            leg.held_up(int(behind * 1000 / ptime) * ptime, 0)
        while (due := self._packet_due(leg)) <= now:
            self.pacing.sent_at(due, now)
            self._send_media("rtp", leg.next_packet())
        if self._waiting:
            leg.inbound.handle_waiting(Seconds(now))
        if leg.deadline <= now:
            leg.handle_timer(Seconds(now))
            self._send_media("rtcp", leg.report_due(Seconds(now)))
        self._take_digits(now)

    def _send_media(self, port: str, packet: bytes | None) -> None:
        leg = self.leg
        if packet is None or leg is None:
            return
        if port == "rtp" and leg.source.destination is not None:
            self.line.put(OutgoingDatagram("rtp", packet, leg.source.destination), self.audio.now)
        elif port == "rtcp" and leg.rtcp_destination is not None:
            self._outbox.append(OutgoingDatagram("rtcp", packet, leg.rtcp_destination))

    def _take_digits(self, now: float) -> None:
        digits, self.audio.digits = self.audio.digits, []
        for digit in digits:
            self._happened(now, "digit", digit)

    def _described(self, answer: SessionDescription, now: float, *, early: bool = False) -> bool:
        """The answer to our offer has come. False: it cannot be used."""
        try:
            params = self._with_ptime(self._offers.take_answer(answer))
        except NotAcceptable as error:
            self._violated(now, f"SDP: {error}")
            return False
        if self.leg is not None:
            self.leg.update(params, Seconds(now), early=early)
            return True
        self._opened = now
        self.leg = Leg(
            LegId(1),
            params,
            _MEDIA,
            random=self._random,
            now=Seconds(now),
            wall=self._wall,
            waiting=self._waiting,
            local_port=self._offers.local.port,
            first_at=0,
        )
        self.audio.now = now
        self.leg.attach(self.audio)
        return True

    def _with_ptime(self, params: MediaParams) -> MediaParams:
        """With our packet time, as far as the codec has packets of it."""
        row = CODEC_TABLE[params.codec].sdp
        if self.plan.ptime is None or row is None:
            return params
        ptime = max((one for one in row.ptimes if one <= self.plan.ptime), default=row.ptimes[0])
        return replace(params, ptime=ptime)

    # ── SIP ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _drain(self, now: float) -> None:
        while (event := self._agent.next_event()) is not None:
            if isinstance(event, TargetsRequired):
                self._agent.targets_found(event.call, self._targets(event.invite.to), now)
            elif isinstance(event, InviteProgressed):
                self._progressed(event, now)
            elif isinstance(event, InviteAccepted):
                self._accepted(event, now)
            elif isinstance(event, InviteRefused):
                self.failure = event
                said = f"{event.status} {event.reason}"
                self._ended(now, *(("them", said) if event.responded else ("us", event.detail)))
            elif isinstance(event, DialogEnded):
                self._ended(now, "them", event.detail or event.cause)
            elif isinstance(event, ReinviteReceived):
                self._offered(event, now)
            elif isinstance(event, SessionRefreshed):
                self._described(event.answer, now)
            elif isinstance(event, InfoDigitReceived) and self.leg is not None:
                self.leg.inbound.signalled(event.digit, Seconds(now))
                self._take_digits(now)

    def _targets(self, uri: str) -> tuple[Target] | Unreachable:
        """The address of a call; after a redirection only one that needs no look-up."""
        if uri == self.plan.uri:
            return (Target(uri, self.plan.target, "udp"),)
        found = uri_target(uri)
        if isinstance(found, Unreachable) or is_address(found[0].endpoint.host):
            return found
        return Unreachable(503, "Service Unavailable", f"redirected to {uri}, whose host is no address")

    def _progressed(self, event: InviteProgressed, now: float) -> None:
        if event.answer is not None and not self._described(event.answer, now, early=True):
            self._give_up(now, "the SDP of a provisional response cannot be used")
        elif event.status > 100:
            self.state = PhoneState.RINGING
            self._happened(now, "ringing", f"{event.status} {event.reason}")

    def _accepted(self, event: InviteAccepted, now: float) -> None:
        if event.answer is not None and not self._described(event.answer, now):
            self._give_up(now, "the SDP of the 200 cannot be used")
        elif self.leg is None:
            self._violated(now, "SDP: the 200 has no answer to our offer (RFC 3261 section 13.2.1)")
            self._give_up(now, "the 200 has no SDP")
        else:
            self.state = PhoneState.UP
            self._happened(now, "answered", self.leg.report(Seconds(now)).codec)

    def _offered(self, event: ReinviteReceived, now: float) -> None:
        """A re-INVITE: answered if it can be, else refused, and the call goes on as it is (RFC 3261 section 14.2)."""
        try:
            if event.offer is None:
                raise NotAcceptable("this phone answers offers and makes none")
            params = self._with_ptime(self._offers.take_offer(event.offer))
        except NotAcceptable as error:
            self._agent.perform(RejectReinvite(event.dialog, 488, "Not Acceptable Here", str(error)), now)
            return
        self._agent.perform(AcceptReinvite(event.dialog, self._offers.answer()), now)
        if self.leg is not None:
            self.leg.update(params, Seconds(now))
            self._happened(now, "renegotiated", f"{params.codec} {params.direction.value}")

    def _refuse(self, message: SipRequest | SipResponse | None, source: Endpoint, rejection: Rejection) -> None:
        if isinstance(message, SipRequest):
            text, target = refusal(message, source, rejection)
            self._flow.send(text.encode("utf-8", "backslashreplace"), target)

    def _give_up(self, now: float, why: str) -> None:
        self._agent.perform(EndDialog(self._dialog, why, 488), now)
        self._ended(now, "us", why)

    def _ended(self, now: float, by: str, detail: str) -> None:
        if self.state is PhoneState.ENDED:
            return
        self.state, self.ended_by = PhoneState.ENDED, by
        leg = self.leg
        if leg is not None:
            self.audio.now = now
            leg.inbound.close()
            self._take_digits(now)
            self._report = leg.report(Seconds(now))
            self._send_media("rtcp", leg.close(Seconds(now)))
        self._happened(now, "ended", f"{by}: {detail}")

    def _violated(self, now: float, what: str) -> None:
        self.violation_count += 1
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(what)
            self._happened(now, "violation", what)

    def _happened(self, now: float, kind: PhoneEventKind, detail: str) -> None:
        self.events.append(PhoneEvent(now, kind, detail))

"""A bench for the SIP room: messages made by hand, a flow that records what is sent, and a clock advanced by hand."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.events import OutOfDialogResponse, TargetsRequired, TargetTried
from trunkline.sip.message.digest import DigestServer
from trunkline.sip.message.validation import Rejection, SipRequest, SipResponse, parse, refusal, validate
from trunkline.sip.peers.access import Access
from trunkline.sip.targets import Target, uri_target
from trunkline.sip.timers import Timers
from trunkline.sip.user_agent import UserAgentCore
from trunkline.sip.values import Credentials, DialogId, PeerIdentity, SipAction, SipEvent

EMPTY = {"dialogs": 0, "outgoing": 0, "by_key": 0, "uac_invites": 0, "server": 0, "client": 0}
PEER = Endpoint("192.0.2.10", 5062)
US = Endpoint("198.51.100.7", 5060)
OFFER = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = OFFER.replace("192.0.2.10", "198.51.100.7")


class HandClock:
    """A clock that is advanced by hand, with its timers; `drains` are called after each timer."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.drains: list[Callable[[], None]] = []

    @property
    def now(self) -> float:
        return self.timers.now

    def advance(self, seconds: float) -> None:
        """Let time pass; run timers when they are due, in order."""
        end = self.now + seconds
        while (deadline := self.timers.next_deadline) is not None and deadline <= end:
            self.timers.now = max(self.now, deadline)
            timer = self.timers.pop_due()
            assert timer is not None
            timer.run()
            self.drain()
        self.timers.now = end

    def drain(self) -> None:
        """Take all events."""
        for drain in self.drains:
            drain()


@dataclass
class Wire:
    """A flow to one peer."""

    transport: str = "udp"
    local: Endpoint = US
    sent: list[tuple[str, Endpoint]] = field(default_factory=list)
    admissions: list[bool] = field(default_factory=list)
    """For each admitted request, whether its peer was identified."""

    def send(self, data: bytes, to: Endpoint) -> None:
        self.sent.append((data.decode(), to))

    def admitted(self, *, identified: bool) -> None:
        self.admissions.append(identified)

    def take(self) -> list[str]:
        """The texts sent since the last look."""
        texts = [text for text, _ in self.sent]
        self.sent.clear()
        return texts

    def take_lines(self) -> list[str]:
        """Their first lines."""
        return [text.split("\r\n", 1)[0].removeprefix("SIP/2.0 ") for text in self.take()]


@dataclass
class Caller:
    """Writes the requests of one peer's dialog."""

    call_id: str = "call-1@192.0.2.10"
    from_tag: str = "caller"
    to_tag: str = ""
    transport: str = "UDP"
    cseq: int = 0
    branches: "count[int]" = field(default_factory=lambda: count(1))
    branch: str = ""

    def request(self, method: str, body: str = "", headers: tuple[str, ...] = (), *, new: bool = True) -> bytes:
        """A request; `new=False` keeps CSeq number and branch, as CANCEL does, and ACK to a failure."""
        if new:
            self.cseq += method != "ACK"
            self.branch = f"z9hG4bK{next(self.branches)}"
        lines = [
            f"{method} sip:+15550002@198.51.100.7 SIP/2.0",
            f"Via: SIP/2.0/{self.transport} 192.0.2.10:5062;rport;branch={self.branch}",
            "Max-Forwards: 70",
            f'From: "Ann \\"A\\" Caller" <sip:+15550001@192.0.2.10>;tag={self.from_tag}',
            "To: <sip:+15550002@198.51.100.7>" + (f";tag={self.to_tag}" if self.to_tag else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            *headers,
        ]
        if method == "INVITE" and not any(line.startswith("Contact:") for line in headers):
            lines.append("Contact: <sip:ann@192.0.2.10:5062>")
        if body and not any(line.startswith("Content-Type:") for line in headers):
            lines.append("Content-Type: application/sdp")
        return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body]).encode()

    def learn(self, response: str) -> None:
        """Take the To tag of a response."""
        self.to_tag = header(response, "To").partition("tag=")[2]


class NamedPhone:
    """Admits every call, as the phone that a test has set."""

    def __init__(self) -> None:
        self.phone: str | None = None

    def identify(self, request: SipRequest, source: Endpoint, now: float) -> PeerIdentity:
        return PeerIdentity(phone=self.phone)


class Bench:
    """Dialogs on a wire."""

    def __init__(self, clock: HandClock, limit: int = 10) -> None:
        self.clock = clock
        self.wire = Wire()
        self.caller = NamedPhone()
        self.targets: list[Target] = []
        """Of the next call; without them it goes to its URI."""
        self.waiting: list[TargetsRequired] | None = None
        """Calls that wait for their targets, if a test wants that they wait."""
        self.tried: list[TargetTried] = []
        self.out_of_dialog: Callable[[OutOfDialogResponse], None] | None = None
        """Takes responses to requests outside any dialog."""
        self.events: list[SipEvent] = []
        self.counters: Counter[str] = Counter()
        self.react: Callable[[SipEvent], None] | None = None
        """What the application does at once."""
        tags = count(1)
        settings = SipSettings(call_limit=limit)
        phones = SipSettings.model_validate({"phones": [{"user": "ann", "password": "secret"}]})
        self.access = Access(phones, DigestServer("trunkline", bytes(32)), self.counters)
        self.dialogs = UserAgentCore(
            lambda: f"our{next(tags)}", self.connect, self.caller, settings, self.counters, clock.timers
        )
        clock.drains.append(self._drain)

    def perform(self, action: SipAction) -> None:
        """An action of the application."""
        self.dialogs.perform(action, self.clock.now)
        self.clock.drain()

    def saved(self, number: DialogId) -> str:
        """The text of a dialog."""
        text = self.dialogs.saved(number)
        assert text is not None
        return text

    def end_saved(self, text: str, trunks: Mapping[str, Credentials] | None = None) -> None:
        """BYE in a dialog of an earlier life."""
        self.dialogs.end_saved(text, lambda _transport, _to: self.wire, (trunks or {}).get, "restarted", self.clock.now)

    def end_all(self, reason: str) -> None:
        """The end of all calls."""
        self.dialogs.end_all(reason, self.clock.now)
        self.clock.drain()

    def fail_flow(self, reason: str, to: Endpoint | None = None) -> None:
        """An error of the wire, at one address if one is given."""
        self.dialogs.flow_failed(self.wire, reason, to, self.clock.now)
        self.clock.drain()

    def find_targets(self, required: TargetsRequired) -> None:
        """Give a call its targets."""
        targets, self.targets = self.targets, []
        self.dialogs.targets_found(required.call, targets or uri_target(required.invite.to), self.clock.now)

    def _drain(self) -> None:
        while (event := self.dialogs.next_event()) is not None:
            if isinstance(event, TargetsRequired):
                if self.waiting is None:
                    self.find_targets(event)
                else:
                    self.waiting.append(event)
            elif isinstance(event, TargetTried):
                self.tried.append(event)
            elif isinstance(event, OutOfDialogResponse):
                assert self.out_of_dialog is not None
                self.out_of_dialog(event)
            else:
                self.events.append(event)
                if self.react is not None:
                    self.react(event)

    def connect(self, target: Target) -> Wire:
        """The flow to a target."""
        return self.wire

    def receive(self, data: bytes, wire: Wire | None = None, source: Endpoint = PEER) -> None:
        """What the endpoint does with a message. Raises Discard and Rejection."""
        wire = wire or self.wire
        message = parse(data, stream=wire.transport != "udp")
        validate(message, stream=wire.transport != "udp")
        if isinstance(message, SipRequest) and message.method == "REGISTER":
            self.access.registrant(message, source, self.clock.now)
        elif isinstance(message, SipRequest):
            try:
                self.dialogs.receive_request(message, source, wire, self.clock.now)
            except Rejection as stateless:
                if stateless.status >= 300:
                    raise
                text, target = refusal(message, source, stateless)
                wire.send(text.encode(), target)
        else:
            self.dialogs.receive_response(message, self.clock.now)
        self.clock.drain()

    def refused(self, data: bytes) -> Rejection:
        """The refusal that a message gets."""
        try:
            self.receive(data)
        except Rejection as refused:
            return refused
        raise AssertionError("not refused")

    def event(self) -> SipEvent:
        """The one event since the last look."""
        (event,) = self.events
        self.events.clear()
        return event

    def answer(
        self, request: str, status: str = "200 OK", tag: str = "", body: str = "", headers: tuple[str, ...] = ()
    ) -> None:
        """The peer's response to a request of ours."""
        self.receive(response(request, status, tag, body, headers))


def response(
    request: str, status: str = "200 OK", tag: str = "", body: str = "", headers: tuple[str, ...] = ()
) -> bytes:
    """A peer's response; it has a Contact unless `headers` bring one."""
    lines = [f"SIP/2.0 {status}"]
    lines += [f"{name}: {header(request, name)}" for name in ("Via", "From", "To", "Call-ID", "CSeq")]
    if tag:
        lines[3] += f";tag={tag}"
    if not any(line.startswith("Contact:") for line in headers):
        lines.append("Contact: <sip:bob@192.0.2.10:5062>")
    lines += [*headers, *(["Content-Type: application/sdp"] if body else []), f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


class Watched(Counter[str]):
    """Counters that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    def __setitem__(self, name: str, value: int) -> None:
        super().__setitem__(name, value)
        self.changed.set()

    async def reached(self, name: str, times: int = 1) -> None:
        async with asyncio.timeout(30):
            while self[name] < times:
                self.changed.clear()
                await self.changed.wait()


def header(text: str, name: str) -> str:
    """The first header of that name."""
    return next(
        line.partition(":")[2].strip() for line in text.split("\r\n") if line.lower().startswith(name.lower() + ":")
    )


def message(text: str) -> SipRequest | SipResponse:
    """A message of hand-written lines, not yet screened."""
    return parse(text.strip().replace("\n", "\r\n").encode() + b"\r\n\r\n", stream=False)

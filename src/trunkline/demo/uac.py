"""The caller's SIP: a user agent client for one call, as an object without I/O (RFC 3261).

Datagrams and `now` go in by `receive` and `handle_timer`; datagrams come out of `to_send`, the next deadline out of
`next_timer`. It knows what one call over UDP to one server needs, and is written apart from the server's own SIP on
purpose, so that the two can disagree.

    idle --invite--> calling --1xx--> proceeding --2xx--> up --hang_up--> ending --> ended
                        └───────────────┴── 3xx-6xx ──────└── BYE ─────────────────────^
"""

from dataclasses import dataclass, field
from enum import Enum

Address = tuple[str, int]

T1 = 0.5
"""Seconds: the round trip estimate, RFC 3261 section 17.1.1.1."""
T2 = 4.0
"""Seconds: the longest retransmission interval of a BYE."""
_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}


class UacState(Enum):
    """Where the call is."""

    IDLE = "idle"
    CALLING = "calling"
    PROCEEDING = "proceeding"
    UP = "up"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A parsed message."""

    start: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, compact forms spelled out."""
    body: str

    def header(self, name: str) -> str:
        """The first value of a header, empty when absent."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def status(self) -> int:
        """The status of a response, 0 for a request."""
        words = self.start.split(" ", 2)
        return int(words[1]) if words[0] == "SIP/2.0" and len(words) > 1 and words[1].isdecimal() else 0

    @property
    def method(self) -> str:
        """The method of a request, or of the request that a response answers."""
        return self.header("cseq").rpartition(" ")[2] if self.status else self.start.partition(" ")[0]


def parse(datagram: bytes) -> RawMessage | None:
    """A message, or None for what has no start line (keep-alives, noise)."""
    head, _, body = datagram.decode(errors="backslashreplace").partition("\r\n\r\n")
    start, *lines = head.split("\r\n")
    if " " not in start:
        return None
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        headers.append((_COMPACT.get(key, key), value.strip()))
    return RawMessage(start, tuple(headers), body)


def media_address(sdp: str) -> Address | None:
    """Where an SDP wants its audio: the address of the first `c=` and the port of the first audio `m=` line."""
    host = port = ""
    for line in sdp.splitlines():
        if line.startswith("c=IN IP4 ") and not host:
            host = line.split()[2]
        elif line.startswith("m=audio ") and not port:
            port = line.split()[1]
    return (host, int(port)) if host and port.isdecimal() else None


def audio_offer(address: Address) -> str:
    """An offer of PCMU and telephone-event at 20 ms (RFC 4566, RFC 3551, RFC 4733)."""
    host, port = address
    return "\r\n".join(
        (
            "v=0",
            f"o=demo 1 1 IN IP4 {host}",
            "s=-",
            f"c=IN IP4 {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP 0 101",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
            "a=sendrecv",
            "",
        )
    )


@dataclass(slots=True)
class _Retransmission:
    """A request that is sent again until it is answered."""

    message: bytes
    next_at: float
    interval: float
    limit: float
    until: float


@dataclass(slots=True)
class UserAgentClient:
    """One call. `token` makes Call-ID, tag and branches unique; times are seconds on any steady clock."""

    local: Address
    target: Address
    caller: str
    called: str
    offer: str
    token: str
    state: UacState = UacState.IDLE
    failure: str = ""
    """Why there is no call, once `ended` without having been up."""
    ended_by_peer: bool = False
    answer: RawMessage | None = None
    """The 2xx to the INVITE."""
    _outbox: list[bytes] = field(default_factory=list)
    _pending: _Retransmission | None = None
    _ack: bytes = b""
    _remote_to: str = ""

    def invite(self, now: float) -> None:
        """Place the call."""
        self.state = UacState.CALLING
        content = (("Contact", self._contact), ("Content-Type", "application/sdp"))
        self._request("INVITE", 1, now, limit=float("inf"), headers=content, body=self.offer)

    def hang_up(self, now: float) -> None:
        """Send BYE when the call is up; a call that never was is simply over."""
        if self.state is UacState.UP:
            self.state = UacState.ENDING
            self._request("BYE", 2, now, limit=T2)
        elif self.state is not UacState.ENDING:
            self._end("given up")

    def receive(self, datagram: bytes, now: float) -> None:
        """One datagram from the server."""
        message = parse(datagram)
        if message is None:
            return
        if not message.status:
            self._requested(message)
        elif message.header("call-id") != self._call_id:
            return
        elif message.method == "INVITE":
            self._invite_answered(message, now)
        elif message.method == "BYE" and message.status >= 200 and self.state is UacState.ENDING:
            self._end("")

    def handle_timer(self, now: float) -> None:
        """Retransmit what is due; give up after 64*T1 (timers B and F)."""
        pending = self._pending
        if pending is None or now < pending.next_at:
            return
        if now >= pending.until:
            self._end("no answer from the server")
            return
        self._outbox.append(pending.message)
        pending.interval = min(2 * pending.interval, pending.limit)
        pending.next_at = now + pending.interval

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        return self._pending.next_at if self._pending else None

    def to_send(self) -> list[bytes]:
        """Datagrams for the server, once each."""
        out, self._outbox = self._outbox, []
        return out

    @property
    def _call_id(self) -> str:
        return f"{self.token}@{self.local[0]}"

    @property
    def _contact(self) -> str:
        return f"<sip:demo@{self.local[0]}:{self.local[1]}>"

    def _request(
        self,
        method: str,
        cseq: int,
        now: float,
        *,
        limit: float,
        headers: tuple[tuple[str, str], ...] = (),
        body: str = "",
    ) -> None:
        """Send a request and keep it for retransmission."""
        message = self._message(method, cseq, f"{self.token}{method}{cseq}", headers, body)
        self._outbox.append(message)
        self._pending = _Retransmission(message, now + T1, T1, limit, now + 64 * T1)

    def _message(
        self, method: str, cseq: int, branch: str, headers: tuple[tuple[str, str], ...] = (), body: str = ""
    ) -> bytes:
        host, port = self.local
        uri = f"sip:{self.called}@{self.target[0]}:{self.target[1]}"
        lines = [
            f"{method} {self._remote_target(uri)} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{self.caller}@{host}>;tag={self.token}",
            f"To: {self._remote_to or f'<{uri}>'}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {cseq} {method}",
            *(f"{name}: {value}" for name, value in headers),
            f"Content-Length: {len(body.encode())}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def _remote_target(self, default: str) -> str:
        """The Contact of the 2xx, where requests inside the dialog go (RFC 3261 section 12.1.2)."""
        contact = self.answer.header("contact") if self.answer else ""
        return contact.partition("<")[2].partition(">")[0] or default

    def _invite_answered(self, message: RawMessage, now: float) -> None:
        if message.status < 200:
            if self.state is UacState.CALLING:
                self.state, self._pending = UacState.PROCEEDING, None
        elif message.status < 300:
            self._accepted(message)
        elif self.state in (UacState.CALLING, UacState.PROCEEDING):
            self._remote_to = message.header("to")
            self._outbox.append(self._message("ACK", 1, f"{self.token}INVITE1"))
            self._end(message.start.partition(" ")[2])

    def _accepted(self, message: RawMessage) -> None:
        """ACK the 2xx, and each of its retransmissions (RFC 3261 section 13.2.2.4)."""
        if self.state in (UacState.CALLING, UacState.PROCEEDING):
            self.state, self._pending = UacState.UP, None
            self.answer, self._remote_to = message, message.header("to")
            self._ack = self._message("ACK", 1, f"{self.token}ACK1")
        if self._ack:
            self._outbox.append(self._ack)

    def _requested(self, message: RawMessage) -> None:
        """The server's requests: BYE ends the call; the rest gets its plain answer."""
        ours = message.header("call-id") == self._call_id
        if message.method == "ACK":
            return
        if message.method == "BYE" and ours:
            self._respond(message, "200 OK")
            self.ended_by_peer = self.ended_by_peer or self.state is UacState.UP
            self._end("")
        elif message.method == "OPTIONS":
            self._respond(message, "200 OK")
        else:
            self._respond(message, "501 Not Implemented" if ours else "481 Call/Transaction Does Not Exist")

    def _respond(self, request: RawMessage, status: str) -> None:
        copied = ((name, value) for name, value in request.headers if name in ("via", "from", "to", "call-id", "cseq"))
        lines = [f"SIP/2.0 {status}", *(f"{name}: {value}" for name, value in copied), "Content-Length: 0"]
        self._outbox.append(("\r\n".join(lines) + "\r\n\r\n").encode())

    def _end(self, failure: str) -> None:
        self.failure = self.failure or failure
        self.state, self._pending = UacState.ENDED, None

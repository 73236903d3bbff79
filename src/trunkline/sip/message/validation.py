"""Parsing and validation of messages, before transactions and dialogs get them. Pure.

`validate` raises `Rejection` where RFC 3261 section 8.2 requires a response, and `Discard` where none may be sent (to
an ACK, to a response, without an address). Rejections are stateless (section 8.2.7): a retransmission is rejected
again, with the same To tag.

Each rule is a row of `_RULES`, in the order of section 8.2: syntax, method, Request-URI, extensions.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from hashlib import md5

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import (
    COMPACT_NAMES,
    TOKEN,
    Via,
    parse_cseq,
    parse_name_addr,
    parse_uri,
    parse_via,
    split_addresses,
    split_list,
)

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "PRACK", "UPDATE", "REGISTER")
"""Supported methods."""
KNOWN_METHODS = ("MESSAGE", "NOTIFY", "PUBLISH", "REFER", "SUBSCRIBE")
"""Known methods that are not supported: 405; unknown methods get 501 (section 8.2.1)."""
SUPPORTED = ("100rel", "timer")
"""Option tags of supported extensions."""
HEADER_LIMIT = 256
"""Header lines of one message, folded lines counted once; real messages have fewer."""
HEAD_LIMIT = 16384
"""Bytes of a message before its body; real messages have 2000, with a signed identity 5000. The cost of parsing grows
with the size, and a datagram may have 65507."""

Headers = tuple[tuple[str, str], ...]
Named = list[tuple[str, str, str]]
"""Headers of a message: name in lower case and long form, name as it came, value."""

_SINGLE = ("from", "to", "call-id", "cseq", "content-length", "content-type", "max-forwards", "expires")
_MANDATORY = ("to", "from", "call-id", "cseq")
_REQUEST_LINE = re.compile(rf"(?P<method>{TOKEN}) (?P<uri>\S+) (?P<version>[A-Za-z]+/[0-9]+\.[0-9]+)")
_STATUS_LINE = re.compile(r"SIP/2\.0 (?P<status>[1-6][0-9]{2})(?: (?P<reason>.*))?", re.IGNORECASE)
_HEADER = re.compile(rf"(?P<name>{TOKEN})[ \t]*:[ \t]*(?P<value>.*)", re.DOTALL)
_ADDED = re.compile(r";\s*(?:received|rport)\s*(?:=[^;]*)?(?=;|$)", re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class Discard(Exception):
    """The message gets no response; the text is for the log."""


class Rejection(Exception):
    """The request gets a response with `status`, `headers` and the To tag `tag`; without one it is derived. `detail` is
    for the log alone."""

    def __init__(
        self, status: int, reason: str, headers: Headers = (), tag: str | None = None, detail: str = ""
    ) -> None:
        super().__init__(f"{status} {reason}: {detail}" if detail else f"{status} {reason}")
        self.tag = tag
        self.status = status
        self.reason = reason
        self.headers = headers


class ChallengeRejection(Rejection):
    """Asks for the same request with other headers (RFC 3261 sections 22.1 and 21.4.17, RFC 4028 section 6): part of
    normal signalling, and not logged."""


@dataclass(frozen=True, slots=True)
class SipMessage:
    """What requests and responses have in common."""

    headers: Named
    body: bytes
    _by_name: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, list[str]] = {}
        for key, _, value in self.headers:
            by_name.setdefault(key, []).append(value)
        object.__setattr__(self, "_by_name", by_name)

    def values(self, name: str) -> list[str]:
        """All values of a header, lines in order; `name` is in lower case."""
        return self._by_name.get(name, [])

    def value(self, name: str) -> str:
        """The first value of a header, empty if absent."""
        found = self._by_name.get(name)
        return found[0] if found else ""

    def repeated(self, names: Collection[str]) -> str:
        """The first header of these names that the message has more than once; empty when there is none."""
        return next((name for name, values in self._by_name.items() if len(values) > 1 and name in names), "")

    def listed(self, name: str) -> list[str]:
        """All values of a header that may be a comma-separated list."""
        split = split_addresses if name == "contact" else split_list
        return [item for value in self.values(name) for item in split(value) if item]

    @property
    def cseq(self) -> tuple[int, str]:
        """Sequence number and method. Raises ValueError."""
        return parse_cseq(self.value("cseq"))

    @property
    def via(self) -> Via:
        """The topmost Via. Raises ValueError."""
        return parse_via((self.listed("via") or [""])[0])

    def tag(self, name: str) -> str:
        """The tag of From or To, empty without one. Raises ValueError."""
        return parse_name_addr(self.value(name)).params.get("tag", "")


@dataclass(frozen=True, slots=True)
class SipRequest(SipMessage):
    """A request."""

    method: str
    uri: str
    version: str


@dataclass(frozen=True, slots=True)
class SipResponse(SipMessage):
    """A response."""

    status: int
    reason: str


def parse(data: bytes, *, stream: bool) -> SipRequest | SipResponse:
    """The message in `data`, split into its parts and not validated. Raises Discard.

    Bytes that are not UTF-8 become `\\xNN`. In a datagram the body ends after Content-Length bytes or with the datagram
    (section 18.3); on a `stream` the framing has cut it.
    """
    data = data.lstrip(b"\r\n")
    end = _HEAD_END.search(data)
    head = data[: end.start()] if end else data
    if len(head) > HEAD_LIMIT:
        raise Discard(f"a head of more than {HEAD_LIMIT} bytes")
    start, *lines = head.decode("utf-8", "backslashreplace").replace("\r\n", "\n").split("\n")
    headers = _headers(lines)
    body = data[end.end() :] if end else b""
    length = next((value for key, _, value in headers if key == "content-length"), "")
    if not stream and length.isascii() and length.isdigit() and len(length) < 10:
        body = body[: int(length)]
    if request := _REQUEST_LINE.fullmatch(start):
        return SipRequest(headers, body, request["method"], request["uri"], request["version"])
    if status := _STATUS_LINE.fullmatch(start):
        return SipResponse(headers, body, int(status["status"]), status["reason"] or "")
    return _loose_request(start, headers, body)


def validate(message: SipRequest | SipResponse, *, stream: bool) -> None:
    """Check a message. Raises Rejection or Discard."""
    if isinstance(message, SipResponse):
        return _screen_response(message)
    if not message.listed("via"):
        raise Discard("request without Via")
    try:
        if stream and not message.value("content-length"):
            raise Rejection(400, "Missing Content-Length")
        for rule in _RULES:
            rule(message)
    except Rejection as refused:
        if message.method == "ACK":
            raise Discard(str(refused)) from None
        raise
    return None


def refusal(request: SipRequest, source: Endpoint, refused: Rejection) -> tuple[str, Endpoint]:
    """The text of a stateless response, and where it goes (section 18.2.2, RFC 3581 section 4)."""
    vias = request.listed("via")
    vias[0], target = answer_via(vias[0], source)
    lines = [f"SIP/2.0 {refused.status} {refused.reason}", *(f"Via: {value}" for value in vias)]
    for name, label in (("from", "From"), ("to", "To"), ("call-id", "Call-ID"), ("cseq", "CSeq")):
        value = request.value(name)
        if name == "to" and "tag=" not in value.lower():
            value += f";tag={refused.tag or md5(repr(request).encode(), usedforsecurity=False).hexdigest()[:16]}"
        if request.values(name):
            lines.append(f"{label}: {value}")
    lines += [f"{name}: {value}" for name, value in refused.headers]
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]), target


def answer_via(value: str, source: Endpoint) -> tuple[str, Endpoint]:
    """The topmost Via with `received` and `rport` filled in (section 18.2.1, RFC 3581 section 4), and where
    responses go: to the source address, and there to the source port if `rport` asks for it or the Via cannot be
    read, else to the Via's port."""
    try:
        via = parse_via(value)
    except ValueError:
        return value, source
    value = _ADDED.sub("", value)
    if "rport" in via.params:
        return f"{value};received={source.host};rport={source.port}", source
    marked = value if via.host == source.host else f"{value};received={source.host}"
    return marked, Endpoint(source.host, via.port or 5060)


def _headers(lines: list[str]) -> Named:
    folded: list[str] = []
    for line in lines:
        # A line that begins with white space continues the one before (section 7.3.1).
        if line[:1] in (" ", "\t") and folded:
            folded[-1] += " " + line.strip()
        elif line:
            folded.append(line)
    if len(folded) > HEADER_LIMIT:
        raise Discard(f"more than {HEADER_LIMIT} headers")
    headers = []
    for line in folded:
        match = _HEADER.fullmatch(line)
        # A malformed line is kept under a name that no header has: a request with one gets 400.
        name, value = match.groups() if match else ("", line)
        key = name.lower()
        headers.append((COMPACT_NAMES.get(key, key), name, value.strip() if match else value))
    return headers


def _loose_request(start: str, headers: Named, body: bytes) -> SipRequest:
    """A request with a malformed first line, which gets 400."""
    words = start.split()
    method = words[0] if words else ""
    if not re.fullmatch(TOKEN, method) or len(words) < 2 or not headers:
        raise Discard("not SIP")
    version = words[-1] if re.fullmatch(r"SIP/[0-9]+\.[0-9]+", words[-1]) else "SIP/2.0"
    return SipRequest(headers, body, method, "", version)


def _screen_response(response: SipResponse) -> None:
    try:
        _ = response.via, response.cseq, response.tag("from"), response.tag("to")
    except ValueError as error:
        raise Discard(str(error)) from None
    try:
        for value in response.listed("record-route"):
            _check_address("record-route", value)
    except Rejection as refused:
        raise Discard(str(refused)) from None
    if not response.value("call-id"):
        raise Discard("response without Call-ID")


def _check_version(request: SipRequest) -> None:
    if request.version.upper() != "SIP/2.0":
        raise Rejection(505, "Version Not Supported")


def _check_headers(request: SipRequest) -> None:
    for name in _MANDATORY:
        if not request.value(name):
            raise Rejection(400, f"Missing {name.title()}")
    if name := request.repeated(_SINGLE):
        raise Rejection(400, f"More than one {name.title()}")
    try:
        for via in request.listed("via"):
            parse_via(via)
    except ValueError as error:
        raise Rejection(400, str(error)) from None
    for name, _, value in request.headers:
        if not name:
            raise Rejection(400, "Malformed header line")
        if "\r" in value:
            raise Rejection(400, f"Lone carriage return in {name.title()}")


def _check_numbers(request: SipRequest) -> None:
    try:
        method = request.cseq[1]
    except ValueError:
        raise Rejection(400, "Malformed CSeq") from None
    if method != request.method:
        raise Rejection(400, "CSeq method does not match")
    for name, limit in (("content-length", 2**31), ("max-forwards", 256), ("expires", 2**32)):
        value = request.value(name) or "0"
        if not (value.isascii() and value.isdigit()) or len(value) > 10 or int(value) >= limit:
            raise Rejection(400, f"Malformed {name.title()}")
    if int(request.value("content-length") or len(request.body)) > len(request.body):
        raise Rejection(400, "Body shorter than Content-Length")


def _check_addresses(request: SipRequest) -> None:
    if re.search(r"\s", request.value("call-id")):
        raise Rejection(400, "Malformed Call-Id")
    for name in ("from", "to", "contact", "record-route"):
        # From and To have one address each; their display names may have commas.
        for value in request.values(name) if name in ("from", "to") else request.listed(name):
            if name != "contact" or request.method != "REGISTER" or value != "*":
                _check_address(name, value)
    if request.method == "INVITE" and len(request.listed("contact")) != 1:
        raise Rejection(400, "INVITE needs one Contact")


def _check_address(name: str, value: str) -> None:
    try:
        uri = parse_uri(parse_name_addr(value).uri)
        if name in ("contact", "record-route") and not uri.host:
            raise ValueError("no host to send to")
    except ValueError as error:
        raise Rejection(400, f"{name.title()}: {error}") from None
    except LookupError as error:
        # From and To may have URIs of other schemes; Contact and Record-Route, to which requests are sent, may not.
        if name in ("contact", "record-route"):
            raise Rejection(400, f"{name.title()}: {error.args[0]}") from None


def _check_method(request: SipRequest) -> None:
    if request.method not in ALLOW:
        status, reason = (405, "Method Not Allowed") if request.method in KNOWN_METHODS else (501, "Not Implemented")
        raise Rejection(status, reason, (("Allow", ", ".join(ALLOW)),))


def _check_uri(request: SipRequest) -> None:
    try:
        parse_uri(request.uri)
    except ValueError:
        raise Rejection(400, "Malformed Request-URI") from None
    except LookupError:
        raise Rejection(416, "Unsupported URI Scheme") from None


def _check_hops(request: SipRequest) -> None:
    # Section 11: an OPTIONS without hops left may be answered; load balancers send such.
    if request.method != "OPTIONS" and (request.value("max-forwards") or "70").strip("0") == "":
        raise Rejection(483, "Too Many Hops")


def _check_extensions(request: SipRequest) -> None:
    if request.method == "CANCEL":
        return  # Section 8.2.2.3: Require is ignored there, and in an ACK.
    unknown = [tag for tag in request.listed("require") if tag.lower() not in SUPPORTED]
    if unknown:
        raise Rejection(420, "Bad Extension", (("Unsupported", ", ".join(unknown)),))


_RULES: tuple[Callable[[SipRequest], None], ...] = (
    _check_version,
    _check_headers,
    _check_numbers,
    _check_method,
    _check_addresses,
    _check_uri,
    _check_hops,
    _check_extensions,
)

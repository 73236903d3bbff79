"""Bodies of requests: the session description, and the digit in an INFO. Pure.

The session description is `application/sdp`, alone or as a part of a `multipart/mixed` body (RFC 5621). Other types are
refused, with the header that names the supported ones (RFC 3261 section 8.2.3). Other parts (a location, metadata of a
recorder) are ignored unless they are marked `handling=required`: RFC 3261 section 20.11 would refuse parts without a
mark too, which senders do not expect.
"""

import re
from base64 import b64decode
from quopri import decodestring

from trunkline.sdp.session import SessionDescription, parse
from trunkline.sdp.values import SdpError
from trunkline.sip.message.multipart import Part, media_type, parts
from trunkline.sip.message.validation import Rejection, SipMessage, SipRequest

ACCEPT = "application/sdp, multipart/mixed"
ACCEPT_INFO = "application/dtmf-relay, application/dtmf"
PART_LIMIT = 16
"""Parts of a multipart body."""
FOREIGN = ("application/isup", "application/qsig")
"""Signalling of the telephone network (RFC 3204), which does not describe the session: we are no gateway to that
network, and the SIP headers have what counts here. Ignored even if required."""

_INFO_TYPES = (
    "application/dtmf-relay",
    "application/dtmf",
    "application/vnd.nortelnetworks.digits",
    "audio/telephone-event",
)
_LINES = re.compile(r"[\r\n;]+")
_SIGNAL = re.compile(r"(?:Signal|d)\s*[=:]\s*(.*)", re.IGNORECASE)
"""The digit in dtmf-relay, and in Nortel's type."""
_OTHER = re.compile(r"[\w-]+\s*[=:]")
_KEYS = {str(event): key for event, key in enumerate("0123456789*#ABCD")} | {key: key for key in "*#ABCD"}
"""Also by the event numbers of RFC 4733 section 3.2; `16` and `!` are the hook flash, not a digit."""
_FLASH = ("16", "!")
_OPTIONAL = re.compile(r"handling\s*=\s*\"?optional", re.IGNORECASE)
_REQUIRED = re.compile(r"handling\s*=\s*\"?required", re.IGNORECASE)


def session_description(request: SipMessage) -> SessionDescription | None:
    """The session description; None without a body. Raises Rejection: 415 another type, 400 malformed SDP."""
    if not request.body.strip():
        return None
    if request.value("content-encoding").lower() not in ("", "identity"):
        raise Rejection(415, "Unsupported Media Type", (("Accept-Encoding", "identity"),))
    kind = media_type(request.value("content-type"))
    if kind.startswith("multipart/"):
        body = _sdp_part(request)
    elif kind == "application/sdp":
        body = request.body
    elif not kind:
        raise Rejection(400, "Missing Content-Type")
    elif kind in FOREIGN or _OPTIONAL.search(request.value("content-disposition")):
        return None
    else:
        raise Rejection(415, "Unsupported Media Type", (("Accept", ACCEPT),))
    try:
        return parse(body) if body is not None else None
    except SdpError as error:
        raise Rejection(400, str(error)) from None


def pressed_key(request: SipRequest) -> str | None:
    """The digit in an INFO: `Signal=5` among other lines (`application/dtmf-relay`) or alone (`application/dtmf`);
    devices mix the two up. None without a body (the keep-alive of RFC 2976) and for a hook flash. Raises Rejection: 469
    info package, 415 another type, 400 no digit."""
    if request.value("info-package"):
        raise Rejection(469, "Bad Info Package", (("Recv-Info", ""),))
    if not request.body.strip():
        return None
    if media_type(request.value("content-type")) not in _INFO_TYPES:
        raise Rejection(415, "Unsupported Media Type", (("Accept", ACCEPT_INFO),))
    key = _named(request.body.decode("latin-1"))
    if key in _FLASH:
        return None
    if key not in _KEYS:
        raise Rejection(400, "No Key In The Body")
    return _KEYS[key]


def _named(text: str) -> str:
    """The digit in a body, in capitals and without leading zeros; empty if there is none, or several."""
    lines = [line.strip(" \t\0") for line in _LINES.split(text)]
    found = [signal[1] for line in lines if (signal := _SIGNAL.fullmatch(line))]
    if not found:
        found = [line for line in lines if line and not _OTHER.match(line)]
    key = found[0].strip(" \t\"'").upper() if len(found) == 1 else ""
    return str(int(key)) if key.isascii() and key.isdigit() and len(key) <= 2 else key


def _sdp_part(request: SipMessage) -> bytes | None:
    try:
        found = parts(request.value("content-type"), request.body, PART_LIMIT)
        descriptions = [part for part in found if _is_description(part)]
        if any(_is_missed(part, beside=bool(descriptions)) for part in found):
            raise Rejection(415, "Unsupported Media Type", (("Accept", ACCEPT),))
        if not descriptions:
            return None
        # The last alternative is the best (RFC 2046 section 5.1.4).
        return _decoded(descriptions[-1 if descriptions[0].alternative else 0])
    except ValueError as error:
        raise Rejection(400, str(error).capitalize()) from None


def _is_description(part: Part) -> bool:
    """Whether a part describes the session; an early session (RFC 3959) is another one."""
    disposition = media_type(part.value("content-disposition"))
    return media_type(part.value("content-type")) == "application/sdp" and disposition != "early-session"


def _is_missed(part: Part, *, beside: bool) -> bool:
    """Whether a part that is not understood makes the request fail (415); `beside` a description or alone."""
    disposition = part.value("content-disposition")
    if _is_description(part) or media_type(part.value("content-type")) in FOREIGN or _OPTIONAL.search(disposition):
        return False
    if beside:
        return _REQUIRED.search(disposition) is not None and not part.alternative
    return media_type(disposition) != "by-reference"


def _decoded(part: Part) -> bytes:
    """Raises ValueError."""
    encoding = part.value("content-transfer-encoding").lower()
    if encoding == "base64":
        return b64decode(part.body)
    return decodestring(part.body) if encoding == "quoted-printable" else part.body

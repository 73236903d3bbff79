"""What requests carry: the session description, and the key press in an INFO. Pure.

`application/sdp` as it is, or the SDP part of a `multipart/mixed` body or one like it (RFC 5621); all else is refused,
with the header that says what would do (RFC 3261 section 8.2.3). What stands beside the SDP (a location, metadata of a
recorder) is passed over unless it is marked `handling=required`: RFC 3261 section 20.11 would have a part without a
mark refused too, which those who send such parts do not expect. None of it is read, so nobody is let in by it.
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
"""The telephone network's own signalling (RFC 3204), which comes along with ours and does not describe the session: we
are no gateway into that network, and what of it counts here stands in the SIP headers. Passed over even if required."""

_INFO_TYPES = (
    "application/dtmf-relay",
    "application/dtmf",
    "application/vnd.nortelnetworks.digits",
    "audio/telephone-event",
)
_LINES = re.compile(r"[\r\n;]+")
_SIGNAL = re.compile(r"(?:Signal|d)\s*[=:]\s*(.*)", re.IGNORECASE)
"""As dtmf-relay names the key, and the type of Nortel's."""
_OTHER = re.compile(r"[\w-]+\s*[=:]")
_KEYS = {str(event): key for event, key in enumerate("0123456789*#ABCD")} | {key: key for key in "*#ABCD"}
"""Also by the event numbers of RFC 4733 section 3.2; `16` and `!` are the hook flash, which is no key."""
_FLASH = ("16", "!")
_OPTIONAL = re.compile(r"handling\s*=\s*\"?optional", re.IGNORECASE)
_REQUIRED = re.compile(r"handling\s*=\s*\"?required", re.IGNORECASE)


def session_description(request: SipMessage) -> SessionDescription | None:
    """The description, None when there is no body. Raises Refused: 415 for another type, 400 for broken SDP."""
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
    """The key in an INFO, as `application/dtmf-relay` has it (`Signal=5`, among other lines) or bare, as
    `application/dtmf` has it; devices take either for either. None for an INFO without a body (RFC 2976's keep-alive)
    and for a hook flash. Raises Refused: 469 for an info package, 415 for another type, 400 for what is no key."""
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
    """The key that a body names, in capitals and without leading zeros; empty when it names none, or several."""
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
        # Of alternatives the last is the best (RFC 2046 section 5.1.4).
        return _decoded(descriptions[-1 if descriptions[0].alternative else 0])
    except ValueError as error:
        raise Rejection(400, str(error).capitalize()) from None


def _is_description(part: Part) -> bool:
    """Of the session itself: an early one (RFC 3959) is another's."""
    disposition = media_type(part.value("content-disposition"))
    return media_type(part.value("content-type")) == "application/sdp" and disposition != "early-session"


def _is_missed(part: Part, *, beside: bool) -> bool:
    """Whether who sent a part, `beside` a description or alone, must be told that we make nothing of it."""
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

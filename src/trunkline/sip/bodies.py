"""What requests carry: the session description, and the key press in an INFO. Pure.

`application/sdp` as it is, or the one SDP part of a `multipart/mixed` body (RFC 5621); all else is refused, with the
header that says what would do (RFC 3261 section 8.2.3). Parts marked `handling=optional` may be anything.
"""

import re

from trunkline.sdp.session import SessionDescription, parse
from trunkline.sdp.values import SdpError
from trunkline.sip.screen import Message, Refused, Request

ACCEPT = "application/sdp, multipart/mixed"
ACCEPT_INFO = "application/dtmf-relay, application/dtmf"
PART_LIMIT = 16
"""Parts of a multipart body."""

_BOUNDARY = re.compile(r";\s*boundary\s*=\s*(?:\"(?P<quoted>[^\"]{1,70})\"|(?P<bare>[^\s;\"]{1,70}))", re.IGNORECASE)
_PART_HEADER = re.compile(rb"^([a-z-]+)[ \t]*:[ \t]*(.*?)\r?$", re.MULTILINE)
_SIGNAL = re.compile(r"\s*Signal\s*=\s*([0-9]{1,2}|[*#A-D!])\s*(?:\r?\n|$)", re.IGNORECASE)
_KEY = re.compile(r"\s*([0-9]{1,2}|[*#A-D!])\s*", re.IGNORECASE)
_KEYS = {**{key: key for key in "0123456789*#ABCD"}, "10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}
"""Also by the event numbers of RFC 4733 section 3.2; `16` and `!` are the hook flash, which is no key."""
_FLASH = ("16", "!")
_OPTIONAL = re.compile(r"handling\s*=\s*\"?optional", re.IGNORECASE)


def session_description(request: Message) -> SessionDescription | None:
    """The description, None when there is no body. Raises Refused: 415 for another type, 400 for broken SDP."""
    if not request.body.strip():
        return None
    if request.value("content-encoding").lower() not in ("", "identity"):
        raise Refused(415, "Unsupported Media Type", (("Accept-Encoding", "identity"),))
    media_type = _media_type(request.value("content-type"))
    if media_type == "multipart/mixed":
        body = _sdp_part(request)
    elif media_type == "application/sdp":
        body = request.body
    elif not media_type:
        raise Refused(400, "Missing Content-Type")
    elif _OPTIONAL.search(request.value("content-disposition")):
        return None
    else:
        raise Refused(415, "Unsupported Media Type", (("Accept", ACCEPT),))
    try:
        return parse(body) if body is not None else None
    except SdpError as error:
        raise Refused(400, str(error)) from None


def pressed_key(request: Request) -> str | None:
    """The key in an INFO, as `application/dtmf-relay` (`Signal=5`) or bare as `application/dtmf` have it; None for an
    INFO without a body (RFC 2976's keep-alive) and for a hook flash. Raises Refused: 469 for an info package, 415 for
    another type, 400 for what is no key."""
    if request.value("info-package"):
        raise Refused(469, "Bad Info Package", (("Recv-Info", ""),))
    if not request.body.strip():
        return None
    pattern = {"application/dtmf-relay": _SIGNAL, "application/dtmf": _KEY}.get(
        _media_type(request.value("content-type"))
    )
    if pattern is None:
        raise Refused(415, "Unsupported Media Type", (("Accept", ACCEPT_INFO),))
    text = request.body.decode("latin-1")
    found = pattern.match(text) if pattern is _SIGNAL else pattern.fullmatch(text)
    key = found[1].upper() if found else ""
    if key in _FLASH:
        return None
    if key not in _KEYS:
        raise Refused(400, "No Key In The Body")
    return _KEYS[key]


def _sdp_part(request: Message) -> bytes | None:
    found = None
    for head, body in _parts(request):
        fields = dict(_PART_HEADER.findall(head.lower()))
        if _media_type(fields.get(b"content-type", b"").decode("latin-1")) == "application/sdp":
            found = found or body
        elif not _OPTIONAL.search(fields.get(b"content-disposition", b"").decode("latin-1")):
            raise Refused(415, "Unsupported Media Type", (("Accept", ACCEPT),))
    return found


def _parts(request: Message) -> list[tuple[bytes, bytes]]:
    """Head and body of each part (RFC 2046 section 5.1.1). Nested multiparts are not taken apart."""
    boundary = _BOUNDARY.search(request.value("content-type"))
    if boundary is None:
        raise Refused(400, "multipart body without boundary")
    pieces = (b"\r\n" + request.body).split(b"\r\n--" + (boundary["quoted"] or boundary["bare"]).encode())
    if not 3 <= len(pieces) <= PART_LIMIT + 2 or not pieces[-1].startswith(b"--"):
        raise Refused(400, "Malformed multipart body")
    parts = []
    for piece in pieces[1:-1]:
        # The boundary's own line end, then the head, which may be empty, then an empty line.
        head, empty_line, body = piece.partition(b"\r\n\r\n")
        if not empty_line:
            raise Refused(400, "Malformed multipart body")
        parts.append((head, body))
    return parts


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()

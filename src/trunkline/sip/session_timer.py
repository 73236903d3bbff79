"""Negotiation of session timers (RFC 4028). Pure; `refresh.py` acts on the result.

A session that is not refreshed within its interval has lost its peer, and both sides end it. Each INVITE or UPDATE and
its 2xx agree on the side that refreshes, by `refresher=uac` or `uas`, which are roles in that one transaction.
"""

import re
from dataclasses import dataclass

from trunkline.sip.message.validation import ChallengeRejection, Headers, Rejection, SipMessage, SipRequest, SipResponse

_SESSION_EXPIRES = re.compile(r"([0-9]{1,9})\s*(?:;.*)?", re.DOTALL)
_REFRESHER = re.compile(r";\s*refresher\s*=\s*(uac|uas)\s*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """The agreed session timer."""

    interval: int
    """Seconds after the last refresh at which the session expires."""
    we_refresh: bool
    """We refresh; else the peer."""

    @property
    def refresh_after(self) -> float:
        """Seconds until the next refresh (section 7.2)."""
        return self.interval / 2

    @property
    def expire_after(self) -> float:
        """Seconds until BYE without a refresh: somewhat before the session expires (section 10)."""
        return self.interval - min(32, self.interval / 3)


def request_headers(interval: int, min_se: int, *, we_refresh: bool = False) -> Headers:
    """Headers of our request; an `interval` of 0 asks for no session timer. `we_refresh` asks for `refresher=uac`; else
    the peer chooses the refresher (section 7.1)."""
    if not interval:
        return ()
    return ("Session-Expires", f"{interval};refresher=uac" if we_refresh else str(interval)), ("Min-SE", str(min_se))


def negotiate_uac(response: SipResponse, min_se: int) -> SessionTimer | None:
    """The session timer of a 2xx to our request; None: the session does not expire."""
    found = _session_expires(response)
    return None if found is None else SessionTimer(max(found[0], min_se), found[1] != "uas")


def negotiate_uas(request: SipRequest, interval: int, min_se: int) -> tuple[SessionTimer | None, Headers]:
    """The session timer for a request of the peer, and the headers of our 2xx (section 9). `interval` is ours if the
    request has none; 0: no timer. Raises Rejection: 422 if the interval of the request is too small."""
    supported = "timer" in (tag.lower() for tag in request.listed("supported") + request.listed("require"))
    asked = _session_expires(request)
    if asked is None and request.value("session-expires"):
        raise Rejection(400, "Malformed Session-Expires")
    if asked is not None:
        seconds, refresher = asked
        if seconds < min_se and supported:
            raise ChallengeRejection(422, "Session Interval Too Small", (("Min-SE", str(min_se)),))
    elif supported and interval:
        seconds, refresher = max(interval, min_se_of(request)), "uac"
    else:
        return None, ()
    if not supported:
        refresher = "uas"  # A proxy has asked for it, the peer does not support it (section 9, table 2).
    refresher = refresher or "uac"
    headers: Headers = (("Session-Expires", f"{seconds};refresher={refresher}"),)
    if refresher == "uac":
        headers += (("Require", "timer"),)
    return SessionTimer(max(seconds, min_se), refresher == "uas"), headers


def min_se_of(message: SipMessage) -> int:
    """Min-SE of a message; 0 without one."""
    match = _SESSION_EXPIRES.fullmatch(message.value("min-se"))
    return int(match[1]) if match else 0


def _session_expires(message: SipMessage) -> tuple[int, str] | None:
    value = message.value("session-expires")
    match = _SESSION_EXPIRES.fullmatch(value)
    if match is None:
        return None
    refresher = _REFRESHER.search(value)
    return int(match[1]), refresher[1].lower() if refresher else ""

"""Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3). Pure.

A request matches its server transaction by branch, sent-by and method and, since some devices reuse branches, by From
tag, Call-ID and CSeq number; a request from before RFC 3261 by its whole top Via instead of the branch. The ACK to a
2xx, a transaction of its own, matches its INVITE by From tag, Call-ID, CSeq number and To tag.
"""

from ipaddress import ip_address

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import is_address
from trunkline.sip.message.validation import SipRequest

MAGIC_COOKIE = "z9hG4bK"
"""Begins the branches of RFC 3261 (section 8.1.1.7)."""

Key = tuple[str, ...]


def server_key(request: SipRequest, method: str | None = None) -> Key:
    """Identifies a request's server transaction. `method` replaces the request's own: INVITE for a CANCEL."""
    named = method or ("INVITE" if request.method == "ACK" else request.method)
    via = request.via
    branch = via.params.get("branch", "").lower()
    if branch.startswith(MAGIC_COOKIE.lower()):
        return branch, via.host.lower(), str(via.port or ""), *ack_key(request), named
    return "", request.listed("via")[0], *ack_key(request), named


def ack_key(request: SipRequest) -> Key:
    """Identifies an INVITE for the ACK to its 2xx."""
    return request.value("call-id"), request.tag("from"), str(request.cseq[0])


def same_address(one: Endpoint, other: Endpoint) -> bool:
    """Whether two endpoints are one address and port, in whatever spelling."""
    return one.port == other.port and _normalized(one.host) == _normalized(other.host)


def _normalized(host: str) -> str:
    host = host.strip("[]").lower()
    return str(ip_address(host)) if is_address(host) else host

"""What the SIP room tells and takes: one file of values. No SIP library type ever leaves the room.

Facts (we -> the composition root, through one callback) and actions (the other way, `SipEndpoint.perform`). A dialog
is known by a `DialogId` from its INVITE to its end; after `DialogEnded` the id is dead and actions on it are ignored.
"""

from dataclasses import dataclass, field
from typing import Literal, NewType

from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Endpoint

DialogId = NewType("DialogId", int)


@dataclass(frozen=True, slots=True)
class InviteReceived:
    """A new INVITE transaction outside any dialog. 100 Trying has been sent."""

    dialog: DialogId
    from_uri: str
    from_user: str
    """User part of the From URI (`+15551234`), or the host when there is none."""
    from_name: str
    """Display name, empty when absent."""
    to_uri: str
    to_user: str
    """User part of the Request-URI, or the host when there is none."""
    offer: SessionDescription | None
    """None: a late offer; ours goes into the 200 (RFC 3261 section 13.2.1)."""
    headers: tuple[tuple[str, str], ...]
    """`X-` headers of the INVITE, names as they came."""
    source: Endpoint
    transport: str
    """`udp` or `tcp`."""
    call_id: str


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The 200 to the INVITE, or to a re-INVITE, was confirmed."""

    dialog: DialogId
    answer: SessionDescription | None
    """The answer to our late offer, if there was one."""


@dataclass(frozen=True, slots=True)
class ReinviteReceived:
    """A re-INVITE. It waits for `AcceptReinvite` or `RejectReinvite`."""

    dialog: DialogId
    offer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class DialogEnded:
    """The dialog is over and not by our wish. Told exactly once, and never after our own `Hangup` or `Reject`."""

    dialog: DialogId
    cause: Literal["bye", "cancel", "no-ack", "error"]
    """`bye`, `cancel`, `no-ack` (our 200 was never confirmed), `error` (transport failure, broken peer)."""
    detail: str
    """For people: the Reason header, or what went wrong."""


@dataclass(frozen=True, slots=True)
class DigitReceived:
    """A key press told by INFO."""

    dialog: DialogId
    digit: str
    """`0`-`9`, `*`, `#`, `A`-`D`."""


SipEvent = InviteReceived | AckReceived | ReinviteReceived | DialogEnded | DigitReceived


@dataclass(frozen=True, slots=True)
class Ring:
    """Send 180 Ringing."""

    dialog: DialogId


@dataclass(frozen=True, slots=True)
class Answer:
    """Send 200 OK with an SDP body and extra headers."""

    dialog: DialogId
    sdp: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """Send a final failure to the INVITE; `warning` becomes `Warning: 399 <host> "…"` (RFC 3261 section 20.43)."""

    dialog: DialogId
    status: int
    reason: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class AcceptReinvite:
    """Send 200 OK to the pending re-INVITE."""

    dialog: DialogId
    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RejectReinvite:
    """Send a final failure to the pending re-INVITE; the dialog goes on as it was (RFC 3261 section 14.2)."""

    dialog: DialogId
    status: int
    reason: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Hangup:
    """Send BYE, with `Reason: SIP;cause=…;text="…"` (RFC 3326) when given. The dialog is dead from here on."""

    dialog: DialogId
    reason: str | None = None


SipAction = Ring | Answer | Reject | AcceptReinvite | RejectReinvite | Hangup

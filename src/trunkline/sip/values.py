"""What the SIP room tells and takes: one file of values.

Facts (we -> the composition root, through one callback) and actions (the other way, `SipEndpoint.perform`). A dialog
is known by a `DialogId` from its INVITE to its end; after `DialogEnded` the id is dead and actions on it are ignored.
"""

from dataclasses import dataclass, field
from typing import Literal, NewType

from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Endpoint

DialogId = NewType("DialogId", int)


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Origin of a call. Both None: an unknown caller that `sip.unknown_callers` admits."""

    trunk: str | None = None
    """Name of the trunk that the call came by."""
    phone: str | None = None
    """User of the phone that calls."""


@dataclass(frozen=True, slots=True)
class InviteReceived:
    """A new INVITE transaction outside any dialog. 100 Trying has been sent."""

    dialog: DialogId
    from_uri: str
    from_user: str
    """User part of the From URI (`+15551234`), a number without separators, or the host when there is none."""
    from_name: str
    """Display name, empty when absent."""
    to_uri: str
    to_user: str
    """User part of the Request-URI, a number without separators, or the host when there is none; of a trunk's call
    what the trunk's `called_number` says."""
    offer: SessionDescription | None
    """None: a late offer; ours goes into the 200 (RFC 3261 section 13.2.1)."""
    headers: tuple[tuple[str, str], ...]
    """`X-` headers of the INVITE, `Diversion` and `P-Asserted-Identity`, names as they came."""
    source: Endpoint
    transport: str
    """`udp` or `tcp`."""
    call_id: str
    trunk: str | None = None
    """Name of the trunk that the call came by."""
    phone: str | None = None
    """User of the phone that calls."""
    called_party: str = ""
    """URI in P-Called-Party-ID (RFC 7315 section 4.2), empty when absent."""


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The 200 to the INVITE, or to a re-INVITE, was confirmed, or that to a re-INVITE is not awaited any more."""

    dialog: DialogId
    answer: SessionDescription | None
    """The answer to our late offer, if there was one."""


@dataclass(frozen=True, slots=True)
class ReinviteReceived:
    """A re-INVITE, or an UPDATE with an offer. It waits for `AcceptReinvite` or `RejectReinvite`."""

    dialog: DialogId
    offer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class ReinviteCancelled:
    """It waits no more: it was cancelled, or refused as it had waited too long. The dialog goes on as it was."""

    dialog: DialogId


@dataclass(frozen=True, slots=True)
class SessionRefreshed:
    """The peer answered our last description, which a re-INVITE of ours sent again to keep the session alive."""

    dialog: DialogId
    answer: SessionDescription


@dataclass(frozen=True, slots=True)
class DialogEnded:
    """The dialog is over and not by our wish. Told exactly once, and never after our own `EndDialog` or
    `RejectInvite`."""

    dialog: DialogId
    cause: Literal["bye", "cancel", "no-ack", "error"]
    """`bye`, `cancel`, `no-ack` (our 200 was never confirmed), `error` (transport failure, broken peer)."""
    detail: str
    """For people: the Reason header, or what went wrong."""


@dataclass(frozen=True, slots=True)
class InfoDigitReceived:
    """A key press told by INFO."""

    dialog: DialogId
    digit: str
    """`0`-`9`, `*`, `#`, `A`-`D`."""


@dataclass(frozen=True, slots=True)
class InviteProgressed:
    """A provisional response to our INVITE (180, 183, …), with early media if it has an SDP body; 100 tells that the
    INVITE has reached a server."""

    dialog: DialogId
    status: int
    reason: str
    answer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class InviteAccepted:
    """A 2xx to our INVITE; the ACK has been sent. Who cannot use the answer hangs up."""

    dialog: DialogId
    answer: SessionDescription | None
    """None: it came in a reliable provisional response already (RFC 3262), or there is none."""


@dataclass(frozen=True, slots=True)
class InviteRefused:
    """A final failure to our INVITE, after every target, redirection and challenge that was open to us. The dialog is
    dead; told instead of `DialogEnded`, and never after our own `EndDialog`."""

    dialog: DialogId
    status: int
    """The response's; 408 when no answer came at all, 503 when the peer cannot be reached."""
    reason: str
    detail: str
    """For people: who refused, with the Reason or Warning header, or what went wrong on the way."""
    responded: bool = True
    """A response of the peer's, or of a server's on the way, says so; False: we do, as nobody was reached."""
    unreachable: bool = False
    """Nothing at the callee's address has taken our INVITE, nor refused it."""


SipEvent = (
    InviteReceived
    | AckReceived
    | ReinviteReceived
    | ReinviteCancelled
    | SessionRefreshed
    | DialogEnded
    | InfoDigitReceived
    | InviteProgressed
    | InviteAccepted
    | InviteRefused
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What answers a digest challenge (RFC 8760)."""

    username: str
    password: str = field(repr=False)
    realm: str | None = None
    """The only one whose challenges it answers; None: any."""


@dataclass(frozen=True, slots=True)
class SendInvite:
    """Place a call. Answered by any number of `InviteProgressed` and then `InviteAccepted` or `InviteRefused`;
    `EndDialog` before that cancels. The id is a fresh one from `SipEndpoint.new_dialog`."""

    dialog: DialogId
    route: Literal["trunk", "phone", "uri"]
    name: str
    """Of the trunk or the phone; empty for `uri`."""
    to: str
    """User part to call through a trunk (`+15551234`); the whole SIP URI for `uri`; not used for a phone, which is
    called at the contact that it registered."""
    from_user: str
    from_name: str
    """Display name, empty for none."""
    sdp: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    credentials: Credentials | None = None
    """Instead of the trunk's own."""


@dataclass(frozen=True, slots=True)
class SendRinging:
    """Send 180 Ringing."""

    dialog: DialogId


@dataclass(frozen=True, slots=True)
class AcceptInvite:
    """Send 200 OK with an SDP body and extra headers."""

    dialog: DialogId
    sdp: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RejectInvite:
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
class EndDialog:
    """Send BYE, with `Reason: SIP;cause=…;text="…"` (RFC 3326) when a reason is given; CANCEL where our INVITE is not
    answered yet. The dialog is dead from here on."""

    dialog: DialogId
    reason: str | None = None
    cause: int = 200


SipAction = SendInvite | SendRinging | AcceptInvite | RejectInvite | AcceptReinvite | RejectReinvite | EndDialog


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target of a trunk."""

    uri: str
    endpoint: Endpoint
    up: bool


@dataclass(frozen=True, slots=True)
class TrunkStatus:
    """How a trunk is."""

    name: str
    registered: bool | None
    """None where we do not register."""
    targets: tuple[TargetStatus, ...]

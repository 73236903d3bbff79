"""Events and actions of the SIP room, as the application sees them: values only.

Events go to the application through the `on_event` of `SipEndpoint`, actions come by `SipEndpoint.perform`. A
`DialogId` identifies a dialog from its INVITE to its end; after `DialogEnded` actions on it have no effect.
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
    """User part of the From URI (`+15551234`), a number without separators; without a user part the host."""
    from_name: str
    """Display name, empty when absent."""
    to_uri: str
    to_user: str
    """User part of the Request-URI, a number without separators; without a user part the host. For a trunk as its
    `called_number` says."""
    offer: SessionDescription | None
    """None: the INVITE has none, and our 200 must have the offer (RFC 3261 section 13.2.1)."""
    headers: tuple[tuple[str, str], ...]
    """`X-` headers of the INVITE, `Diversion` and `P-Asserted-Identity`, with their names as received."""
    source: Endpoint
    transport: str
    """`udp`, `tcp` or `tls`."""
    call_id: str
    trunk: str | None = None
    """Name of the trunk that the call came by."""
    phone: str | None = None
    """User of the phone that calls."""
    called_party: str = ""
    """URI in P-Called-Party-ID (RFC 7315 section 4.2), empty if absent."""


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The 200 to the INVITE or to a re-INVITE has its ACK, or the ACK to a re-INVITE has not come in time."""

    dialog: DialogId
    answer: SessionDescription | None
    """The answer to the offer in our 200, if it had one."""


@dataclass(frozen=True, slots=True)
class ReinviteReceived:
    """A re-INVITE, or an UPDATE with an offer; `AcceptReinvite` or `RejectReinvite` answers it."""

    dialog: DialogId
    offer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class ReinviteCancelled:
    """The pending re-INVITE was cancelled, or refused as it was not answered in time. The dialog goes on unchanged."""

    dialog: DialogId


@dataclass(frozen=True, slots=True)
class SessionRefreshed:
    """The answer to a session refresh by re-INVITE, which has sent our last description again (RFC 4028)."""

    dialog: DialogId
    answer: SessionDescription


@dataclass(frozen=True, slots=True)
class DialogEnded:
    """The peer has ended the dialog, or it could not go on. Exactly once, and never after `EndDialog` or
    `RejectInvite`."""

    dialog: DialogId
    cause: Literal["bye", "cancel", "no-ack", "error"]
    """`bye`, `cancel`, `no-ack` (our 200 has had no ACK), `error` (transport failure, no response)."""
    detail: str
    """For people: the Reason header, or the error."""


@dataclass(frozen=True, slots=True)
class DialogMoved:
    """The peer is reached in another way than when `SipEndpoint.saved_dialog` was called last."""

    dialog: DialogId


@dataclass(frozen=True, slots=True)
class InfoDigitReceived:
    """A digit in an INFO."""

    dialog: DialogId
    digit: str
    """`0`-`9`, `*`, `#`, `A`-`D`."""


@dataclass(frozen=True, slots=True)
class InviteProgressed:
    """A provisional response to our INVITE (180, 183, …), with early media if it has an SDP body; after 100 the INVITE
    has reached a server."""

    dialog: DialogId
    status: int
    reason: str
    answer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class InviteAccepted:
    """A 2xx to our INVITE; the ACK has been sent. An answer that cannot be used needs an `EndDialog`."""

    dialog: DialogId
    answer: SessionDescription | None
    """None: it was in a reliable provisional response (RFC 3262), or there is none."""


@dataclass(frozen=True, slots=True)
class InviteRefused:
    """The final failure of our INVITE, after all targets, redirections and challenges. The dialog has ended, without
    `DialogEnded`; never after `EndDialog`."""

    dialog: DialogId
    status: int
    """Of the response; 408 if there was none, 503 if the peer cannot be reached."""
    reason: str
    detail: str
    """For people: the address that has refused, with the Reason or Warning header, or the error."""
    responded: bool = True
    """The status is of a response; False: it is our own, without a response."""
    unreachable: bool = False
    """There was no response at all from the last target."""


SipEvent = (
    InviteReceived
    | AckReceived
    | ReinviteReceived
    | ReinviteCancelled
    | SessionRefreshed
    | DialogEnded
    | DialogMoved
    | InfoDigitReceived
    | InviteProgressed
    | InviteAccepted
    | InviteRefused
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password for digest challenges (RFC 8760)."""

    username: str
    password: str = field(repr=False)
    realm: str | None = None
    """The only realm whose challenges they answer; None: any."""


@dataclass(frozen=True, slots=True)
class SendInvite:
    """Place a call. Any number of `InviteProgressed` follow, then `InviteAccepted` or `InviteRefused`; `EndDialog`
    before that sends CANCEL. The id is a new one of `SipEndpoint.new_dialog`."""

    dialog: DialogId
    route: Literal["trunk", "phone", "uri"]
    name: str
    """Of the trunk or the phone; empty for `uri`."""
    to: str
    """User part for a trunk (`+15551234`), the SIP URI for `uri`; not used for a phone, which is called at its
    contacts."""
    from_user: str
    from_name: str
    """Display name, empty for none."""
    sdp: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    credentials: Credentials | None = None
    """Instead of those of the trunk."""
    restricted: bool = False
    """Only for `uri`: to a trunk's address only what its `dial_prefixes` allow, unless the trunk is `name`."""


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
    retry_after: int | None = None
    """Seconds; None: a 503 has a time of its own, other statuses none."""


@dataclass(frozen=True, slots=True)
class AcceptReinvite:
    """Send 200 OK to the pending re-INVITE."""

    dialog: DialogId
    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RejectReinvite:
    """Send a final failure to the pending re-INVITE; the dialog goes on unchanged (RFC 3261 section 14.2)."""

    dialog: DialogId
    status: int
    reason: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class EndDialog:
    """Send BYE, or CANCEL if our INVITE is not answered yet, with `Reason: SIP;cause=…;text="…"` (RFC 3326) if a reason
    is given. The dialog ends at once."""

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
    """State of a trunk."""

    name: str
    registered: bool | None
    """None: we do not register."""
    targets: tuple[TargetStatus, ...]

"""Events of the SIP core, from the lower layer to the upper: frozen values, drained after each input and each timer.

The transaction layer reports to the user agent, the user agent and the trunks report to the endpoint. Events for the
application are in `values.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.sip.client_transaction import ClientTransaction
from trunkline.sip.message.validation import SipRequest, SipResponse
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.targets import Target
from trunkline.sip.values import SendInvite, SipEvent

CallKey = tuple[str, str]
"""Call-ID and our tag of a call that we place."""


@dataclass(frozen=True, slots=True)
class InviteCancelled:
    """An INVITE that was not answered got its CANCEL, or expired; 487 has been sent."""

    transaction: ServerTransaction
    """Of the INVITE."""
    cancel: SipRequest | None
    """The CANCEL; None: it expired (RFC 3261 section 13.3.1)."""


@dataclass(frozen=True, slots=True)
class SuccessAcknowledged:
    """The ACK to our 2xx has come."""

    transaction: ServerTransaction
    """Of the INVITE."""
    ack: SipRequest
    """The ACK, which may have the answer to our offer."""


@dataclass(frozen=True, slots=True)
class SuccessNotAcknowledged:
    """No ACK to our 2xx within 64*T1 (RFC 3261 section 13.3.1.4)."""

    transaction: ServerTransaction
    """Of the INVITE."""


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A response to a request of ours."""

    transaction: ClientTransaction
    """Of the request; its `user` says what it was for."""
    response: SipResponse
    """Without headers it is our own: 408 for none in time, 503 when the flow failed."""


TransactionEvent = InviteCancelled | SuccessAcknowledged | SuccessNotAcknowledged | ResponseReceived


@dataclass(frozen=True, slots=True)
class TargetsRequired:
    """A call needs its targets: `UserAgentCore.targets_found` takes them, once."""

    call: CallKey
    """The call."""
    invite: SendInvite
    """Where it goes; after a redirection with the URI of the Contact."""


@dataclass(frozen=True, slots=True)
class TargetTried:
    """A target has answered a call, or has not in time."""

    target: Target
    """The target."""
    answered: bool
    """There was a response."""


@dataclass(frozen=True, slots=True)
class OutOfDialogResponse:
    """A response to a request that the user agent has not sent: OPTIONS or REGISTER of a trunk."""

    transaction: ClientTransaction
    """Of the request."""
    response: SipResponse
    """As in `ResponseReceived`."""


CoreEvent = TargetsRequired | TargetTried | OutOfDialogResponse | SipEvent


@dataclass(frozen=True, slots=True)
class TrunkChanged:
    """A trunk's state has changed."""

    trunk: str
    """Its name."""
    change: str
    """`target_up`, `target_down`, `registered` or `registration_failed`."""
    target: str
    """Address of the target."""
    reason: str
    """Why it is down or not registered; empty otherwise."""


@dataclass(frozen=True, slots=True)
class TrunkLookupRequired:
    """A trunk begins: its targets are to be looked up, and again whenever DNS says; `Trunks.found` takes them."""

    trunk: str
    """Its name."""
    targets: Sequence[Target]
    """As they are configured."""


@dataclass(frozen=True, slots=True)
class TrunkLookupObsolete:
    """A trunk has gone or changed: its targets are not to be looked up any more."""

    trunk: str
    """Its name."""


TrunkEvent = TrunkChanged | TrunkLookupRequired | TrunkLookupObsolete

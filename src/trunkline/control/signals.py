"""What SIP says of a call as facts for the model, and effects of the model as actions of SIP. Pure.

A row for each event and effect that differs in nothing but its type and the dialog's number; the runner has the others.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from trunkline.calls import effects, events
from trunkline.sip import values as sip

_FACTS: dict[type, Callable[[Any], events.Fact]] = {
    sip.AckReceived: lambda event: events.Confirmed(event.answer),
    sip.ReinviteReceived: lambda event: events.OfferReceived(event.offer),
    sip.ReinviteCancelled: lambda _event: events.ReofferCancelled(),
    sip.SessionRefreshed: lambda event: events.Refreshed(event.answer),
    sip.InfoDigitReceived: lambda event: events.DigitReceived(event.digit),
    sip.InviteProgressed: lambda event: events.Progressed(event.status, event.answer),
    sip.InviteAccepted: lambda event: events.Accepted(event.answer),
    sip.InviteRefused: lambda event: events.Refused(
        event.status, event.reason, event.detail, event.responded, event.unreachable
    ),
    sip.DialogEnded: lambda event: events.PeerEnded(event.cause, event.detail),
}

_ACTIONS: dict[type, Callable[..., sip.SipAction]] = {
    effects.RingCaller: sip.SendRinging,
    effects.RejectCaller: sip.RejectInvite,
    effects.AcceptReoffer: sip.AcceptReinvite,
    effects.RejectReoffer: sip.RejectReinvite,
    effects.HangUpPeer: sip.EndDialog,
}


def fact_of(event: sip.SipEvent) -> events.Fact:
    """What an event of a call's dialog means to the call."""
    return _FACTS[type(event)](event)


def action_of(effect: Any, dialog: sip.DialogId) -> sip.SipAction:
    """What SIP has to do for an effect that has a row here, with the same fields."""
    fields = {field.name: getattr(effect, field.name) for field in dataclasses.fields(effect)}
    return _ACTIONS[type(effect)](dialog, **fields)

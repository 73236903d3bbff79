"""The tables between the model and SIP."""

from typing import get_args

from trunkline.calls import effects, events
from trunkline.control import signals
from trunkline.sip import values as sip

OF_THE_RUNNER = {sip.InviteReceived, sip.DialogMoved}
"""Events that begin a call, or change none."""


def test_each_event_of_a_dialog_is_a_fact() -> None:
    assert set(signals._FACTS) == set(get_args(sip.SipEvent)) - OF_THE_RUNNER
    assert signals.fact_of(sip.InfoDigitReceived(sip.DialogId(3), "5")) == events.DigitReceived("5")
    assert signals.fact_of(sip.DialogEnded(sip.DialogId(3), "bye", "why")) == events.PeerEnded("bye", "why")


def test_an_effect_becomes_the_action_with_its_fields() -> None:
    effect = effects.RejectReoffer(488, "Not Acceptable Here")
    assert signals.action_of(effect, sip.DialogId(3)) == sip.RejectReinvite(sip.DialogId(3), 488, "Not Acceptable Here")
    assert signals.action_of(effects.RingCaller(), sip.DialogId(4)) == sip.SendRinging(sip.DialogId(4))

"""Encrypted calls in the model: what the setting refuses, whose keys go where, what a re-INVITE changes."""

from base64 import b64encode
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

import pytest

from trunkline.calls import effects, events
from trunkline.calls.call import Call, CallRules
from trunkline.calls.views import CallView
from trunkline.ids import AccountSid, CallSessionId, CallSid
from trunkline.sdp import session
from trunkline.sdp.crypto import SUITES, Crypto, SrtpRule, parse
from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Endpoint, SrtpKeys
from trunkline.workers import orders, reports

T0 = datetime(2025, 6, 5, 8, 54, 19, tzinfo=UTC)
OPENED = reports.LegOpened(Endpoint("127.0.0.1", 20000))
FIRST, SECOND = bytes(range(30)), bytes(range(30, 60))
Some = TypeVar("Some", bound=effects.Effect)


def sdp(*media: str) -> SessionDescription:
    head = ["v=0", "o=- 1 1 IN IP4 192.0.2.7", "s=-", "c=IN IP4 192.0.2.7", "t=0 0"]
    return session.parse("\r\n".join([*head, *media, ""]).encode())


def encrypted(key: bytes = FIRST, *extra: str, suite: str = SUITES[0], tag: int = 4) -> SessionDescription:
    line = f"a=crypto:{tag} {suite} inline:{b64encode(key).decode()}"
    return sdp("m=audio 4000 RTP/SAVP 0", line, *extra)


PLAIN = sdp("m=audio 4000 RTP/AVP 0")


def updated(order: orders.UpdateLeg) -> reports.LegUpdated:
    return reports.LegUpdated(order.number)


def new_call(rule: SrtpRule, seed: int = 1) -> Call:
    view = CallView(
        sid=CallSid("v3:x"),
        account_sid=AccountSid("a"),
        session_id=CallSessionId("c"),
        direction="inbound",
        from_="+15550001111",
        to="+15550002222",
        caller_name="",
        status="ringing",
        created_at=T0,
        updated_at=T0,
    )
    return Call(view, CallRules(srtp=rule), sdp_session=1, random=Random(seed).randbytes)


def feed(call: Call, *inputs: events.Fact) -> list[effects.Effect]:
    """The effects of the last input, where the store takes each record at once."""
    out: list[effects.Effect] = []
    for what in inputs:
        out = call.handle(what, T0)
        recorded = [effect.then for effect in out if isinstance(effect, effects.Persist) and effect.then]
        out += [effect for fact in recorded for effect in call.handle(fact, T0)]
    return out


def only(kind: type[Some], out: list[effects.Effect]) -> Some:
    (found,) = [effect for effect in out if isinstance(effect, kind)]
    return found


def lines(text: str) -> list[Crypto]:
    (media,) = session.parse(text.encode()).media
    return [parse(value) for name, value in media.attributes if name == "crypto"]


def up(rule: SrtpRule, offer: SessionDescription) -> tuple[Call, SrtpKeys]:
    """A call that is up, and its keys as the leg has them."""
    call = new_call(rule)
    keys = only(orders.OpenLeg, feed(call, events.Invited(offer))).params.srtp
    answer = only(effects.AnswerCaller, feed(call, OPENED)).sdp
    feed(call, events.Confirmed(None))
    assert keys is not None
    assert lines(answer) == [Crypto(keys.tag, keys.suite, keys.ours)]
    return call, keys


@pytest.mark.parametrize("rule", ["optional", "required"])
def test_an_encrypted_call_is_answered_with_a_key_of_ours(rule: SrtpRule) -> None:
    _, keys = up(rule, encrypted())
    assert (keys.theirs, keys.tag, keys.suite) == (FIRST, 4, SUITES[0])


@pytest.mark.parametrize(("rule", "offer"), [("off", encrypted()), ("required", PLAIN)])
def test_what_the_setting_does_not_allow_gets_488_and_the_reason(rule: SrtpRule, offer: SessionDescription) -> None:
    refusal = only(effects.RejectCaller, feed(new_call(rule), events.Invited(offer)))
    assert refusal.status == 488
    assert "SRTP" in (refusal.warning or "")


def test_two_calls_never_share_a_key() -> None:
    call = new_call("optional")
    other = new_call("optional", seed=2)
    keys = [only(orders.OpenLeg, feed(each, events.Invited(encrypted()))).params.srtp for each in (call, other)]
    assert keys[0] is not None
    assert keys[1] is not None
    assert keys[0].ours != keys[1].ours


def test_hold_and_resume_keep_both_keys() -> None:
    call, keys = up("optional", encrypted())
    for extra in ("a=sendonly", "a=sendrecv"):
        order = only(orders.UpdateLeg, feed(call, events.OfferReceived(encrypted(FIRST, extra))))
        assert order.params.srtp == keys
        assert lines(only(effects.AcceptReoffer, feed(call, updated(order))).sdp)[0].key == keys.ours


@pytest.mark.parametrize(
    "offer", [encrypted(SECOND), encrypted(FIRST, suite=SUITES[1]), encrypted(SECOND, suite=SUITES[1])]
)
def test_a_new_key_or_suite_of_the_peers_makes_a_new_key_of_ours(offer: SessionDescription) -> None:
    call, before = up("optional", encrypted())
    order = only(orders.UpdateLeg, feed(call, events.OfferReceived(offer)))
    keys = order.params.srtp
    assert keys is not None
    assert keys.ours != before.ours
    assert lines(only(effects.AcceptReoffer, feed(call, updated(order))).sdp) == [
        Crypto(keys.tag, keys.suite, keys.ours)
    ]


def test_a_new_key_whose_offer_is_cancelled_is_forgotten() -> None:
    call, before = up("optional", encrypted())
    feed(call, events.OfferReceived(encrypted(SECOND)))
    assert only(orders.UpdateLeg, feed(call, events.ReofferCancelled())).params.srtp == before
    assert only(orders.UpdateLeg, feed(call, events.OfferReceived(encrypted()))).params.srtp == before


def test_a_reoffer_that_cannot_be_done_leaves_the_call_as_it_was() -> None:
    call, keys = up("required", encrypted())
    assert only(effects.RejectReoffer, feed(call, events.OfferReceived(PLAIN))).status == 488
    assert only(orders.UpdateLeg, feed(call, events.OfferReceived(encrypted()))).params.srtp == keys


def test_a_late_offer_is_encrypted_where_it_must_be() -> None:
    assert "RTP/AVP 0" in only(effects.AnswerCaller, feed(new_call("optional"), events.Invited(None), OPENED)).sdp
    call = new_call("required")
    ours = lines(only(effects.AnswerCaller, feed(call, events.Invited(None), OPENED)).sdp)
    assert [line.suite for line in ours] == list(SUITES)
    answer = encrypted(suite=SUITES[1], tag=2)
    keys = only(orders.UpdateLeg, feed(call, events.Confirmed(answer))).params.srtp
    assert keys == SrtpKeys(SUITES[1], 2, ours[1].key, FIRST)


def test_a_plain_answer_to_an_encrypted_offer_ends_the_call() -> None:
    call = new_call("required")
    feed(call, events.Invited(None), OPENED)
    assert "SRTP" in only(effects.HangUpPeer, feed(call, events.Confirmed(PLAIN))).reason


def test_an_offer_of_ours_in_the_call_keeps_our_key() -> None:
    call, keys = up("optional", encrypted())
    offered = lines(only(effects.AcceptReoffer, feed(call, events.OfferReceived(None))).sdp)
    assert offered == [Crypto(1, keys.suite, keys.ours)]
    renewed = only(orders.UpdateLeg, feed(call, events.Confirmed(encrypted(SECOND, tag=1)))).params.srtp
    assert renewed == SrtpKeys(keys.suite, 1, keys.ours, SECOND)

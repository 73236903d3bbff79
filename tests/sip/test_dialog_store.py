"""How dialogs end, and what becomes of requests inside them."""

from collections import Counter
from itertools import count
from typing import Any

import pytest

from sip.bench import OFFER, PEER, Caller, HandClock, Wire, header, response
from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.dialog import Dialog, DialogState
from trunkline.sip.dialog_store import DialogRequest, DialogStore, Purpose
from trunkline.sip.events import CoreEvent, ResponseReceived
from trunkline.sip.message.validation import Rejection, SipRequest, SipResponse, parse
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.transactions import Transactions
from trunkline.sip.values import Credentials, DialogEnded

CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n"'


class Store:
    """A store on a wire, with one dialog."""

    def __init__(self, clock: HandClock, **more: Any) -> None:
        self.wire = Wire()
        self.counters: Counter[str] = Counter()
        self.finals: list[int] = []
        """Statuses of final responses inside the dialog."""
        tokens = count(1)
        self.layer = Transactions(clock.timers, lambda: f"b{next(tokens)}")
        self.store = DialogStore(self.layer, lambda: "tag", SipSettings(), self.counters)
        given: dict[str, Any] = {"remote_target": "sip:ann@192.0.2.10:5062", "route_set": (), "source": PEER, **more}
        self.dialog = Dialog(
            *(self.store.new_id(), "c", "ours", "theirs", "<sip:us@here>;tag=ours", "<sip:ann@there>;tag=theirs"),
            flow=self.wire,
            state=DialogState.CONFIRMED,
            remote_cseq=1,
            **given,
        )
        self.store.by_id[self.dialog.id] = self.store.by_key[self.dialog.key] = self.dialog

    @property
    def events(self) -> list[CoreEvent]:
        return list(self.store.events)

    def invited(self) -> ServerTransaction:
        """The peer's INVITE, pending."""
        request = parse(Caller().request("INVITE", OFFER), stream=False)
        assert isinstance(request, SipRequest)
        transaction = self.layer.receive_request(request, PEER, self.wire, None)
        assert transaction is not None
        self.dialog.invite = transaction
        return transaction

    def send(self, method: str, **more: Any) -> list[int]:
        """A request of ours; the list gets the status of its final response."""
        self.finals = []
        self.store.send(DialogRequest(self.dialog, method, Purpose.PROBE, **more))
        return self.finals

    def answer(self, request: str, status: str, *headers: str) -> None:
        received = parse(response(request, status, headers=headers), stream=False)
        assert isinstance(received, SipResponse)
        self.layer.receive_response(received)
        while self.layer.events:
            event = self.layer.events.popleft()
            assert isinstance(event, ResponseReceived)
            sent = event.transaction.user
            assert isinstance(sent, DialogRequest)
            if self.store.response_received(sent, event.response):
                self.finals.append(event.response.status)
                if sent.purpose is Purpose.END:
                    self.store.forget(sent.dialog)


@pytest.fixture
def store(clock: HandClock) -> Store:
    return Store(clock)


def test_each_dialog_has_a_number_of_its_own(store: Store) -> None:
    assert [store.store.new_id(), store.store.new_id()] == [store.dialog.id + 1, store.dialog.id + 2]


def test_a_refusal_is_answered_and_counted(store: Store) -> None:
    transaction = store.invited()
    store.store.refuse(transaction, Rejection(488, "Not Acceptable Here", (("X-A", "1"),)))
    (text,) = store.wire.take()
    assert text.startswith("SIP/2.0 488 Not Acceptable Here\r\n")
    assert header(text, "X-A") == "1"
    assert store.counters == {"refused_488": 1}


def test_the_end_of_a_dialog_is_reported_once(store: Store) -> None:
    for _ in range(2):
        store.store.end(store.dialog, "bye", "Q.850")
    assert store.events == [DialogEnded(store.dialog.id, "bye", "Q.850")]
    assert (store.store.by_id, store.store.by_key) == ({}, {})


@pytest.mark.parametrize(("answered", "said"), [(False, ["487 Request Terminated"]), (True, [])])
def test_a_pending_invite_is_finished_with_the_dialog(store: Store, answered: bool, said: list[str]) -> None:
    store.invited()
    store.dialog.answered = answered
    store.store.settle(store.dialog)
    assert store.wire.take_lines() == said
    assert store.dialog.invite is None
    store.store.settle(store.dialog)
    assert store.wire.take_lines() == []


def test_another_dialog_of_the_same_key_is_not_forgotten(store: Store, clock: HandClock) -> None:
    other = Store(clock).dialog
    store.store.by_key[other.key] = other
    store.store.forget(store.dialog)
    assert store.store.by_key == {other.key: other}


def test_a_failed_dialog_is_kept_until_the_response_to_its_bye(store: Store) -> None:
    store.store.give_up(store.dialog, "no answer", "SIP;cause=408", "no-ack")
    assert store.events == [DialogEnded(store.dialog.id, "no-ack", "no answer")]
    (bye,) = store.wire.take()
    assert (bye.split(" ")[0], header(bye, "Reason")) == ("BYE", "SIP;cause=408")
    assert store.dialog.state is DialogState.CLOSING
    assert (list(store.store.by_id), list(store.store.by_key)) == ([], [store.dialog.key])
    store.answer(bye, "200 OK")
    assert store.store.by_key == {}
    store.store.give_up(store.dialog, "again", None)
    assert len(store.events) == 1
    assert "Reason" not in store.wire.take()[0]


def test_a_request_is_answered_once_by_a_final_response(store: Store) -> None:
    finals = store.send("INFO", headers=(("X-A", "1"),))
    (request,) = store.wire.take()
    assert (header(request, "CSeq"), header(request, "X-A")) == ("1 INFO", "1")
    store.answer(request, "100 Trying")
    assert finals == []
    store.answer(request, "200 OK")
    assert finals == [200]
    assert store.dialog.remote_target == "sip:ann@192.0.2.10:5062", "an INFO moves nothing"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_target_refresh_moves_the_target(store: Store, method: str) -> None:
    finals = store.send(method, sdp=OFFER)
    (request,) = store.wire.take()
    store.answer(request, "200 OK", "Contact: <sip:ann@192.0.2.99>")
    assert (finals, store.dialog.remote_target) == ([200], "sip:ann@192.0.2.99")
    acks = [line for line in store.wire.take_lines() if line.startswith("ACK")]
    assert acks == (["ACK sip:ann@192.0.2.99 SIP/2.0"] if method == "INVITE" else [])
    assert store.dialog.ack_cseq == (1 if method == "INVITE" else 0)


def test_a_refusal_moves_nothing(store: Store) -> None:
    assert store.send("UPDATE", sdp=OFFER) == []
    store.answer(store.wire.take()[0], "488 No", "Contact: <sip:ann@192.0.2.99>")
    assert store.dialog.remote_target == "sip:ann@192.0.2.10:5062"


@pytest.mark.parametrize("status", [403, 404, 408, 410, 481, 503])
def test_a_request_that_misses_the_peer_goes_to_the_other_address_once(clock: HandClock, status: int) -> None:
    store = Store(clock, source=Endpoint("203.0.113.9", 40000), direct=True)
    finals = store.send("INFO")
    for to in ("203.0.113.9", "192.0.2.10"):
        ((request, where),) = store.wire.sent
        store.wire.take()
        assert (where.host, finals) == (to, [])
        store.answer(request, f"{status} X")
    assert (finals, store.wire.take()) == ([status], [])


def test_in_a_closing_dialog_only_a_bye_is_sent_to_the_other_address(clock: HandClock) -> None:
    store = Store(clock, source=Endpoint("203.0.113.9", 40000), direct=True)
    finals = store.send("INFO")
    store.answer(store.wire.take()[0], "500 X")
    assert finals == [500]
    store.dialog.state = DialogState.CLOSING
    for method, again in (("INFO", 0), ("BYE", 1)):
        store.send(method)
        store.answer(store.wire.take()[0], "481 X")
        assert len(store.wire.take()) == again


def test_a_challenge_is_answered_once(clock: HandClock) -> None:
    store = Store(clock, credentials=Credentials("us", "secret"))
    finals = store.send("INFO")
    store.answer(store.wire.take()[0], "401 X", CHALLENGE)
    (again,) = store.wire.take()
    assert header(again, "Authorization").startswith('Digest username="us", realm="r", nonce="n"')
    assert header(again, "CSeq") == "2 INFO"
    assert finals == []
    store.answer(again, "401 X", CHALLENGE)
    assert (finals, store.wire.take()) == ([401], [])


def test_an_ack_repeats_the_credentials_of_its_invite(clock: HandClock) -> None:
    store = Store(clock, credentials=Credentials("us", "secret"))
    store.send("INVITE", sdp=OFFER)
    store.answer(store.wire.take()[0], "407 X", CHALLENGE.replace("WWW-Authenticate", "Proxy-Authenticate"))
    invite = next(text for text in store.wire.take() if text.startswith("INVITE"))
    store.answer(invite, "200 OK")
    (ack,) = store.wire.take()
    assert header(ack, "Proxy-Authorization") == header(invite, "Proxy-Authorization")
    assert header(ack, "CSeq") == header(invite, "CSeq").replace("INVITE", "ACK")
    assert store.dialog.resend_ack is not None
    store.dialog.resend_ack()
    assert [header(text, "CSeq") for text in store.wire.take()] == [header(ack, "CSeq")]


def test_without_credentials_a_challenge_is_final(store: Store) -> None:
    finals = store.send("INFO")
    store.answer(store.wire.take()[0], "401 X", CHALLENGE)
    assert (finals, store.wire.take()) == ([401], [])

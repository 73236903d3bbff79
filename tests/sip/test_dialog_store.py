"""What all calls of an endpoint share: how dialogs end, and what becomes of requests inside them."""

from collections import Counter
from itertools import count
from typing import Any

import pytest

from sip.bench import OFFER, PEER, Caller, HandClock, Wire, header, response
from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.dialog import Dialog, DialogState
from trunkline.sip.dialog_store import DialogStore
from trunkline.sip.message.validation import Rejection, SipRequest, SipResponse, parse
from trunkline.sip.transactions import ServerTransaction, Transactions
from trunkline.sip.values import Credentials, DialogEnded, SipEvent

CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n"'


class Table:
    """A table on a wire, with one dialog."""

    def __init__(self, clock: HandClock, **more: Any) -> None:
        self.wire = Wire()
        self.events: list[SipEvent] = []
        self.counters: Counter[str] = Counter()
        self.exchanges: list[ServerTransaction] = []
        self.forgotten = 0
        tokens = count(1)
        self.layer = Transactions(self.exchanges.append, lambda _: False, clock.timers, lambda: f"b{next(tokens)}")
        self.table = DialogStore(self.layer, self.events.append, lambda: "tag", SipSettings(), self.counters)
        self.table.on_forgotten = self._forgot
        given: dict[str, Any] = {"remote_target": "sip:ann@192.0.2.10:5062", "route_set": (), "source": PEER, **more}
        self.dialog = Dialog(
            *(self.table.new_id(), "c", "ours", "theirs", "<sip:us@here>;tag=ours", "<sip:ann@there>;tag=theirs"),
            flow=self.wire,
            state=DialogState.CONFIRMED,
            remote_cseq=1,
            **given,
        )
        self.table.by_id[self.dialog.id] = self.table.by_key[self.dialog.key] = self.dialog

    def _forgot(self) -> None:
        self.forgotten += 1

    def invited(self) -> ServerTransaction:
        """The peer's INVITE, under way."""
        request = parse(Caller().request("INVITE", OFFER), stream=False)
        assert isinstance(request, SipRequest)
        self.layer.receive_request(request, PEER, self.wire, None)
        self.dialog.invite = self.exchanges[-1]
        return self.exchanges[-1]

    def asks(self, method: str, **more: Any) -> list[int]:
        """A request of ours; the list gets the status of its final response."""
        finals: list[int] = []
        self.table.request(self.dialog, method, lambda final: finals.append(final.status), **more)
        return finals

    def answer(self, request: str, status: str, *headers: str) -> None:
        received = parse(response(request, status, headers=headers), stream=False)
        assert isinstance(received, SipResponse)
        self.layer.receive_response(received)


@pytest.fixture
def table(clock: HandClock) -> Table:
    return Table(clock)


def test_each_dialog_has_a_number_of_its_own(table: Table) -> None:
    assert [table.table.new_id(), table.table.new_id()] == [table.dialog.id + 1, table.dialog.id + 2]


def test_a_refusal_is_answered_and_counted(table: Table) -> None:
    exchange = table.invited()
    table.table.refuse(exchange, Rejection(488, "Not Acceptable Here", (("X-A", "1"),)))
    (text,) = table.wire.take()
    assert text.startswith("SIP/2.0 488 Not Acceptable Here\r\n")
    assert header(text, "X-A") == "1"
    assert table.counters == {"refused_488": 1}


def test_a_dialog_that_ends_is_told_once_and_gone(table: Table) -> None:
    for _ in range(2):
        table.table.end(table.dialog, "bye", "Q.850")
    assert table.events == [DialogEnded(table.dialog.id, "bye", "Q.850")]
    assert (table.table.by_id, table.table.by_key) == ({}, {})
    assert table.forgotten == 2


@pytest.mark.parametrize(("answered", "said"), [(False, ["487 Request Terminated"]), (True, [])])
def test_an_open_invite_is_finished_with_the_dialog(table: Table, answered: bool, said: list[str]) -> None:
    table.invited()
    table.dialog.answered = answered
    table.table.settle(table.dialog)
    assert table.wire.take_lines() == said
    assert table.dialog.invite is None
    table.table.settle(table.dialog)
    assert table.wire.take_lines() == []


def test_another_dialog_of_the_same_key_is_not_forgotten(table: Table, clock: HandClock) -> None:
    other = Table(clock).dialog
    table.table.by_key[other.key] = other
    table.table.forget(table.dialog)
    assert table.table.by_key == {other.key: other}


def test_a_dialog_that_broke_gets_a_bye_and_stays_known_until_its_answer(table: Table) -> None:
    table.table.give_up(table.dialog, "no answer", "SIP;cause=408", "no-ack")
    assert table.events == [DialogEnded(table.dialog.id, "no-ack", "no answer")]
    (bye,) = table.wire.take()
    assert (bye.split(" ")[0], header(bye, "Reason")) == ("BYE", "SIP;cause=408")
    assert table.dialog.state is DialogState.CLOSING
    assert (list(table.table.by_id), list(table.table.by_key)) == ([], [table.dialog.key])
    table.answer(bye, "200 OK")
    assert table.table.by_key == {}
    table.table.give_up(table.dialog, "again", None)
    assert len(table.events) == 1
    assert "Reason" not in table.wire.take()[0]


def test_a_request_is_answered_once_by_a_final_response(table: Table) -> None:
    finals = table.asks("INFO", headers=(("X-A", "1"),))
    (request,) = table.wire.take()
    assert (header(request, "CSeq"), header(request, "X-A")) == ("1 INFO", "1")
    table.answer(request, "100 Trying")
    assert finals == []
    table.answer(request, "200 OK")
    assert finals == [200]
    assert table.dialog.remote_target == "sip:ann@192.0.2.10:5062", "an INFO moves nothing"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_target_refresh_moves_the_target(table: Table, method: str) -> None:
    finals = table.asks(method, sdp=OFFER)
    (request,) = table.wire.take()
    table.answer(request, "200 OK", "Contact: <sip:ann@192.0.2.99>")
    assert (finals, table.dialog.remote_target) == ([200], "sip:ann@192.0.2.99")
    acks = [line for line in table.wire.take_lines() if line.startswith("ACK")]
    assert acks == (["ACK sip:ann@192.0.2.99 SIP/2.0"] if method == "INVITE" else [])
    assert table.dialog.ack_cseq == (1 if method == "INVITE" else 0)


def test_a_refusal_moves_nothing(table: Table) -> None:
    assert table.asks("UPDATE", sdp=OFFER) == []
    table.answer(table.wire.take()[0], "488 No", "Contact: <sip:ann@192.0.2.99>")
    assert table.dialog.remote_target == "sip:ann@192.0.2.10:5062"


@pytest.mark.parametrize("status", [403, 404, 408, 410, 481, 503])
def test_where_the_peer_is_not_found_the_request_goes_the_other_way_once(clock: HandClock, status: int) -> None:
    table = Table(clock, source=Endpoint("203.0.113.9", 40000), direct=True)
    finals = table.asks("INFO")
    for to in ("203.0.113.9", "192.0.2.10"):
        ((request, where),) = table.wire.sent
        table.wire.take()
        assert (where.host, finals) == (to, [])
        table.answer(request, f"{status} X")
    assert (finals, table.wire.take()) == ([status], [])


def test_another_refusal_is_an_answer_and_in_a_closing_dialog_only_a_bye_goes_the_other_way(clock: HandClock) -> None:
    table = Table(clock, source=Endpoint("203.0.113.9", 40000), direct=True)
    finals = table.asks("INFO")
    table.answer(table.wire.take()[0], "500 X")
    assert finals == [500]
    table.dialog.state = DialogState.CLOSING
    for method, again in (("INFO", 0), ("BYE", 1)):
        table.asks(method)
        table.answer(table.wire.take()[0], "481 X")
        assert len(table.wire.take()) == again


def test_a_challenge_is_answered_once(clock: HandClock) -> None:
    table = Table(clock, credentials=Credentials("us", "secret"))
    finals = table.asks("INFO")
    table.answer(table.wire.take()[0], "401 X", CHALLENGE)
    (again,) = table.wire.take()
    assert header(again, "Authorization").startswith('Digest username="us", realm="r", nonce="n"')
    assert header(again, "CSeq") == "2 INFO"
    assert finals == []
    table.answer(again, "401 X", CHALLENGE)
    assert (finals, table.wire.take()) == ([401], [])


def test_an_ack_repeats_the_credentials_of_its_invite(clock: HandClock) -> None:
    table = Table(clock, credentials=Credentials("us", "secret"))
    table.asks("INVITE", sdp=OFFER)
    table.answer(table.wire.take()[0], "407 X", CHALLENGE.replace("WWW-Authenticate", "Proxy-Authenticate"))
    invite = next(text for text in table.wire.take() if text.startswith("INVITE"))
    table.answer(invite, "200 OK")
    (ack,) = table.wire.take()
    assert header(ack, "Proxy-Authorization") == header(invite, "Proxy-Authorization")
    assert header(ack, "CSeq") == header(invite, "CSeq").replace("INVITE", "ACK")
    assert table.dialog.resend_ack is not None
    table.dialog.resend_ack()
    assert [header(text, "CSeq") for text in table.wire.take()] == [header(ack, "CSeq")]


def test_without_credentials_a_challenge_is_the_answer(table: Table) -> None:
    finals = table.asks("INFO")
    table.answer(table.wire.take()[0], "401 X", CHALLENGE)
    assert (finals, table.wire.take()) == ([401], [])

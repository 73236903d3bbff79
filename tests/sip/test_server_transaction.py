"""Responses of ours: their headers, where they go, and how long an INVITE waits for them."""

import pytest

from sip.bench import OFFER, PEER, Caller, HandClock, Wire, header
from trunkline.sdp.values import Endpoint
from trunkline.sip.events import InviteCancelled
from trunkline.sip.message.validation import SipRequest, parse
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.transactions import Transactions


class Server:
    def __init__(self, clock: HandClock) -> None:
        self.wire = Wire()
        self.layer = Transactions(clock.timers, lambda: "t")

    def receive(self, data: bytes, source: Endpoint = PEER) -> ServerTransaction:
        request = parse(data, stream=False)
        assert isinstance(request, SipRequest)
        transaction = self.layer.receive_request(request, source, self.wire, None)
        assert transaction is not None
        return transaction


@pytest.fixture
def server(clock: HandClock) -> Server:
    return Server(clock)


def test_a_response_copies_the_headers_of_the_request_and_adds_our_tag(server: Server) -> None:
    routes = ("Record-Route: <sip:192.0.2.1;lr>", "Record-Route: <sip:192.0.2.2;lr>")
    data = Caller().request("INVITE", OFFER, routes)
    transaction = server.receive(data, Endpoint("203.0.113.9", 40000))
    transaction.local_tag = "ours"
    transaction.respond(180, "Ringing", (("X-A", "1"),))
    ((text, to),) = server.wire.sent
    assert to == Endpoint("203.0.113.9", 40000)
    assert ";received=203.0.113.9" in header(text, "Via")
    assert ";rport=40000" in header(text, "Via")
    assert header(text, "To") == header(data.decode(), "To") + ";tag=ours"
    assert [line for line in text.split("\r\n") if line.startswith("Record-Route")] == list(routes)
    assert header(text, "X-A") == "1"
    server.wire.sent.clear()
    transaction.respond(486, "Busy Here")
    assert "Record-Route" not in server.wire.take()[0]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_retransmission_is_answered_once_there_is_a_response(server: Server, method: str) -> None:
    data = Caller().request(method)
    transaction = server.receive(data)
    request = parse(data, stream=False)
    assert isinstance(request, SipRequest)
    assert server.layer.absorb(request)
    assert server.wire.take() == []
    transaction.respond(200, "OK")
    (response,) = server.wire.take()
    assert server.layer.absorb(request)
    assert server.wire.take() == [response]


def test_a_tag_of_the_request_stays(server: Server) -> None:
    transaction = server.receive(Caller(to_tag="known").request("OPTIONS"))
    transaction.local_tag = "other"
    transaction.respond(200, "OK")
    assert header(server.wire.take()[0], "To").endswith(";tag=known")


def test_an_invite_is_cancelled_when_its_expires_has_passed(server: Server, clock: HandClock) -> None:
    transaction = server.receive(Caller().request("INVITE", OFFER, ("Expires: 10",)))
    transaction.respond(180, "Ringing")
    server.wire.take()
    clock.advance(9.9)
    assert server.wire.take() == []
    clock.advance(0.2)
    assert server.wire.take_lines() == ["487 Request Terminated"]
    assert list(server.layer.events) == [InviteCancelled(transaction, None)]


def test_an_abandoned_transaction_repeats_nothing_but_answers_retransmissions(server: Server, clock: HandClock) -> None:
    data = Caller(to_tag="t").request("UPDATE")
    transaction = server.receive(data)
    transaction.respond(200, "OK")
    transaction.abandon()
    server.wire.take()
    clock.advance(10)
    assert server.wire.take() == []
    request = parse(data, stream=False)
    assert isinstance(request, SipRequest)
    assert server.layer.absorb(request)
    assert server.wire.take_lines() == ["200 OK"]

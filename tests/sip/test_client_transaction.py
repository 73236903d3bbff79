"""Requests of ours: CANCEL, ACK to failures, and requests that are abandoned."""

from itertools import count

import pytest

from sip.bench import OFFER, PEER, HandClock, Wire, header, response
from trunkline.sip.client_transaction import ClientTransaction
from trunkline.sip.events import ResponseReceived
from trunkline.sip.message.outgoing import Outgoing
from trunkline.sip.message.validation import SipResponse, parse
from trunkline.sip.transactions import Transactions


class Client:
    def __init__(self, clock: HandClock) -> None:
        tokens = count(1)
        self.wire = Wire()
        self.layer = Transactions(clock.timers, lambda: f"t{next(tokens)}")

    def send(self, method: str) -> ClientTransaction:
        request = Outgoing(
            method,
            "sip:ann@192.0.2.10",
            from_="<sip:us@here>;tag=a",
            to="<sip:ann@there>",
            call_id="x",
            cseq=7,
            target=PEER,
            flow=self.wire,
            routes=("<sip:192.0.2.1;lr>",),
            sdp=OFFER,
        )
        return self.layer.send(request, "user")

    def answer(self, request: str, status: str) -> None:
        received = parse(response(request, status, "them"), stream=False)
        assert isinstance(received, SipResponse)
        assert self.layer.receive_response(received)


@pytest.fixture
def client(clock: HandClock) -> Client:
    return Client(clock)


def test_a_cancel_waits_for_the_first_response_and_the_invite_is_not_repeated(client: Client, clock: HandClock) -> None:
    invite = client.send("INVITE")
    (sent,) = client.wire.take()
    invite.cancel((("Reason", "SIP;cause=200"),))
    invite.cancel()
    clock.advance(20)
    assert client.wire.take() == []
    client.answer(sent, "100 Trying")
    (cancel,) = client.wire.take()
    assert cancel.startswith("CANCEL sip:ann@192.0.2.10 SIP/2.0\r\n")
    assert header(cancel, "Via") == header(sent, "Via")
    assert (header(cancel, "CSeq"), header(cancel, "Reason")) == ("7 CANCEL", "SIP;cause=200")
    assert header(cancel, "Route") == header(sent, "Route")


def test_a_cancel_after_a_provisional_response_is_sent_at_once(client: Client, clock: HandClock) -> None:
    invite = client.send("INVITE")
    client.answer(client.wire.take()[0], "180 Ringing")
    client.layer.events.clear()
    invite.cancel()
    (cancel,) = client.wire.take_lines()
    assert cancel == "CANCEL sip:ann@192.0.2.10 SIP/2.0"
    clock.advance(33)
    (event,) = client.layer.events
    assert isinstance(event, ResponseReceived)
    assert event.response.status == 408
    assert client.layer.sizes["client"] == 0


def test_an_answered_invite_is_not_cancelled(client: Client) -> None:
    invite = client.send("INVITE")
    client.answer(client.wire.take()[0], "200 OK")
    invite.cancel()
    assert client.wire.take() == []


def test_the_ack_to_a_failure_has_the_branch_and_route_of_the_invite(client: Client) -> None:
    client.send("INVITE")
    (sent,) = client.wire.take()
    client.answer(sent, "486 Busy Here")
    client.answer(sent, "486 Busy Here")
    ack, again = client.wire.take()
    assert ack == again
    assert [header(ack, name) for name in ("Via", "Route", "CSeq")] == [
        header(sent, "Via"),
        header(sent, "Route"),
        "7 ACK",
    ]
    assert header(ack, "To").endswith(";tag=them")


def test_an_abandoned_request_is_not_repeated_nor_reported(client: Client, clock: HandClock) -> None:
    request = client.send("OPTIONS")
    (sent,) = client.wire.take()
    request.abandon()
    clock.advance(40)
    received = parse(response(sent), stream=False)
    assert isinstance(received, SipResponse)
    assert not client.layer.receive_response(received)
    assert (client.wire.take(), list(client.layer.events), len(clock.timers)) == ([], [], 0)

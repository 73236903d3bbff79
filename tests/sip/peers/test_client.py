"""Requests outside any dialog, with a wire and a clock in memory."""

from itertools import count
from typing import Any

import pytest

from sip.bench import PEER, HandClock, Wire, header, response
from trunkline.sip.events import ResponseReceived
from trunkline.sip.message.validation import SipResponse, parse
from trunkline.sip.peers.client import OutOfDialogClient, OutOfDialogRequest
from trunkline.sip.targets import Target
from trunkline.sip.transactions import Transactions

TARGET = Target("sip:carrier.example", PEER, "udp")


class Asking:
    """A client, and its final responses."""

    def __init__(self, clock: HandClock) -> None:
        tokens = count(1)
        self.wire = Wire()
        self.finals: list[SipResponse] = []
        self.fault: Exception | None = None
        self.transactions = Transactions(clock.timers, lambda: f"b{next(tokens)}")
        clock.drains.append(self.drain)
        self.client = OutOfDialogClient(self.transactions, self.connect, lambda: "tag1", 5.0)

    def connect(self, target: Target) -> Wire:
        assert target is TARGET
        if self.fault is not None:
            raise self.fault
        return self.wire

    def send(self, **more: Any) -> None:
        given = {"method": "OPTIONS", "target": TARGET, "address": "sip:us@here", "call_id": "c1", "cseq": 7}
        self.client.send(OutOfDialogRequest(**{**given, "context": self, **more}))
        self.drain()

    def drain(self) -> None:
        """Take all events of the transaction layer, and the final responses of the client."""
        while self.transactions.events:
            event = self.transactions.events.popleft()
            assert isinstance(event, ResponseReceived)
            self.client.response_received(event.transaction, event.response)
        while self.client.responses:
            final = self.client.responses.popleft()
            assert final.context is self
            self.finals.append(final.response)

    def answer(self, request: str, status: str) -> None:
        received = parse(response(request, status), stream=False)
        assert isinstance(received, SipResponse)
        self.transactions.receive_response(received)
        self.drain()


@pytest.fixture
def asking(clock: HandClock) -> Asking:
    return Asking(clock)


def test_a_request_has_our_address_and_goes_to_the_target(asking: Asking) -> None:
    asking.send(method="REGISTER", headers=(("Expires", "60"),))
    ((text, to),) = asking.wire.sent
    assert to == PEER
    assert text.startswith("REGISTER sip:carrier.example SIP/2.0\r\n")
    assert [header(text, name) for name in ("From", "To", "Call-ID", "CSeq", "Expires")] == [
        *("<sip:us@here>;tag=tag1", "<sip:us@here>", "c1", "7 REGISTER", "60"),
    ]


def test_the_final_response_comes_once_and_nothing_stays(asking: Asking, clock: HandClock) -> None:
    asking.send()
    (request,) = asking.wire.take()
    assert len(asking.client) == 1
    asking.answer(request, "100 Trying")
    assert (asking.finals, len(asking.client)) == ([], 1)
    asking.answer(request, "403 Forbidden")
    asking.answer(request, "200 OK")
    assert [one.status for one in asking.finals] == [403]
    assert len(asking.client) == 0
    clock.advance(100)
    assert [one.status for one in asking.finals] == [403]
    assert asking.wire.take() == []


def test_after_the_timeout_a_request_is_forgotten(asking: Asking, clock: HandClock) -> None:
    asking.send()
    clock.advance(4.9)
    assert (asking.finals, len(asking.client)) == ([], 1)
    request = asking.wire.take()[0]
    clock.advance(0.2)
    assert [(one.status, one.reason, one.headers) for one in asking.finals] == [(408, "No Answer", [])]
    assert len(asking.client) == 0
    clock.advance(100)
    assert asking.wire.take() == [], "nothing is repeated"
    asking.answer(request, "200 OK")
    assert len(asking.finals) == 1


def test_a_request_that_cannot_be_sent_gets_our_own_500(asking: Asking) -> None:
    asking.fault = ValueError("no way")
    asking.send()
    (final,) = asking.finals
    assert (final.status, final.headers, final.body) == (500, [], b"")
    assert final.reason == "not sent: ValueError('no way')"
    assert len(asking.client) == 0


def test_the_connection_of_a_target_is_used_if_there_is_one(asking: Asking) -> None:
    own = Wire(transport="tcp")
    asking.fault = ValueError("not asked for")
    asking.send(target=Target("sip:ann@192.0.2.10", PEER, "tcp", flow=own))
    assert own.take_lines() == ["OPTIONS sip:ann@192.0.2.10 SIP/2.0"]


def test_stopping_drops_all_requests_without_a_response(asking: Asking, clock: HandClock) -> None:
    asking.send()
    asking.send(call_id="c2")
    assert len(asking.client) == 2
    asking.client.stop()
    assert len(asking.client) == 0
    asking.wire.take()
    clock.advance(100)
    assert (asking.finals, asking.wire.take(), len(clock.timers)) == ([], [], 0)

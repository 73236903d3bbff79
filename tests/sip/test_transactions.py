"""The transaction layer by itself."""

from dataclasses import replace
from itertools import count

import pytest

from sip.bench import OFFER, PEER, US, Caller, HandClock, Wire, header
from trunkline.sdp.values import Endpoint
from trunkline.sip import transactions
from trunkline.sip.events import ResponseReceived
from trunkline.sip.message.outgoing import Outgoing
from trunkline.sip.message.validation import SipRequest, parse
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.transactions import Transactions


class Layer:
    def __init__(self, clock: HandClock) -> None:
        self.wire = Wire()
        self.exchanges: list[ServerTransaction] = []
        tokens = count(1)
        self.layer = Transactions(clock.timers, lambda: f"t{next(tokens)}")

    def receive(self, data: bytes) -> bool:
        """Whether it was absorbed."""
        request = parse(data, stream=False)
        assert isinstance(request, SipRequest)
        if self.layer.absorb(request):
            return True
        transaction = self.layer.receive_request(request, PEER, self.wire, None)
        if transaction is not None:
            self.exchanges.append(transaction)
        return False


@pytest.fixture
def layer(clock: HandClock) -> Layer:
    return Layer(clock)


BYE = Outgoing(
    "BYE",
    "sip:ann@192.0.2.10",
    from_="<sip:us@here>;tag=a",
    to="<sip:ann@there>;tag=b",
    call_id="x",
    cseq=1,
    target=PEER,
    flow=Wire(),
    headers=(("X-One", "1\r\nX-Evil: 2"),),
)


def send(layer: Layer, timeout: float | None = None) -> None:
    layer.layer.send(replace(BYE, flow=layer.wire), "user", timeout)


def statuses(layer: Layer) -> list[int]:
    """Statuses of the responses that were reported since the last look."""
    events = list(layer.layer.events)
    layer.layer.events.clear()
    assert all(isinstance(event, ResponseReceived) and event.transaction.user == "user" for event in events)
    return [event.response.status for event in events if isinstance(event, ResponseReceived)]


def test_a_request_of_ours_is_repeated_at_t1_doubling_to_t2_and_ends_in_408(layer: Layer, clock: HandClock) -> None:
    send(layer)
    times = []
    for _ in range(320):
        times += [clock.now] * len(layer.wire.take())
        clock.advance(0.125)
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert statuses(layer) == [408]
    clock.advance(40)
    assert layer.layer.sizes == {"server": 0, "client": 0}


def test_a_request_with_a_timeout_fails_when_it_has_passed(layer: Layer, clock: HandClock) -> None:
    send(layer, timeout=5)
    clock.advance(4.9)
    assert statuses(layer) == []
    clock.advance(0.2)
    assert statuses(layer) == [408]
    assert layer.layer.sizes == {"server": 0, "client": 0}
    layer.wire.take()
    clock.advance(40)
    assert layer.wire.take() == []


def test_header_values_cannot_add_headers(layer: Layer) -> None:
    send(layer)
    (text,) = layer.wire.take()
    assert header(text, "X-One") == "1  X-Evil: 2"
    assert header(text, "Max-Forwards") == "70"
    assert header(text, "Via").startswith(f"SIP/2.0/UDP {US.host}")


def test_ipv6_is_written_in_brackets(layer: Layer) -> None:
    layer.wire.local = Endpoint("2001:db8::7", 5080)
    send(layer)
    assert header(layer.wire.take()[0], "Via").startswith("SIP/2.0/UDP [2001:db8::7]:5080;")


def test_the_number_of_answered_requests_kept_is_bounded(
    layer: Layer, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "MEMORY_LIMIT", 2000)
    branches = count(1)
    callers = [Caller(call_id=f"c{number}", to_tag="t", branches=branches) for number in range(3)]
    requests = [caller.request("OPTIONS") for caller in callers]
    for data in requests:
        assert not layer.receive(data)
        layer.exchanges[-1].respond(200, "OK")
    assert [layer.receive(data) for data in requests] == [False, True, True]
    layer.exchanges[-1].respond(200, "OK")
    clock.advance(65)
    assert [layer.receive(data) for data in requests] == [False, False, False]


def test_a_repeated_request_gets_the_same_response(layer: Layer) -> None:
    data = Caller().request("INVITE", OFFER)
    layer.receive(data)
    layer.exchanges[0].local_tag = "t"
    layer.exchanges[0].respond(180, "Ringing")
    assert layer.receive(data)
    first, again = layer.wire.take()
    assert first == again
    assert len(layer.exchanges) == 1


def test_a_request_that_is_no_invite_may_be_answered_later(layer: Layer, clock: HandClock) -> None:
    data = Caller(to_tag="t").request("UPDATE", OFFER)
    layer.receive(data)
    clock.advance(20)
    assert layer.receive(data)
    (exchange,) = layer.exchanges
    assert layer.wire.take_lines() == []
    exchange.respond(200, "OK")
    assert layer.receive(data)
    assert layer.wire.take_lines() == ["200 OK", "200 OK"]
    assert layer.layer.sizes == {"server": 0, "client": 0}


def test_closing_leaves_no_timer(clock: HandClock, layer: Layer) -> None:
    layer.receive(Caller().request("INVITE", OFFER))
    send(layer)
    layer.layer.close()
    assert len(clock.timers) == 0

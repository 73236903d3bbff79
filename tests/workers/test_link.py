"""The wire between control process and worker: whole messages, in order, whatever the chunks; and a clean end."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_params import stream_params
from trunkline.ids import AccountSid, CallSessionId, CallSid, LegId, StreamSid
from trunkline.sdp.values import Direction, Endpoint, MediaParams
from trunkline.streaming.params import StreamIdentity
from trunkline.workers import messages, orders
from trunkline.workers.link import BACKLOG_LIMIT, MESSAGE_LIMIT, Link
from trunkline.workers.messages import ToLeg


class Ends:
    """Both ends of one link, and what arrived."""

    def __init__(self) -> None:
        self.orders: list[messages.ToWorker] = []
        self.reports: list[messages.ToControl] = []
        self.lost = asyncio.Event()
        self.control: Link[messages.ToControl] = Link(messages.ToControl, self.reports.append, self.lost.set)
        self.worker: Link[messages.ToWorker] = Link(messages.ToWorker, self._on_order, self.lost.set)
        self.arrived = asyncio.Event()

    def _on_order(self, order: messages.ToWorker) -> None:
        self.orders.append(order)
        self.arrived.set()
        if order == close("fail"):
            raise RuntimeError("cannot be carried out")

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        await loop.create_unix_connection(lambda: self.control, sock=ours)
        await loop.create_unix_connection(lambda: self.worker, sock=theirs)

    async def until(self, count: int) -> None:
        while len(self.orders) < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 30)


def close(reason: str) -> ToLeg:
    return ToLeg(LegId(1), orders.CloseLeg(reason))


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    await ends.connect()
    yield ends
    ends.control.close()
    await asyncio.wait_for(ends.lost.wait(), 30)


async def test_every_value_is_received_as_it_was_sent(ends: Ends) -> None:
    params = MediaParams("G722", 9, 30, Endpoint("::1", 4000), Direction.RECVONLY, 101, Endpoint("::1", 4009), True)
    identity = StreamIdentity(StreamSid("s"), AccountSid("a"), CallSid("v3:x"), CallSessionId("c"), "+1", "+2")
    stream = stream_params("wss://a/?b", custom_parameters={"k": "v"}, auth_token="t", name="n")
    sent = [
        ToLeg(LegId(1), orders.OpenLeg(identity.call_sid, params)),
        ToLeg(LegId(1), orders.OpenStream(identity, stream, "PCMA")),
        close("bye"),
    ]
    for order in sent:
        assert ends.control.send(order)
    await ends.until(3)
    assert ends.orders == sent


async def test_a_message_that_fails_does_not_stop_the_next(ends: Ends) -> None:
    ends.control.send(close("fail"))
    ends.control.send(close("fine"))
    await ends.until(2)
    assert ends.orders[1] == close("fine")


async def test_a_closed_link_refuses_messages_and_reports_its_end(ends: Ends) -> None:
    ends.worker.close()
    await asyncio.wait_for(ends.lost.wait(), 30)
    ends.control.close()
    assert not ends.control.send(messages.Ready())


async def test_a_peer_that_does_not_read_closes_the_link() -> None:
    ours, theirs = socket.socketpair()
    lost = asyncio.Event()
    link: Link[messages.ToControl] = Link(messages.ToControl, lambda _report: None, lost.set)
    await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
    order = close("x" * 100_000)
    sent = 0
    while link.send(order):
        sent += 1
        assert sent * 100_000 < 2 * BACKLOG_LIMIT
    await asyncio.wait_for(lost.wait(), 30)
    theirs.close()


@given(st.lists(st.text(max_size=50), max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_any_chunking_gives_the_same_messages(reasons: list[str], sizes: list[int]) -> None:
    seen: list[messages.ToWorker] = []
    sender: Link[messages.ToControl] = Link(messages.ToControl, lambda _r: None, lambda: None)
    receiver: Link[messages.ToWorker] = Link(messages.ToWorker, seen.append, lambda: None)
    wires = bytearray()

    class Transport(asyncio.Transport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            wires.extend(data)

        def is_closing(self) -> bool:
            return False

        def get_write_buffer_size(self) -> int:
            return 0

    sender.connection_made(Transport())
    sent = [close(reason) for reason in reasons]
    for order in sent:
        sender.send(order)
    turn = 0
    while wires:
        size = sizes[turn % len(sizes)]
        receiver.data_received(bytes(wires[:size]))
        del wires[:size]
        turn += 1
    assert seen == sent


async def test_an_invalid_length_closes_the_link(ends: Ends) -> None:
    ends.worker.data_received((MESSAGE_LIMIT + 1).to_bytes(4))
    await asyncio.wait_for(ends.lost.wait(), 30)
    assert ends.orders == []

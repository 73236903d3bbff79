"""Calls from sipp."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sip.lossy import losing
from trunkline.config import SipSettings
from trunkline.sdp.negotiate import accept_answer, make_answer, make_offer, negotiate
from trunkline.sdp.session import SessionDescription, parse
from trunkline.sdp.values import Direction, Endpoint, NotAcceptable
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.values import (
    AcceptInvite,
    AcceptReinvite,
    AckReceived,
    DialogEnded,
    DialogId,
    EndDialog,
    InviteReceived,
    ReinviteReceived,
    RejectInvite,
    SendRinging,
    SipEvent,
)

SCENARIOS = Path(__file__).parent / "scenarios"
ACCEPTED = ("PCMU", "PCMA")
LOCAL = Endpoint("127.0.0.1", 4000)

pytestmark = pytest.mark.peer


class Answerer:
    """Answers every call with fixed SDP; `rings` leaves it ringing, `hangs_up` ends it at its ACK."""

    def __init__(self, *, rings: bool = False, hangs_up: bool = False) -> None:
        self.rings = rings
        self.hangs_up = hangs_up
        self.seen: Counter[str] = Counter()
        self.directions: list[Direction] = []
        self.endpoint = SipEndpoint(SipSettings(port=0), self.event)

    def event(self, event: SipEvent) -> None:
        self.seen[event.cause if isinstance(event, DialogEnded) else type(event).__name__] += 1
        if isinstance(event, InviteReceived):
            self.invite(event)
        elif isinstance(event, ReinviteReceived):
            self.endpoint.perform(AcceptReinvite(event.dialog, self.sdp(event.offer)))
        elif isinstance(event, AckReceived):
            self.ack(event.dialog, event.answer)

    def invite(self, event: InviteReceived) -> None:
        self.endpoint.perform(SendRinging(event.dialog))
        if self.rings:
            return
        try:
            sdp = self.sdp(event.offer)
        except NotAcceptable as reason:
            self.endpoint.perform(RejectInvite(event.dialog, 488, "Not Acceptable Here", str(reason)))
        else:
            self.endpoint.perform(AcceptInvite(event.dialog, sdp, (("X-Trunkline-Call-Sid", "v3:abc"),)))

    def ack(self, dialog: DialogId, answer: SessionDescription | None) -> None:
        if answer is not None:
            assert accept_answer(parse(make_offer(ACCEPTED, LOCAL, 1, 1).render().encode()), answer).codec == "PCMU"
            self.seen["late answers"] += 1
        if self.hangs_up:
            self.endpoint.perform(EndDialog(dialog, "enough"))

    def sdp(self, offer: SessionDescription | None) -> str:
        if offer is None:
            return make_offer(ACCEPTED, LOCAL, 1, 1).render()
        params = negotiate(offer, ACCEPTED)
        self.directions.append(params.direction)
        return make_answer(offer, params, LOCAL, 1, 1).render()


@asynccontextmanager
async def answering(*, rings: bool = False, hangs_up: bool = False) -> AsyncIterator[Answerer]:
    """A listening answerer; at the end it must have no dialogs and no errors."""
    answerer = Answerer(rings=rings, hangs_up=hangs_up)
    await answerer.endpoint.start()
    try:
        yield answerer
        assert not any(size for table, size in answerer.endpoint.sizes.items() if table != "connections")
        assert answerer.endpoint.counters["errors"] == 0
    finally:
        await answerer.endpoint.stop()


async def sipp(
    answerer: Answerer, scenario: str, *options: str, calls: int = 1, folder: Path, way: int | None = None
) -> None:
    """Run a scenario to its end; every call must follow it."""
    process = await asyncio.create_subprocess_exec(
        *("sipp", f"127.0.0.1:{way or answerer.endpoint.local.port}", "-sf", str(SCENARIOS / f"{scenario}.xml")),
        *(
            "-i",
            "127.0.0.1",
            "-m",
            str(calls),
            "-nostdin",
            "-max_socket",
            "500",
            "-timeout",
            "60",
            "-timeout_error",
            *options,
        ),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, output.decode(errors="replace")[-3000:]


@pytest.mark.parametrize("transport", ["u1", "t1", "tn"], ids=["udp", "one tcp connection", "a tcp connection each"])
async def test_calls_come_and_go(transport: str, tmp_path: Path) -> None:
    async with answering() as answerer:
        await sipp(answerer, "call", "-t", transport, calls=10, folder=tmp_path)
        assert answerer.seen == {"InviteReceived": 10, "AckReceived": 10, "bye": 10}


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_late_offers_are_answered_in_the_ack(transport: str, tmp_path: Path) -> None:
    async with answering() as answerer:
        await sipp(answerer, "late_offer", "-t", transport, calls=3, folder=tmp_path)
        assert answerer.seen == {"InviteReceived": 3, "AckReceived": 3, "late answers": 3, "bye": 3}


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_calls_are_cancelled(transport: str, tmp_path: Path) -> None:
    async with answering(rings=True) as answerer:
        await sipp(answerer, "cancel", "-t", transport, calls=3, folder=tmp_path)
        assert answerer.seen == {"InviteReceived": 3, "cancel": 3}


async def test_a_call_is_held_and_resumed(tmp_path: Path) -> None:
    async with answering() as answerer:
        await sipp(answerer, "hold", folder=tmp_path)
        assert answerer.seen == {"InviteReceived": 1, "ReinviteReceived": 2, "AckReceived": 3, "bye": 1}
        assert answerer.directions == [Direction.SENDRECV, Direction.RECVONLY, Direction.SENDRECV]


async def test_a_reinvite_without_offer_gets_ours(tmp_path: Path) -> None:
    async with answering() as answerer:
        await sipp(answerer, "late_reinvite", folder=tmp_path)
        assert answerer.seen["late answers"] == 1


async def test_options_are_answered(tmp_path: Path) -> None:
    async with answering() as answerer:
        await sipp(answerer, "options", calls=3, folder=tmp_path)
        assert answerer.seen == {}


async def test_the_200_is_repeated_for_a_slow_caller(tmp_path: Path) -> None:
    async with answering() as answerer:
        await sipp(answerer, "slow_ack", "-nr", folder=tmp_path)
        assert answerer.seen == {"InviteReceived": 1, "AckReceived": 1, "bye": 1}


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_we_hang_up(transport: str, tmp_path: Path) -> None:
    async with answering(hangs_up=True) as answerer:
        await sipp(answerer, "called_off", "-t", transport, calls=3, folder=tmp_path)
        assert answerer.seen == {"InviteReceived": 3, "AckReceived": 3}


async def test_an_unknown_codec_is_488_with_the_reason(tmp_path: Path) -> None:
    async with answering() as answerer:
        await sipp(answerer, "not_acceptable", folder=tmp_path)
        assert answerer.seen == {"InviteReceived": 1}


async def test_calls_survive_lost_datagrams(tmp_path: Path) -> None:
    """Each request but ACK, and each response, is lost once."""
    async with answering() as answerer, losing(answerer.endpoint.local.port) as way:
        await sipp(answerer, "call", "-r", "20", calls=20, folder=tmp_path, way=way)
        assert answerer.seen == {"InviteReceived": 20, "AckReceived": 20, "bye": 20}
        assert answerer.endpoint.counters["retransmissions"] > 0


async def test_twenty_calls_a_second_all_succeed(tmp_path: Path) -> None:
    async with answering() as answerer:
        await sipp(answerer, "call", "-r", "20", calls=80, folder=tmp_path)
        assert answerer.seen == {"InviteReceived": 80, "AckReceived": 80, "bye": 80}
        assert answerer.endpoint.counters["retransmissions"] == 0

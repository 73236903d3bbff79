"""Calls to sipp, which is not ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sip.callee import Scenario, sipp
from trunkline.config import SipSettings
from trunkline.sdp.negotiate import offer_text
from trunkline.sdp.values import Endpoint
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.values import (
    Accepted,
    Credentials,
    DialogEnded,
    DialogId,
    Hangup,
    Invite,
    Progressed,
    Refused,
    SipEvent,
)

SDP = offer_text(("PCMU", "PCMA"), Endpoint("127.0.0.1", 4000), 1, 1)

pytestmark = pytest.mark.peer


class Placer:
    """Places calls and keeps what it is told of them."""

    def __init__(self, settings: SipSettings) -> None:
        self.endpoint = SipEndpoint(settings, self.event)
        self.events: asyncio.Queue[SipEvent] = asyncio.Queue()

    def event(self, event: SipEvent) -> None:
        self.events.put_nowait(event)

    def place(self, port: int, suffix: str = "", credentials: Credentials | None = None) -> DialogId:
        number = self.endpoint.new_dialog()
        uri = f"sip:bob@127.0.0.1:{port}{suffix}"
        self.endpoint.perform(Invite(number, "uri", "", uri, "+15550001", "", SDP, (("X-One", "1"),), credentials))
        return number

    async def told(self) -> SipEvent:
        async with asyncio.timeout(10):
            return await self.events.get()

    async def accepted(self) -> Accepted:
        """The next event but progress."""
        while isinstance(event := await self.told(), Progressed):
            pass
        assert isinstance(event, Accepted), event
        return event

    def hang_up(self, number: DialogId) -> None:
        self.endpoint.perform(Hangup(number, "enough"))


@asynccontextmanager
async def placing(**settings: float) -> AsyncIterator[Placer]:
    """A placer; nothing may have gone wrong at the end, and nobody be left."""
    placer = Placer(SipSettings.model_validate({"port": 0, **settings}))
    await placer.endpoint.start()
    try:
        yield placer
        assert placer.events.empty()
        assert placer.endpoint.sizes["live"] == placer.endpoint.sizes["calling"] == 0
        assert placer.endpoint.counters["errors"] == 0
    finally:
        await placer.endpoint.stop()


@pytest.mark.parametrize(("transport", "suffix"), [("u1", ""), ("t1", ";transport=tcp")], ids=["udp", "tcp"])
async def test_a_call_is_answered_and_ended_by_us(transport: str, suffix: str, tmp_path: Path) -> None:
    called = Scenario().recv("INVITE", ("X-One", "1"), ("Max-Forwards", "70")).send("100 Trying").send("180 Ringing")
    called.send("200 OK", sdp=True).recv("ACK").recv("BYE", ("Reason", "enough")).answer("200 OK")
    async with placing() as placer, sipp(called, tmp_path, "-t", transport) as port:
        number = placer.place(port, suffix)
        assert await placer.told() == Progressed(number, 180, "Ringing", None)
        accepted = await placer.accepted()
        assert accepted.answer is not None
        assert accepted.answer.media[0].port == 4000
        placer.hang_up(number)


async def test_the_called_party_hangs_up(tmp_path: Path) -> None:
    called = Scenario().recv("INVITE").send("200 OK", sdp=True).recv("ACK").request("BYE", 1).response(200)
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        await placer.accepted()
        assert await placer.told() == DialogEnded(number, "bye", "")


async def test_busy(tmp_path: Path) -> None:
    called = Scenario().recv("INVITE").send("486 Busy Here", "Reason: Q.850;cause=17").recv("ACK")
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        assert await placer.told() == Refused(number, 486, "Busy Here", f"127.0.0.1:{port}: Q.850;cause=17")


async def test_nobody_answers_and_we_cancel(tmp_path: Path) -> None:
    called = Scenario().recv("INVITE").send("180 Ringing").recv("CANCEL").answer("200 OK")
    called.send("487 Request Terminated", cseq="1 INVITE").recv("ACK")
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        await placer.told()
        placer.hang_up(number)


async def test_nobody_listens_by_tcp() -> None:
    async with placing() as placer:
        number = placer.place(9, ";transport=tcp")
        refused = await placer.told()
        assert isinstance(refused, Refused)
        assert (refused.dialog, refused.status) == (number, 503)
        assert "127.0.0.1:9 cannot be reached" in refused.detail

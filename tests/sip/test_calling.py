"""Calls to sipp."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sip.lossy import losing
from sip.sipp_uas import Scenario, sipp
from trunkline.config import SipSettings
from trunkline.demo.server import free_ports
from trunkline.sdp.negotiate import make_offer
from trunkline.sdp.values import Endpoint
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.values import (
    AcceptReinvite,
    AckReceived,
    Credentials,
    DialogEnded,
    DialogId,
    EndDialog,
    InviteAccepted,
    InviteProgressed,
    InviteRefused,
    ReinviteReceived,
    SendInvite,
    SessionRefreshed,
    SipEvent,
)

SDP = make_offer(("PCMU", "PCMA"), Endpoint("127.0.0.1", 4000), 1, 1).render()

pytestmark = pytest.mark.peer


class Placer:
    """Places calls and keeps their events."""

    def __init__(self, settings: SipSettings) -> None:
        self.endpoint = SipEndpoint(settings, self.event)
        self.events: asyncio.Queue[SipEvent] = asyncio.Queue()

    def event(self, event: SipEvent) -> None:
        if isinstance(event, ReinviteReceived):
            self.endpoint.perform(AcceptReinvite(event.dialog, SDP))
        else:
            self.events.put_nowait(event)

    def place(self, port: int, suffix: str = "", credentials: Credentials | None = None) -> DialogId:
        number = self.endpoint.new_dialog()
        uri = f"sip:bob@127.0.0.1:{port}{suffix}"
        self.endpoint.perform(SendInvite(number, "uri", "", uri, "+15550001", "", SDP, (("X-One", "1"),), credentials))
        return number

    async def next_event(self) -> SipEvent:
        async with asyncio.timeout(60):
            return await self.events.get()

    async def accepted(self) -> InviteAccepted:
        """The next event but progress."""
        while isinstance(event := await self.next_event(), InviteProgressed):
            pass
        assert isinstance(event, InviteAccepted), event
        return event

    def hang_up(self, number: DialogId) -> None:
        self.endpoint.perform(EndDialog(number, "enough"))


@asynccontextmanager
async def placing(**settings: float) -> AsyncIterator[Placer]:
    """A placer; at the end there is no error, and no call is left."""
    placer = Placer(SipSettings.model_validate({"port": 0, **settings}))
    await placer.endpoint.start()
    try:
        yield placer
        assert placer.events.empty()
        assert placer.endpoint.sizes["dialogs"] == placer.endpoint.sizes["outgoing"] == 0
        assert placer.endpoint.counters["errors"] == 0
    finally:
        await placer.endpoint.stop()


@pytest.mark.parametrize(("transport", "suffix"), [("u1", ""), ("t1", ";transport=tcp")], ids=["udp", "tcp"])
async def test_a_call_is_answered_and_ended_by_us(transport: str, suffix: str, tmp_path: Path) -> None:
    called = Scenario().recv("INVITE", ("X-One", "1"), ("Max-Forwards", "70")).send("100 Trying").send("180 Ringing")
    called.send("200 OK", sdp=True).recv("ACK").recv("BYE", ("Reason", "enough")).answer("200 OK")
    async with placing() as placer, sipp(called, tmp_path, "-t", transport) as port:
        number = placer.place(port, suffix)
        assert await placer.next_event() == InviteProgressed(number, 100, "Trying", None)
        assert await placer.next_event() == InviteProgressed(number, 180, "Ringing", None)
        accepted = await placer.accepted()
        assert accepted.answer is not None
        assert accepted.answer.media[0].port == 4000
        placer.hang_up(number)


async def test_the_called_party_hangs_up(tmp_path: Path) -> None:
    called = Scenario().recv("INVITE").send("200 OK", sdp=True).recv("ACK").request("BYE", 1).response(200)
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        await placer.accepted()
        assert await placer.next_event() == DialogEnded(number, "bye", "")


async def test_busy(tmp_path: Path) -> None:
    called = Scenario().recv("INVITE").send("486 Busy Here", "Reason: Q.850;cause=17").recv("ACK")
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        assert await placer.next_event() == InviteRefused(number, 486, "Busy Here", f"127.0.0.1:{port}: Q.850;cause=17")


async def test_an_unanswered_call_is_cancelled(tmp_path: Path) -> None:
    called = Scenario().recv("INVITE").send("180 Ringing").recv("CANCEL").answer("200 OK")
    called.send("487 Request Terminated", cseq="1 INVITE").recv("ACK")
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        await placer.next_event()
        placer.hang_up(number)


async def test_sipp_verifies_our_digest(tmp_path: Path) -> None:
    called = Scenario().recv("INVITE").send("401 Who", 'WWW-Authenticate: Digest realm="sipp", nonce="abc", qop="auth"')
    called.recv("ACK").recv_authorized("ann", "secret")
    called.send("200 OK", sdp=True).recv("ACK").recv("BYE").answer("200 OK")
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port, credentials=Credentials("ann", "secret"))
        await placer.accepted()
        placer.hang_up(number)


async def test_sha_256_is_chosen_before_md5(tmp_path: Path) -> None:
    challenges = [
        f'Proxy-Authenticate: Digest realm="sipp", nonce="abc", qop="auth", algorithm={algorithm}'
        for algorithm in ("MD5", "SHA-256")
    ]
    called = Scenario().recv("INVITE").send("407 Who", *challenges).recv("ACK")
    # What sipp cannot check is held against the RFC's own vectors in test_digest.py.
    called.recv("INVITE", ("Proxy-Authorization", "algorithm=SHA-256.*response=.[0-9a-f]{64}"))
    called.send("200 OK", sdp=True).recv("ACK").recv("BYE").answer("200 OK")
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port, credentials=Credentials("ann", "secret"))
        await placer.accepted()
        placer.hang_up(number)


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    challenge = 'WWW-Authenticate: Digest realm="sipp", nonce="abc", qop="auth"'
    called = Scenario().recv("INVITE").send("401 Who", challenge).recv("ACK").recv_authorized("ann", "secret")
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port, credentials=Credentials("ann", "wrong"))
        assert await placer.next_event() == InviteRefused(number, 403, "Wrong Credentials", f"127.0.0.1:{port}")


async def test_early_media_with_a_required_prack(tmp_path: Path) -> None:
    called = Scenario().recv("INVITE", ("Supported", "100rel"))
    called.send("183 Session Progress", "Require: 100rel", "RSeq: 77", sdp=True)
    called.recv("PRACK", ("RAck", "77 1 INVITE")).answer("200 OK")
    called.send("200 OK", cseq="1 INVITE").recv("ACK").recv("BYE").answer("200 OK")
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        progressed = await placer.next_event()
        assert isinstance(progressed, InviteProgressed)
        assert progressed.answer is not None
        assert await placer.accepted() == InviteAccepted(number, None)
        placer.hang_up(number)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_sipp_sends_a_reinvite_and_hangs_up(method: str, tmp_path: Path) -> None:
    called = Scenario().recv("INVITE").send("200 OK", sdp=True).recv("ACK").request(method, 1, sdp=True)
    if method == "INVITE":
        called.provisional().response(200, ("Content-Type", "application/sdp")).request("ACK", 1)
    else:
        called.response(200, ("Content-Type", "application/sdp"))
    called.request("BYE", 2).response(200)
    async with placing() as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        await placer.accepted()
        if method == "INVITE":
            assert await placer.next_event() == AckReceived(number, None)
        assert await placer.next_event() == DialogEnded(number, "bye", "")


@pytest.mark.parametrize("allow", ["Allow: UPDATE", "Allow: INVITE"], ids=["by UPDATE", "by re-INVITE"])
async def test_a_session_is_refreshed_and_then_expires(allow: str, tmp_path: Path) -> None:
    expires = "Session-Expires: 2;refresher=uac"
    called = Scenario().recv("INVITE", ("Session-Expires", "2"), ("Min-SE", "1"))
    called.send("200 OK", expires, allow, sdp=True).recv("ACK")
    if allow.endswith("UPDATE"):
        called.recv("UPDATE", ("Session-Expires", "2;refresher=uac"))
        called.answer("200 OK", expires.replace("uac", "uas"), allow)
    else:
        called.recv("INVITE", ("Session-Expires", "2;refresher=uac"), ("Content-Type", "application/sdp"))
        called.answer("200 OK", expires.replace("uac", "uas"), allow, sdp=True).recv("ACK")
    called.recv("BYE", ("Reason", "session expired")).answer("200 OK")
    async with placing(session_expires=2, min_se=1) as placer, sipp(called, tmp_path) as port:
        number = placer.place(port)
        await placer.accepted()
        if allow == "Allow: INVITE":
            assert isinstance(await placer.next_event(), SessionRefreshed)
        assert await placer.next_event() == DialogEnded(number, "error", "session expired")


async def test_a_redirection_is_followed_past_unreachable_targets(tmp_path: Path) -> None:
    last = Scenario().recv("INVITE").send("200 OK", sdp=True).recv("ACK").recv("BYE").answer("200 OK")
    async with placing(target_timeout=2) as placer, sipp(last, tmp_path) as there:
        first = Scenario().recv("INVITE")
        silent = free_ports(1)
        first.moved(f"sip:bob@127.0.0.1:{silent}", "sip:bob@127.0.0.1:9;transport=tcp", f"sip:bob@127.0.0.1:{there}")
        async with sipp(first.recv("ACK"), tmp_path) as port:
            number = placer.place(port)
            await placer.accepted()
        placer.hang_up(number)


async def test_calls_survive_lost_datagrams(tmp_path: Path) -> None:
    """Each request but ACK, and each response, is lost once."""
    called = Scenario().recv("INVITE").send("180 Ringing").send("200 OK", sdp=True)
    called.recv("ACK").request("BYE", 1).response(200)
    async with placing() as placer, sipp(called, tmp_path, calls=10) as there, losing(there) as port:
        placed = {placer.place(port) for _ in range(10)}
        accepted: set[DialogId] = set()
        ended: set[DialogId] = set()
        while len(ended) < len(placed):
            event = await placer.next_event()
            if isinstance(event, InviteAccepted):
                accepted.add(event.dialog)
            elif not isinstance(event, InviteProgressed):
                assert event == DialogEnded(event.dialog, "bye", "")
                ended.add(event.dialog)
        assert accepted == ended == placed


async def test_a_tcp_port_without_a_listener_refuses_the_call() -> None:
    async with placing() as placer:
        number = placer.place(9, ";transport=tcp")
        refused = await placer.next_event()
        assert isinstance(refused, InviteRefused)
        assert (refused.dialog, refused.status) == (number, 503)
        assert refused.detail == "127.0.0.1:9 is unreachable: Connection refused"
        assert refused.unreachable

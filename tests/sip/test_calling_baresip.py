"""A call to baresip, a softphone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peers.baresip import Baresip, Namespace, make_namespace, missing, remove_namespace
from trunkline.config import SipSettings
from trunkline.sdp.negotiate import make_offer
from trunkline.sdp.values import Endpoint
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.values import (
    DialogEnded,
    EndDialog,
    InviteAccepted,
    InviteProgressed,
    InviteRefused,
    SendInvite,
    SipEvent,
)

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(missing()), reason=missing() or "")]

PORT = 5070
"""Where baresip listens, in its own namespace."""


@pytest.fixture
async def space() -> AsyncIterator[Namespace]:
    """A network namespace for baresip."""
    space = await make_namespace()
    try:
        yield space
    finally:
        await remove_namespace(space)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_baresip_is_called_answers_and_either_side_ends(transport: str, space: Namespace, tmp_path: Path) -> None:
    events: asyncio.Queue[SipEvent] = asyncio.Queue()

    async def next_event() -> SipEvent:
        async with asyncio.timeout(30):
            return await events.get()

    endpoint = SipEndpoint(SipSettings(host=space.outer, port=0), events.put_nowait)
    await endpoint.start()
    sdp = make_offer(("PCMU",), Endpoint(space.outer, 4000), 1, 1).render()
    try:
        async with Baresip(tmp_path, space, port=PORT) as baresip:
            await baresip.says("baresip is ready")
            for ends in ("/hangup\n", "", "refuse"):
                number = endpoint.new_dialog()
                uri = f"sip:baresip@{space.inner}:{PORT};transport={transport}"
                endpoint.perform(SendInvite(number, "uri", "", uri, "+15550001", "Ann", sdp))
                assert await next_event() == InviteProgressed(number, 180, "Ringing", None)
                await baresip.says("Incoming call")
                baresip.type("/hangup\n" if ends == "refuse" else "/accept\n")
                event = await next_event()
                if ends == "refuse":
                    assert isinstance(event, InviteRefused)
                    assert event.status == 486
                    continue
                assert isinstance(event, InviteAccepted)
                assert event.answer is not None
                await baresip.says("Call established")
                if ends:
                    baresip.type(ends)
                    assert isinstance(await next_event(), DialogEnded)
                else:
                    endpoint.perform(EndDialog(number, "enough"))
                await baresip.says("audio: destroyed")
        assert events.empty()
        assert endpoint.counters["errors"] == 0
    finally:
        await endpoint.stop()

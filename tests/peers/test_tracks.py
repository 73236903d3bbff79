"""What a stream shows of a call over its life: tracks on one clock, holds, codec changes, pauses, keys."""

from collections.abc import Callable

import pytest
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, RtpEndpoint, happens
from peers.sipp import SippRun
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


async def test_keys_told_by_sip_info_reach_the_app(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp
) -> None:
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        keys = [steps.info(cseq, key) for cseq, key in enumerate(("1", "11", "D"), start=2)]
        scenario = (steps.invite(body), steps.answered(), steps.ack(), steps.pause(1500), *keys, steps.byed())
        async with sipp(*scenario) as run:
            call_sid, _ = await run.answered()
            await client.texml.accounts.calls.streams_json(call_sid, account_sid=server.account_sid, url=app.url)
            socket = await app.socket()
            await happens(app.watch, "three keys", lambda: len(socket.all("dtmf")) == 3)
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert [message["dtmf"]["digit"] for message in socket.all("dtmf")] == ["1", "#", "D"]
    assert all(message["occurred_at"].endswith("Z") for message in socket.all("dtmf"))

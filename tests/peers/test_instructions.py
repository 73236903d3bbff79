"""Calls that come in run what the configuration says, without any HTTP server: a stream, or a TeXML document."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, RtpEndpoint, happens, listed_calls, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import speech, tone
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
ALAW_SILENCE = {0x55, 0xD5}


@pytest.fixture
async def server(tmp_path: Path, app: RecordingApp) -> AsyncIterator[ServerProcess]:
    """Numbers 1 and 2 have instructions, 3 an application that streams, and all others go to the app at /else. Private
    addresses that customers name are not dialled."""
    applications = [{"name": "bot", "stream": f"{app.url}?application=bot"}]
    document = f'<Response><Connect><Stream url="{app.url}?who=texml"/></Connect><What/></Response>'
    numbers: list[dict[str, Any]] = [
        {"pattern": "+1", "stream": f"{app.url}?who=number"},
        {"pattern": "+2", "texml": document},
        {"pattern": "+3", "application": "bot"},
    ]
    settings: dict[str, Any] = {
        "applications": json.dumps(applications),
        "numbers": json.dumps(numbers),
        "egress__private": "false",
    }
    async with running(new_server(tmp_path, stream=f"{app.url}?who=else", **settings)) as server:
        yield server


@pytest.mark.parametrize("called", ["+1", "+2", "+3", "+4930123456"])
async def test_a_call_is_streamed_to_where_its_number_leads(
    server: ServerProcess, app: RecordingApp, client: AsyncTelnyx, called: str
) -> None:
    async with DemoCaller(server.sip_address, speech(500), called=called) as caller:
        await caller.call()
        socket = await app.socket()
        start = socket.all("start")[0]["start"]
        assert start["call_control_id"] == caller.call_sid
        assert start["media_format"] == {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
        wanted = {"+1": "who=number", "+2": "who=texml", "+3": "application=bot"}.get(called, "who=else")
        assert socket.path == f"/app?{wanted}"
        await socket.connection.close()  # the document ends, and the call with it
        await happens(caller.watch, "the call ends", lambda: caller.ended_by_server)
    [call] = await listed_calls(client, server.account_sid, "completed", caller.call_sid)
    assert call.to == called
    found = (await client.texml_applications.list()).data or []
    assert [(one.friendly_name, one.voice_url) for one in found] == [("bot", "")]
    assert "texml_warning" in server.log
    assert "numbers[1].texml" in server.log


async def test_a_bot_gets_and_sends_pcmu_whatever_the_phone_speaks(
    server: ServerProcess, app: RecordingApp, sipp: Callable[..., SippRun]
) -> None:
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMA_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            _, port = await run.answered()
            phone.speak(speech(500), port, payload_type=8)
            socket = await app.socket()
            start = socket.all("start")[0]["start"]
            assert start["media_format"] == {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
            await socket.play(tone(200))
            await happens(
                phone.watch,
                "the bot's tone as PCMA",
                lambda: any(one.payload_type == 8 and set(one.payload) - ALAW_SILENCE for one in phone.heard),
            )
            await socket.connection.close()
            await run.succeeds()

"""A call over IPv6 from end to end: sipp signals, a phone and the app hear each other, the server hangs up."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import UNHURRIED, RecordingApp, RtpEndpoint, ended, happens, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server on the IPv6 loopback address."""
    async with running(new_server(tmp_path_factory.mktemp("server"), host="::1", **UNHURRIED)) as server:
        yield server


async def test_a_peer_with_an_ipv4_media_address_is_declined(sipp: Callable[..., SippRun]) -> None:
    body = steps.sdp(steps.PCMU_LINES, host="127.0.0.1")
    async with sipp(steps.invite(body), steps.declined(488)) as run:
        await run.succeeds()


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_a_call_over_ipv6(
    transport: str,
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    callbacks: CallbackReceiver,
) -> None:
    frames = speech(50)
    wants = steps.requires("c=IN IP6 ::1", steps.LOG_ANSWER.replace("<action>", "").replace("</action>", ""))
    async with RecordingApp("::1") as app, RtpEndpoint("::1") as phone:
        app.echo = True
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        scenario = steps.invite(body), steps.answered(wants), steps.ack(), steps.byed()
        async with sipp(*scenario, transport=transport) as run:
            call_sid, port = await run.answered()
            stream = await client.texml.accounts.calls.streams_json(
                call_sid,
                account_sid=server.account_sid,
                url=app.url,
                bidirectional_mode="rtp",
                status_callback=callbacks.url,
            )
            socket = await app.socket()
            phone.speak(frames, port)
            await happens(phone.watch, "the echo", lambda: frames[-1] in [packet.payload for packet in phone.heard])
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert stream.sid
    assert (await ended(callbacks, stream.sid))["StreamEvent"] == "stream-stopped"
    assert [payload for payload in socket.payloads() if payload in frames] == frames
    assert [packet.payload for packet in phone.heard if packet.payload in frames] == frames

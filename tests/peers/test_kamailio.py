"""Calls through Kamailio, which stays in the path of every dialog by Record-Route."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from telnyx import AsyncTelnyx

from peers import kamailio
from peers.harness import RecordingApp, happens
from peers.kamailio import Challenge, Kamailio
from peers.sipp import PCMU_LINES, SippRun, accepts, ack, answered, bye, byed, called, invite, sdp, waits
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.server import ServerProcess

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(kamailio.missing() is not None, reason=str(kamailio.missing())),
]
SPEAKS = sdp(PCMU_LINES)


def through(steps: tuple[str, ...]) -> tuple[str, ...]:
    """The same steps of a caller whose requests in the dialog use the route set and the remote target."""
    return tuple(
        step.replace('<recv response="200" rtd="true">', '<recv response="200" rtd="true" rrs="true">')
        if "rtd" in step
        else step
        if "INVITE sip:" in step
        else step.replace("sip:+13125550123@[remote_ip]:[remote_port] SIP/2.0", "[next_url] SIP/2.0").replace(
            "Max-Forwards: 70\n", "[routes]\nMax-Forwards: 70\n"
        )
        for step in steps
    )


async def test_a_call_through_a_proxy_is_streamed_and_ended_by_either_side(
    server: ServerProcess, app: RecordingApp, client: AsyncTelnyx, tmp_path: Path
) -> None:
    async with Kamailio(server.sip_port) as proxy:
        steps = through((invite(SPEAKS), answered(), ack(), waits(), bye(2)))
        (tmp_path / "one").mkdir()
        async with SippRun(tmp_path / "one", ("127.0.0.1", proxy.port), steps) as run:
            call = await run.answered()
            await client.texml.accounts.calls.streams_json(call.call_sid, account_sid=server.account_sid, url=app.url)
            await app.socket()
            await run.go_on()
            await run.succeeds()
        assert [line.split()[0] for line in proxy.relayed] == ["INVITE", "ACK", "BYE"]
        (tmp_path / "two").mkdir()
        steps = through((invite(SPEAKS), answered(), ack(), byed()))
        async with SippRun(tmp_path / "two", ("127.0.0.1", proxy.port), steps) as run:
            call = await run.answered()
            await happens(proxy.watch, "ACK relayed", lambda: len(proxy.relayed) == 5)
            await client.texml.accounts.calls.update(call.call_sid, account_sid=server.account_sid, status="completed")
            await run.succeeds()
        assert proxy.relayed[5] == f"BYE by route from {server.sip_port}"


async def test_a_call_placed_through_a_proxy(
    server: ServerProcess, client: AsyncTelnyx, tmp_path: Path, callee: Callable[..., SippRun]
) -> None:
    steps = (called(), accepts(SPEAKS).replace("Contact:", "[last_Record-Route:]\nContact:"), byed())
    async with callee(*steps) as run, Kamailio(server.sip_port, outside=run.port) as proxy:
        response = await client.texml.accounts.calls.calls(
            server.account_sid,
            body={
                "to": f"sip:callee@127.0.0.1:{proxy.port}",
                "from_": "+15550001111",
                "texml": "<Response><Pause length='1'/></Response>",
            },
        )
        assert response.status == "queued"
        await run.succeeds()
        await happens(proxy.watch, "BYE relayed", lambda: len(proxy.relayed) == 3)
    inside = server.sip_port
    assert proxy.relayed == [f"INVITE from {inside}", f"ACK by route from {inside}", f"BYE by route from {inside}"]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("kind", ["proxy", "www"])
async def test_a_proxy_that_challenges_is_answered_for_every_request(
    kind: Literal["proxy", "www"],
    algorithm: Literal["MD5", "SHA-256"],
    server: ServerProcess,
    client: AsyncTelnyx,
    callee: Callable[..., SippRun],
) -> None:
    steps = (called(), accepts(SPEAKS).replace("Contact:", "[last_Record-Route:]\nContact:"), byed())
    challenge = Challenge(kind, algorithm, "us", "secret")
    async with callee(*steps) as run, Kamailio(server.sip_port, run.port, challenge) as proxy:
        await place(client, server, proxy, "secret", None)
        await run.succeeds()
        await happens(proxy.watch, "BYE relayed", lambda: len(proxy.relayed) == 3)
    assert [line.split()[0] for line in proxy.relayed] == ["INVITE", "ACK", "BYE"]
    assert proxy.checked[:2] == ["challenged INVITE", f"authenticated INVITE by {algorithm}"]
    assert proxy.checked[-1] == f"authenticated BYE by {algorithm}"


@pytest.mark.parametrize(("kind", "status"), [("proxy", "407"), ("www", "401")])
async def test_a_wrong_password_is_tried_once(
    kind: Literal["proxy", "www"],
    status: str,
    server: ServerProcess,
    client: AsyncTelnyx,
    callbacks: CallbackReceiver,
) -> None:
    async with Kamailio(server.sip_port, challenge=Challenge(kind, "SHA-256", "us", "secret")) as proxy:
        await place(client, server, proxy, "guess", callbacks)
        await happens(callbacks.watch, "the end", lambda: bool(callbacks.received))
    form = callbacks.received[0].fields
    assert (form["CallStatus"], form["HangupCause"], form["SipHangupCause"]) == ("failed", "call_rejected", status)
    assert proxy.checked == ["challenged INVITE"] * 2


async def place(
    client: AsyncTelnyx, server: ServerProcess, proxy: Kamailio, password: str, callbacks: CallbackReceiver | None
) -> None:
    """A call through the proxy, with credentials."""
    await client.texml.accounts.calls.with_raw_response.calls(
        server.account_sid,
        body={
            "to": f"sip:callee@127.0.0.1:{proxy.port}",
            "from_": "+15550001111",
            "texml": "<Response><Pause length='1'/></Response>",
            "sip_auth_username": "us",
            "sip_auth_password": password,
            **({"status_callback": callbacks.url} if callbacks else {}),
        },
    )

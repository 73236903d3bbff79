"""What customers name is not dialled at private addresses, nor at metadata services: one test for each way out of a
server whose API is reachable from elsewhere."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx, UnprocessableEntityError

from peers import sipp as steps
from peers.harness import GLANCE, RecordingApp, ended, happens, new_server, running
from peers.sip_socket import SipSocket
from peers.sipp import SippRun
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess, free_ports
from webapp import Answer, WebApp, texml

pytestmark = pytest.mark.peer

ALLOWED = "127.0.0.2"
WEB_PORT, TRUNK_PORT = free_ports(1), free_ports(1)
DENIED = "may not be dialled: its address is private, which egress.private or egress.allow would have to allow"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """HTTP is not on loopback, so private addresses are denied by default; one is allowed for the tests' callbacks."""
    applications = [{"name": "bot", "voice_url": f"http://127.0.0.1:{WEB_PORT}/voice"}]
    server = new_server(
        tmp_path_factory.mktemp("server"),
        http__host="0.0.0.0",
        egress__allow=f"{ALLOWED}/32",
        applications=json.dumps(applications),
        numbers=json.dumps([{"pattern": "bot", "application": "bot"}]),
        sip__trunks=json.dumps([{"name": "pbx", "targets": [f"sip:127.0.0.1:{TRUNK_PORT}"], "keep_alive": 0}]),
        sip__phones=json.dumps([{"user": "ann", "password": "secret"}]),
    )
    async with running(server):
        yield server


@pytest.fixture
async def web() -> AsyncIterator[WebApp]:
    """At the address of the configured application."""
    async with WebApp(WEB_PORT) as web:
        yield web


@pytest.fixture
async def elsewhere() -> AsyncIterator[WebApp]:
    """At a private address that no setting names."""
    async with WebApp() as web:
        yield web


@pytest.fixture
async def allowed() -> AsyncIterator[WebApp]:
    async with WebApp(host=ALLOWED) as web:
        yield web


@pytest.fixture
async def callbacks() -> AsyncIterator[CallbackReceiver]:
    async with CallbackReceiver(ALLOWED) as receiver:
        yield receiver


async def logged(server: ServerProcess, event: str, **ids: Any) -> dict[str, Any]:
    """The line of the log with that event and these values, once it is there."""
    async with asyncio.timeout(30):
        while True:
            for text in server.log.splitlines():
                line = json.loads(text)
                if line["event"] == event and ids.items() <= line.items():
                    return dict(line)
            await asyncio.sleep(GLANCE)


async def denials(server: ServerProcess) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        text = (await client.get(server.base_url.replace("/v2", "/metrics"))).text
    prefix = 'trunkline_outbound_total{event="egress_denied_'
    lines = [line.removeprefix(prefix).split('"} ') for line in text.splitlines() if line.startswith(prefix)]
    return {rule: float(count) for rule, count in lines}


def by_name(web: WebApp) -> str:
    """The URL with a name in place of the address: what is refused when it is dialled, and not before."""
    return web.url.replace("127.0.0.1", "localhost")


async def refusal(request: Any) -> tuple[str, str]:
    with pytest.raises(UnprocessableEntityError) as refused:
        await request
    (error,) = refused.value.response.json()["errors"]
    return error["source"]["pointer"], error["detail"]


async def test_literal_addresses_in_requests_are_refused_at_once(
    server: ServerProcess, client: AsyncTelnyx, caller: DemoCaller
) -> None:
    before = await denials(server)
    account, calls = server.account_sid, client.texml.accounts.calls
    bad = "http://[::ffff:127.0.0.1]:9/"

    async def placed(**fields: str) -> tuple[str, str]:
        body: Any = {"to": "+4912", "from_": "1", **fields}
        return await refusal(calls.calls(account, body=body))

    assert (await placed(url=bad))[0] == "/Url"
    assert (await placed(texml="<Response/>", status_callback=bad))[0] == "/StatusCallback"
    pointer, detail = await placed(texml="<Response/>", to="sip:x@10.0.0.1")
    assert (pointer, detail) == ("/To", f"To: 10.0.0.1 {DENIED}")
    sid = caller.call_sid
    assert (await refusal(calls.streams_json(sid, account_sid=account, url="ws://127.0.0.1:9/")))[0] == "/Url"
    pointer, detail = await refusal(calls.streams_json(sid, account_sid=account, url="ws://169.254.169.254/"))
    assert "a cloud's metadata service" in detail
    stream = calls.streams_json(sid, account_sid=account, url="ws://localhost:9/", status_callback=bad)
    assert (await refusal(stream))[0] == "/StatusCallback"
    assert (await refusal(calls.update(sid, account_sid=account, url=bad)))[0] == "/Url"
    assert (await refusal(calls.update(sid, account_sid=account, status_callback=bad)))[0] == "/StatusCallback"
    application = client.texml_applications.create(friendly_name="x", voice_url=bad)
    assert (await refusal(application))[0] == "/voice_url"
    after = await denials(server)
    assert after["private"] - before.get("private", 0) == 8
    assert after["metadata"] - before.get("metadata", 0) == 1


async def test_a_stream_to_a_private_address_fails_and_says_why(
    server: ServerProcess, client: AsyncTelnyx, caller: DemoCaller, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    before = (await denials(server)).get("private", 0)
    url = app.url.replace("127.0.0.1", "localhost")
    started = await client.texml.accounts.calls.streams_json(
        caller.call_sid, account_sid=server.account_sid, url=url, status_callback=callbacks.url
    )
    assert started.sid
    end = await ended(callbacks, started.sid)
    assert (end["StreamEvent"], end["StreamError"]) == ("stream-error", f"localhost {DENIED}")
    assert not app.sockets
    async with asyncio.timeout(30):
        while (await denials(server)).get("private", 0) == before:
            pass  # the worker reports its counters once a second


async def test_documents_and_files_at_private_addresses_are_not_fetched(
    server: ServerProcess, client: AsyncTelnyx, caller: DemoCaller, elsewhere: WebApp
) -> None:
    url = by_name(elsewhere)
    document = f"<Response><Play>{url}/a.wav</Play><Redirect>{url}/next</Redirect></Response>"
    await client.texml.accounts.calls.update(caller.call_sid, account_sid=server.account_sid, texml=document)
    await happens(caller.watch, "the call ends", lambda: caller.ended_by_server)
    line = await logged(server, "call_ended", call_sid=caller.call_sid)
    assert line["reason"].endswith(f"localhost {DENIED}")
    report: dict[str, Any] = await client.get(
        f"/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}/media.json", cast_to=dict[str, Any]
    )
    assert any("a.wav" in found["text"] and DENIED in found["text"] for found in report["findings"])
    assert not elsewhere.received


async def test_no_redirection_leads_to_a_metadata_service(
    server: ServerProcess, client: AsyncTelnyx, caller: DemoCaller, allowed: WebApp
) -> None:
    metadata = "http://169.254.169.254/latest/meta-data/"
    allowed.answers |= {
        "/document": Answer(status=302, headers={"Location": metadata}),
        "/a.wav": Answer(status=307, headers={"Location": metadata}),
    }
    verbs = f"<Play>{allowed.url}/a.wav</Play><Redirect>{allowed.url}/document</Redirect>"
    calls = client.texml.accounts.calls
    await calls.update(caller.call_sid, account_sid=server.account_sid, texml=f"<Response>{verbs}</Response>")
    await happens(caller.watch, "the call ends", lambda: caller.ended_by_server)
    line = await logged(server, "call_ended", call_sid=caller.call_sid)
    assert (
        "169.254.169.254 may not be dialled: its address is link-local or a cloud's metadata service" in line["reason"]
    )
    assert [len(allowed.asked(path)) for path in ("/a.wav", "/document")] == [1, 1]
    assert (await denials(server))["metadata"] >= 2


async def test_a_callback_to_a_private_address_fails_at_once(
    server: ServerProcess, client: AsyncTelnyx, caller: DemoCaller, elsewhere: WebApp
) -> None:
    await client.texml.accounts.calls.update(
        caller.call_sid, account_sid=server.account_sid, status_callback=by_name(elsewhere) + "/events"
    )
    await caller.hang_up()
    line = await logged(server, "callback_failed", call_sid=caller.call_sid)
    assert (line["tries"], line["reason"]) == (1, f"cannot be sent: localhost {DENIED}")
    assert not elsewhere.received


async def test_sip_targets_at_private_addresses_are_not_called(
    server: ServerProcess, client: AsyncTelnyx, caller: DemoCaller, allowed: WebApp, callbacks: CallbackReceiver
) -> None:
    allowed.answers["/after"] = texml("<Hangup/>")
    async with SipSocket(server.sip_address) as listener:
        uri = f"sip:x@localhost:{listener.port}"
        dial = f'<Response><Dial action="{allowed.url}/after"><Sip>{uri}</Sip></Dial></Response>'
        calls = client.texml.accounts.calls
        await calls.update(caller.call_sid, account_sid=server.account_sid, texml=dial)
        await happens(allowed.watch, "the dialled call is over", lambda: bool(allowed.asked("/after")))
        assert allowed.asked("/after")[0].fields["DialCallStatus"] == "failed"
        body: Any = {"to": uri, "from_": "1", "texml": "<Response/>", "status_callback": callbacks.url}
        await calls.calls(server.account_sid, body=body)
        await happens(callbacks.watch, "the call fails", lambda: bool(callbacks.received))
        fields = callbacks.received[0].fields
        assert fields["CallStatus"] == "failed"
        line = await logged(server, "call_ended", call_sid=fields["CallSid"])
        assert line["reason"].endswith(f"localhost {DENIED}")
        assert listener.received == 0
    assert (await denials(server))["private"] >= 2


async def test_a_trunk_does_not_lead_calls_to_other_private_addresses(
    server: ServerProcess, client: AsyncTelnyx, callee: Callable[..., SippRun], callbacks: CallbackReceiver
) -> None:
    async with SipSocket(server.sip_address) as listener:
        moved = steps.responds(302, "Moved", headers=f"Contact: <sip:x@127.0.0.1:{listener.port}>\n")
        async with callee(steps.called(), moved, steps.acked(), port=TRUNK_PORT) as pbx:
            body: Any = {"to": "+4930", "from_": "1", "texml": "<Response/>", "status_callback": callbacks.url}
            await client.texml.accounts.calls.calls(server.account_sid, body=body)
            await pbx.succeeds()
            await happens(callbacks.watch, "the call fails", lambda: bool(callbacks.received))
        fields = callbacks.received[0].fields
        assert fields["CallStatus"] == "failed"
        line = await logged(server, "call_ended", call_sid=fields["CallSid"])
        assert f"127.0.0.1 {DENIED}" in line["reason"]
        assert listener.received == 0


async def test_what_the_operator_has_configured_may_be_private(
    server: ServerProcess, client: AsyncTelnyx, web: WebApp, callee: Callable[..., SippRun]
) -> None:
    web.answers |= {"/voice": texml("<Redirect>/next</Redirect>"), "/next": texml('<Answer/><Pause length="60"/>')}
    async with DemoCaller(server.sip_address, speech(100), called="bot") as caller:
        await caller.call()
        await happens(web.watch, "the document and the next", lambda: bool(web.asked("/next")))
    accepting = (steps.called(), steps.accepts(steps.sdp(steps.PCMU_LINES)), steps.byed())
    async with callee(*accepting, port=TRUNK_PORT) as pbx:
        body: Any = {"to": "+4930", "from_": "1", "texml": "<Response/>"}
        await client.texml.accounts.calls.calls(server.account_sid, body=body)
        await pbx.succeeds()


async def test_a_registered_phone_may_be_at_a_private_address(server: ServerProcess, client: AsyncTelnyx) -> None:
    async with SipSocket(server.sip_address, "127.0.0.3") as phone:
        assert (await phone.register("ann", "secret")).startswith("SIP/2.0 200")
        body: Any = {"to": "ann", "from_": "1", "texml": "<Response/>", "Timeout": 5}
        await client.texml.accounts.calls.calls(server.account_sid, body=body)
        assert (await phone.receive()).startswith("INVITE sip:ann@127.0.0.3")


async def test_while_http_is_on_loopback_private_addresses_are_dialled(tmp_path: Path, app: RecordingApp) -> None:
    async with (
        running(new_server(tmp_path)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        DemoCaller(server.sip_address, speech(1000)) as caller,
    ):
        await caller.call()
        url = app.url.replace("127.0.0.1", "localhost")
        await client.texml.accounts.calls.streams_json(caller.call_sid, account_sid=server.account_sid, url=url)
        await app.socket()
        with pytest.raises(UnprocessableEntityError, match="metadata"):
            await client.texml.accounts.calls.streams_json(
                caller.call_sid, account_sid=server.account_sid, url="ws://169.254.169.254/"
            )


async def test_a_reload_changes_the_rules_of_the_server_and_its_workers(
    tmp_path: Path, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    file = tmp_path / "trunkline.toml"
    lists = f'allow = ["{ALLOWED}/32"]\n'
    file.write_text("[egress]\nprivate = false\n" + lists)
    async with (
        running(new_server(tmp_path)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        DemoCaller(server.sip_address, speech(1000)) as caller,
    ):
        await caller.call()
        literal, name = app.url, app.url.replace("127.0.0.1", "localhost")
        start = client.texml.accounts.calls.streams_json

        async def stream(url: str) -> str:
            started = await start(
                caller.call_sid, account_sid=server.account_sid, url=url, status_callback=callbacks.url
            )
            return str(started.sid)

        assert (await ended(callbacks, await stream(name)))["StreamError"] == f"localhost {DENIED}"
        assert (await refusal(start(caller.call_sid, account_sid=server.account_sid, url=literal)))[0] == "/Url"
        file.write_text("[egress]\nprivate = true\n" + lists)
        server.process.send_signal(signal.SIGHUP)
        line = await logged(server, "settings_reloaded")
        assert line["changed"] == ["egress.private"]
        for number, url in enumerate((name, literal), 1):
            await stream(url)
            await happens(app.watch, "a stream starts", lambda number=number: len(app.sockets) == number)

"""The official Python SDK, which sends JSON, starts, stops, lists and hangs up, is refused in the documented words, and
finds our callbacks' signatures good."""

from typing import Any

import pytest
import telnyx
from telnyx import AsyncTelnyx
from telnyx.lib.webhook_verification import WebhookVerificationError, verify_webhook_signature

from peers.harness import RecordingApp, ended, events, happens, listed_calls
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


def error(refused: pytest.ExceptionInfo[telnyx.APIStatusError]) -> tuple[int, str, str | None]:
    """Status, code and pointer of a refusal."""
    body: Any = refused.value.body
    first = body["errors"][0]
    return refused.value.status_code, first["code"], first.get("source", {}).get("pointer")


async def test_start_and_stop_answer_as_the_sdk_expects(
    server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    calls = client.texml.accounts.calls
    started = await calls.streams_json(
        caller.call_sid,
        account_sid=server.account_sid,
        url=app.url + "?a=b%20c&d",
        name="My stream",
        track="both_tracks",
        bidirectional_mode="rtp",
        bidirectional_codec="PCMU",
        status_callback=callbacks.url,
        status_callback_method="GET",
    )
    assert started.sid
    assert (started.name, started.status) == ("My stream", "in-progress")
    assert (started.account_sid, started.call_sid) == (server.account_sid, caller.call_sid)
    assert started.date_updated is not None
    socket = await app.socket()
    assert socket.path == "/app?a=b%20c&d"
    assert socket.headers["user-agent"].startswith("Trunkline/")
    assert socket.all("start")[0]["stream_id"] == started.sid
    start = socket.all("start")[0]["start"]
    assert start["call_control_id"] == caller.call_sid
    assert start["user_id"] == server.account_sid
    assert start["media_format"] == {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
    assert not {"streamSid", "callSid"} & set(start)
    both = lambda: min(len(socket.payloads()), len(socket.payloads("outbound"))) >= 50  # noqa: E731 - used once, named
    await happens(app.watch, "both tracks flow", both)
    stopped = await calls.streams.streaming_sid_json(
        started.sid, account_sid=server.account_sid, call_sid=caller.call_sid, status="stopped"
    )
    assert (stopped.sid, stopped.status) == (started.sid, "stopped")
    end = await ended(callbacks, started.sid)
    assert (end["StreamEvent"], end["StreamName"], end["CallSidLegacy"]) == (
        "stream-stopped",
        "My stream",
        caller.call_sid,
    )
    again = await calls.streams.streaming_sid_json(
        "My stream", account_sid=server.account_sid, call_sid=caller.call_sid
    )
    assert again.status == "stopped"
    assert caller.up


async def test_callbacks_pass_the_sdks_own_signature_check(
    server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    stream = await client.texml.accounts.calls.streams_json(
        caller.call_sid, account_sid=server.account_sid, url=app.url, status_callback=callbacks.url
    )
    await app.socket()
    await client.calls.actions.hangup(caller.call_sid)
    assert stream.sid
    await ended(callbacks, stream.sid)
    assert events(callbacks) == ["stream-started", "stream-stopped"]
    key = await server.public_key()
    for callback in callbacks.received:
        verify_webhook_signature(callback.body, callback.headers, key)
        with pytest.raises(WebhookVerificationError):
            verify_webhook_signature(callback.body + b"x", callback.headers, key)


async def test_refusals_have_the_documented_status_code_and_pointer(
    server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx, app: RecordingApp
) -> None:
    start = client.texml.accounts.calls.streams_json
    account = server.account_sid
    with pytest.raises(telnyx.UnprocessableEntityError) as refused:
        await start(caller.call_sid, account_sid=account)
    assert error(refused) == (422, "10004", "/Url")
    with pytest.raises(telnyx.UnprocessableEntityError) as refused:
        await start(caller.call_sid, account_sid=account, url="http://example.com")
    assert error(refused) == (422, "10003", "/Url")
    with pytest.raises(telnyx.UnprocessableEntityError) as refused:
        await start(caller.call_sid, account_sid=account, url=app.url, extra_body={"Track": "sideways"})
    assert error(refused) == (422, "10032", "/Track")
    with pytest.raises(telnyx.NotFoundError) as unknown:
        await start("v3:unknown", account_sid=account, url=app.url)
    assert unknown.value.body == {"errors": [{"detail": "Resource not found"}]}
    with pytest.raises(telnyx.AuthenticationError) as denied:
        await start(caller.call_sid, account_sid=account, url=app.url, extra_headers={"Authorization": "Bearer x"})
    assert error(denied) == (401, "10009", None)
    place = client.texml.accounts.calls.calls
    with pytest.raises(telnyx.UnprocessableEntityError) as refused:
        await place(account, body={"url": "https://example.com", "from_": "+13125550100"})
    assert error(refused) == (422, "10004", "/To")
    with pytest.raises(telnyx.UnprocessableEntityError) as refused:
        await place(account, body={"url": "https://example.com", "from_": "+13125550100", "to": "+999"})
    assert error(refused) == (422, "10015", "/To")
    await client.calls.actions.hangup(caller.call_sid)
    with pytest.raises(telnyx.UnprocessableEntityError) as over:
        await start(caller.call_sid, account_sid=account, url=app.url)
    assert error(over) == (422, "90018", None)
    with pytest.raises(telnyx.UnprocessableEntityError) as over:
        await client.calls.actions.hangup(caller.call_sid)
    assert error(over) == (422, "90018", None)


async def test_a_call_is_listed_fetched_and_completed(
    server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx
) -> None:
    calls = client.texml.accounts.calls
    fetched = await calls.retrieve(caller.call_sid, account_sid=server.account_sid)
    assert (fetched.sid, fetched.status, fetched.from_) == (caller.call_sid, "in-progress", "+13125550100")
    assert await listed_calls(client, server.account_sid, "in-progress", caller.call_sid)
    await calls.update(caller.call_sid, account_sid=server.account_sid, status="completed")
    await happens(caller.watch, "the phone gets BYE", lambda: caller.ended_by_server)
    assert (await calls.retrieve(caller.call_sid, account_sid=server.account_sid)).status == "completed"

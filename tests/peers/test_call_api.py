"""Calls placed by the official SDKs, to a called party that is sipp: resources, callbacks, endings."""

from collections.abc import Callable
from typing import Any

import pytest
import telnyx
from telnyx import AsyncTelnyx
from telnyx.lib.webhook_verification import verify_webhook_signature

from peers.customer import needs_node, node, node_verifies
from peers.harness import happens
from peers.sipp import PCMU_LINES, SippRun, accepts, acked, byed, called, responds, sdp
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer

FROM = "+13125550100"
STAYS = '<Response><Pause length="60"/></Response>'
EVENTS = "initiated ringing answered completed"


def field_values(callbacks: CallbackReceiver, name: str = "CallStatus") -> list[str]:
    """One field of all callbacks received until now."""
    return [callback.fields[name] for callback in callbacks.received]


def order(sipp: SippRun, callbacks: CallbackReceiver, **more: Any) -> dict[str, Any]:
    """What to place."""
    return {
        "To": f"sip:callee@127.0.0.1:{sipp.port}",
        "From": FROM,
        "Texml": STAYS,
        "StatusCallback": callbacks.url,
        "StatusCallbackEvent": EVENTS,
        **more,
    }


async def test_python_places_a_call_hears_of_it_and_redirects_it(
    server: ServerProcess, client: AsyncTelnyx, callbacks: CallbackReceiver, callee: Callable[..., SippRun]
) -> None:
    calls, account = client.texml.accounts.calls, server.account_sid
    steps = (called("X-Order: a b"), responds(180, "Ringing"), accepts(sdp(PCMU_LINES)), byed())
    async with callee(*steps) as sipp:
        body: Any = order(sipp, callbacks, CustomHeaders=[{"name": "X-Order", "value": "a b"}], CallerId="Trunk Line")
        placed = await calls.calls(account, body=body)
        assert (placed.from_, placed.to, placed.status) == (FROM, body["To"], "queued")
        sid = str((placed.model_extra or {})["sid"])
        await happens(callbacks.watch, "answered", lambda: "in-progress" in field_values(callbacks))
        up = await calls.retrieve(sid, account_sid=account)
        assert (up.status, up.direction, up.caller_name, up.duration) == (
            "in-progress",
            "outbound",
            "Trunk Line",
            None,
        )
        redirected = await calls.update(sid, account_sid=account, texml="<Response><Hangup/></Response>")
        assert redirected.sid == sid
        await sipp.succeeds()
    await happens(callbacks.watch, "completed", lambda: "completed" in field_values(callbacks))
    assert field_values(callbacks) == ["initiated", "ringing", "in-progress", "completed"]
    assert field_values(callbacks, "SequenceNumber") == ["0", "1", "2", "3"]
    assert set(field_values(callbacks, "CallSid")) == {sid}
    last = callbacks.received[-1].fields
    assert (last["HangupCause"], last["HangupSource"], last["SipHangupCause"]) == ("normal_clearing", "system", "200")
    assert last["StartTime"] <= last["AnsweredTime"] <= last["EndTime"]
    assert (callbacks.received[2].fields["Codec"], callbacks.received[2].fields["SamplingRate"]) == ("PCMU", "8000")
    key = await server.public_key()
    for callback in callbacks.received:
        verify_webhook_signature(callback.body, callback.headers, key)
    assert (await calls.retrieve(sid, account_sid=account)).status == "completed"
    with pytest.raises(telnyx.UnprocessableEntityError) as late:
        await calls.update(sid, account_sid=account, texml=STAYS)
    assert "90018" in str(late.value.body)


async def test_a_busy_call_says_so_everywhere(
    server: ServerProcess, client: AsyncTelnyx, callbacks: CallbackReceiver, callee: Callable[..., SippRun]
) -> None:
    calls, account = client.texml.accounts.calls, server.account_sid
    async with callee(called(), responds(486, "Busy Here"), acked()) as sipp:
        body: Any = order(sipp, callbacks, StatusCallbackEvent="completed", StatusCallbackMethod="GET")
        placed = await calls.calls(account, body=body)
        await happens(callbacks.watch, "the end", lambda: bool(callbacks.received))
        await sipp.succeeds()
    assert field_values(callbacks) == ["busy"]
    fields = callbacks.received[0].fields
    assert (fields["HangupCause"], fields["SipHangupCause"], fields["CallDuration"]) == ("user_busy", "486", "0")
    assert fields["HangupSource"] == "callee"
    call = await calls.retrieve(str((placed.model_extra or {})["sid"]), account_sid=account)
    assert (call.status, call.duration, call.direction) == ("busy", "0", "outbound")
    assert call.end_time


@needs_node
async def test_node_places_lists_ends_and_verifies(
    server: ServerProcess, callbacks: CallbackReceiver, callee: Callable[..., SippRun]
) -> None:
    access = {"api_key": server.api_key, "base_url": server.base_url, "account_sid": server.account_sid}
    steps = (called(), responds(180, "Ringing"), accepts(sdp(PCMU_LINES)), byed())
    async with callee(*steps) as sipp:
        report = await node("place", **access, order=order(sipp, callbacks))
        sid = report["placed"]["sid"]
        assert report["placed"]["status"] == "queued"
        assert report["fetched"]["sid"] == sid
        assert [call["sid"] for call in report["listed"]["calls"]] == [sid]
        for name in ("no_to", "no_trunk"):
            refused = report[name]
            assert (refused["status"], refused["body"]["errors"][0]["source"]) == (422, {"pointer": "/To"})
        await happens(callbacks.watch, "answered", lambda: "in-progress" in field_values(callbacks))
        report = await node("end", **access, call_sid=sid)
        assert (report["ended"]["sid"], report["ended"]["status"]) == (sid, "completed")
        assert report["again"]["body"]["errors"][0]["code"] == "90018"
        await sipp.succeeds()
    await happens(callbacks.watch, "completed", lambda: "completed" in field_values(callbacks))
    assert field_values(callbacks) == ["initiated", "ringing", "in-progress", "completed"]
    await node_verifies(server, callbacks.received)

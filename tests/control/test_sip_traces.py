"""The SIP messages of calls as they are shown."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from control.bench import ACCOUNT, Bench
from trunkline.calls.views import SipMessageView
from trunkline.control import sip_traces
from trunkline.control.sip_traces import restored, stored
from trunkline.ids import AccountSid, CallSid

NOW = datetime(2034, 1, 31, 12, tzinfo=UTC)
INVITE = b"INVITE sip:+1@host SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nAuthorization: Basic secret\r\n\r\n"
ENDS = ("192.0.2.9:5060", "192.0.2.1:5060", "udp")


async def test_they_are_the_calls_without_secrets(bench: Bench) -> None:
    call = CallSid("v3:1")
    bench.traces.trace.seen("received", INVITE, *ENDS, NOW)
    [refused] = bench.traces.refused()
    assert (refused.call_sid, refused.sip_call_id, refused.dropped) == (None, "a", 0)
    bench.traces.trace.name("a", ACCOUNT, call)
    assert bench.traces.refused() == []
    found = bench.traces.of_call(ACCOUNT, call)
    assert found is not None
    text = INVITE.decode().replace("Basic secret", "(left out)")
    assert found.messages == (
        SipMessageView(1, NOW, "received", *ENDS, "INVITE sip:+1@host", "1 INVITE", text),
    )  # fmt: skip
    assert (found.call_sid, found.sip_call_id) == (call, "a")
    assert bench.traces.of_call(AccountSid("another"), call) is None
    bench.traces.forget([call])
    assert bench.traces.of_call(ACCOUNT, call) is None


def see(bench: Bench, call: CallSid, call_id: str) -> None:
    data = INVITE.replace(b"Call-ID: a", f"Call-ID: {call_id}".encode())
    bench.traces.trace.seen("received", data, *ENDS, NOW)
    bench.traces.trace.name(call_id, ACCOUNT, call)


async def test_those_of_failed_calls_are_stored_a_moment_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_traces, "STORE_AFTER", 0.001)
    view = (await bench.invited(to_user="+1")).call.view
    see(bench, view.sid, "a")
    with bench.traces.storing(bench.writer):
        bench.traces.ended(replace(view, status="completed"))
        assert not bench.traces.due
        bench.traces.ended(replace(view, status="failed"))
        bench.traces.trace.seen("received", b"ACK sip:host SIP/2.0\r\nCall-ID: a\r\n\r\n", *ENDS, NOW)
        kept = bench.traces.of_call(ACCOUNT, view.sid)
        async with asyncio.timeout(30):
            while bench.traces.due:  # noqa: ASYNC110 - nothing reports it
                await asyncio.sleep(0.001)
    await bench.writer.submit()
    text = await bench.store.sip_trace(ACCOUNT, view.sid)
    assert text is not None
    assert restored(text) == kept
    assert "secret" not in text
    assert await bench.store.sip_trace(AccountSid("another"), view.sid) is None
    await bench.store.delete_calls([view.sid])
    assert await bench.store.sip_trace(ACCOUNT, view.sid) is None


@pytest.mark.parametrize(("which", "count"), [("all", 1), ("off", 0)])
async def test_the_setting_says_which_are_stored(make: Callable[..., Bench], which: str, count: int) -> None:
    bench = make(sip={"trace": {"store": which}})
    view = (await bench.invited(to_user="+1")).call.view
    see(bench, view.sid, "a")
    with bench.traces.storing(bench.writer):
        bench.traces.ended(replace(view, status="completed" if which == "all" else "failed"))
        assert len(bench.traces.due) == count
    await bench.writer.submit()
    assert (await bench.store.sip_trace(ACCOUNT, view.sid) is not None) == bool(count)


async def test_what_was_erased_is_not_stored_afterwards(bench: Bench) -> None:
    view = replace((await bench.invited(to_user="+1")).call.view, status="failed")
    see(bench, view.sid, "a")
    with bench.traces.storing(bench.writer):
        bench.traces.ended(view)
        bench.traces.forget([view.sid])
    await bench.writer.submit()
    assert await bench.store.sip_trace(ACCOUNT, view.sid) is None


async def test_a_long_trace_is_stored_without_its_end(bench: Bench) -> None:
    call = CallSid("v3:1")
    for _ in range(20):
        see(bench, call, "a")
    view = bench.traces.of_call(ACCOUNT, call)
    assert view is not None
    text = stored(view, 3000)
    assert len(text) <= 3000
    found = restored(text)
    assert 5 < len(found.messages) == 20 - found.dropped
    assert found.messages == view.messages[: len(found.messages)]

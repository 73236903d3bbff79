"""The runner between the model and the drivers: what each fact becomes, and what each effect has done. The model, the
directory, the store and its writer are real; what signalling and media workers are given is kept as values."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from control.bench import ACCOUNT, BOT, GIVEN, HEADERS, LOCAL, NOW, Bench, sdp
from stream_params import stream_params
from trunkline.calls import commands, events
from trunkline.calls.call import CallState
from trunkline.calls.commands import CallRequest, Instructions, Route
from trunkline.calls.registry import InviteInfo
from trunkline.calls.views import CallView, StreamView
from trunkline.control import runner as runner_module
from trunkline.errors import CallEnded, StreamLimitReached, TooManyRequests, Unavailable
from trunkline.ids import CallSessionId, CallSid, LegId, StreamSid, end_event_id
from trunkline.media.report import LegReport
from trunkline.sip import values as sip
from trunkline.sip.values import DialogId
from trunkline.store import store as store_module
from trunkline.streaming.params import BidirectionalMode, StreamReport
from trunkline.workers import orders, reports
from trunkline.workers.messages import FromLeg, Reported

Make = Callable[..., Bench]

# ── calls that come in ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["trunk", "phone"])
async def test_the_log_names_the_trunk_or_phone_that_a_call_came_by(bench: Bench, kind: str) -> None:
    by: dict[str, Any] = {kind: "one"}
    with capture_logs() as logs:
        await bench.invited(**by)
    assert {name: logs[0].get(name) for name in ("trunk", "phone")} == {"trunk": None, "phone": None, kind: "one"}


async def test_lines_of_a_call_have_its_call_id_and_keys_pressed_are_for_debugging(bench: Bench) -> None:
    with capture_logs() as logs:
        entry = await bench.up()
        bench.runner.on_pool(FromLeg(entry.leg, reports.DigitHeard("5")))
        bench.over(entry)
        placed = await bench.place()
        bench.runner.on_pool(FromLeg(placed.leg, reports.LegOpened(LOCAL)))
        bench.over(placed)
    received = logs[0]["sip_call_id"]
    found = [(line["event"], line["log_level"], line.get("sip_call_id")) for line in logs]
    assert found == [
        ("call_received", "info", received), ("call_answered", "info", received), ("digit_pressed", "debug", None),
        ("call_ended", "info", received),
        ("call_placed", "info", None), ("call_ended", "info", f"{placed.dialog}@here"),
    ]  # fmt: skip
    assert {line["call_sid"] for line in logs} == {entry.call.view.sid, placed.call.view.sid}


async def test_a_call_to_a_number_runs_the_instructions_of_its_application(bench: Bench) -> None:
    with capture_logs() as logs:
        entry = await bench.invited(to_user="+1")
    view = entry.call.view
    assert (view.account_sid, view.application_sid, view.direction) == (ACCOUNT, BOT, "inbound")
    assert (view.from_, view.to, view.caller_name, view.status) == ("+49", "+1", "Ann", "ringing")
    assert (view.status_callback, view.status_callback_method) == ("http://a/s", "GET")
    assert entry.origin == InviteInfo("sip:+49@a", "sip:+2@b", HEADERS)
    wanted = Instructions(url="http://a/v", method="GET", fallback_url="http://b/v")
    assert (entry.instructions, bench.script.began) == (wanted, [(entry, wanted)])
    assert bench.signalling.done == [sip.SendRinging(DialogId(7))]
    assert bench.media.placed == [(entry.leg, None)]
    ((leg, order),) = bench.media.orders
    assert isinstance(order, orders.OpenLeg)
    assert (leg, order.call_sid, order.params.codec) == (entry.leg, view.sid, "PCMA")
    assert bench.runner.counters == {"calls_opening": 1}
    (line,) = logs
    assert (line["event"], line["to"], line["from_"], line["transport"]) == ("call_received", "+1", "+49", "udp")
    assert (line["call_sid"], bool(line["sip_call_id"])) == (view.sid, True)
    assert "trunk" not in line
    assert "phone" not in line
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    assert entry.call.state is CallState.RINGING, "its instructions answer it"
    forms = await bench.callbacks()
    assert [one["CallStatus"] for one in forms] == ["initiated", "ringing"]


async def test_a_call_to_an_unassigned_number_is_answered_for_the_servers_account(bench: Bench) -> None:
    entry = await bench.invited()
    view = entry.call.view
    assert (view.account_sid, view.application_sid, view.status_callback) == (ACCOUNT, None, None)
    assert (entry.instructions, bench.script.began) == (None, [])
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    answer = bench.signalling.done[-1]
    assert isinstance(answer, sip.AcceptInvite)
    assert answer.headers == (("X-Trunkline-Call-Sid", view.sid),)
    assert "c=IN IP4 203.0.113.1" in answer.sdp, "the address that peers reach"
    assert "m=audio 20000 " in answer.sdp


async def test_the_application_may_be_that_of_the_trunk(bench: Bench) -> None:
    assert (await bench.invited(trunk="carrier")).call.view.application_sid == BOT
    for number, whose in enumerate(({"phone": "ann"}, {"trunk": "safe"})):
        assert (await bench.invited(8 + number, **whose)).call.state is CallState.ENDED, "it must be encrypted"


async def test_the_model_follows_the_settings_of_calls(bench: Bench) -> None:
    assert (await bench.invited(1, offer=sdp("0"))).call.view.sip_status == 488, "codecs"
    assert (await bench.invited(2, offer=sdp(address="IP6 2001:db8::7"))).call.view.sip_status == 488, "family"
    entry = await bench.up()
    talks = stream_params("ws://a/", mode=BidirectionalMode.RTP)
    bench.runner.apply(entry, commands.StartStream(StreamSid("one"), talks))
    with pytest.raises(StreamLimitReached):
        bench.runner.apply(entry, commands.StartStream(StreamSid("two"), talks))
    bench.runner.apply(entry, commands.StartStream(StreamSid("two"), stream_params("ws://a/")))
    with pytest.raises(StreamLimitReached):
        bench.runner.apply(entry, commands.StartStream(StreamSid("three"), stream_params("ws://a/")))


async def test_a_call_whose_offer_is_refused_gets_no_instructions(bench: Bench) -> None:
    entry = await bench.invited(to_user="+1", offer=sdp("0"))
    assert entry.call.state is CallState.ENDED
    assert bench.script.began == []


async def test_a_call_of_an_application_that_is_not_active_is_refused(bench: Bench) -> None:
    application = bench.directory.application(ACCOUNT, BOT)
    assert application is not None
    bench.directory.put(replace(application, active=False))
    assert bench.turns_away() == sip.RejectInvite(DialogId(7), 403, "Forbidden", "the application is not active")


@contextmanager
def outage(bench: Bench) -> Iterator[None]:
    """No other connection can write while this holds the lock."""
    blocker = sqlite3.connect(bench.settings.store.directory / "trunkline.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()


async def test_while_the_store_is_behind_or_the_server_ends_no_call_is_taken(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 1)
    bench = make(store={"queue_limit": 1})
    refusal = sip.RejectInvite(DialogId(7), 503, "Service Unavailable", "draining or overloaded")
    with outage(bench):
        bench.writer.submit()
        with pytest.raises(Unavailable, match="behind") as behind:
            await bench.place()
        assert behind.value.retry_after == 1
        assert bench.turns_away() == refusal
        bench.runner.keep_contacts("ann", "[]")
        assert bench.writer.pending == 1, "contacts wait for better times"
    await bench.writer.submit()
    bench.signalling.started = False
    with pytest.raises(Unavailable, match="starting") as starting:
        await bench.place()
    assert starting.value.retry_after == 1
    await bench.runner.end_all(1)
    with pytest.raises(Unavailable, match="draining") as ending:
        await bench.place()
    assert ending.value.retry_after == 5
    assert bench.turns_away() == refusal


async def test_what_a_document_dials_reaches_signalling_as_restricted(bench: Bench) -> None:
    for restricted in (False, True):
        entry = await bench.place("sip:b@h", Route("uri", "", "sip:b@h", restricted=restricted))
        bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
        invite = bench.signalling.done[-1]
        assert isinstance(invite, sip.SendInvite)
        assert invite.restricted is restricted


async def test_calls_beyond_a_limit_are_refused_both_ways_until_one_has_ended(make: Make) -> None:
    bench = make(
        sip={
            **GIVEN["sip"],
            "account_call_limit": 1,
            "trunks": [{"name": "carrier", "targets": ["sip:c.test"], "call_rate": 2}],
        }
    )
    entry = await bench.up()
    bench.invite(dialog=9)
    assert bench.signalling.done[-1] == sip.RejectInvite(DialogId(9), 486, "Busy Here", "too many calls", 5)
    with pytest.raises(TooManyRequests, match=r"the account has 1 calls, which is sip\.account_call_limit\."):
        await bench.place()
    bench.over(entry)
    for _ in range(2):
        bench.over(await bench.place("+1555", Route("trunk", "carrier", "+1555")))
    with capture_logs() as logs:
        bench.invite(trunk="carrier")
    refusal = bench.signalling.done[-1]
    assert isinstance(refusal, sip.RejectInvite)
    assert (refusal.status, refusal.retry_after) == (503, 60)
    assert [(line["event"], line["trunk"]) for line in logs] == [("call_refused", "carrier")]
    with pytest.raises(TooManyRequests, match="trunk carrier had 2 calls within a minute") as refused:
        await bench.place("+1555", Route("trunk", "carrier", "+1555"))
    assert refused.value.retry_after == 60
    over = {name: number for name, number in bench.runner.counters.items() if name.startswith("calls_over")}
    assert over == {"calls_over_account_limit": 2, "calls_over_trunk_rate": 2}


async def test_contacts_are_kept(bench: Bench) -> None:
    bench.runner.keep_contacts("ann", "[1]")
    await bench.writer.submit()
    assert await bench.store.contacts() == {"ann": "[1]"}


# ── calls that are placed ───────────────────────────────────────────────────────────────────────────────────


async def test_a_call_is_placed_as_it_was_asked_for(bench: Bench) -> None:
    with capture_logs() as logs:
        entry = await bench.place(
            "+1555", Route("trunk", "carrier", "+1555"), application_sid=BOT, status_callback_method="GET",
            status_callback_events="answered", headers=HEADERS, username="u", password="p", timeout=0.001,
        )  # fmt: skip
    view = entry.call.view
    assert (view.direction, view.status, view.from_, view.to) == ("outbound", "queued", "+4930", "+1555")
    assert (view.caller_name, view.application_sid, view.parent_sid) == ("Ann", BOT, None)
    callback = view.status_callback, view.status_callback_method, view.status_callback_events
    assert callback == ("http://a/s", "GET", "answered")
    assert entry.origin == InviteInfo("sip:+4930@192.0.2.1", "sip:+1555@192.0.2.1")
    assert bench.media.placed == [(entry.leg, None)]
    assert bench.runner.registry.by_dialog(100) is entry
    (line,) = logs
    assert (line["event"], line["route"], line["name"], "parent_sid" in line) == (
        "call_placed",
        "trunk",
        "carrier",
        False,
    )
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    (invite,) = bench.signalling.done
    assert isinstance(invite, sip.SendInvite)
    assert replace(invite, sdp="") == sip.SendInvite(
        DialogId(100), "trunk", "carrier", "+1555", "+4930", "Ann", "", HEADERS, sip.Credentials("u", "p")
    )
    async with asyncio.timeout(30):
        while entry.call.state is not CallState.ENDED:  # noqa: ASYNC110 - its timer is the loop's
            await asyncio.sleep(0)
    assert "unreachable" in str(entry.call.view.hangup_cause)
    assert isinstance(bench.signalling.done[-1], sip.EndDialog)


async def test_without_credentials_of_its_own_it_uses_the_trunks(bench: Bench) -> None:
    bench.runner.on_pool(FromLeg((await bench.place()).leg, reports.LegOpened(LOCAL)))
    invite = bench.signalling.done[-1]
    assert isinstance(invite, sip.SendInvite)
    assert invite.credentials is None


async def test_a_password_may_be_empty(bench: Bench) -> None:
    bench.runner.on_pool(FromLeg((await bench.place(username="u")).leg, reports.LegOpened(LOCAL)))
    invite = bench.signalling.done[-1]
    assert isinstance(invite, sip.SendInvite)
    assert invite.credentials == sip.Credentials("u", "")


@pytest.mark.parametrize(
    ("kind", "name", "encrypted"), [("phone", "ann", True), ("trunk", "safe", True), ("trunk", "carrier", False)]
)
async def test_a_call_is_encrypted_as_the_phone_or_trunk_wants(
    bench: Bench, kind: Any, name: str, encrypted: bool
) -> None:
    bench.runner.on_pool(FromLeg((await bench.place("ann", Route(kind, name, "ann"))).leg, reports.LegOpened(LOCAL)))
    invite = bench.signalling.done[-1]
    assert isinstance(invite, sip.SendInvite)
    assert ("RTP/SAVP" in invite.sdp) == encrypted


async def test_a_dialled_call_shares_its_parents_session_and_media_worker(bench: Bench) -> None:
    parent = await bench.up()
    with capture_logs() as logs:
        entry = await bench.place(parent=parent)
    assert entry.call.view.parent_sid == parent.call.view.sid
    assert entry.call.view.session_id == parent.call.view.session_id
    assert bench.media.placed[-1] == (entry.leg, parent.leg)
    assert logs[0]["parent_sid"] == parent.call.view.sid
    other = await bench.place()
    assert other.call.view.session_id != parent.call.view.session_id
    assert other.origin.to_uri == "sip:bob@c.test"


async def test_what_a_placed_call_is_to_do_begins_with_its_answer(bench: Bench) -> None:
    instructions = Instructions(texml="<Response/>")
    entry = await bench.place(instructions=instructions)
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    bench.runner.on_sip(sip.InviteProgressed(DialogId(100), 180, "Ringing", None))
    assert bench.script.began == []
    with capture_logs() as logs:
        bench.runner.on_sip(sip.InviteAccepted(DialogId(100), sdp()))
    assert bench.script.began == [(entry, instructions)]
    assert [(line["event"], line["codec"]) for line in logs if line["event"] == "call_answered"] == [
        ("call_answered", "PCMA")
    ]
    silent = await bench.place()
    bench.runner.on_pool(FromLeg(silent.leg, reports.LegOpened(LOCAL)))
    bench.runner.on_sip(sip.InviteAccepted(DialogId(101), sdp()))
    broken = await bench.place(instructions=instructions)
    bench.runner.on_pool(FromLeg(broken.leg, reports.LegOpened(LOCAL)))
    bench.runner.on_sip(sip.InviteAccepted(DialogId(102), sdp("0")))
    assert len(bench.script.began) == 1, "one has nothing to do, and one is over"


# ── what the drivers report ─────────────────────────────────────────────────────────────────────────────────

D, L, S = DialogId(7), LegId(1), StreamSid("s")
OFFER = sdp()


@pytest.mark.parametrize(
    ("event", "fact"),
    [
        (sip.AckReceived(D, OFFER), events.Confirmed(OFFER)),
        (sip.ReinviteReceived(D, OFFER), events.OfferReceived(OFFER)),
        (sip.ReinviteCancelled(D), events.ReofferCancelled()),
        (sip.SessionRefreshed(D, OFFER), events.Refreshed(OFFER)),
        (sip.InfoDigitReceived(D, "5"), events.DigitReceived("5")),
        (sip.InviteProgressed(D, 183, "x", OFFER), events.Progressed(183, OFFER)),
        (sip.InviteAccepted(D, OFFER), events.Accepted(OFFER)),
        (sip.InviteRefused(D, 486, "Busy", "why", False, True), events.Refused(486, "Busy", "why", False, True)),
        (sip.DialogEnded(D, "bye", "why"), events.PeerEnded("bye", "why")),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_events_of_signalling_are_applied_and_then_passed_to_the_script(
    bench: Bench, event: Any, fact: Any
) -> None:
    entry = await bench.up()
    bench.runner.on_sip(replace(event, dialog=DialogId(9)))
    assert bench.script.all == [], "there is no such dialog"
    bench.runner.on_sip(event)
    ((owner, what, _),) = bench.script.all
    assert (owner, what) == (entry, fact)


@pytest.mark.parametrize(
    "report",
    [
        reports.LegFailed("why"),
        reports.LegUpdated(3),
        reports.LegSilent(60.0),
        reports.DigitHeard("5"),
        reports.PlaybackEnded(3, "no"),
        reports.RecordingEnded(3, 1.5, "key", "#", "no"),
        reports.LegClosed(LegReport(lost=1)),
        reports.StreamStarted(S),
        reports.StreamEnded(S, "no", "why", StreamReport(marks=1)),
        reports.WorkerLost("died"),
        reports.LegOpened(LOCAL),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_reports_of_a_leg_are_applied_unchanged_and_then_passed_to_the_script(
    bench: Bench, report: reports.Report
) -> None:
    entry = await bench.up()
    bench.runner.on_pool(FromLeg(LegId(9), report))
    assert bench.script.all == [], "there is no such leg"
    bench.runner.on_pool(FromLeg(entry.leg, report))
    ((owner, what, _),) = bench.script.all
    assert owner is entry
    assert what is report


async def test_the_script_hears_when_all_is_done(bench: Bench) -> None:
    entry = await bench.up()
    bench.runner.apply(entry, commands.EndCall("so be it"))
    assert bench.script.all == [(entry, commands.EndCall("so be it"), CallState.ENDED)]
    assert bench.signalling.done == [sip.EndDialog(D, "so be it", 200)]
    assert bench.media.orders == [(entry.leg, orders.CloseLeg("so be it"))]


# ── what the model wants done ───────────────────────────────────────────────────────────────────────────────


async def test_orders_of_a_call_that_is_up_reach_its_media_leg(bench: Bench) -> None:
    one, other = await bench.up(), await bench.up(8)
    sid = StreamSid("s")
    bench.runner.on_sip(sip.InfoDigitReceived(D, "5"))
    sent: list[orders.MediaOrder] = [
        orders.StartPlayback(1, "/a.wav", 2),
        orders.StopPlayback(1),
        orders.StartRecording(2, "/b.wav", orders.RecordingOptions(2, 9, 5, "#")),
        orders.StopRecording(2),
        orders.SendDigits("1w"),
        orders.Bridge(other.call.view.sid),
        orders.Unbridge(),
    ]
    for command in sent:
        bench.runner.apply(one, command)
    params = stream_params("ws://a/")
    written = bench.runner.apply(one, commands.StartStream(sid, params))
    assert written is not None
    assert bench.media.orders[-1][1] is sent[-1], "the app is not dialled before its stream is recorded"
    await written
    bench.runner.apply(one, orders.PauseStream(sid, True))
    bench.runner.apply(one, commands.StopStream(sid))
    assert {leg for leg, _ in bench.media.orders} == {one.leg}
    pressed, *carried, opened, paused, closed = [order for _, order in bench.media.orders]
    assert pressed == orders.NotifyDtmf("5")
    assert all(order is command for order, command in zip(carried, sent, strict=True)), "unchanged"
    assert isinstance(opened, orders.OpenStream)
    assert (opened.identity.stream_sid, opened.params, opened.encoding) == (sid, params, "PCMA")
    assert paused == orders.PauseStream(sid, True)
    assert isinstance(closed, orders.CloseStream)
    assert closed.sid == sid
    assert closed.reason


async def test_a_new_offer_is_answered_or_refused_by_signalling(bench: Bench) -> None:
    await bench.up()
    bench.runner.on_sip(sip.ReinviteReceived(D, sdp()))
    ((_, update),) = bench.media.orders
    assert isinstance(update, orders.UpdateLeg)
    assert update.params.codec == "PCMA"
    bench.runner.on_pool(FromLeg(L, reports.LegUpdated(update.number)))
    (accept,) = bench.signalling.done
    assert isinstance(accept, sip.AcceptReinvite)
    assert accept.dialog == D
    bench.runner.on_sip(sip.ReinviteReceived(D, sdp("0")))
    refuse = bench.signalling.done[-1]
    assert isinstance(refuse, sip.RejectReinvite)
    assert (refuse.dialog, refuse.status) == (D, 488)


async def test_without_a_media_worker_a_call_is_refused_after_its_transition(bench: Bench) -> None:
    bench.media.running = False
    entry = bench.invited_just_now()
    assert (entry.call.state, bench.media.orders) == (CallState.OPENING, []), "not in the midst of it"
    assert bench.signalling.done == [sip.SendRinging(D)]
    await asyncio.sleep(0)
    assert entry.call.state is CallState.ENDED
    reject = bench.signalling.done[-1]
    assert isinstance(reject, sip.RejectInvite)
    assert reject.status == 503
    assert "no media worker is running" in str(entry.call.view.hangup_cause)


async def test_a_call_that_is_over_is_forgotten_with_its_timers(bench: Bench) -> None:
    entry = await bench.place(timeout=60, time_limit=600)
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    bench.runner.on_sip(sip.InviteAccepted(DialogId(100), sdp()))
    timers = [timer for timers in bench.runner._timers.values() for timer in timers]
    assert [timer.cancelled() for timer in timers] == [False, False]
    bench.over(entry)
    assert all(timer.cancelled() for timer in timers)
    assert bench.runner._timers == {}
    assert bench.media.released == [entry.leg]
    assert len(bench.runner.registry) == 0
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegClosed(LegReport())))  # of a leg that is forgotten


async def test_what_happens_to_calls_and_streams_is_stored_and_then_reported(bench: Bench) -> None:
    entry = await bench.place(status_callback_events="initiated completed")
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    bench.runner.on_sip(sip.InviteAccepted(DialogId(100), sdp()))
    sid = StreamSid("5f1c9d2e-0000-4000-8000-0000000000bb")
    params = stream_params("ws://a/", status_callback="http://a/stream")
    with capture_logs() as logs:
        written = bench.runner.apply(entry, commands.StartStream(sid, params))
        bench.runner.on_pool(FromLeg(entry.leg, reports.StreamStarted(sid)))
        bench.runner.on_pool(FromLeg(entry.leg, reports.StreamEnded(sid, "refused", "why", None)))
        bench.over(entry)
    assert written is not None
    await written
    about = [line for line in logs if "stream" in line["event"]]
    assert {line["call_sid"] for line in about} == {entry.call.view.sid}
    logged = [(line["event"], line.get("reason"), line["stream_id"]) for line in about]
    assert logged == [("stream_started", None, sid), ("stream_error", "refused", sid)]
    assert [line["log_level"] for line in logs if line["event"].startswith("stream")] == ["info", "warning"]
    assert [(line["status"], line["reason"]) for line in logs if line["event"] == "call_ended"] == [
        ("completed", "over")
    ]
    callbacks = await bench.callbacks()
    assert [one.get("StreamEvent") or one["CallStatus"] for one in callbacks] == [
        "initiated", "stream-started", "stream-error", "completed",
    ]  # fmt: skip
    assert len({record.id for record in bench.stored}) == 4
    assert bench.runner.counters == {
        "calls_placing": 1, "calls_calling": 1, "calls_up": 1, "calls_ended": 1, "stream_started": 1, "stream_error": 1,
    }  # fmt: skip
    assert (await bench.store.call(ACCOUNT, entry.call.view.sid)).status == "completed"
    assert (await bench.store.streams(ACCOUNT, entry.call.view.sid))[0].status == "failed"


async def test_a_command_that_is_refused_changes_nothing_and_is_not_reported(bench: Bench) -> None:
    entry = await bench.up()
    bench.runner.apply(entry, commands.EndCall("over"))
    bench.forget()
    with pytest.raises(CallEnded):
        bench.runner.apply(entry, commands.EndCall("again"))
    assert (bench.script.all, bench.signalling.done) == ([], [])


async def test_an_application_is_notified_in_order_with_its_call(bench: Bench) -> None:
    entry = await bench.up()
    bench.runner.notify(entry, "http://a/n", "GET", (("Digits", "5"),))
    await bench.writer.submit()
    (record,) = bench.stored
    assert (record.url, record.method, record.form) == ("http://a/n", "GET", "Digits=5")
    assert record.call_sid == entry.call.view.sid
    bench.runner.notify(entry, "", "POST", ())
    await bench.writer.submit()
    assert len(bench.stored) == 1


async def test_new_instructions_go_to_the_script_and_a_report_comes_from_the_worker(bench: Bench) -> None:
    entry = await bench.up()
    bench.runner.redirect(entry, Instructions(texml="<Response/>"))
    assert bench.script.redirected == [(entry, Instructions(texml="<Response/>"))]
    assert await bench.runner.report(entry) == Reported(entry.leg, None, [])


@pytest.mark.parametrize("step", [timedelta(hours=1), -timedelta(hours=1)])
async def test_a_step_of_the_wall_clock_changes_no_duration(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: timedelta
) -> None:
    entry, utc_now = await bench.up(), runner_module.utc_now
    monkeypatch.setattr(runner_module, "utc_now", lambda: utc_now() + step)
    bench.over(entry)
    view = entry.call.view
    assert view.answered_at is not None
    assert view.ended_at is not None
    assert timedelta(0) <= view.ended_at - view.answered_at < timedelta(minutes=1)
    later = await bench.invited(8)
    assert abs(later.call.view.created_at - utc_now() - step) < timedelta(minutes=1), "new calls have the new time"


# ── the end of the server, and of the one before ────────────────────────────────────────────────────────────


async def test_while_no_worker_keeps_up_only_calls_that_run_place_others(bench: Bench) -> None:
    entry = await bench.up()
    bench.media.refusal = "all media workers lag"
    with pytest.raises(Unavailable, match="all media workers lag") as refused:
        await bench.place()
    assert refused.value.retry_after == 2
    with pytest.raises(AssertionError, match="no fact reached the script"):
        bench.invited_just_now()
    assert bench.signalling.done[-1] == sip.RejectInvite(
        DialogId(7), 503, "Service Unavailable", "all media workers lag"
    )
    assert (await bench.place(parent=entry)).same_worker_as == entry.leg


async def test_at_the_call_limit_no_call_is_placed(make: Make) -> None:
    bench = make(sip=GIVEN["sip"] | {"call_limit": 1})
    entry = await bench.up()
    with pytest.raises(Unavailable, match="the call limit is reached") as refused:
        await bench.place()
    assert refused.value.retry_after == 2
    bench.over(entry)
    await bench.place()


async def test_while_draining_only_calls_that_run_place_others(bench: Bench) -> None:
    entry = await bench.up()
    bench.runner.begin_draining()
    with pytest.raises(Unavailable, match="draining") as refused:
        await bench.place()
    assert refused.value.retry_after == 5
    with pytest.raises(AssertionError, match="no fact reached the script"):
        bench.invited_just_now()
    assert isinstance(bench.signalling.done[-1], sip.RejectInvite)
    dialled = await bench.place(parent=entry)
    empty = asyncio.create_task(bench.runner.wait_empty())
    for each in (entry, dialled):
        await asyncio.sleep(0)
        assert not empty.done()
        bench.over(each)
    await asyncio.wait_for(empty, 10)


async def test_no_call_of_a_script_outlives_the_end_of_all(bench: Bench) -> None:
    entry = await bench.up()
    ending = asyncio.create_task(bench.runner.end_all(30))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="draining"):
        await bench.place(parent=entry)
    bench.over(entry)
    await asyncio.wait_for(ending, 10)


async def test_the_end_of_all_ends_every_call_and_waits_for_the_last(bench: Bench) -> None:
    first, second, ended = await bench.up(1), await bench.up(2), await bench.up(3)
    bench.runner.apply(ended, commands.EndCall("before"))
    bench.forget()
    bench.script.fault = RuntimeError("a fault of ours")
    with capture_logs() as logs:
        draining = asyncio.create_task(bench.runner.end_all(30))
        await asyncio.sleep(0)
    assert [(line["event"], line["call_sid"]) for line in logs if line["log_level"] == "error"] == [
        ("call_end_failed", first.call.view.sid)
    ]
    assert [action.dialog for action in bench.signalling.done] == [1, 2], "the other is ended despite the fault"
    assert [entry.call.view.hangup_cause for entry in (first, second, ended)] == [
        "the server is shutting down", "the server is shutting down", "before",
    ]  # fmt: skip
    for entry in (first, second, ended):
        await asyncio.sleep(0)
        assert not draining.done()
        bench.over(entry)
    await asyncio.wait_for(draining, 10)


async def test_the_end_of_all_does_not_wait_for_ever(bench: Bench) -> None:
    await bench.up()
    with capture_logs() as logs:
        await bench.runner.end_all(0.01)
    assert [(line["event"], line["calls"]) for line in logs if line["log_level"] == "warning"] == [
        ("calls_not_ended", 1)
    ]
    idle = asyncio.create_task(bench.runner.end_all(30))
    for entry in bench.runner.registry:
        bench.over(entry)
    await asyncio.wait_for(idle, 10)


async def test_what_an_earlier_server_left_is_reported_as_lost(bench: Bench) -> None:
    with capture_logs() as logs:
        await bench.runner.settle([], [])
    assert logs == []
    call = CallView(
        CallSid("v3:x"), ACCOUNT, CallSessionId("c"), "inbound", "a", "b", "", "in-progress", NOW, NOW,
        status_callback="http://a/s",
    )  # fmt: skip
    about: Any = (None, "ws://a/", "inbound_track", "in-progress", NOW, NOW, "http://a/stream", "POST")
    stream = StreamView(StreamSid("s"), ACCOUNT, CallSid("v3:x"), *about)
    for calls, streams in (([call], []), ([], [stream])):
        with capture_logs() as logs:
            await bench.runner.settle([(each, "{}") for each in calls], streams)
        assert [(line["calls"], line["streams"]) for line in logs if line["event"] == "calls_cut_off"] == [
            (len(calls), len(streams))
        ]
    forms = await bench.callbacks()
    assert [one.get("StreamEvent") or one["CallStatus"] for one in forms] == ["failed", "stream-error"]
    assert bench.signalling.ended == [("{}", "the server was restarted", "v3:x")]
    assert [record.id for record in bench.stored] == [end_event_id("v3:x"), end_event_id("s")]


async def test_a_dialog_whose_peer_moves_is_saved_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "SAVE_AFTER", 0.01)
    one, other, over = [await bench.up(dialog) for dialog in (7, 8, 9)]
    await bench.recorded()
    bench.signalling.kept = "moved {}"
    bench.signalling.saved.clear()
    for entry in (one, one, other, over):
        bench.runner.on_sip(sip.DialogMoved(DialogId(entry.dialog)))
    bench.over(over)
    async with asyncio.timeout(10):
        while [dialog for _, dialog in await bench.store.open_calls()] != ["moved 7", "moved 8"]:
            await bench.recorded()
    assert bench.signalling.saved == [7, 8], "each once"


async def test_what_many_calls_left_is_settled_in_batches_each_with_its_streams(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "SETTLED_AT_ONCE", 2)
    batches, submit = [], bench.writer.submit

    def watched(calls: Any = (), streams: Any = (), callbacks: Any = (), **more: Any) -> asyncio.Future[None]:
        batches.append(([one.sid for one in calls], [one.sid for one in streams]))
        return submit(calls, streams, callbacks, **more)

    monkeypatch.setattr(bench.writer, "submit", watched)
    calls = [
        CallView(CallSid(sid), ACCOUNT, CallSessionId("c"), "inbound", "a", "b", "", "in-progress", NOW, NOW)
        for sid in ("v3:1", "v3:2", "v3:3")
    ]
    about: Any = (None, "ws://a/", "inbound_track", "in-progress", NOW, NOW, None, "POST")
    streams = [
        StreamView(StreamSid(sid), ACCOUNT, CallSid(call), *about)
        for sid, call in (("s1", "v3:2"), ("s2", "v3:over"), ("s3", "v3:2"), ("s4", "v3:3"))
    ]
    await bench.runner.settle([(calls[0], None), (calls[1], "{}"), (calls[2], None)], streams)
    assert batches == [(["v3:1", "v3:2"], ["s1", "s3"]), (["v3:3"], ["s4"]), ([], ["s2"])]
    assert [sid for _, _, sid in bench.signalling.ended] == ["v3:2"]


async def test_a_call_that_ends_before_its_record_is_durable_runs_no_document(bench: Bench) -> None:
    entry = bench.invited_just_now(to_user="+1")
    assert entry.instructions is not None
    bench.runner.on_sip(sip.DialogEnded(DialogId(7), "cancel", ""))
    await bench.recorded()
    assert entry.call.state is CallState.ENDED
    assert bench.script.began == []


async def test_a_request_that_goes_away_does_not_hold_its_call(bench: Bench) -> None:
    request = CallRequest(to="sip:bob@c.test", from_="ann", caller_name="")
    entry, durable = bench.runner.place(ACCOUNT, request, Route("uri", "", "sip:bob@c.test"), None)
    durable.cancel()
    bench.runner.on_pool(FromLeg(entry.leg, reports.LegOpened(LOCAL)))
    await bench.recorded()
    assert entry.call.state is CallState.CALLING


async def test_a_record_that_comes_too_late_refuses_the_call_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, write = asyncio.Event(), bench.store.write

    async def wait(*rows: Any) -> None:
        await held.wait()
        await write(*rows)

    with monkeypatch.context() as late:
        late.setattr(runner_module, "WRITE_TIME", 0)
        late.setattr(bench.store, "write", wait)
        entry = bench.invited_just_now()
        await bench.ended(entry)
        reject = bench.signalling.done[-1]
        assert isinstance(reject, sip.RejectInvite)
        assert reject.status == 503
        held.set()
        await bench.recorded()
    assert bench.signalling.done[-1] is reject
    assert bench.runner.counters["not_recorded"] == 1


async def test_a_recording_has_the_sid_that_its_file_is_called_by(bench: Bench) -> None:
    entry = await bench.up()
    sid = bench.runner.record(entry, 3, orders.RecordingOptions(channels=2), "StartCallRecordingAPI")
    [(leg, order)] = bench.media.orders
    assert isinstance(order, orders.StartRecording)
    assert (leg, order.job, order.options.channels) == (entry.leg, 3, 2)
    assert sid
    assert sid in order.path

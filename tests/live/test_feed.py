"""What happens to calls, streams and callbacks, as events."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trunkline.calls.effects import Persist
from trunkline.calls.views import CallEvent, CallView, StreamEvent, StreamView
from trunkline.config import TraceSettings
from trunkline.faces.telnyx.events import EVENTS
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.live.feed import Feed
from trunkline.live.hub import Hub
from trunkline.live.listening import HeardPiece
from trunkline.media.report import LegSample, TrackLevels
from trunkline.sdp.values import Endpoint
from trunkline.sip.trace import SipTrace
from trunkline.store.records import CallbackRecord
from trunkline.streaming.params import SeenMessage
from trunkline.webhooks.outbox import AttemptDecision, AttemptResult
from trunkline.workers import reports

ACCOUNT, CALL, STREAM = AccountSid("one"), CallSid("v3:1"), StreamSid("e9cea0be-7dbd-4b98-98b1-c0089d9d43b0")
NOW = datetime(2034, 1, 31, 12, tzinfo=UTC)
VIEW = CallView(CALL, ACCOUNT, CallSessionId("s"), "inbound", "+1", "+2", "", "ringing", NOW, NOW, codec="PCMU")
STREAM_VIEW = StreamView(
    STREAM, ACCOUNT, CALL, "bot", "wss://user:secret@host/ws?token=secret", "inbound_track", "in-progress", NOW, NOW,
    None, "POST", mode="rtp", codec="L16",
)  # fmt: skip
QUIET = TrackLevels(0, -96, [])


class Bench:
    """A feed, and a client that watches nothing."""

    def __init__(self) -> None:
        self.watched: list[tuple[CallSid, bool]] = []
        self.asked: list[CallSid] = []
        self.listened: list[tuple[CallSid, bool]] = []
        self.hub = Hub("life", self.watch, self.listen)
        self.trace = SipTrace(TraceSettings())
        self.feed = Feed(self.hub, EVENTS, self.trace, lambda: self)
        self.client = self.hub.connect(ACCOUNT, lambda: None)

    def watch(self, call: CallSid, on: bool) -> None:
        self.watched.append((call, on))

    def listen(self, call: CallSid, on: bool) -> None:
        self.listened.append((call, on))

    def sip_call_id(self, call: CallSid) -> str | None:
        self.asked.append(call)
        return "abc@host" if len(self.asked) > 1 else None

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.client.take()]


def test_call_events_have_the_names_of_callbacks_and_the_call_of_the_api() -> None:
    bench = Bench()
    kinds: list[Any] = ["initiated", "ringing", "answered", "completed"]
    ended = replace(VIEW, hangup_cause="caller hung up", notes=("a note",))
    bench.feed.recorded(Persist((ended,), call_events=tuple(CallEvent(kind, ended, NOW) for kind in kinds)), NOW)
    found = bench.events()
    assert [one["event"] for one in found] == [f"call-{kind}" for kind in kinds]
    assert found[0]["call"] == EVENTS.call(ended)
    assert (found[0]["call_sid"], found[0]["codec"]) == (CALL, "PCMU")
    assert (found[0]["reason"], found[0]["notes"]) == ("caller hung up", ["a note"])
    assert found[0]["occurred_at"] == "2034-01-31T12:00:00.000000Z"


def test_other_changes_of_calls_and_streams_are_updates() -> None:
    bench = Bench()
    bench.feed.recorded(Persist((VIEW,), (STREAM_VIEW,)), NOW)
    assert [one["event"] for one in bench.events()] == ["call-updated", "stream-updated"]


def test_stream_events_show_no_secret_of_the_url() -> None:
    bench = Bench()
    failed = StreamEvent("stream-error", STREAM_VIEW, NOW, "refused")
    bench.feed.recorded(Persist((), (STREAM_VIEW,), (StreamEvent("stream-started", STREAM_VIEW, NOW), failed)), NOW)
    started, error = bench.events()
    assert (started["event"], started["error"]) == ("stream-started", None)
    assert started["stream"] == EVENTS.stream(STREAM_VIEW)
    assert (started["url"], started["mode"], started["codec"]) == ("wss://host/ws?…", "rtp", "L16")
    assert (error["event"], error["error"], error["stream_sid"]) == ("stream-error", "refused", STREAM)


FACTS: list[tuple[Any, dict[str, Any]]] = [
    (reports.DigitHeard("5"), {"event": "dtmf", "digit": "5"}),
    (reports.LegSilent(60.0), {"event": "leg-silent", "seconds": 60.0}),
    (reports.PlaybackEnded(1, None), {"event": "playback-ended", "error": None}),
    (
        reports.RecordingEnded(1, 2.5, "silence"),
        {"event": "recording-ended", "seconds": 2.5, "reason": "silence", "error": None},
    ),
    (reports.WorkerLost("died"), {"event": "worker-lost", "reason": "died"}),
    (reports.LegFailed("no ports"), {"event": "leg-failed", "reason": "no ports"}),
]


@pytest.mark.parametrize(("fact", "said"), FACTS, ids=[said["event"] for _, said in FACTS])
def test_facts_that_no_record_says_are_events(fact: Any, said: dict[str, Any]) -> None:
    bench = Bench()
    bench.feed.happened(VIEW, fact, NOW)
    [event] = bench.events()
    assert event == {"sequence": 1, "occurred_at": "2034-01-31T12:00:00.000000Z", "call_sid": CALL, **said}


def test_a_call_that_is_watched_before_it_has_a_leg_is_watched_once_it_has() -> None:
    bench = Bench()
    bench.hub.connect(ACCOUNT, lambda: None, watches_all=True)
    bench.feed.began(VIEW)
    bench.feed.happened(VIEW, reports.LegOpened(Endpoint("192.0.2.1", 20000)), NOW)
    assert bench.watched == [(CALL, True), (CALL, True)]
    bench.feed.forgotten(VIEW)
    assert bench.watched[-1] == (CALL, False)


def test_the_call_id_is_asked_for_until_it_is_known() -> None:
    bench = Bench()
    for _ in range(3):
        bench.feed.happened(VIEW, reports.LegUpdated(1), NOW)
    assert bench.asked == [CALL, CALL]


def watched_report() -> reports.LegWatched:
    sample = LegSample(1200, TrackLevels(5, -20, [1, 2, 3, 4, 255]), QUIET, "", [240], [(STREAM, 700)])
    seen = [
        SeenMessage(99.5, "received", "mark", '{"event":"mark","mark":{"name":"a"}}'),
        SeenMessage(101.0, "received", "", "no JSON"),
    ]
    stream = reports.StreamWatched(STREAM, "open", 40, 60, 2, 7, 8, seen, 3)
    return reports.LegWatched(100.0, sample, [stream])


def test_a_watched_call_says_messages_latencies_and_levels() -> None:
    bench = Bench()
    bench.hub.watch(bench.client, CALL)
    bench.feed.watched(VIEW, watched_report(), NOW)
    mark, garbage, dropped, first, barge_in, levels = bench.events()
    about = {"call_sid": CALL, "stream_sid": STREAM}
    then = (NOW - timedelta(seconds=0.5)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert mark == {
        "sequence": 1, "event": "stream-message", "occurred_at": then, **about, "direction": "received",
        "message": {"event": "mark", "mark": {"name": "a"}},
    }  # fmt: skip
    assert (garbage["text"], garbage["occurred_at"]) == ("no JSON", "2034-01-31T12:00:00.000000Z")
    assert (dropped["event"], dropped["count"]) == ("messages-dropped", 3)
    assert (first["event"], first["milliseconds"], first["stream_sid"]) == ("first-audio", 700, STREAM)
    assert (barge_in["event"], barge_in["milliseconds"], barge_in["call_sid"]) == ("barge-in", 240, CALL)
    assert {one["call_sid"] for one in (dropped, first, levels)} == {CALL}
    assert (levels["event"], levels["occurred_at"]) == ("levels", "2034-01-31T12:00:00.000000Z")
    assert "sequence" not in levels
    assert levels["at_ms"] == 1200
    assert levels["inbound"] == {"frames": 5, "level_db": -20, "peaks": [1, 2, 3, 4, 255]}
    assert levels["outbound"] == {"frames": 0, "level_db": -96, "peaks": []}
    assert levels["streams"] == [
        {"stream_sid": STREAM, "socket": "open", "queued_ms": 40, "played_ms": 60, "marks": 2, "media_sent": 7}
        | {"media_received": 8}
    ]


def test_one_who_does_not_watch_a_call_gets_nothing_of_it() -> None:
    bench = Bench()
    bench.feed.watched(VIEW, watched_report(), NOW)
    assert bench.events() == []


def test_callbacks_say_their_request_and_their_answer() -> None:
    bench = Bench()
    record = CallbackRecord(
        "id", "key", f"{ACCOUNT} http://host", CALL, STREAM, "http://user:secret@host/cb?secret=1", "POST",
        "StreamEvent=stream-started&StreamName=", NOW,
    )  # fmt: skip
    bench.feed.stored(record)
    result = AttemptResult(status=500, error="HTTP status 500", body="oops")
    bench.feed.tried(record, AttemptDecision("pending", 1, 4.0), result, NOW)
    stored, tried = bench.events()
    about = {"callback_id": "id", "call_sid": CALL, "stream_sid": STREAM, "url": "http://host/cb?…", "method": "POST"}
    assert stored.items() >= about.items()
    assert (stored["event"], stored["form"]) == ("callback-stored", {"StreamEvent": "stream-started", "StreamName": ""})
    assert tried.items() >= about.items()
    assert tried.items() >= {
        "event": "callback-tried", "state": "pending", "tries": 1, "status": 500, "reason": "HTTP status 500",
        "answer": "oops", "next_try_in": 4.0,
    }.items()  # fmt: skip


def test_a_call_that_is_listened_to_is_heard_from_its_leg_to_its_end() -> None:
    bench = Bench()
    listener = bench.hub.listening.connect(ACCOUNT, CALL, lambda: None)
    bench.feed.happened(VIEW, reports.LegOpened(Endpoint("192.0.2.1", 20000)), NOW)
    assert bench.listened == [(CALL, True), (CALL, True)]
    bench.feed.heard(VIEW, reports.LegHeard(100, b"audio"))
    assert listener.take() == HeardPiece(100, b"audio")
    bench.feed.forgotten(VIEW)
    assert listener.over

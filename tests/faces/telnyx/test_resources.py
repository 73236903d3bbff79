"""Calls and streams as JSON, where the tests over HTTP do not reach."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from trunkline.api.bodies import parse_query
from trunkline.calls.diagnosis import MediaReport, StreamMedia
from trunkline.calls.findings import Finding
from trunkline.calls.views import StreamView
from trunkline.faces.telnyx import resources
from trunkline.faces.telnyx.queries import application_query
from trunkline.ids import StreamSid
from trunkline.media.report import LiveLegReport
from trunkline.streaming.params import StreamReport

if TYPE_CHECKING:
    from api.conftest import MemoryApplications, MemoryCalls

NOON = datetime(2023, 8, 11, 12, 0, 0, 999999, tzinfo=timezone(timedelta(hours=2)))


def test_dates_are_utc_in_both_formats() -> None:
    assert resources.iso8601(NOON) == "2023-08-11T10:00:00Z"
    assert resources.rfc2822(NOON) == "Fri, 11 Aug 2023 10:00:00 +0000"
    assert resources.rfc2822(None) is None


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+13122010094", "(312) 201-0094"),
        ("+4930123456", "+4930123456"),
        ("+131220100945", "+131220100945"),
        ("sip:alice@example.com", "sip:alice@example.com"),
        ("", ""),
    ],
)
def test_north_american_numbers_are_formatted(number: str, shown: str) -> None:
    assert resources.formatted(number) == shown


@pytest.mark.parametrize(
    ("answered", "ended", "duration"), [(None, None, None), (0, None, None), (None, 9, "0"), (2, 9, "7"), (2, 2, "0")]
)
def test_duration_counts_from_the_answer_once_the_call_has_ended(
    control: "MemoryCalls", answered: int | None, ended: int | None, duration: str | None
) -> None:
    start = datetime(2023, 1, 1, tzinfo=UTC)

    def at(second: int | None) -> datetime | None:
        return None if second is None else start + timedelta(seconds=second)

    view = next(iter(control.live.values()))
    view = replace(view, created_at=start, answered_at=at(answered), ended_at=at(ended))
    assert resources.call(view)["duration"] == duration


def test_a_placed_call_is_queued_and_has_its_sid_twice(control: "MemoryCalls") -> None:
    view = next(iter(control.live.values()))
    assert resources.placed_call(view) == {
        "from": "+13122010094",
        "to": "+13987654321",
        "status": "queued",
        "sid": view.sid,
        "call_sid": view.sid,
        "account_sid": view.account_sid,
    }


def test_applications_are_filtered_by_their_profile(store: "MemoryApplications") -> None:
    plain = next(iter(store.kept.values()))
    with_profile = replace(plain, sid="2", other={"outbound": {resources.PROFILE: "7"}})
    query = application_query(parse_query("filter[outbound_voice_profile_id]=7"))
    shown: Any = resources.applications([plain, with_profile], query)
    assert [(one["id"], one["outbound"][resources.PROFILE]) for one in shown["data"]] == [("2", "7")]
    assert shown["meta"]["total_results"] == 1


def test_what_is_not_known_of_a_leg_is_null(control: "MemoryCalls") -> None:
    """A round trip of -1 is one that was not measured; a level of -1 dB is a measured one."""
    finding = Finding("info", "x", "y", {"round_trip_ms": -1.0, "heard_level_db": -1})
    leg = LiveLegReport(round_trip_ms=12.5, heard_level_db=-1)
    view = next(iter(control.live.values()))
    shown: Any = resources.media(MediaReport(view, True, leg, (), (finding,)))
    assert shown["findings"][0]["numbers"] == {"round_trip_ms": None, "heard_level_db": -1}
    assert [name for name, value in shown["leg"].items() if value == -1] == ["heard_level_db"]
    assert shown["leg"]["round_trip_ms"] == 12.5


def test_media_says_what_each_stream_was_asked_to_be(control: "MemoryCalls") -> None:
    call = next(iter(control.live.values()))
    stream = StreamView(
        sid=StreamSid("s1"),
        account_sid=call.account_sid,
        call_sid=call.sid,
        name="tap",
        url="wss://user:secret@app.example:7/path?key=secret",
        track="both_tracks",
        status="in-progress",
        created_at=NOON,
        updated_at=NOON,
        status_callback=None,
        status_callback_method="POST",
        mode="rtp",
        codec="G722",
    )
    finding = Finding("error", "code", "text", {"n": 1}, StreamSid("s1"))
    counted = StreamReport(frames_sent=3, errors={"invalid_media": 1})
    shown = resources.media(MediaReport(call, True, None, (StreamMedia(stream, "open", counted),), (finding,)))
    assert shown["streams"] == [
        {
            "sid": "s1",
            "name": "tap",
            "url": "wss://app.example:7/path",
            "status": "in-progress",
            "socket": "open",
            "track": "both_tracks",
            "mode": "rtp",
            "codec": "G722",
            "report": {**StreamReport(frames_sent=3).counters(), "error_invalid_media": 1},
        }
    ]
    assert shown["findings"] == [
        {"severity": "error", "code": "code", "stream_sid": "s1", "text": "text", "numbers": {"n": 1}}
    ]
    assert (shown["summary"], shown["live"], shown["status"]) == ("text", True, call.status)
    assert (shown["account_sid"], shown["call_sid"]) == (call.account_sid, call.sid)
    assert shown["uri"] == f"/v2/texml/Accounts/{call.account_sid}/Calls/{call.sid}/media.json"


def test_the_members_of_a_report_on_media(control: "MemoryCalls") -> None:
    view = replace(next(iter(control.live.values())), codec="PCMA")
    shown: Any = resources.media(MediaReport(view, False, None, (), (Finding("info", "x", "first", {}),)))
    assert {name: shown[name] for name in ("account_sid", "call_sid", "status", "live", "codec", "summary")} == {
        "account_sid": view.account_sid,
        "call_sid": view.sid,
        "status": view.status,
        "live": False,
        "codec": "PCMA",
        "summary": "first",
    }
    assert (shown["leg"], shown["streams"]) == ({}, [])


def test_milliseconds_are_cut() -> None:
    at = datetime(2020, 2, 2, 23, 25, 27, 521_999, tzinfo=timezone(timedelta(hours=1)))
    assert resources.with_milliseconds(at) == "2020-02-02T22:25:27.521Z"

"""What the status callbacks of streams and calls say (docs/reference/callbacks.md)."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from trunkline.config import CallbackSettings
from trunkline.faces.telnyx.callbacks import call_form, stream_form, timestamp
from trunkline.ids import CallSid

SETTINGS = CallbackSettings()


def test_the_parameters_come_in_the_documented_order(event_of: Any) -> None:
    form = stream_form(event_of("stream-error", error="refused"), SETTINGS)
    call = "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"
    assert form == [
        ("AccountSid", "5f1c9d2e-0000-4000-8000-000000000001"),
        ("CallSid", call),
        ("CallSidLegacy", call),
        ("StreamSid", "0b9e4b0e-0000-4000-8000-000000000001"),
        ("StreamName", ""),
        ("StreamEvent", "stream-error"),
        ("Timestamp", "2026-03-01T12:00:05.000120Z"),
        ("StreamError", "refused"),
    ]


def test_only_an_error_has_stream_error(event_of: Any) -> None:
    for kind in ("stream-started", "stream-stopped"):
        assert "StreamError" not in dict(stream_form(event_of(kind), SETTINGS))


def test_the_third_event_has_its_other_name_when_set(event_of: Any) -> None:
    settings = CallbackSettings(error_event="stream-failed")
    assert dict(stream_form(event_of("stream-error", error="x"), settings))["StreamEvent"] == "stream-failed"
    assert dict(stream_form(event_of("stream-stopped"), settings))["StreamEvent"] == "stream-stopped"


def test_a_timestamp_is_utc_whatever_the_zone() -> None:
    east = datetime(2026, 3, 1, 2, 0, tzinfo=timezone(timedelta(hours=3)))
    assert timestamp(east) == "2026-02-28T23:00:00.000000Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


COMMON = [
    ("AccountSid", "5f1c9d2e-0000-4000-8000-000000000001"),
    ("CallSid", "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"),
    ("CallSidLegacy", "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"),
    ("CallStatus", "initiated"),
    ("CallbackSource", "call-progress-events"),
    ("ConnectionId", "1293384261075731499"),
    ("From", "+13120001234"),
    ("To", "+13121230000"),
    ("SequenceNumber", "0"),
    ("Timestamp", "2026-03-01T12:00:00.000000Z"),
    ("CallInitiatedAt", "2026-03-01T12:00:00.000000Z"),
]


def test_a_calls_parameters_come_in_the_documented_order(call_event_of: Any) -> None:
    assert call_form(call_event_of("initiated")) == COMMON
    names = [name for name, _ in COMMON]
    answered = call_form(call_event_of("answered"))
    assert [name for name, _ in answered] == [*names, "Codec", "SamplingRate"]
    completed = call_form(call_event_of("completed", hangup_code="normal_clearing", hangup_source="callee"))
    assert [name for name, _ in completed[: len(COMMON)]] == names
    assert completed[len(COMMON) :] == [
        ("CallDuration", "65"),
        ("StartTime", "2026-03-01T12:00:00.000000Z"),
        ("AnsweredTime", "2026-03-01T12:00:05.000000Z"),
        ("EndTime", "2026-03-01T12:01:10.400000Z"),
        ("HangupCause", "normal_clearing"),
        ("HangupSource", "callee"),
        ("SipHangupCause", "200"),
    ]


@pytest.mark.parametrize(
    ("kind", "status", "number"),
    [("initiated", "initiated", "0"), ("ringing", "ringing", "1"), ("answered", "in-progress", "2"),
     ("completed", "completed", "3")],
)  # fmt: skip
def test_each_event_has_its_status_and_number(call_event_of: Any, kind: str, status: str, number: str) -> None:
    form = dict(call_form(call_event_of(kind)))
    assert (form["CallStatus"], form["SequenceNumber"]) == (status, number)


@pytest.mark.parametrize(
    ("status", "sip_status", "shown"),
    [
        ("busy", 486, "486"),
        ("failed", 404, "404"),
        ("no-answer", None, "unspecified"),
        ("canceled", None, "unspecified"),
    ],
)
def test_an_unanswered_call_ends_with_its_status_and_without_answer_times(
    call_event_of: Any, status: str, sip_status: int | None, shown: str
) -> None:
    event = call_event_of("completed", status=status, answered_at=None, sip_status=sip_status, hangup_code="user_busy")
    form = dict(call_form(event))
    assert (form["CallStatus"], form["CallDuration"], form["SipHangupCause"]) == (status, "0", shown)
    assert (form["HangupCause"], form["HangupSource"]) == ("user_busy", "system")
    assert "AnsweredTime" not in form


def test_a_dialled_leg_names_its_parent_and_opus_its_rate(call_event_of: Any) -> None:
    form = dict(call_form(call_event_of("answered", parent_sid=CallSid("v3:parent"), codec="OPUS")))
    assert (form["ParentCallSid"], form["Codec"], form["SamplingRate"]) == ("v3:parent", "OPUS", "48000")
    assert "Codec" not in dict(call_form(call_event_of("answered", codec=None)))

"""What is derived from what is kept of a call, and the lists that other rooms use."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from trunkline.calls.views import CALL_EVENTS, LIVE, CallEventKind, CallView, StreamStatus
from trunkline.ids import AccountSid, CallSessionId, CallSid

NOON = datetime(2025, 6, 5, 12, tzinfo=UTC)
VIEW = CallView(
    sid=CallSid("v3:x"),
    account_sid=AccountSid("a"),
    session_id=CallSessionId("c"),
    direction="inbound",
    from_="+1",
    to="+2",
    caller_name="",
    status="in-progress",
    created_at=NOON,
    updated_at=NOON,
)


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, 0), (0.4, 0), (1.6, 2), (3600.0, 3600)])
def test_a_duration_is_in_whole_seconds_from_the_answer(seconds: float, shown: int) -> None:
    answered = NOON + timedelta(seconds=30)
    ended = replace(VIEW, answered_at=answered, ended_at=answered + timedelta(seconds=seconds))
    assert ended.duration == shown


def test_a_live_call_has_no_duration_and_an_unanswered_one_zero() -> None:
    assert VIEW.duration is None
    assert replace(VIEW, answered_at=NOON).duration is None
    assert replace(VIEW, ended_at=NOON + timedelta(seconds=30)).duration == 0


def test_a_duration_is_never_negative() -> None:
    """The end of a call that a crash cut off is by the clock of the next start."""
    assert replace(VIEW, answered_at=NOON, ended_at=NOON - timedelta(hours=1)).duration == 0


def test_a_call_begins_with_nothing_that_is_not_known() -> None:
    assert (VIEW.status_callback, VIEW.status_callback_method, VIEW.status_callback_events) == (
        *(None, "POST"),
        "completed",
    )
    assert (VIEW.report, VIEW.notes) == (None, ())


def test_events_are_in_the_order_in_which_they_happen() -> None:
    assert CALL_EVENTS == ("initiated", "ringing", "answered", "completed")
    assert set(CALL_EVENTS) == set(get_args(CallEventKind))


def test_a_stream_is_live_until_it_stopped_or_failed() -> None:
    assert set(get_args(StreamStatus)) - set(LIVE) == {"stopped", "failed"}

"""Pages and filters."""

import re
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.api.bodies import parse_query
from trunkline.calls.views import CallFilter, RecordingFilter
from trunkline.errors import InvalidEnum, InvalidRequest
from trunkline.faces.telnyx.queries import (
    ApplicationQuery,
    Page,
    application_query,
    call_filter,
    page,
    recording_filter,
)


def _day(day: int) -> datetime:
    return datetime(2023, 5, day, tzinfo=UTC)


def test_without_a_query_it_is_the_first_page_of_everything() -> None:
    assert page(parse_query("")) == Page(0, 20)
    assert call_filter(parse_query("")) == CallFilter()


@pytest.mark.parametrize(
    ("query", "window"),
    [
        ("StartTime=2023-05-22", (_day(22), _day(23))),
        ("StartTime_gt=2023-05-22", (_day(22), None)),
        ("StartTime_lt=2023-05-22", (None, _day(23))),
        ("StartTime%3E=2023-05-20&StartTime%3C=2023-05-22", (_day(20), _day(23))),
        ("start_time_gt=2023-05-20&start_time=2023-05-22", (_day(22), _day(23))),
    ],
)
def test_days_are_inclusive_in_every_spelling(query: str, window: tuple[datetime | None, datetime | None]) -> None:
    assert call_filter(parse_query(query)).started == window
    ends = query.replace("StartTime", "EndTime").replace("start_time", "end_time")
    assert call_filter(parse_query(ends)).ended == window


@pytest.mark.parametrize(
    "date",
    ["2023-5-22", "20230522", "2023-02-30", "2023-05-22T00:00:00Z", "9999-12-31", "0000-01-01", "x", "\uff12023-05-22"],
)
def test_what_is_no_day_is_refused(date: str) -> None:
    with pytest.raises(InvalidRequest, match="StartTime_gt must be a date as YYYY-MM-DD") as failure:
        call_filter(parse_query(f"StartTime_gt={date}"))
    assert failure.value.pointer == "/StartTime_gt"


@pytest.mark.parametrize("number", ["-1", "1.0", "x", "1000001", "99999999999999999999", "\uff11"])
def test_a_page_is_a_bounded_number(number: str) -> None:
    with pytest.raises(InvalidRequest, match="Page must be a number from 0 to 1000000"):
        page(parse_query(f"Page={number}"))


@pytest.mark.parametrize("size", ["0", "1001"])
def test_a_page_size_has_bounds(size: str) -> None:
    with pytest.raises(InvalidRequest, match="PageSize must be a number from 1 to 1000"):
        page(parse_query(f"PageSize={size}"))


def test_a_status_is_one_of_the_calls() -> None:
    assert call_filter(parse_query("Status=no-answer")).status == "no-answer"
    with pytest.raises(InvalidEnum):
        call_filter(parse_query("Status=No-Answer"))


def test_an_unescaped_plus_sign_of_a_number_is_understood() -> None:
    assert call_filter(parse_query("To=+1312&From=%2B1312")) == CallFilter(to="+1312", from_="+1312")


def test_other_pages_keep_the_filters() -> None:
    wanted = page(parse_query("Page=3&PageSize=5&To=%2B1&Status=busy&Other=x"))
    assert (wanted.offset, wanted.query(4)) == (15, "?To=%2B1&Status=busy&Page=4&PageSize=5")


@given(st.text() | st.from_regex(r"(Page|PageSize|To|Status|StartTime|EndTime_lt)=.*", fullmatch=True))
def test_any_query_is_read_or_refused(query: str) -> None:
    with suppress(InvalidRequest):
        fields = parse_query(query)
        assert 0 <= page(fields).number <= 1_000_000
        assert call_filter(fields).status is None or "Status" in query


def test_applications_are_asked_for_by_page_name_profile_and_order() -> None:
    assert application_query(parse_query("")) == ApplicationQuery(1, 20, "", None, "created_at", True)
    query = "page[number]=2&page[size]=7&filter[friendly_name]=BoT&filter[outbound_voice_profile_id]=5&sort=created_at"
    assert application_query(parse_query(query)) == ApplicationQuery(2, 7, "bot", "5", "created_at", False)
    for name in ("filter[friendly_name]", "filter[outbound_voice_profile_id]"):
        with pytest.raises(InvalidRequest, match=re.escape(name)):
            application_query(parse_query(f"{name}=%00"))


@pytest.mark.parametrize(
    ("query", "window"),
    [
        ("", (None, None)),
        ("DateCreated=2023-05-22", (_day(22), _day(23))),
        ("DateCreated=%3E%3D2023-05-22", (_day(22), None)),
        ("DateCreated%3E=2023-05-20&DateCreated%3C=2023-05-22", (_day(20), _day(23))),
        ("DateCreated=2023-05-22T00%3A00%3A00%2B00%3A00", (_day(22), _day(22).replace(second=1))),
        ("DateCreated_gt=2023-05-22T02:00:00%2B02:00", (_day(22), None)),
    ],
)
def test_recordings_are_found_by_day_or_time(query: str, window: tuple[datetime | None, datetime | None]) -> None:
    assert recording_filter(parse_query(query)) == RecordingFilter(None, window)


@pytest.mark.parametrize("value", ["2023-02-30", "2023-05-22T", "x", "9999-12-31", "2023-05-22T99:00:00Z"])
def test_what_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="DateCreated must be a date or a time"):
        recording_filter(parse_query(f"DateCreated={value}"))

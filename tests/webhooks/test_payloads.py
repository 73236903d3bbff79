"""What a status callback says: spec section 3."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.config import CallbackSettings
from trunkline.ids import CallSid
from trunkline.store.records import CallbackRecord
from trunkline.webhooks.payloads import callback_of, host_of, masked, request_parts, stream_form, timestamp

SETTINGS = CallbackSettings()
ANY_TEXT = st.text(st.characters(codec=None))


def made(event: Any, settings: CallbackSettings = SETTINGS) -> CallbackRecord:
    record = callback_of(event, settings, "id-1")
    assert record is not None
    return record


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


def test_no_status_callback_no_record(event_of: Any) -> None:
    assert callback_of(event_of(url=None), SETTINGS, "id-1") is None


def test_a_post_has_the_form_in_its_body(event_of: Any) -> None:
    url, body = request_parts(made(event_of(url="http://u:p@R.example:81/cb?a=1")))
    assert url == "http://u:p@R.example:81/cb?a=1"
    assert dict(parse_qsl(body.decode(), keep_blank_values=True))["StreamName"] == ""


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("http://r/cb", "http://r/cb?AccountSid="),
        ("http://r/cb?a=%20b", "http://r/cb?a=%20b&AccountSid="),
        ("http://r/cb#part", "http://r/cb?AccountSid="),
    ],
)
def test_a_get_has_the_form_behind_its_own_query_and_no_body(event_of: Any, url: str, start: str) -> None:
    target, body = request_parts(made(event_of(url=url, method="GET")))
    assert target.startswith(start)
    assert body == b""


def test_a_host_is_scheme_name_and_port_without_user_info() -> None:
    assert host_of("HTTPS://me:hush@Example.COM:8443/x?y") == "https://example.com:8443"


def test_a_masked_url_shows_no_secret() -> None:
    assert masked("https://me:hush@example.com/cb?token=hush#hush") == "https://example.com/cb?…"


@given(ANY_TEXT)
def test_no_name_and_no_url_breaks_a_callback(text: str) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    record = CallbackRecord("i", "k", host_of(text), CallSid("c"), None, text, "GET", "a=b", noon)
    try:
        url, body = request_parts(record)
    except ValueError:
        pass
    else:
        assert url.endswith("a=b")
        assert body == b""
    assert isinstance(masked(text), str)

"""How a callback becomes a request."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.calls.views import CALL_EVENTS
from trunkline.config import CallbackSettings
from trunkline.faces.telnyx.callbacks import CALLBACKS
from trunkline.ids import CallSid
from trunkline.store.records import CallbackRecord
from trunkline.webhooks.payloads import (
    call_callback_of,
    callback_of,
    host_of,
    masked,
    request_parts,
)

SETTINGS = CallbackSettings()
ANY_TEXT = st.text(st.characters(codec=None))


def made(event: Any, settings: CallbackSettings = SETTINGS) -> CallbackRecord:
    record = callback_of(event, settings, "id-1", CALLBACKS)
    assert record is not None
    return record


def test_no_status_callback_no_record(event_of: Any) -> None:
    assert callback_of(event_of(url=None), SETTINGS, "id-1", CALLBACKS) is None


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


def test_only_the_events_asked_for_get_callbacks(call_event_of: Any) -> None:
    wanted = {"status_callback_events": "ringing completed"}
    kinds = [kind for kind in CALL_EVENTS if call_callback_of(call_event_of(kind, **wanted), "id-1", CALLBACKS)]
    assert kinds == ["ringing", "completed"]
    assert call_callback_of(call_event_of(status_callback=None), "id-1", CALLBACKS) is None


def test_a_calls_callbacks_share_a_key_and_belong_to_no_stream(call_event_of: Any) -> None:
    record = call_callback_of(call_event_of("answered", status_callback_method="GET"), "id-1", CALLBACKS)
    assert record is not None
    assert (record.key, record.call_sid, record.stream_sid) == (f"{record.call_sid} http://r", record.call_sid, None)
    assert (record.method, record.host, record.id) == (
        "GET",
        f"{'5f1c9d2e-0000-4000-8000-000000000001'} http://r",
        "id-1",
    )
    assert record.account == "5f1c9d2e-0000-4000-8000-000000000001"
    assert dict(parse_qsl(record.form))["CallStatus"] == "in-progress"


@given(ANY_TEXT)
def test_no_name_and_no_url_breaks_a_callback(text: str) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    record = CallbackRecord("i", "k", host_of(text), CallSid("c"), None, text, "GET", "a=b", noon)
    url, body = request_parts(record)
    assert url.endswith("a=b")
    assert body == b""
    assert isinstance(masked(text), str)

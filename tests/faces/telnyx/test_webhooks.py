"""What the OpenAPI document says of requests to customers is what is sent, and what the pages say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs
import pytest

from api.documented import check_schema, validate
from sent import check_form, webhook_of
from trunkline.api.operation import Webhook
from trunkline.calls import endings
from trunkline.calls.views import CALL_EVENTS
from trunkline.config import CallbackSettings
from trunkline.faces.telnyx.callbacks import call_form, stream_form
from trunkline.faces.telnyx.webhooks import HANGUP_CAUSES, WEBHOOKS
from trunkline.ids import CallSid

PAGES = Path(__file__).parents[3] / "docs/reference"


@pytest.mark.parametrize("webhook", WEBHOOKS, ids=lambda webhook: webhook.name)
def test_an_example_keeps_to_its_schema_and_is_recognised(webhook: Webhook) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", webhook.name)
    assert re.fullmatch(r"[A-Z].{10,}[.?].*", webhook.summary)
    check_schema(webhook.schema, webhook.example)
    assert webhook_of(webhook.example) is webhook
    assert check_form(webhook.example) == webhook.name
    wrong = [
        {field: value for field, value in webhook.example.items() if field != name}
        for name in set(webhook.fields) - set(webhook.optional)
    ]
    for one in [*wrong, {**webhook.example, "Another": "field"}]:
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(webhook.schema, one)


@pytest.mark.parametrize("kind", ["stream-started", "stream-stopped", "stream-error"])
@pytest.mark.parametrize("error_event", ["stream-error", "stream-failed"])
def test_a_streams_form_is_as_described(event_of: Any, kind: str, error_event: Any) -> None:
    form = stream_form(event_of(kind, error="refused"), CallbackSettings(error_event=error_event))
    assert check_form(dict(form)) == {"stream-error": "StreamFailed"}.get(kind, webhook_of(dict(form)).name)


@pytest.mark.parametrize("kind", CALL_EVENTS)
def test_a_calls_form_is_as_described(call_event_of: Any, kind: str) -> None:
    assert check_form(dict(call_form(call_event_of(kind)))) == f"Call{kind.title()}"
    other = call_event_of(
        kind, status="busy", answered_at=None, codec=None, sip_status=486, hangup_code="user_busy",
        hangup_source="callee", parent_sid=CallSid("v3:parent"), application_sid=None,
    )  # fmt: skip
    assert "ParentCallSid" in dict(call_form(other))
    if kind == "completed":
        assert check_form(dict(call_form(other))) == "CallCompleted"


def test_the_causes_are_those_of_endings_and_of_the_page() -> None:
    ends = [*endings.PEER_ENDS.values(), endings.CANCELED, endings.NO_ANSWER, endings.UNREACHABLE, endings.TIME_LIMIT]
    ends += [endings.rejection(status, "") for status in (486, 404)] + [endings.hung_up(""), endings.broken("")]
    ends += [endings.refusal_of(status, "", "") for status in range(400, 700)]
    assert {end.code for end in ends} == set(HANGUP_CAUSES)
    table = (PAGES / "callbacks.md").read_text().split("| `HangupCause` | `CallStatus` |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(HANGUP_CAUSES)


def fields_of(page: str, heading: str) -> list[str]:
    """The names in the first table of a section."""
    table = (PAGES / page).read_text().split(f"\n## {heading}\n")[1].split("| field | value |\n")[1].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()]
    return [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]


def described(*names: str) -> Iterator[str]:
    """The fields of webhooks, each once."""
    yield from dict.fromkeys(field for one in WEBHOOKS if one.name in names for field in one.fields)


def test_the_pages_have_the_fields_of_each_request() -> None:
    streams = ("StreamStarted", "StreamStopped", "StreamFailed")
    assert fields_of("callbacks.md", "Of a stream") == list(described(*streams))
    calls = ("CallInitiated", "CallRinging", "CallAnswered", "CallCompleted")
    assert set(fields_of("callbacks.md", "Of a call")) == set(described(*calls))
    common = set(described("Document"))
    assert set(fields_of("texml.md", "Requests for documents")) - common <= {"SipHeader_X-"}
    assert fields_of("callbacks.md", "Of a recording") == list(described("RecordingStatus"))
    page = (PAGES / "texml.md").read_text()
    for action in ("GatherAction", "RecordAction", "DialAction"):
        assert all(f"`{name}`" in page for name in described(action))


def test_the_examples_of_the_page_are_such_requests() -> None:
    forms = re.findall(r"^```form\n(.*?)^```", (PAGES / "callbacks.md").read_text(), re.DOTALL | re.MULTILINE)
    found = [check_form(dict(parse_qsl(form.replace("\n", ""), keep_blank_values=True))) for form in forms]
    assert found == ["StreamFailed", "CallCompleted"]

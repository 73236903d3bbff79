"""Values to rows and back."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trunkline.calls.views import CallbackView
from trunkline.ids import CallSid
from trunkline.media.report import LegReport
from trunkline.store.records import (
    CallbackRecord,
    call_row,
    call_view,
    callback_row,
    callback_view,
    stream_row,
    stream_view,
)
from trunkline.streaming.params import StreamReport

ANY_TEXT = st.text(st.characters(codec=None))


def test_a_row_is_the_value(make: Any) -> None:
    call, stream = make.call(ended=1, report=LegReport(packets_in=1)), make.stream("s1", name="n")
    for one in (call, replace(call, notes=("first", "second")), replace(call, report=None, notes=("only",))):
        assert call_view(call_row(one)) == one
    assert stream_view(stream_row(stream)) == stream
    ended = replace(stream, report=StreamReport(frames_sent=3, errors={"invalid_media": 2}))
    assert stream_view(stream_row(ended)) == ended


def test_counters_are_stored_as_one_object_with_the_notes(make: Any) -> None:
    call, stream = make.call(), make.stream("s1")
    assert (call_row(call)["report"], stream_row(stream)["report"]) == ("{}", "{}")
    noted = replace(call, notes=("first", "second"))
    assert call_row(noted)["report"] == '{"notes": "first\\nsecond"}'
    kept = json.loads(call_row(replace(noted, report=LegReport(packets_in=7)))["report"])
    assert kept == {**LegReport(packets_in=7).counters(), "notes": "first\nsecond"}
    assert list(kept)[-1] == "notes"
    assert json.loads(stream_row(replace(stream, report=StreamReport(errors={"invalid_media": 2})))["report"]) == {
        **StreamReport().counters(),
        "error_invalid_media": 2,
    }


def test_counters_of_another_version_are_left_out(make: Any) -> None:
    row = call_row(make.call()) | {"report": '{"packets_in": 7, "gone": 1, "notes": "one"}'}
    assert (call_view(row).report, call_view(row).notes) == (LegReport(packets_in=7), ("one",))
    row = stream_row(make.stream("s1")) | {"report": '{"frames_sent": 3, "error_invalid_media": 1, "error_gone": 2}'}
    assert stream_view(row).report == StreamReport(frames_sent=3, errors={"invalid_media": 1})


@given(ANY_TEXT)
def test_whatever_arrives_a_row_has_text_that_every_database_takes(text: str) -> None:
    noon = datetime(2026, 1, 1, tzinfo=UTC)
    row = callback_row(CallbackRecord("c", text, "h", CallSid("v3"), None, text, "POST", text, noon))
    for name in ("url", "form", "key"):
        stored = row[name]
        assert "\0" not in stored
        stored.encode("utf-8")
        if text.isascii() and "\0" not in text:
            assert stored == text


def test_the_sid_of_a_callback_is_the_id_of_its_row() -> None:
    members: dict[str, Any] = {field.name: field.name for field in fields(CallbackView)}
    assert callback_view({"id": "of the row"} | members) == CallbackView(**(members | {"sid": "of the row"}))

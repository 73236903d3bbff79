"""Values to rows and back."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import CallSid
from trunkline.store.records import CallbackRecord, call_row, call_view, callback_row, stream_row, stream_view

ANY_TEXT = st.text(st.characters(codec=None))


def test_a_row_is_the_value(make: Any) -> None:
    call, stream = make.call(ended=1, report={"packets": 1}), make.stream("s1", name="n")
    assert call_view(call_row(call)) == call
    assert stream_view(stream_row(stream)) == stream


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

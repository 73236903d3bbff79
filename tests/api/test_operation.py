"""The rows of a table of operations."""

import jsonschema_rs
import pytest

from api.documented import validate
from trunkline.api.operation import TEXT, body_schema, record
from trunkline.api.readers import Field, text


def test_a_record_has_all_its_members() -> None:
    schema = record({"a": TEXT, "b": TEXT})
    validate(schema, {"a": "", "b": "", "c": 1})
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(schema, {"a": ""})
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(record({"a": TEXT}, more=False), {"a": "", "c": 1})
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(schema, [])


def test_a_body_requires_what_its_rows_do() -> None:
    rows = (Field("A", text, TEXT, required=True), Field("B", text, {"type": "integer"}))
    assert body_schema(rows, {"C": {"type": "null"}}) == {
        "type": "object",
        "properties": {"A": TEXT, "B": {"type": "integer"}, "C": {"type": "null"}},
        "required": ["A"],
    }
    assert body_schema(rows[1:]) == {"type": "object", "properties": {"B": {"type": "integer"}}}

"""What the tables of operations are made of."""

import jsonschema_rs
import pytest

from api.documented import validate
from trunkline.api.operation import TEXT, record
from trunkline.faces.telnyx.operations.base import (
    ACCOUNT,
    BAD_BODY,
    CALLS,
    PAGES,
    page_example,
    page_schema,
)


def test_the_example_of_a_page_is_one() -> None:
    schema, known = page_schema("things", "Thing"), {"Thing": record({"a": TEXT})}
    page = page_example("things", "/things", {"a": "x"})
    assert page == {
        "things": [{"a": "x"}],
        "end": 0,
        "first_page_uri": "/things?Page=0&PageSize=20",
        "next_page_uri": None,
        "page": 0,
        "page_size": 20,
        "start": 0,
        "uri": "/things?Page=0&PageSize=20",
    }
    validate(schema, page, known)
    validate(schema, {**page, "next_page_uri": "/things?Page=1&PageSize=20"}, known)
    wrongs: list[dict[str, object]] = [{"things": [{}]}, {"things": None}]
    wrongs += [{name: [None]} for name in page]
    for wrong in wrongs:
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(schema, {**page, **wrong}, known)


def test_pages_have_bounds() -> None:
    for name, least, most in (("Page", 0, 1_000_000), ("PageSize", 1, 1000)):
        for number in (least, most):
            validate(PAGES[name], number)
        for number in (least - 1, most + 1):
            with pytest.raises(jsonschema_rs.ValidationError):
                validate(PAGES[name], number)


def test_every_body_is_refused_for_the_same_reasons() -> None:
    assert [(error.status, error.code) for error in BAD_BODY] == [(413, "10023"), (415, "10024"), (422, "10015")]
    assert BAD_BODY[1].detail == "The body must be application/json or application/x-www-form-urlencoded"


def test_paths_have_the_account() -> None:
    assert CALLS == "/v2/texml/Accounts/{account_sid}/Calls"
    assert CALLS.format(account_sid=ACCOUNT).count(ACCOUNT) == 1

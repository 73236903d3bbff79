"""The fields of keys and accounts."""

from datetime import UTC, datetime

import pytest

from trunkline.api.bodies import Fields
from trunkline.errors import ApiError, InvalidEnum, InvalidRequest, InvalidType, MissingParameter
from trunkline.faces.telnyx.fields.accounts import KeyRequest, account_name, key_request


def test_a_key_is_full_and_stays_unless_the_body_says_otherwise() -> None:
    assert key_request(Fields([("name", "ci")])) == KeyRequest("ci", "full", None)
    given = Fields([("Name", "ci"), ("scope", "calls"), ("ExpiresAt", "2099-01-31T12:00:00Z")])
    assert key_request(given) == KeyRequest("ci", "calls", datetime(2099, 1, 31, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("name", None, MissingParameter),
        ("name", 7, InvalidType),
        ("name", "x" * 65, InvalidRequest),
        ("scope", "all", InvalidEnum),
        ("expires_at", "tomorrow", InvalidRequest),
        ("expires_at", "0001-01-01T00:00:00+23:00", InvalidRequest),
    ],
)
def test_what_is_no_key_is_refused_by_field(name: str, value: object, error: type[ApiError]) -> None:
    with pytest.raises(error) as refusal:
        key_request(Fields([*([("name", "ci")] if name != "name" else []), (name, value)]))
    assert refusal.value.pointer == f"/{name}"


def test_an_account_has_a_name() -> None:
    assert account_name(Fields([("name", "acme")])) == "acme"
    with pytest.raises(MissingParameter):
        account_name(Fields([]))

"""The operations on the keys of callbacks."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from api.documented import check, refusals, routes, validate
from trunkline.api.auth import FULL, OPERATOR
from trunkline.api.operation import Operation
from trunkline.errors import InvalidRequest
from trunkline.faces.telnyx.operations.signing import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


def test_the_routes_are_the_documented_ones() -> None:
    assert routes(OPERATIONS) == [
        "GET /v2/public_key GetPublicKey 200 PublicKey",
        "POST /v2/trunkline/signing_key RotateSigningKey 200 PublicKey",
    ]
    assert [(one.public, one.rights) for one in OPERATIONS] == [(True, FULL), (False, OPERATOR)]
    assert refusals(OPERATIONS) == {
        "GetPublicKey": "",
        "RotateSigningKey": "10023 10024 10015 10026/days 10015/days",
    }


@pytest.mark.parametrize(("body", "days"), [(None, 7), ({"days": 3}, 3), ({"days": 365}, 365)])
async def test_a_new_key_signs_after_a_week_or_as_many_days_as_are_given(ask: "Ask", body: object, days: int) -> None:
    before = datetime.now(UTC)
    _, rotated = await ask("RotateSigningKey", body)
    wait = datetime.fromisoformat(rotated["data"]["next_from"]) - before
    assert timedelta(days=days, minutes=-1) < wait < timedelta(days=days, minutes=1)


@pytest.mark.parametrize("days", [-1, 366])
async def test_days_of_a_rotation_are_a_year_at_most(ask: "Ask", days: int) -> None:
    with pytest.raises(InvalidRequest, match="from 0 to 365"):
        await ask("RotateSigningKey", {"days": days})


async def test_a_rotation_serves_both_keys_until_the_new_one_signs(ask: "Ask") -> None:
    _, before = await ask("GetPublicKey")
    validate(SCHEMAS["PublicKey"], before)
    assert before["data"] == {
        "public": before["data"]["accepted"][0],
        "accepted": [before["data"]["public"]],
        "next_from": None,
    }
    _, rotated = await ask("RotateSigningKey", {"days": 3})
    validate(SCHEMAS["PublicKey"], rotated)
    assert await ask("GetPublicKey") == (200, rotated)
    assert rotated["data"]["public"] == before["data"]["public"]
    assert len(rotated["data"]["accepted"]) == 2
    assert rotated["data"]["next_from"] is not None
    with pytest.raises(InvalidRequest, match="waits already"):
        await ask("RotateSigningKey")
    _, leaked = await ask("RotateSigningKey", {"days": 0})
    assert len(leaked["data"]["accepted"]) == 1
    assert leaked["data"]["public"] not in rotated["data"]["accepted"]

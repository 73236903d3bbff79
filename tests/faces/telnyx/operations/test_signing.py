"""The operations on the keys of callbacks."""

from typing import TYPE_CHECKING

import pytest

from api.documented import check, validate
from trunkline.api.operation import Operation
from trunkline.errors import InvalidRequest
from trunkline.faces.telnyx.operations.signing import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


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

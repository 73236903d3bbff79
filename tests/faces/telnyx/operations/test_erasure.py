"""The operation that erases one caller's data, as it is described and as it is answered."""

from typing import TYPE_CHECKING

import pytest

from api.documented import check, routes, validate
from trunkline.api.operation import Operation
from trunkline.faces.telnyx.operations.erasure import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


def test_the_route_is_the_documented_one() -> None:
    assert routes(OPERATIONS) == ["DELETE /v2/trunkline/callers/{number} EraseCaller 200 Erasure"]


async def test_the_answer_counts_what_is_gone_and_what_is_not_over(ask: "Ask") -> None:
    status, erased = await ask("EraseCaller", number="+999")
    assert status == 200
    validate(SCHEMAS["Erasure"], erased)
    assert erased["data"] == {
        "calls": 3,
        "streams": 2,
        "callbacks": 1,
        "recordings": 0,
        "captures": 0,
        "in_progress": 0,
    }

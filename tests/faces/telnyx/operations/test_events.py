"""The ticket for the event WebSocket."""

from typing import TYPE_CHECKING

import pytest

from api.documented import check, validate
from trunkline.api.operation import Operation
from trunkline.faces.telnyx.operations.events import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


async def test_a_ticket_is_made_for_the_sender(ask: "Ask") -> None:
    status, body = await ask("CreateEventTicket")
    validate(SCHEMAS["EventTicket"], body)
    assert (status, body) == (201, {"data": {"ticket": "a ticket", "expires_in": 30}})

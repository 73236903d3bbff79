"""The ticket for the event WebSocket."""

from typing import TYPE_CHECKING

import pytest

from api.documented import check, validate
from trunkline.api.auth import OPERATORS_KEY
from trunkline.api.operation import Operation
from trunkline.errors import PermissionDenied
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


async def test_the_operators_key_gets_no_ticket(ask: "Ask") -> None:
    with pytest.raises(PermissionDenied, match="The operator's key has no account, and so no events"):
        await ask("CreateEventTicket", key_sid=OPERATORS_KEY)

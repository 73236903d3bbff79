"""Lists of phones, trunks, registrations and media workers."""

from typing import TYPE_CHECKING

import pytest

from api.documented import check, validate
from trunkline.api.operation import Operation
from trunkline.faces.telnyx.operations.node import LISTS, OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


async def test_each_list_keeps_to_its_schema(ask: "Ask") -> None:
    found = {}
    for row, operation in zip(LISTS, OPERATIONS, strict=False):
        status, body = await ask(operation.id)
        validate(SCHEMAS[operation.result], body)
        assert status == 200
        found[row.name] = body["data"]
    assert found["phones"] == [{"user": "alice", "contacts": ["192.0.2.7:5060"]}]
    assert found["registrations"] == [
        {"kind": "phone", "name": "alice", "address": "192.0.2.7:5060", "registered": True},
        {"kind": "trunk", "name": "carrier", "address": None, "registered": True},
    ]
    assert found["trunks"][0]["targets"] == [{"target": "sip:192.0.2.1", "up": False}]
    assert (found["workers"][0]["pid"], found["workers"][0]["lag_ms"]) == (4711, 3)


async def test_the_way_of_a_number_keeps_to_its_schema(ask: "Ask") -> None:
    status, body = await ask("ShowRoute", None, "To=+13125550123&FromTrunk=carrier")
    validate(SCHEMAS["Routing"], body)
    assert (status, body["data"]["inbound"]["why"]) == (200, "carrier None")
    assert (body["data"]["placed"]["to"], body["data"]["dialled"]["kind"]) == ("+13125550123", None)

"""The operations on SIP messages, as they are described and as they are answered."""

from typing import TYPE_CHECKING

import pytest

from api.conftest import CALL
from api.documented import check, refusals, routes, validate
from trunkline.api.operation import Operation
from trunkline.errors import ResourceNotFound
from trunkline.faces.telnyx.operations.sip import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


def test_the_routes_are_the_documented_ones() -> None:
    assert routes(OPERATIONS) == [
        "GET /v2/trunkline/calls/{call_sid}/sip FetchSipTrace 200 OneSipTrace",
        "GET /v2/trunkline/sip ListRefusedCalls 200 SipTraceList",
    ]
    assert refusals(OPERATIONS) == {"FetchSipTrace": "", "ListRefusedCalls": ""}


async def test_a_trace_has_each_message(ask: "Ask") -> None:
    status, found = await ask("FetchSipTrace", call_sid=CALL)
    assert status == 200
    validate(SCHEMAS["OneSipTrace"], found)
    assert (found["data"]["call_sid"], found["data"]["sip_call_id"], found["data"]["dropped"]) == (CALL, "abc@host", 2)
    [only] = found["data"]["messages"]
    assert only == {
        "number": 1,
        "occurred_at": "2023-06-15T09:56:45.000000Z",
        "direction": "received",
        "local": "192.0.2.1:5060",
        "peer": "192.0.2.7:5060",
        "transport": "udp",
        "summary": "INVITE sip:+1@host",
        "cseq": "1 INVITE",
        "text": "INVITE sip:+1@host SIP/2.0\r\n\r\n",
    }


async def test_an_unknown_call_has_none(ask: "Ask") -> None:
    with pytest.raises(ResourceNotFound):
        await ask("FetchSipTrace", call_sid="v3:unknown")


async def test_refused_invites_are_listed(ask: "Ask") -> None:
    status, found = await ask("ListRefusedCalls")
    assert status == 200
    validate(SCHEMAS["SipTraceList"], found)
    assert found["data"] == [{"call_sid": None, "sip_call_id": "refused@host", "dropped": 0, "messages": []}]

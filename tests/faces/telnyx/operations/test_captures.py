"""The operations on captures, as they are described and as they are answered."""

from typing import TYPE_CHECKING

import pytest

from api.conftest import CALL, NOW, MemoryCalls
from api.documented import check, refusals, routes, validate
from trunkline.api.operation import Operation
from trunkline.calls.views import CaptureView
from trunkline.errors import ResourceNotFound
from trunkline.faces.telnyx.operations.captures import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask

STREAM = "e9cea0be-7dbd-4b98-98b1-c0089d9d43b0"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


def test_the_routes_are_the_documented_ones() -> None:
    assert routes(OPERATIONS) == [
        "GET /v2/trunkline/captures ListCaptures 200 CaptureList",
        "GET /v2/trunkline/captures/{streaming_sid} FetchCapture 200 CaptureLines",
        "DELETE /v2/trunkline/captures/{streaming_sid} DeleteCapture 200 OneCapture",
    ]
    assert refusals(OPERATIONS) == {"ListCaptures": "10015/Page", "FetchCapture": "", "DeleteCapture": ""}


async def test_a_list_has_what_was_captured(ask: "Ask", control: MemoryCalls) -> None:
    control.captured = {sid: CaptureView(sid, CALL, NOW, "a.capture.jsonl", True, ()) for sid in (STREAM, "other")}
    status, found = await ask("ListCaptures", None, f"StreamSid={STREAM}&CallSid={CALL}")
    assert status == 200
    validate(SCHEMAS["CaptureList"], found)
    [only] = found["captures"]
    assert only["stream_sid"] == STREAM
    assert only["file_name"] == "a.capture.jsonl"
    assert only["uri"] == f"/v2/trunkline/captures/{STREAM}"
    assert found["uri"] == f"/v2/trunkline/captures?CallSid={CALL}&StreamSid={STREAM}&Page=0&PageSize=20".replace(
        ":", "%3A"
    )
    assert (await ask("ListCaptures", None, "CallSid=v3%3Aother"))[1]["captures"] == []
    status, page = await ask("ListCaptures", None, "PageSize=1")
    assert page["next_page_uri"] == "/v2/trunkline/captures?Page=1&PageSize=1"


async def test_one_is_deleted_once(ask: "Ask", control: MemoryCalls) -> None:
    control.captured = {STREAM: CaptureView(STREAM, CALL, NOW, "a.capture.jsonl", False, ())}
    status, gone = await ask("DeleteCapture", streaming_sid=STREAM)
    assert status == 200
    validate(SCHEMAS["OneCapture"], gone)
    assert not gone["data"]["has_audio"]
    with pytest.raises(ResourceNotFound):
        await ask("DeleteCapture", streaming_sid=STREAM)

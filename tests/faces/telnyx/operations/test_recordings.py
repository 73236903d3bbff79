"""The operations on recordings, as they are described and as they are answered."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from api.conftest import CALL, ENDED, RECORDING, RUNNING, MemoryCalls
from api.documented import check, refusals, routes, validate
from trunkline.api.operation import Operation
from trunkline.errors import InvalidRequest, ResourceNotFound
from trunkline.faces.telnyx.operations.recordings import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask

BASE = "/v2/texml/Accounts/{account_sid}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


def test_the_routes_are_the_documented_ones() -> None:
    assert routes(OPERATIONS) == [
        f"POST {BASE}/Calls/{{call_sid}}/Recordings.json StartTeXMLCallRecording 200 ChangedRecording",
        f"POST {BASE}/Calls/{{call_sid}}/Recordings/{{recording_sid}}.json UpdateTeXMLCallRecording 200 Changed"
        "Recording",
        f"GET {BASE}/Recordings.json GetTeXMLCallRecordings 200 RecordingList",
        f"GET {BASE}/Calls/{{call_sid}}/Recordings.json FetchTeXMLCallRecordings 200 RecordingList",
        f"GET {BASE}/Recordings/{{recording_sid}}.wav FetchRecordingAudio 200 Audio",
        f"GET {BASE}/Recordings/{{recording_sid}}.mp3 FetchRecordingMpeg 200 Audio",
        f"GET {BASE}/Recordings/{{recording_sid}}.json GetTeXMLCallRecording 200 Recording",
        f"DELETE {BASE}/Recordings/{{recording_sid}}.json DeleteTeXMLCallRecording 204 ",
    ]
    body, wrong = "10023 10024 10015", "10032/RecordingChannels 10003/RecordingStatusCallback 10026/PlayBeep"
    assert refusals(OPERATIONS) == {
        "StartTeXMLCallRecording": f"{body} {wrong} 10015 90034 90018",
        "UpdateTeXMLCallRecording": f"{body} 10004/Status 10032/Status 10015/Status",
        "GetTeXMLCallRecordings": "10015/Page",
        "FetchTeXMLCallRecordings": "10015/Page",
        "FetchRecordingAudio": "",
        "FetchRecordingMpeg": "10015",
        "GetTeXMLCallRecording": "",
        "DeleteTeXMLCallRecording": "10015",
    }


async def test_lists_are_of_an_account_and_of_a_call(ask: "Ask", control: MemoryCalls) -> None:
    control.recorded["other"] = replace(RUNNING, sid="other", call_sid=ENDED)
    for operation, sids in (
        ("GetTeXMLCallRecordings", [RECORDING, "other"]),
        ("FetchTeXMLCallRecordings", [RECORDING]),
    ):
        status, found = await ask(operation, call_sid=CALL)
        assert status == 200
        validate(SCHEMAS["RecordingList"], found)
        assert [one["sid"] for one in found["recordings"]] == sids
    with pytest.raises(ResourceNotFound):
        await ask("FetchTeXMLCallRecordings", call_sid="v3:others")


async def test_one_is_fetched_under_way_and_after_a_fault(ask: "Ask", control: MemoryCalls) -> None:
    _, over = await ask("GetTeXMLCallRecording", recording_sid=RECORDING)
    assert (over["status"], over["duration"], over["channels"]) == ("completed", "2", 2)
    assert over["media_url"].endswith(f"/Recordings/{RECORDING}.wav")
    control.recorded[RECORDING] = replace(RUNNING, status="failed", error="the disk is full")
    _, failed = await ask("GetTeXMLCallRecording", recording_sid=RECORDING)
    validate(SCHEMAS["Recording"], failed)
    assert (failed["status"], failed["ended_reason"], failed["duration"]) == ("stopped", "the disk is full", None)


async def test_one_is_deleted_once_it_has_ended(ask: "Ask", control: MemoryCalls) -> None:
    over, control.recorded[RECORDING] = control.recorded[RECORDING], RUNNING
    with pytest.raises(InvalidRequest, match="under way"):
        await ask("DeleteTeXMLCallRecording", recording_sid=RECORDING)
    control.recorded[RECORDING] = over
    assert await ask("DeleteTeXMLCallRecording", recording_sid=RECORDING) == (204, None)
    with pytest.raises(ResourceNotFound):
        await ask("DeleteTeXMLCallRecording", recording_sid=RECORDING)


async def test_one_is_started_paused_resumed_and_stopped(ask: "Ask", control: MemoryCalls) -> None:
    control.recorded.clear()
    status, started = await ask("StartTeXMLCallRecording", {"RecordingTrack": "inbound"}, call_sid=CALL)
    assert status == 200
    validate(SCHEMAS["ChangedRecording"], started)
    assert (started["channels"], started["track"], started["source"]) == (1, "inbound", "StartCallRecordingAPI")
    sid = started["sid"]
    assert started["uri"].endswith(f"/Calls/{CALL}/Recordings/{sid}.json")
    for wanted in ("paused", "in-progress"):
        _, changed = await ask("UpdateTeXMLCallRecording", {"Status": wanted}, call_sid=CALL, recording_sid=sid)
        validate(SCHEMAS["ChangedRecording"], changed)
        assert (await ask("GetTeXMLCallRecording", recording_sid=sid))[1]["status"] == wanted
    for _ in range(2):
        await ask("UpdateTeXMLCallRecording", {"Status": "stopped"}, call_sid=CALL, recording_sid=sid)
    assert (await ask("GetTeXMLCallRecording", recording_sid=sid))[1]["status"] == "completed"
    with pytest.raises(InvalidRequest, match="over"):
        await ask("UpdateTeXMLCallRecording", {"Status": "paused"}, call_sid=CALL, recording_sid=sid)
    with pytest.raises(ResourceNotFound):
        await ask("UpdateTeXMLCallRecording", {"Status": "stopped"}, call_sid=ENDED, recording_sid=sid)

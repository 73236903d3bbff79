"""Listing, fetching and ending calls over real HTTP."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from trunkline.calls.views import CallFilter

if TYPE_CHECKING:
    from api.conftest import MemoryCalls

ENDED_CALL = {
    "account_sid": "61bf923e-5e4d-4595-a110-56190ea18a1b",
    "answered_by": None,
    "caller_name": "CALLER",
    "date_created": "Thu, 15 Jun 2023 09:56:45 +0000",
    "date_updated": "Thu, 15 Jun 2023 09:56:45 +0000",
    "direction": "inbound",
    "duration": "11",
    "end_time": "Thu, 15 Jun 2023 09:56:56 +0000",
    "from": "+13122010094",
    "from_formatted": "(312) 201-0094",
    "price": None,
    "price_unit": None,
    "sid": "v3:ended",
    "start_time": "Thu, 15 Jun 2023 09:56:45 +0000",
    "status": "completed",
    "to": "+13987654321",
    "to_formatted": "(398) 765-4321",
    "uri": "/v2/texml/Accounts/61bf923e-5e4d-4595-a110-56190ea18a1b/Calls/v3:ended.json",
}


async def test_a_call_has_the_documented_members(client: httpx.AsyncClient, calls_path: str) -> None:
    for path in (f"{calls_path}/v3:ended", f"{calls_path}/v3%3Aended.json", f"{calls_path}/v3:ended/"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, ENDED_CALL)
        assert list(answer.json()) == list(ENDED_CALL)


async def test_completed_ends_a_call_and_returns_it(
    client: httpx.AsyncClient, calls_path: str, streams_path: str
) -> None:
    path = streams_path.removesuffix("/Streams.json")
    assert (await client.get(path)).json()["duration"] is None
    ended = await client.post(path, data={"Status": "completed"})
    assert (ended.status_code, ended.json()["status"], ended.json()["duration"]) == (200, "completed", "11")
    again = await client.post(path, json={"status": "completed"})
    assert (again.status_code, again.json()["errors"][0]["code"]) == (422, "90018")


@pytest.mark.parametrize(
    ("body", "code", "detail", "pointer"),
    [
        ({}, "10004", "Status is required", "/Status"),
        ({"Status": ""}, "10004", "Status is required", "/Status"),
        ({"Status": "canceled"}, "10032", "Status must be one of completed", "/Status"),
        ({"status": ["completed"]}, "10026", "Status must be a string", "/Status"),
        ({"Url": "https://x"}, "10015", "Url is not supported yet", "/Url"),
        ({"texml": "<Response/>"}, "10015", "Texml is not supported yet", "/Texml"),
        ({"Status": "completed", "StatusCallback": "https://x"}, "10015", "StatusCallback is not supported yet", None),
    ],
)
async def test_other_updates_are_refused_by_name(
    client: httpx.AsyncClient,
    streams_path: str,
    body: dict[str, object],
    code: str,
    detail: str,
    pointer: str | None,
) -> None:
    answer = await client.post(streams_path.removesuffix("/Streams.json"), json=body)
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["detail"]) == (422, code, detail)
    assert error["source"]["pointer"] == pointer or pointer is None


async def test_hang_up_through_call_control(client: httpx.AsyncClient, control: "MemoryCalls") -> None:
    path = "/v2/calls/v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA/actions/hangup"
    # As pipecat sends it: a content type and no body.
    answer = await client.post(path, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {"data": {"result": "ok"}})
    again = await client.post(path, json={"client_state": "eA=="})
    assert (again.status_code, again.json()["errors"][0]["code"]) == (422, "90018")
    assert (await client.post("/v2/calls/v3:others/actions/hangup")).status_code == 404


async def test_a_list_shows_the_accounts_own_calls_in_pages(client: httpx.AsyncClient, calls_path: str) -> None:
    page = (await client.get(calls_path, params={"PageSize": "2", "From": "+1"})).json()
    assert [len(page["calls"]), page["page"], page["page_size"], page["start"], page["end"]] == [2, 0, 2, 0, 1]
    assert page["uri"] == page["first_page_uri"] == f"{calls_path}.json?From=%2B1&Page=0&PageSize=2"
    assert page["next_page_uri"] == f"{calls_path}.json?From=%2B1&Page=1&PageSize=2"
    last = (await client.get(page["next_page_uri"])).json()
    assert [len(last["calls"]), last["start"], last["end"], last["next_page_uri"]] == [1, 2, 2, None]
    beyond = (await client.get(calls_path, params={"Page": 9})).json()
    assert [beyond["calls"], beyond["start"], beyond["end"]] == [[], 180, 180]
    sids = {call["sid"] for call in page["calls"] + last["calls"]}
    assert len(sids) == 3
    assert "v3:others" not in sids


async def test_filters_reach_the_calls(client: httpx.AsyncClient, calls_path: str, control: "MemoryCalls") -> None:
    await client.get(f"{calls_path}?To=+1312&From=%2B1398&Status=no-answer&StartTime=2023-05-22&EndTime%3C=2023-05-31")
    assert control.filters == [
        CallFilter(
            status="no-answer",
            to="+1312",
            from_="+1398",
            started=(datetime(2023, 5, 22, tzinfo=UTC), datetime(2023, 5, 23, tzinfo=UTC)),
            ended=(None, datetime(2023, 6, 1, tzinfo=UTC)),
        )
    ]


@pytest.mark.parametrize("query", ["StartTime=yesterday", "PageSize=1001", "Status=gone", "To=%FF", "Page=1&Page=2"])
async def test_a_bad_query_is_refused(client: httpx.AsyncClient, calls_path: str, query: str) -> None:
    assert (await client.get(f"{calls_path}?{query}")).status_code == 422


async def test_why_there_is_no_audio_is_told_in_words_and_numbers(
    client: httpx.AsyncClient, calls_path: str, streams_path: str, control: "MemoryCalls"
) -> None:
    await client.post(streams_path, json={"Url": "wss://user:secret@app.example/path?key=hidden", "Name": "ear"})
    control.leg = {"packets_in": 0, "duration_ms": 9000.0, "packets_out": 450, "local_port": 20000}
    for path in (streams_path.replace("Streams", "media"), streams_path.replace("Streams.json", "media")):
        answer = await client.get(path)
        body = answer.json()
        assert answer.status_code == 200
        assert body["summary"] == body["findings"][0]["text"]
        assert body["findings"][0]["code"] == "no_rtp"
        assert body["findings"][0]["numbers"] == {"packets_in": 0, "local_port": 20000, "duration_ms": 9000.0}
        assert {finding["stream_sid"] for finding in body["findings"]} == {None, body["streams"][0]["sid"]}
        assert (body["streams"][0]["name"], body["streams"][0]["mode"], body["live"]) == ("ear", "rtp", True)
        assert body["streams"][0]["url"] == "wss://app.example/path"
        assert "secret" not in answer.text
    missing = await client.get(f"{calls_path}/v3:nobody/media.json")
    assert missing.status_code == 404

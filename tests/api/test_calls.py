"""Listing, fetching and ending calls over real HTTP."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
import structlog

from trunkline.calls.commands import CallRequest, Instructions
from trunkline.calls.views import CallFilter
from trunkline.media.report import LegReport

if TYPE_CHECKING:
    from api.conftest import Clock, MemoryCalls

UNROUTED = "+15550000000"

ENDED_CALL = {
    "account_sid": "61bf923e-5e4d-4595-a110-56190ea18a1b",
    "answered_by": None,
    "caller_name": "CALLER",
    "date_created": "Thu, 15 Jun 2023 09:56:45 +0000",
    "date_updated": "Thu, 15 Jun 2023 09:56:45 +0000",
    "direction": "inbound",
    "duration": "11",
    "end_time": "Thu, 15 Jun 2023 09:56:56 +0000",
    "ended_reason": None,
    "from": "+13122010094",
    "from_formatted": "(312) 201-0094",
    "parent_call_sid": None,
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


@pytest.mark.parametrize(
    ("texml", "detail"),
    [
        (
            "<Response>\n  <Say>Hello</Response>",
            "Texml: the document is not XML: mismatched tag: line 2, column 14",
        ),
        ("<Reply/>", "Texml: the document's root is <Reply>, not <Response>"),
    ],
)
async def test_instructions_that_are_no_texml_place_no_call_and_change_none(
    client: httpx.AsyncClient, calls_path: str, streams_path: str, texml: str, detail: str
) -> None:
    placing = {"To": "sip:a@192.0.2.1", "From": "+1", "Texml": texml}
    for path, body in ((calls_path, placing), (streams_path.removesuffix("/Streams.json"), {"Texml": texml})):
        answer = await client.post(path, json=body)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["code"], error["detail"], error["source"]) == ("10015", detail, {"pointer": "/Texml"})


async def test_completed_ends_a_call_and_returns_it(
    client: httpx.AsyncClient, calls_path: str, streams_path: str
) -> None:
    path = streams_path.removesuffix("/Streams.json")
    assert (await client.get(path)).json()["duration"] is None
    ended = await client.post(path, data={"Status": "completed"})
    assert (ended.status_code, ended.json()["status"], ended.json()["duration"]) == (200, "completed", "11")
    again = await client.post(path, json={"status": "completed"})
    assert (again.status_code, again.json()["errors"][0]["code"]) == (422, "90018")


async def test_canceled_ends_a_call_that_is_not_answered(client: httpx.AsyncClient, calls_path: str) -> None:
    path = f"{calls_path}/v3:ringing"
    ended = await client.post(path, data={"Status": "canceled"})
    assert (ended.status_code, ended.json()["sid"]) == (200, "v3:ringing")
    for status in ("canceled", "completed"):
        again = await client.post(path, json={"Status": status})
        assert (again.status_code, again.json()["errors"][0]["code"]) == (422, "90018")


@pytest.mark.parametrize(
    ("body", "code", "detail", "pointer"),
    [
        ({}, "10004", "One of Status, Url, Texml and StatusCallback is required", "/Status"),
        ({"Status": "", "Method": "GET"}, "10004", "One of Status, Url, Texml and StatusCallback is required", None),
        ({"Status": "busy"}, "10032", "Status must be one of completed, canceled", "/Status"),
        ({"Status": "canceled"}, "10015", "A call that was answered is not canceled; completed ends it", "/Status"),
        ({"status": "canceled", "url": "https://x"}, "10015", "A call that ends takes no instructions", "/Status"),
        ({"status": ["completed"]}, "10026", "Status must be a string", "/Status"),
        ({"Url": "https://x", "texml": "<Response/>"}, "10015", "Url and Texml exclude each other", "/Texml"),
        ({"status": "completed", "url": "https://x"}, "10015", "A call that ends takes no instructions", "/Status"),
        ({"FallbackUrl": "https://x"}, "10004", "Url is required with FallbackUrl", "/Url"),
        ({"Url": "https://x", "Method": "PUT"}, "10032", "Method must be one of GET, POST", "/Method"),
        ({"StatusCallback": "ws://x"}, "10003", "StatusCallback must be a http:// or https:// URL", None),
    ],
)
async def test_updates_that_cannot_be_understood_are_refused_by_name(
    client: httpx.AsyncClient,
    streams_path: str,
    body: dict[str, object],
    code: str,
    detail: str,
    pointer: str | None,
) -> None:
    answer = await client.post(streams_path.removesuffix("/Streams.json"), json=body)
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["detail"].partition(": ")[0]) == (422, code, detail)
    assert error["source"]["pointer"] == pointer or pointer is None


async def test_an_update_redirects_and_changes_the_status_callback(
    client: httpx.AsyncClient, control: "MemoryCalls", streams_path: str
) -> None:
    path = streams_path.removesuffix("/Streams.json")
    answer = await client.post(
        path,
        data={
            "Url": "https://x/b?c=d%20e",
            "Method": "GET",
            "FallbackUrl": "https://x/f",
            "FallbackMethod": "GET",
            "StatusCallback": "https://x/s",
            "StatusCallbackMethod": "GET",
        },
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "in-progress")
    again = await client.post(path, json={"texml": "<Response><Hangup/></Response>"})
    assert again.json() == answer.json()
    assert control.redirected == [
        Instructions(None, "https://x/b?c=d%20e", "GET", "https://x/f", "GET"),
        Instructions("<Response><Hangup/></Response>"),
    ]
    changed = [view for view in control.live.values() if view.status_callback]
    assert [(view.status_callback, view.status_callback_method) for view in changed] == [("https://x/s", "GET")]
    ended = await client.post(path, json={"StatusCallback": "https://x/t", "Status": "completed"})
    assert ended.json()["status"] == "completed"
    for body in ({"Url": "https://x"}, {"StatusCallback": "https://x"}, {"Status": "completed"}):
        late = await client.post(path, json=body)
        assert (late.status_code, late.json()["errors"][0]["code"]) == (422, "90018")


ORDER = {"To": "+13121230000", "From": "+13120001234", "Url": "https://x/voice"}


async def test_an_initiate_answers_what_is_documented_and_the_sids(
    client: httpx.AsyncClient, calls_path: str, control: "MemoryCalls"
) -> None:
    answer = await client.post(calls_path, json=ORDER)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "from": "+13120001234",
            "to": "+13121230000",
            "status": "queued",
            "sid": "v3:placed-1",
            "call_sid": "v3:placed-1",
            "account_sid": "61bf923e-5e4d-4595-a110-56190ea18a1b",
        },
    )
    call = (await client.get(f"{calls_path}/v3:placed-1")).json()
    assert (call["direction"], call["status"], call["duration"]) == ("outbound", "queued", None)


async def test_both_encodings_and_both_spellings_place_the_same_call(
    client: httpx.AsyncClient, calls_path: str, control: "MemoryCalls"
) -> None:
    wanted = CallRequest("+13121230000", "+13120001234", "+13120001234", instructions=Instructions(url="https://x/v"))
    form = {"content-type": "application/x-www-form-urlencoded"}
    for path in (calls_path, f"{calls_path}.json"):
        for content in (
            "To=%2B13121230000&From=%2B13120001234&Url=https%3A%2F%2Fx%2Fv",
            "to=+13121230000&from_=+13120001234&url=https://x/v&timeout=30&TimeLimit=14400",
        ):
            assert (await client.post(path, content=content, headers=form)).status_code == 200
        members = {"to": "+13121230000", "from_": "+13120001234", "url": "https://x/v", "StatusCallbackEvent": None}
        assert (await client.post(path, json=members)).status_code == 200
    assert control.placed == [wanted] * 6


async def test_a_call_is_created_by_the_application_in_the_path(
    client: httpx.AsyncClient, calls_path: str, control: "MemoryCalls"
) -> None:
    path = "/v2/texml/calls/1293384261075731499"
    wanted = CallRequest("+13121230000", "+13120001234", "+13120001234", application_sid="1293384261075731499")
    order = {"To": "+13121230000", "From": "+13120001234"}
    answer = await client.post(path, json=order)
    assert (answer.status_code, answer.json()["status"], answer.json()["call_sid"]) == (200, "queued", "v3:placed-1")
    for sid in ("1", ["not", "text"], ""):
        assert (await client.post(path, json={**order, "application_sid": sid})).status_code == 200, "the path's counts"
    assert control.placed == [wanted] * 4
    unknown = await client.post("/v2/texml/calls/2", json=order)
    assert (unknown.status_code, unknown.json()) == (404, {"errors": [{"detail": "Resource not found"}]})
    incomplete = await client.post(path, json={"To": "+13121230000"})
    assert (incomplete.status_code, incomplete.json()["errors"][0]["source"]) == (422, {"pointer": "/From"})


async def test_a_repeat_by_another_path_is_no_repeat(client: httpx.AsyncClient, control: "MemoryCalls") -> None:
    order = {"To": "+13121230000", "From": "+13120001234"}
    path = "/v2/texml/calls/1293384261075731499"
    first = await client.post(path, json=order)
    repeat = await client.post(path, json=order, headers={"x-stainless-retry-count": "1"})
    other = await client.post("/v2/texml/calls/2", json=order, headers={"x-stainless-retry-count": "1"})
    assert (first.json(), other.status_code) == (repeat.json(), 404)
    assert len(control.placed) == 1


async def test_a_refusal_of_the_model_has_a_pointer(client: httpx.AsyncClient, calls_path: str) -> None:
    unknown = await client.post(calls_path, json={**ORDER, "ApplicationSid": "1"})
    assert (unknown.status_code, unknown.json()["errors"][0]["source"]) == (422, {"pointer": "/ApplicationSid"})
    unrouted = await client.post(calls_path, json={**ORDER, "To": UNROUTED})
    assert (unrouted.status_code, unrouted.json()["errors"][0]["source"]) == (422, {"pointer": "/To"})
    other = calls_path.replace("61bf923e", "00000000")
    assert (await client.post(other, json=ORDER)).status_code == 404


async def test_a_marked_repeat_of_an_initiate_places_no_second_call(
    client: httpx.AsyncClient, calls_path: str, control: "MemoryCalls", clock: "Clock"
) -> None:
    first = await client.post(calls_path, json=ORDER)
    marked = {"x-stainless-retry-count": "1"}
    assert (await client.post(calls_path, json=ORDER, headers=marked)).json() == first.json()
    assert len(control.placed) == 1
    await client.post(calls_path, json={**ORDER, "To": "+1"}, headers=marked)
    await client.post(calls_path, json=ORDER)
    assert len(control.placed) == 3
    clock.now += 61
    await client.post(calls_path, json=ORDER, headers=marked)
    assert len(control.placed) == 4


async def test_fields_without_effect_are_named_in_one_warning(
    client: httpx.AsyncClient, calls_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {**ORDER, "MachineDetection": "Enable", "Trim": "trim-silence", "AsyncAmd": False, "SipAuthUsername": "u"}
    with structlog.testing.capture_logs() as logs:
        await client.post(calls_path, json={**members, "SipAuthPassword": "hush"})
        await client.post(calls_path, json=ORDER)
    assert [entry for entry in logs if entry["log_level"] == "warning"] == [
        {
            "event": "call_fields_ignored",
            "log_level": "warning",
            "call_sid": "v3:placed-1",
            "fields": ["MachineDetection", "Trim"],
        }
    ]
    assert "hush" not in str(logs) + "".join(capsys.readouterr())


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


async def test_why_there_is_no_audio_is_shown_in_words_and_numbers(
    client: httpx.AsyncClient, calls_path: str, streams_path: str, control: "MemoryCalls"
) -> None:
    await client.post(streams_path, json={"Url": "wss://user:secret@app.example/path?key=hidden", "Name": "ear"})
    control.leg = LegReport(packets_in=0, duration_ms=9000.0, packets_out=450, local_port=20000)
    for path in (streams_path.replace("Streams", "media"), streams_path.replace("Streams.json", "media")):
        answer = await client.get(path)
        body = answer.json()
        assert answer.status_code == 200
        assert body["summary"] == body["findings"][0]["text"]
        assert body["findings"][0]["code"] == "no_rtp"
        assert body["findings"][0]["numbers"] == {"packets_in": 0, "local_port": 20000, "duration_ms": 9000.0}
        assert {finding["stream_sid"] for finding in body["findings"]} == {None, body["streams"][0]["sid"]}
        assert (body["streams"][0]["name"], body["streams"][0]["mode"], body["live"]) == ("ear", "mp3", True)
        assert body["streams"][0]["url"] == "wss://app.example/path"
        assert "secret" not in answer.text
    missing = await client.get(f"{calls_path}/v3:unknown/media.json")
    assert missing.status_code == 404

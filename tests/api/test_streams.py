"""Starting, stopping, listing and fetching streams over real HTTP."""

import asyncio
import json
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from trunkline.api.app import ApiApplication
from trunkline.errors import Unavailable
from trunkline.streaming.params import BidirectionalMode, Track

if TYPE_CHECKING:
    from api.conftest import Clock, MemoryCalls

URL = "wss://www.example.com/websocket?a=%20b&c"
QUOTED_URL = quote(URL, safe="")
NOT_FOUND = {"errors": [{"detail": "Resource not found"}]}
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


async def test_a_start_answers_exactly_the_seven_documented_members(
    client: httpx.AsyncClient, streams_path: str
) -> None:
    answer = await client.post(streams_path, json={"Url": URL, "Name": "My stream"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    body = answer.json()
    assert list(body) == ["account_sid", "call_sid", "sid", "name", "status", "date_updated", "uri"]
    assert body["name"] == "My stream"
    assert body["status"] == "in-progress"
    assert body["date_updated"] == "2023-06-15T09:56:45Z"
    assert body["uri"] == streams_path.removesuffix(".json") + f"/{body['sid']}.json"
    assert str(uuid.UUID(body["sid"])) == body["sid"]


async def test_a_stream_without_a_name_answers_null(client: httpx.AsyncClient, streams_path: str) -> None:
    assert (await client.post(streams_path, json={"Url": URL})).json()["name"] is None


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (json.dumps({"Url": URL, "Track": "both_tracks", "BidirectionalMode": "rtp"}), JSON),
        (json.dumps({"url": URL, "track": "both_tracks", "bidirectional_mode": "rtp", "unknown": {"a": [1]}}), JSON),
        (f"Url={QUOTED_URL}&Track=both_tracks&BidirectionalMode=rtp", FORM),
        (f"url={QUOTED_URL}&track=both_tracks&bidirectional_mode=rtp&unknown=+&unknown=2", f"{FORM}; charset=UTF-8"),
    ],
    ids=["json", "json snake_case", "form", "form snake_case"],
)
async def test_both_encodings_and_both_spellings_start_the_same_stream(
    client: httpx.AsyncClient, streams_path: str, control: "MemoryCalls", content: str, content_type: str
) -> None:
    answer = await client.post(streams_path, content=content, headers={"content-type": content_type})
    assert answer.status_code == 200, answer.text
    params = control.params[-1]
    assert (params.url.text, params.track, params.mode) == (URL, Track.BOTH, BidirectionalMode.RTP)


@pytest.mark.parametrize(
    ("suffix", "quoted"), [("Streams", False), ("Streams/", False), ("Streams.json", True), ("Streams.json/", True)]
)
async def test_paths_are_accepted_without_json_with_a_slash_and_percent_encoded(
    client: httpx.AsyncClient, streams_path: str, suffix: str, quoted: bool
) -> None:
    path = streams_path.replace("Streams.json", suffix)
    path = path.replace("v3:", "v3%3A" if quoted else "v3:")
    answer = await client.post(path, json={"Url": URL})
    assert answer.status_code == 200
    assert "/Calls/v3:" in answer.json()["uri"]


async def test_stop_answers_the_documented_members_without_the_name(
    client: httpx.AsyncClient, streams_path: str
) -> None:
    started = (await client.post(streams_path, json={"Url": URL})).json()
    stopped = await client.post(started["uri"], data={"Status": "stopped"})
    assert stopped.status_code == 200
    assert list(stopped.json()) == ["account_sid", "call_sid", "sid", "status", "date_updated", "uri"]
    assert stopped.json()["status"] == "stopped"
    assert stopped.json()["sid"] == started["sid"]


async def test_an_empty_body_stops_and_a_second_stop_is_200_again(client: httpx.AsyncClient, streams_path: str) -> None:
    uri = (await client.post(streams_path, json={"Url": URL})).json()["uri"]
    for _ in range(2):
        assert (await client.post(uri)).json()["status"] == "stopped"


@pytest.mark.parametrize("name", ["My stream", "a/b", "x.json", "100%", "%2F", "Zoë"])
async def test_a_stream_is_stopped_and_fetched_by_its_name(
    client: httpx.AsyncClient, streams_path: str, name: str
) -> None:
    sid = (await client.post(streams_path, json={"Url": URL, "Name": name})).json()["sid"]
    by_name = streams_path.removesuffix(".json") + f"/{quote(name, safe='')}.json"
    assert (await client.get(by_name)).json()["sid"] == sid
    assert (await client.post(by_name, json={})).json()["sid"] == sid


async def test_an_unknown_status_is_refused(client: httpx.AsyncClient, streams_path: str) -> None:
    uri = (await client.post(streams_path, json={"Url": URL})).json()["uri"]
    answer = await client.post(uri, json={"Status": "gone"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {
            "code": "10032",
            "title": "Invalid enumerated value",
            "detail": "Status must be one of stopped, paused, in-progress",
            "source": {"pointer": "/Status"},
        }
    ]


async def test_a_stream_is_paused_and_resumed_and_the_answer_says_so(
    client: httpx.AsyncClient, streams_path: str
) -> None:
    started = (await client.post(streams_path, json={"Url": URL, "Name": "ear"})).json()
    uri = started["uri"]
    for status in ("paused", "paused", "in-progress"):
        answer = await client.post(uri, data={"Status": status})
        assert answer.status_code == 200
        assert list(answer.json()) == ["account_sid", "call_sid", "sid", "status", "date_updated", "uri"]
        assert answer.json()["status"] == status
        assert (await client.get(uri)).json()["status"] == status
    await client.post(uri)
    error = (await client.post(uri, data={"Status": "paused"})).json()["errors"][0]
    assert (error["detail"], error["source"]) == ("The stream is over.", {"pointer": "/Status"})


async def test_fetch_shows_how_the_stream_ended(client: httpx.AsyncClient, streams_path: str) -> None:
    uri = (await client.post(streams_path, json={"Url": URL, "Track": "both_tracks"})).json()["uri"]
    body = (await client.get(uri)).json()
    assert (body["status"], body["report"]) == ("in-progress", None), "not as if nothing had happened on it"
    await client.post(uri)
    body = (await client.get(uri)).json()
    assert (body["status"], body["track"], body["ended_reason"]) == ("stopped", "both_tracks", "stopped by the API")


async def test_list_pages_through_the_streams_of_a_call(client: httpx.AsyncClient, streams_path: str) -> None:
    sids = [(await client.post(streams_path, json={"Url": URL, "Name": str(n)})).json()["sid"] for n in range(3)]
    first = (await client.get(streams_path, params={"PageSize": 2})).json()
    assert [stream["sid"] for stream in first["streams"]] == sids[:2]
    assert (first["page"], first["page_size"], first["start"], first["end"]) == (0, 2, 0, 1)
    second = (await client.get(first["next_page_uri"])).json()
    assert [stream["sid"] for stream in second["streams"]] == sids[2:]
    assert (second["page"], second["start"], second["end"], second["next_page_uri"]) == (1, 2, 2, None)


@pytest.mark.parametrize(
    ("call", "code", "title"),
    [("v3:ringing", "90034", "Call not answered yet"), ("v3:ended", "90018", "Call has already ended")],
)
async def test_a_call_that_is_not_up_cannot_be_streamed(
    client: httpx.AsyncClient, calls_path: str, call: str, code: str, title: str
) -> None:
    answer = await client.post(f"{calls_path}/{call}/Streams.json", json={"Url": URL})
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["title"]) == (422, code, title)


async def test_one_stream_too_many_is_refused(client: httpx.AsyncClient, streams_path: str) -> None:
    for name in "abcd":
        assert (await client.post(streams_path, json={"Url": URL, "Name": name})).status_code == 200
    error = (await client.post(streams_path, json={"Url": URL})).json()["errors"][0]
    assert (error["code"], error["title"]) == ("90045", "Media Streaming is used")


async def test_unknown_calls_streams_and_other_accounts_are_not_found(
    client: httpx.AsyncClient, calls_path: str, streams_path: str
) -> None:
    others = calls_path.replace("61bf923e", "00000000")
    for path in (
        f"{calls_path}/v3:unknown/Streams.json",
        f"{calls_path}/v3:others/Streams.json",
        f"{others}/v3:others/Streams.json",
        f"{calls_path}/%00/Streams.json",
        f"{calls_path}/%FF/Streams.json",
        f"{streams_path.removesuffix('.json')}/nothing.json",
    ):
        answer = await client.post(path, json={"Url": URL})
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND), path
        assert answer.headers["x-should-retry"] == "false"


async def test_a_marked_repeat_returns_the_stream_of_the_first_try(
    client: httpx.AsyncClient, streams_path: str, control: "MemoryCalls", app: ApiApplication
) -> None:
    first = (await client.post(streams_path, json={"Url": URL})).json()
    for count in ("1", "2"):
        again = await client.post(streams_path, json={"Url": URL}, headers={"x-stainless-retry-count": count})
        assert again.json() == first
    assert len(control.params) == 1
    assert app.counters["starts_recalled"] == 2


async def test_another_body_or_call_a_minute_or_no_mark_make_a_new_start(
    client: httpx.AsyncClient, streams_path: str, control: "MemoryCalls", clock: "Clock"
) -> None:
    marked = {"x-stainless-retry-count": "1"}
    await client.post(streams_path, json={"Url": URL})
    await client.post(streams_path, json={"Url": URL, "Name": "other"}, headers=marked)
    await client.post(streams_path, json={"Url": URL}, headers={"x-stainless-retry-count": "0"})
    clock.now += 60
    await client.post(streams_path, json={"Url": URL}, headers=marked)
    assert len(control.params) == 4


async def test_a_repeat_while_the_first_try_is_under_way_waits_for_it(
    client: httpx.AsyncClient, streams_path: str, control: "MemoryCalls", app: ApiApplication
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    control.before_start = wait
    marked = {"x-stainless-retry-count": "1"}
    async with asyncio.timeout(30):
        first = asyncio.create_task(client.post(streams_path, json={"Url": URL}))
        await reached.wait()
        again = asyncio.create_task(client.post(streams_path, json={"Url": URL}, headers=marked))
        # A round trip behind it, so that the repeat is in.
        await client.get("/healthz")
        go_on.set()
        assert (await first).json() == (await again).json()
    assert app.counters["starts_recalled"] == 1
    assert len(control.params) == 1


async def test_a_repeat_after_a_failed_first_try_tries_for_itself(
    client: httpx.AsyncClient, streams_path: str, control: "MemoryCalls"
) -> None:
    async def refuse() -> None:
        raise Unavailable("No media worker", retry_after=3)

    allow, control.before_start = control.before_start, refuse
    failed = await client.post(streams_path, json={"Url": URL})
    assert (failed.status_code, failed.headers["retry-after"]) == (503, "3")
    assert failed.json()["errors"][0]["code"] == "10007"
    assert "x-should-retry" not in failed.headers
    control.before_start = allow
    again = await client.post(streams_path, json={"Url": URL}, headers={"x-stainless-retry-count": "1"})
    assert again.status_code == 200

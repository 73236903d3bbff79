"""The official SDKs against the API: Python sends JSON, Node sends forms."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from peers.customer import NODE, needs_node
from trunkline.api.server import HttpServer
from trunkline.calls.commands import CallRequest, Instructions
from trunkline.errors import Unavailable
from trunkline.streaming.params import BidirectionalMode, Track

if TYPE_CHECKING:
    from telnyx import AsyncTelnyx  # takes seconds to import: not with this file

    from api.conftest import MemoryCalls

pytestmark = pytest.mark.peer

URL = "wss://www.example.com/websocket?a=%20b&c=d+e"


@pytest.fixture
def account(streams_path: str) -> str:
    """The account's sid."""
    return streams_path.split("/")[4]


@pytest.fixture
def call(streams_path: str) -> str:
    """The answered call's sid."""
    return streams_path.split("/")[6]


@pytest.fixture
async def sdk(server: HttpServer) -> AsyncIterator["AsyncTelnyx"]:
    """The Python SDK, pointed at us."""
    from telnyx import AsyncTelnyx

    async with httpx.AsyncClient(trust_env=False, verify=False) as transport:
        url = f"http://127.0.0.1:{server.port}/v2"
        yield AsyncTelnyx(api_key="KEY0123456789", base_url=url, http_client=transport)


async def test_the_python_sdk_creates_a_call_by_an_application(sdk: "AsyncTelnyx", control: "MemoryCalls") -> None:
    made = await sdk.texml.calls.create(
        "1293384261075731499", from_="+13120001234", to="+13121230000", url="https://x/v"
    )
    assert (made.from_, made.to, made.status, made.call_sid) == (
        "+13120001234",
        "+13121230000",
        "queued",
        "v3:placed-1",
    )
    assert control.placed[0].application_sid == "1293384261075731499"


async def test_python_starts_and_stops(sdk: "AsyncTelnyx", control: "MemoryCalls", account: str, call: str) -> None:
    started = await sdk.texml.accounts.calls.streams_json(
        call,
        account_sid=account,
        url=URL,
        name="My stream",
        track="both_tracks",
        bidirectional_mode="rtp",
        bidirectional_codec="PCMA",
        status_callback="http://webhook.com/callback",
        status_callback_method="GET",
    )
    assert (started.account_sid, started.call_sid, started.name) == (account, call, "My stream")
    assert started.status == "in-progress"
    assert started.date_updated is not None
    assert started.date_updated.isoformat() == "2023-06-15T09:56:45+00:00"
    params = control.params[-1]
    assert (params.url.text, params.track, params.mode) == (URL, Track.BOTH, BidirectionalMode.RTP)
    assert (params.bidirectional_codec, params.status_callback_method) == ("PCMA", "GET")
    assert started.sid
    for _ in range(2):
        stopped = await sdk.texml.accounts.calls.streams.streaming_sid_json(
            started.sid, account_sid=account, call_sid=call
        )
        assert (stopped.sid, stopped.status) == (started.sid, "stopped")


async def test_python_lists_fetches_and_ends_calls(sdk: "AsyncTelnyx", account: str, call: str) -> None:
    import telnyx

    page = await sdk.texml.accounts.calls.retrieve_calls(account, page_size=2, start_time_gt="2023-05-22")
    assert [len(page.calls or []), page.page, page.page_size] == [2, 0, 2]
    fetched = await sdk.texml.accounts.calls.retrieve(call, account_sid=account)
    assert (fetched.sid, fetched.status, fetched.date_created) == (
        call,
        "in-progress",
        "Thu, 15 Jun 2023 09:56:45 +0000",
    )
    ended = await sdk.texml.accounts.calls.update(call, account_sid=account, status="completed")
    assert (ended.status, ended.duration) == ("completed", "11")
    with pytest.raises(telnyx.UnprocessableEntityError):
        await sdk.calls.actions.hangup(call)


async def test_python_places_and_redirects(sdk: "AsyncTelnyx", control: "MemoryCalls", account: str) -> None:
    import telnyx

    calls = sdk.texml.accounts.calls
    placed = await calls.calls(
        account,
        body={
            "to": "+13121230000",
            "from_": "+13120001234",
            "url": "https://x/voice",
            "url_method": "GET",
            "timeout": 60,
            "custom_headers": [{"name": "X-Custom-Header", "value": "custom value"}],
            "preferred_codecs": "PCMA,PCMU",
            "status_callback": "https://x/status",
            "status_callback_event": "initiated answered",
            "machine_detection": "Enable",
        },
    )
    assert (placed.from_, placed.to, placed.status) == ("+13120001234", "+13121230000", "queued")
    extra: Any = placed.model_extra
    assert (extra["sid"], extra["call_sid"], extra["account_sid"]) == ("v3:placed-1", "v3:placed-1", account)
    assert control.placed == [
        CallRequest(
            "+13121230000",
            "+13120001234",
            "+13120001234",
            instructions=Instructions(url="https://x/voice", method="GET"),
            status_callback="https://x/status",
            status_callback_events="initiated answered",
            timeout=60,
            codecs=("PCMA", "PCMU"),
            headers=(("X-Custom-Header", "custom value"),),
        )
    ]
    fetched = await calls.retrieve(extra["sid"], account_sid=account)
    assert (fetched.direction, fetched.status) == ("outbound", "queued")
    await calls.update(extra["sid"], account_sid=account, texml="<Response/>")
    assert control.redirected == [Instructions("<Response/>")]
    with pytest.raises(telnyx.UnprocessableEntityError) as missing:
        await calls.calls(account, body={"url": "https://x/voice", "to": "+1"})
    body: Any = missing.value.body
    assert body["errors"][0]["source"] == {"pointer": "/From"}


async def test_python_hangs_up(sdk: "AsyncTelnyx", control: "MemoryCalls", call: str) -> None:
    answer = await sdk.calls.actions.hangup(call)
    assert answer.data is not None
    assert answer.data.result == "ok"
    assert [view.status for sid, view in control.live.items() if sid == call] == ["completed"]


async def test_python_raises_its_own_errors_without_repeating(
    sdk: "AsyncTelnyx", control: "MemoryCalls", account: str, call: str
) -> None:
    import telnyx

    start = sdk.texml.accounts.calls.streams_json
    with pytest.raises(telnyx.UnprocessableEntityError) as missing:
        await start(call, account_sid=account)
    body: Any = missing.value.body
    assert body["errors"][0]["source"] == {"pointer": "/Url"}
    with pytest.raises(telnyx.NotFoundError):
        await start("v3:unknown", account_sid=account, url=URL)
    with pytest.raises(telnyx.AuthenticationError):
        await sdk.with_options(api_key="unknown").texml.accounts.calls.retrieve_calls(account)

    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise ZeroDivisionError

    control.before_start = fail
    with pytest.raises(telnyx.InternalServerError):
        await start(call, account_sid=account, url=URL)
    assert tries == 1


async def test_python_repeats_what_is_unavailable_until_it_is_not(
    sdk: "AsyncTelnyx", control: "MemoryCalls", account: str, call: str
) -> None:
    tries = 0

    async def refuse_once() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Unavailable("No media worker", retry_after=1)

    control.before_start = refuse_once
    assert (await sdk.texml.accounts.calls.streams_json(call, account_sid=account, url=URL)).sid
    assert tries == 2


async def test_python_that_lost_the_answer_gets_the_stream_of_its_first_try(
    server: HttpServer, control: "MemoryCalls", account: str, call: str
) -> None:
    from telnyx import AsyncTelnyx

    class Lossy(httpx.AsyncHTTPTransport):
        """Loses the first answer after the request has been served."""

        lost = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if not self.lost:
                self.lost = True
                await response.aclose()
                raise httpx.ReadError("connection reset")
            return response

    url = f"http://127.0.0.1:{server.port}/v2"
    async with httpx.AsyncClient(transport=Lossy(verify=False)) as transport:
        sdk = AsyncTelnyx(api_key="KEY0123456789", base_url=url, http_client=transport)
        started = await sdk.texml.accounts.calls.streams_json(call, account_sid=account, url=URL)
    assert list(control.started) == [started.sid]


@needs_node
async def test_node_starts_stops_places_redirects_lists_ends_and_raises(
    server: HttpServer, control: "MemoryCalls", account: str, call: str
) -> None:
    arguments = (f"http://127.0.0.1:{server.port}/v2", "KEY0123456789", account, call)
    process = await asyncio.create_subprocess_exec(
        "node", NODE / "rest.mjs", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(60):
        stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    seen = json.loads(stdout)
    assert (seen["started"]["name"], seen["started"]["status"]) == ("My stream", "in-progress")
    params = control.params[-1]
    assert (params.url.text, params.track, params.mode) == (URL, Track.BOTH, BidirectionalMode.RTP)
    assert params.status_callback == "http://webhook.com/callback?a=b&c"
    assert seen["stopped"]["status"] == seen["stoppedAgain"]["status"] == "stopped"
    assert [seen[name]["status"] for name in ("badTrack", "noUrl", "noCall", "noKey")] == [422, 422, 404, 401]
    assert seen["noUrl"]["errors"][0]["code"] == "10004"
    assert seen["noCall"]["errors"] == [{"detail": "Resource not found"}]
    assert len(seen["list"]["calls"]) == 2
    assert (seen["placed"]["status"], seen["placed"]["call_sid"]) == ("queued", "v3:placed-1")
    assert seen["noTo"]["errors"][0]["source"] == {"pointer": "/To"}
    assert control.placed == [
        CallRequest(
            "sip:alice@example.com",
            "+13120001234",
            "Caller",
            "1293384261075731499",
            headers=(("X-Custom-Header", "a&b"),),
            time_limit=60,
        )
    ]
    assert (seen["redirected"]["sid"], control.redirected) == (call, [Instructions("<Response/>")])
    assert (seen["ended"]["sid"], seen["ended"]["status"]) == (call, "completed")
    assert (seen["hangup"]["status"], seen["hangup"]["errors"][0]["code"]) == (422, "90018")

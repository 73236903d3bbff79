"""What holds for every route: keys, methods, content types, limits, and that nothing unexpected gets out."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import structlog

from trunkline.api import app as app_module
from trunkline.api.app import ApiApplication
from trunkline.config import HttpSettings
from trunkline.faces.telnyx.rest import REST
from trunkline.webhooks.signing import Signer

if TYPE_CHECKING:
    from api.conftest import Clock, MemoryCalls

URL = "wss://www.example.com/websocket"
NOT_FOUND = {"errors": [{"detail": "Resource not found"}]}
UNAUTHENTICATED = {
    "errors": [
        {
            "code": "10009",
            "title": "Authentication failed",
            "detail": "Could not understand the provided credentials.",
        }
    ]
}
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def _concrete(path: str) -> str:
    account = "61bf923e-5e4d-4595-a110-56190ea18a1b"
    values = {"{account_sid}": account, "{call_sid}": "v3:x", "{call_control_id}": "v3:x", "{streaming_sid}": "s"}
    for placeholder, value in values.items():
        path = path.replace(placeholder, value)
    return path


PRIVATE = [(row.method, _concrete(row.path)) for row in REST.operations if not row.public]


async def test_every_private_route_wants_a_key(
    anonymous: httpx.AsyncClient, app: ApiApplication, clock: "Clock"
) -> None:
    wrong = (None, "", "Bearer", "Bearer unknown", "Basic S0VZ", "KEY0123456789", "Bearer KEY0123456789 x")
    for method, path in PRIVATE:
        for authorization in wrong:
            headers = {} if authorization is None else {"authorization": authorization}
            clock.now += 1  # no guesses
            answer = await anonymous.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()) == (401, UNAUTHENTICATED)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["x-should-retry"] == "false"
    assert app.counters["refused_authentication_failed"] == len(PRIVATE) * len(wrong)


async def test_two_authorization_headers_or_a_key_outside_ascii_are_refused(anonymous: httpx.AsyncClient) -> None:
    path = PRIVATE[0][1]
    doubled = [("authorization", "Bearer KEY0123456789"), ("authorization", "Bearer KEY0123456789")]
    assert (await anonymous.post(path, headers=doubled)).status_code == 401
    assert (await anonymous.post(path, headers=[(b"authorization", "Bearer kéy".encode())])).status_code == 401


async def test_the_scheme_is_case_insensitive(anonymous: httpx.AsyncClient, calls_path: str) -> None:
    assert (await anonymous.get(calls_path, headers={"authorization": "bearer KEY0123456789"})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/", "/v2/nothing", "/v2/nothing.json", "/nothing", "/", "//v2", "/v2//calls"]
)
async def test_an_unknown_path_is_not_found_in_the_documented_shape(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert answer.headers["content-type"] == JSON


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", PRIVATE[0][1], "GET, HEAD, POST"),
        ("PATCH", "/v2/texml/Accounts/a/Calls", "GET, HEAD, POST"),
        ("POST", "/v2/public_key", "GET, HEAD"),
        ("GET", "/v2/calls/v3:x/actions/hangup", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_method_that_the_path_lacks_is_refused_with_allow(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    error = answer.json()["errors"][0]
    assert (error["code"], error["title"]) == ("10030", "Method not allowed")


async def test_head_is_get_without_a_body(client: httpx.AsyncClient, calls_path: str) -> None:
    answer = await client.head(calls_path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": JSON, "content-encoding": "gzip"},
        {},
    ],
)
async def test_another_content_type_is_refused(
    client: httpx.AsyncClient, streams_path: str, headers: dict[str, str]
) -> None:
    answer = await client.post(streams_path, content=b"{}", headers=headers)
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["title"]) == (415, "10024", "Unsupported Content-Type")


async def test_a_body_over_the_limit_is_refused_with_and_without_its_length(
    client: httpx.AsyncClient, streams_path: str, settings: HttpSettings, control: "MemoryCalls", app: ApiApplication
) -> None:
    body = b'{"Url": "wss://x"}' + b" " * settings.body_limit

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    for content in (body, chunks()):
        answer = await client.post(streams_path, content=content, headers={"content-type": JSON})
        assert (answer.status_code, answer.json()["errors"][0]["title"]) == (413, "Payload too large")
    assert app.counters["refused_payload_too_large"] == 2
    assert control.params == []


async def test_a_chunked_body_under_the_limit_is_read(client: httpx.AsyncClient, streams_path: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for byte in b'{"Url": "wss://x"}':
            yield bytes([byte])

    answer = await client.post(streams_path, content=chunks(), headers={"content-type": JSON})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("content", "code", "detail"),
    [
        (b"{", "10015", "Not valid JSON: Expecting property name enclosed in double quotes at character 1"),
        (b"[]", "10015", "The body must be a JSON object"),
        (b'{"Url": NaN}', "10015", "Not valid JSON: NaN"),
        (b'{"Url": "a", "Url": "b"}', "10015", "Not valid JSON: a name was given twice in one object"),
        (b'{"Url": "\xff"}', "10015", "The body is not valid UTF-8 at byte 9"),
        (b"[" * 4000, "10015", "Not valid JSON: a number too long, or nested too deep"),
        (b'{"Url": 7}', "10026", "Url must be a string"),
    ],
)
async def test_broken_json_is_named(
    client: httpx.AsyncClient, streams_path: str, content: bytes, code: str, detail: str
) -> None:
    answer = await client.post(streams_path, content=content, headers={"content-type": JSON})
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["detail"]) == (422, code, detail)


async def test_over_the_rate_a_key_gets_429_with_retry_after(
    client: httpx.AsyncClient, calls_path: str, clock: "Clock"
) -> None:
    for _ in range(100):
        assert (await client.get(calls_path)).status_code == 200
    answer = await client.get(calls_path)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "x-should-retry" not in answer.headers
    assert answer.json()["errors"][0]["code"] == "10011"
    other = {"authorization": "Bearer KEY9876543210"}
    assert (await client.get(calls_path, headers=other)).status_code == 404
    clock.now += 0.03
    assert (await client.get(calls_path)).status_code == 200


async def test_a_request_that_takes_too_long_is_503(
    client: httpx.AsyncClient, streams_path: str, control: "MemoryCalls", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "REQUEST_TIME", 0.05)
    control.before_start = asyncio.Event().wait
    answer = await client.post(streams_path, json={"Url": URL})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_an_unexpected_error_is_one_log_line_and_a_plain_500(
    client: httpx.AsyncClient, streams_path: str, control: "MemoryCalls", app: ApiApplication
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("inside")

    control.before_start = fail
    with structlog.testing.capture_logs() as logs:
        answer = await client.post(streams_path, json={"Url": URL})
    assert answer.status_code == 500
    assert answer.json()["errors"] == [
        {"code": "10007", "title": "Unexpected error", "detail": "An unexpected error occurred."}
    ]
    # The effect may have taken place, so the SDKs must not repeat it by themselves.
    assert answer.headers["x-should-retry"] == "false"
    lines = [line for line in logs if line["log_level"] == "error"]
    assert [line["reason"] for line in lines] == ["ZeroDivisionError('inside')"]
    assert app.counters["failed"] == 1


async def test_health_metrics_and_key_need_no_key(anonymous: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await anonymous.get("/healthz")).json() == {"status": "ok"}
    key = Signer.load(tmp_path).public_key
    answer = (await anonymous.get("/v2/public_key")).json()
    assert answer == {"data": {"public": key, "accepted": [key], "next_from": None}}
    metrics = await anonymous.get("/metrics")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert metrics.text == "# HELP up 1\nup 1\n"


async def test_readiness_has_the_reason(anonymous: httpx.AsyncClient, not_ready: list[str]) -> None:
    assert (await anonymous.get("/readyz")).json() == {"ready": True, "reason": None}
    not_ready.append("no media worker")
    answer = await anonymous.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reason": "no media worker"})
    assert (await anonymous.get("/readyz/api")).json() == {"ready": True, "reason": None}, "it still answers requests"
    not_ready.append("starting")
    assert (await anonymous.get("/readyz/api")).status_code == 503


async def test_a_client_that_goes_away_in_the_middle_leaves_no_trace_but_a_count(
    client: httpx.AsyncClient, app: ApiApplication, streams_path: str
) -> None:
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    head = (
        f"POST {streams_path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY0123456789\r\nContent-Length: 9\r\n\r\n{{"
    )
    with structlog.testing.capture_logs() as logs, socket.create_connection((host, port)) as peer:
        peer.sendall(head.encode())
        peer.close()
        while app.counters["disconnected"] < 1:
            await client.get("/healthz")
    assert logs == []

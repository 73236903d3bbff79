"""The operations that the console needs: login, callbacks, routes."""

from typing import TYPE_CHECKING

import pytest

from api.conftest import CALL
from api.documented import check, validate
from trunkline.api.logins import TOKEN_LIFETIME
from trunkline.api.operation import Operation
from trunkline.errors import AuthenticationFailed, InvalidEnum, InvalidRequest, PermissionDenied, ResourceNotFound
from trunkline.faces.telnyx.operations.console import OPERATIONS, SCHEMAS
from trunkline.faces.telnyx.operations.streams import SCHEMAS as SCHEMAS_OF_STREAMS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask

CALLBACK = "0b1e3f4a-5f0e-4c39-8f7e-6d3c0e1a2b4c"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


async def test_streams_of_all_calls_are_listed_and_filtered(ask: "Ask") -> None:
    for name in ("tap", "bot", "tap"):
        await ask("StartTeXMLCallStreaming", {"Url": "wss://a.example/", "Name": name}, call_sid=CALL)
    _, first = await ask("ListStreams", None, "PageSize=1&Name=tap")
    validate(SCHEMAS_OF_STREAMS["StreamList"], first)
    assert [stream["name"] for stream in first["streams"]] == ["tap"]
    assert first["next_page_uri"] == "/v2/trunkline/streams?Name=tap&Page=1&PageSize=1"
    _, of_another = await ask("ListStreams", None, "CallSid=v3:none&Status=in-progress")
    assert of_another["streams"] == []
    with pytest.raises(InvalidEnum):
        await ask("ListStreams", None, "Status=over")


async def test_callbacks_are_listed_without_secrets(ask: "Ask") -> None:
    status, body = await ask("ListCallbacks")
    validate(SCHEMAS["CallbackList"], body)
    assert status == 200
    [found] = body["callbacks"]
    assert (found["id"], found["url"]) == (CALLBACK, "https://host/cb?…")
    assert found["form"] == {"CallStatus": "completed", "From": ""}
    assert (found["state"], found["tries"], found["last_status"]) == ("failed", 6, 500)


async def test_a_callback_is_redelivered_as_a_new_one(ask: "Ask") -> None:
    status, body = await ask("RedeliverCallback", callback_id=CALLBACK)
    validate(SCHEMAS["OneCallback"], body)
    assert (status, body["data"]["id"], body["data"]["state"]) == (201, "a new one", "pending")
    with pytest.raises(ResourceNotFound):
        await ask("RedeliverCallback", callback_id="another")


async def test_routes_are_shown(ask: "Ask") -> None:
    status, body = await ask("GetRoutes")
    validate(SCHEMAS["Routes"], body)
    assert status == 200
    assert body["data"]["trunks"][0]["targets"] == [{"target": "sip:192.0.2.1", "up": False}]


async def test_a_session_needs_a_token(ask: "Ask") -> None:
    with pytest.raises(InvalidRequest):
        await ask("CreateConsoleSession", {})
    with pytest.raises(AuthenticationFailed):
        await ask("CreateConsoleSession", {"token": "wrong"})


async def test_a_token_opens_a_session_once(ask: "Ask") -> None:
    with pytest.raises(PermissionDenied, match="The operator's key has no account to look at"):
        await ask("CreateConsoleToken", account_sid="")
    status, body = await ask("CreateConsoleToken")
    assert (status, body) == (201, {"data": {"token": "a token", "expires_in": round(TOKEN_LIFETIME)}})
    status, session = await ask("CreateConsoleSession", {"token": "a token"})
    validate(SCHEMAS["ConsoleSession"], session)
    assert status == 201
    with pytest.raises(AuthenticationFailed):
        await ask("CreateConsoleSession", {"token": "a token"})

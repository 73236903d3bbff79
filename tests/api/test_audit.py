"""The audit log of requests."""

from typing import TYPE_CHECKING

import httpx
from structlog.testing import capture_logs

from api.conftest import ACCOUNT, CALL, KEY, OPERATORS_KEY
from trunkline.control.accounts import AccountService

if TYPE_CHECKING:
    from api.conftest import MemoryCalls

CALL_BODY = {"To": "+15551234567", "From": "+15557654321", "Url": "http://app.example/"}


def _with(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def test_a_change_leaves_a_line_and_a_look_none(
    client: httpx.AsyncClient, accounts: AccountService, calls_path: str, control: "MemoryCalls"
) -> None:
    with capture_logs() as lines:
        await client.get(calls_path)
        await client.post(calls_path, json=CALL_BODY)
        await client.post(f"{calls_path}/{CALL}", json={"Status": "no such"})
    sid = accounts.keys(ACCOUNT)[0].sid
    by = {"key_name": "first", "key_sid": sid, "account_sid": ACCOUNT, "source": "127.0.0.1", "log_level": "info"}
    placed, refused = [line for line in lines if str(line["event"]).startswith("audit_")]
    [placed_sid] = [sid for sid in control.live if "placed" in sid]
    made = {"event": "audit_change_made", "operation": "InitiateTexmlCall", "status": 200, "call_sid": placed_sid}
    assert placed == made | by
    reason = "Status must be one of completed, canceled"
    failed = {"event": "audit_change_refused", "operation": "UpdateTexmlCall", "status": 422, "call_sid": CALL}
    assert refused == failed | by | {"reason": reason}


async def test_what_a_scope_forbids_and_what_an_operator_does_leave_lines(
    anonymous: httpx.AsyncClient, accounts: AccountService, calls_path: str
) -> None:
    new = await accounts.create_key(ACCOUNT, "looker", "read", None)
    with capture_logs() as lines:
        await anonymous.post(calls_path, json=CALL_BODY, headers=_with(new.secret))
        path = f"/v2/trunkline/accounts/{ACCOUNT}/keys"
        made = (await anonymous.post(path, json={"name": "ci"}, headers=_with(OPERATORS_KEY))).json()["data"]
        await anonymous.delete(f"{path}/{made['id']}", headers=_with(OPERATORS_KEY))
    found = [line for line in lines if str(line["event"]).startswith("audit_")]
    assert [(line["event"], line["status"], line["key_name"]) for line in found] == [
        ("audit_change_refused", 403, "looker"),
        ("audit_change_made", 201, "operator"),
        ("audit_change_made", 200, "operator"),
    ]
    assert [(line["account_sid"], line["key_id"], line["name"]) for line in found[1:]] == [
        (ACCOUNT, made["id"], "ci")
    ] * 2
    assert made["api_key"] not in str(lines)
    assert KEY not in str(lines)


async def test_a_number_is_masked_as_anywhere(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.delete("/v2/trunkline/callers/+15551234567")
    [line] = [line for line in lines if line["event"] == "audit_change_made"]
    assert line["caller"] == "+15551234567"  # a key that `log.mask_numbers` knows
    assert "number" not in line

"""The SIP messages of calls as events."""

import json
from datetime import UTC, datetime
from typing import Any

from trunkline.ids import AccountSid, CallSid
from trunkline.live.hub import Hub
from trunkline.live.ladder import MESSAGES, TEXT_LIMIT, Ladder
from trunkline.sip.trace import Mask, TracedCall, TracedMessage

ACCOUNT, CALL = AccountSid("one"), CallSid("v3:1")
NOW = datetime(2034, 1, 31, 12, tzinfo=UTC)
INVITE = b"INVITE sip:+1@host SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nAuthorization: Basic secret\r\n\r\n"


def published(*messages: tuple[int, bytes], account: AccountSid | None = ACCOUNT) -> list[dict[str, Any]]:
    hub = Hub("life", lambda *_: None)
    client, ladder = hub.connect(ACCOUNT, lambda: None), Ladder(hub, Mask())
    call = TracedCall("a", NOW, account, CALL)
    for number, data in messages:
        ladder.publish(call, TracedMessage(number, NOW, "received", data, "192.0.2.9:5060", "192.0.2.1:5060", "udp"))
    found: list[dict[str, Any]] = []
    while taken := client.take():
        found += map(json.loads, taken)
    return found


def test_a_message_is_an_event_without_secrets() -> None:
    [found] = published((1, INVITE))
    assert found == {
        "sequence": 1,
        "event": "sip-message",
        "occurred_at": "2034-01-31T12:00:00.000000Z",
        "call_sid": CALL,
        "number": 1,
        "direction": "received",
        "local": "192.0.2.9:5060",
        "peer": "192.0.2.1:5060",
        "transport": "udp",
        "summary": "INVITE sip:+1@host",
        "cseq": "1 INVITE",
        "text": INVITE.decode().replace("Basic secret", "(left out)"),
    }


def test_a_call_has_a_bounded_ladder_and_what_is_unclaimed_none() -> None:
    assert len(published((MESSAGES, INVITE), (MESSAGES + 1, INVITE))) == 1
    assert published((1, INVITE), account=None) == []


def test_a_long_message_is_cut() -> None:
    long = b"BYE sip:host SIP/2.0\r\n\r\n" + b"x" * TEXT_LIMIT
    [found] = published((1, long))
    assert (found["text"], found["cseq"]) == (long[:TEXT_LIMIT].decode(), "")

"""The SIP messages of calls as events."""

import json
from datetime import UTC, datetime
from typing import Any

from trunkline.ids import AccountSid, CallSid
from trunkline.live.hub import Hub
from trunkline.live.ladder import CALLS_KEPT, MESSAGES, TEXT_LIMIT, WAITING, WAITING_OF_ONE, Ladder, plain

ACCOUNT, CALL = AccountSid("one"), CallSid("v3:1")
NOW = datetime(2034, 1, 31, 12, tzinfo=UTC)


def message(start: str = "INVITE sip:+1@host SIP/2.0", call_id: str = "abc@host", more: str = "") -> bytes:
    return f"{start}\r\nVia: SIP/2.0/UDP host\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n{more}\r\n".encode()


class Bench:
    def __init__(self) -> None:
        hub = Hub("life", lambda *_: None)
        self.ladder = Ladder(hub)
        self._client = hub.connect(ACCOUNT, lambda: None)

    def see(self, data: bytes, direction: str = "received") -> None:
        self.ladder.seen(direction, data, "192.0.2.1:5060", "udp", NOW)

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while messages := self._client.take():
            found += map(json.loads, messages)
        return found


def test_messages_wait_for_the_name_of_their_call() -> None:
    bench = Bench()
    bench.see(message())
    bench.see(message("SIP/2.0 100 Trying"), "sent")
    bench.see(message(call_id="another"))
    assert bench.events() == []
    assert not bench.ladder.knows(CALL)
    bench.ladder.name("abc@host", ACCOUNT, CALL)
    assert bench.ladder.knows(CALL)
    bench.see(message("SIP/2.0 200 OK"), "sent")
    found = bench.events()
    assert [(one["direction"], one["summary"], one["number"]) for one in found] == [
        ("received", "INVITE sip:+1@host", 1),
        ("sent", "100 Trying", 2),
        ("sent", "200 OK", 3),
    ]
    assert found[0]["event"] == "sip-message"
    assert found[0]["call_sid"] == CALL
    assert found[0]["cseq"] == "1 INVITE"
    assert found[0]["occurred_at"] == "2034-01-31T12:00:00.000000Z"
    assert (found[0]["peer"], found[0]["transport"]) == ("192.0.2.1:5060", "udp")


def test_the_short_form_of_a_call_id_is_read_too() -> None:
    bench = Bench()
    bench.ladder.name("short", ACCOUNT, CALL)
    bench.see(b"BYE sip:host SIP/2.0\r\ni: short\r\n\r\n")
    [found] = bench.events()
    assert (found["summary"], found["cseq"]) == ("BYE sip:host", "")


def test_what_belongs_to_no_call_is_left_out() -> None:
    bench = Bench()
    for data in (b"", b"\xff\xfe", b"INVITE sip:host SIP/2.0\r\n\r\n"):
        bench.see(data)
    bench.see(message("REGISTER sip:host SIP/2.0"))
    bench.see(message("OPTIONS sip:host SIP/2.0"))
    bench.ladder.name("abc@host", ACCOUNT, CALL)
    assert bench.events() == []


def test_a_call_has_a_bounded_ladder() -> None:
    bench = Bench()
    bench.ladder.name("abc@host", ACCOUNT, CALL)
    for _ in range(MESSAGES + 5):
        bench.see(message())
    assert len(bench.events()) == MESSAGES


def test_messages_that_wait_are_bounded() -> None:
    bench = Bench()
    for number in range(WAITING_OF_ONE + 1):
        bench.see(message(f"INFO sip:{number}@host SIP/2.0"))
    bench.ladder.name("abc@host", ACCOUNT, CALL)
    assert bench.events()[0]["summary"] == "INFO sip:1@host"
    for number in range(WAITING + 1):
        bench.see(message(call_id=str(number)))
    bench.ladder.name("0", ACCOUNT, CallSid("v3:first"))
    assert bench.events() == [], "the oldest was dropped"
    bench.ladder.name("1", ACCOUNT, CallSid("v3:second"))
    assert len(bench.events()) == 1


def test_the_oldest_call_is_forgotten() -> None:
    bench = Bench()
    for number in range(CALLS_KEPT + 1):
        bench.ladder.name(str(number), ACCOUNT, CallSid(f"v3:{number}"))
    assert not bench.ladder.knows(CallSid("v3:0"))
    assert bench.ladder.knows(CallSid("v3:1"))


def test_credentials_and_media_keys_are_left_out() -> None:
    text = plain(
        b'INVITE sip:host SIP/2.0\r\nAuthorization: Digest username="a", response="secret"\r\n'
        b'proxy-authorization: Digest response="secret"\r\nWWW-Authenticate: Digest nonce="secret"\r\n\r\n'
        b"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\na=sendrecv\r\n"
    )
    assert "secret" not in text
    assert "Authorization: Digest (left out)\r\n" in text
    assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80 (left out)\r\na=sendrecv" in text


def test_a_long_message_is_cut() -> None:
    bench = Bench()
    bench.ladder.name("abc@host", ACCOUNT, CALL)
    long = message() + b"x" * TEXT_LIMIT
    bench.see(long)
    [found] = bench.events()
    assert found["text"] == long[:TEXT_LIMIT].decode()

"""The SIP messages of calls, kept and written for people."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from trunkline.config import TraceSettings
from trunkline.ids import AccountSid, CallSid
from trunkline.sip import trace as module
from trunkline.sip.trace import FIRST, OVERHEAD, Mask, SipTrace, TracedCall, TracedMessage, cseq, summary

ACCOUNT, OTHERS, CALL = AccountSid("one"), AccountSid("others"), CallSid("v3:1")
NOW = datetime(2034, 1, 31, 12, tzinfo=UTC)


def message(start: str = "INVITE sip:+1@host SIP/2.0", call_id: str = "abc@host", more: str = "") -> bytes:
    return f"{start}\r\nVia: SIP/2.0/UDP host\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n{more}\r\n".encode()


class Bench:
    def __init__(self, messages: int = 30, memory: float = 1) -> None:
        self.told: list[tuple[CallSid | None, int]] = []
        self.counters: Counter[str] = Counter()
        self.trace = SipTrace(TraceSettings(messages=messages, memory=memory), self.counters, self.tell)
        self.now = NOW

    def tell(self, call: TracedCall, message: TracedMessage) -> None:
        self.told.append((call.sid, message.number))

    def see(self, data: bytes, direction: str = "received") -> None:
        self.now += timedelta(seconds=1)
        self.trace.seen(direction, data, "192.0.2.9:5060", "192.0.2.1:5060", "udp", self.now)

    def call(self, number: int, account: AccountSid = ACCOUNT, data: bytes = b"") -> CallSid:
        """A call with one message, of these bytes."""
        sid = CallSid(f"v3:{number}")
        self.see(message(call_id=str(number)) + data)
        self.trace.name(str(number), account, sid)
        return sid

    def numbers(self, call: CallSid = CALL, account: AccountSid = ACCOUNT) -> list[int]:
        found = self.trace.of_call(account, call)
        return [] if found is None else [one.number for one in found.messages]


def test_messages_wait_for_the_name_of_their_call() -> None:
    bench = Bench()
    bench.see(invite := message())
    bench.see(trying := message("SIP/2.0 100 Trying"), "sent")
    bench.see(message(call_id="another"))
    assert (bench.told, bench.trace.knows(CALL)) == ([], False)
    bench.trace.name("abc@host", ACCOUNT, CALL)
    assert (bench.told, bench.trace.knows(CALL)) == ([(CALL, 1), (CALL, 2)], True)
    bench.see(message("SIP/2.0 200 OK"), "sent")
    assert bench.told[2:] == [(CALL, 3)]
    found = bench.trace.of_call(ACCOUNT, CALL)
    assert found is not None
    assert [(one.direction, one.data) for one in found.messages[:2]] == [("received", invite), ("sent", trying)]
    assert found.messages[0].data is invite, "it is not copied"
    assert (found.call_id, found.began, found.dropped) == ("abc@host", NOW + timedelta(seconds=1), 0)
    assert [one.call_id for one in bench.trace.unclaimed()] == ["another"]


def test_a_call_is_shown_to_its_account_alone() -> None:
    bench = Bench()
    sid = bench.call(1)
    assert bench.trace.of_call(OTHERS, sid) is None
    assert bench.trace.of_call(ACCOUNT, sid) is not None


def test_the_short_form_of_a_call_id_is_read_too() -> None:
    bench = Bench()
    bench.trace.name("short", ACCOUNT, CALL)
    bench.see(b"BYE sip:host SIP/2.0\r\ni: short\r\n\r\n")
    assert bench.numbers() == [1]


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"INVITE sip:host SIP/2.0\r\n\r\n", message("REGISTER sip:host SIP/2.0"),
             message("OPTIONS sip:host SIP/2.0"), message("SIP/2.0 200 OK"), message("ACK sip:host SIP/2.0")]
)  # fmt: skip
def test_only_an_invite_begins(data: bytes) -> None:
    bench = Bench()
    bench.see(data)
    assert bench.trace.unclaimed() == []


def test_a_call_keeps_its_setup_and_the_newest() -> None:
    bench = Bench(messages=30)
    bench.trace.name("abc@host", ACCOUNT, CALL)
    for _ in range(40):
        bench.see(message())
    assert bench.numbers() == [*range(1, FIRST + 1), *range(31, 41)]
    found = bench.trace.of_call(ACCOUNT, CALL)
    assert found is not None
    assert found.dropped == bench.counters["trace_dropped"] == 10
    assert found.size == 30 * (len(message()) + OVERHEAD)


def test_the_account_that_has_most_loses_its_oldest() -> None:
    bench = Bench(memory=1)
    quiet = bench.call(0, OTHERS)
    loud = [bench.call(number, ACCOUNT, b"x" * 200_000) for number in range(1, 6)]
    assert [bench.numbers(sid) for sid in loud] == [[], [1], [1], [1], [1]]
    assert bench.numbers(quiet, OTHERS) == [1]
    assert bench.counters["trace_dropped"] == 1
    bench.see(message("BYE sip:host SIP/2.0", "1"))
    assert bench.numbers(loud[0]) == [2], "what comes later is kept"


def test_refused_invites_drive_out_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(memory=1)
    sid = bench.call(0)
    for number in range(1, 9):
        bench.see(message(call_id=f"stranger-{number}") + b"x" * 60_000)
    assert [one.call_id for one in bench.trace.unclaimed()] == [f"stranger-{one}" for one in (8, 7, 6, 5)]
    assert bench.numbers(sid) == [1]
    monkeypatch.setattr(module, "UNCLAIMED_KEPT", 2)
    bench.see(message(call_id="last"))
    assert [one.call_id for one in bench.trace.unclaimed()] == ["last", "stranger-8"]
    bench.see(message("ACK sip:host SIP/2.0", "stranger-7"))
    assert len(bench.trace.unclaimed()) == 2, "of one that was dropped nothing is kept"


def test_the_oldest_call_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS_KEPT", 2)
    bench = Bench()
    calls = [bench.call(number) for number in range(3)]
    assert [bench.trace.knows(sid) for sid in calls] == [False, True, True]


def test_an_account_that_calls_itself_sees_both_ends_and_another_does_not() -> None:
    bench = Bench()
    first = bench.call(1)
    bench.trace.name("1", ACCOUNT, second := CallSid("v3:second"))
    bench.see(message("SIP/2.0 200 OK", "1"))
    assert bench.numbers(first) == bench.numbers(second) == [1, 2]
    bench.trace.name("1", OTHERS, third := CallSid("v3:third"))
    bench.see(message("BYE sip:host SIP/2.0", "1"))
    assert (bench.numbers(first), bench.numbers(third, OTHERS)) == ([1, 2], [1])
    bench.trace.forget([first, second, third])
    assert [bench.trace.knows(sid) for sid in (first, second, third)] == [False] * 3
    assert not bench.trace._sizes.total()


SECRETS = (
    b'INVITE sip:host SIP/2.0\r\nAuthorization: Digest username="a", nonce="seen", uri="u",\r\n response="secret"\r\n'
    b'proxy-authorization: Digest response=secret,qop=auth\r\nAuthorization: Basic secret\r\nX-Pin: secret\r\n'
    b" secret\r\n"
    b'Authentication-Info: rspauth="secret", nextnonce="seen"\r\nWWW-Authenticate: Digest nonce="seen"\r\n'
    b"Authorization: Digest response = \"secret\"\r\nX-Pin-Not: seen\r\n\r\n"
    b"v=0\r\nk=clear:secret\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret|2^20|1:4 FEC\r\na=sendrecv\r\n"
    b"a=key-mgmt:mikey secret\r\na=CRYPTO:2  AES_CM_128_HMAC_SHA1_32 inline:secret\r\n"
)  # fmt: skip


def test_passwords_and_media_keys_are_left_out_and_the_rest_is_not() -> None:
    text = Mask(["x-pin"])(SECRETS)
    assert "secret" not in text
    assert text.count("seen") == 4
    assert 'Authorization: Digest username="a", nonce="seen", uri="u",\r\n response="(left out)"\r\n' in text
    assert 'Digest response="(left out)",qop=auth\r\nAuthorization: (left out)\r\nX-Pin: (left out)\r\n' in text
    assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80 (left out)\r\na=sendrecv" in text
    assert "X-Pin: secret" in Mask()(SECRETS)


def test_what_a_message_is_in_words() -> None:
    assert summary("SIP/2.0 200 OK\r\nVia: x") == "200 OK"
    assert summary("INVITE sip:+1@host SIP/2.0\r\n") == "INVITE sip:+1@host"
    assert (cseq("A\r\nCSeq:  7  INVITE\r\n"), cseq("A\r\n")) == ("7 INVITE", "")

"""Judgements that need no socket; those of whole bots are in test_check.py."""

import pytest

from apps.test_trace import WORDS, heard
from trunkline.apps import judge
from trunkline.apps.items import Verdict
from trunkline.apps.judge import Interruption
from trunkline.apps.trace import Closed, Played, Received, Sent, Trace
from trunkline.streaming import messages
from trunkline.streaming.messages import Clear, Mark

INTERRUPTED = Interruption(1000, 3000, 0, 2000)


def trace_of(*texts: str) -> Trace:
    """A bot that sent these."""
    return Trace("PCMU", "PCMU", received=[Received(0.1, messages.decode(text.encode()), 0) for text in texts])


@pytest.mark.parametrize(
    ("text", "code", "advice"),
    [
        ('{"event": "Clear"}', "unknown_event", 'Did you mean "clear"?'),
        ('{"event": "playAudio"}', "unknown_event", "Audio is sent as"),
        ('{"event": "media"}', "malformed_message", "See docs/reference/websocket.md"),
        ('{"event": "media", "media": {"payload": 1}}', "malformed_message", "a member of a member"),
        ('{"event": "media", "media": {"payload": "_-"}}', "invalid_media", "standard alphabet"),
    ],
)
def test_a_message_that_is_refused_has_an_advice(text: str, code: str, advice: str) -> None:
    item = judge.messages(trace_of(text))
    assert item.code == code
    assert advice in item.advice


def test_what_is_only_accepted_is_apart_from_what_is_documented() -> None:
    assert judge.messages(trace_of('{"event": "mark", "mark": {"name": 7}}')).verdict is Verdict.ACCEPTED
    assert judge.messages(trace_of('{"event": "mark", "mark": {"name": "7"}}')).verdict is Verdict.OK
    assert judge.sizes(heard(bytes(80))).verdict is Verdict.ACCEPTED
    assert judge.sizes(heard(bytes(160), bytes(240_000))).verdict is Verdict.OK
    assert judge.sizes(heard(bytes(240_001))).verdict is Verdict.ACCEPTED


def test_an_error_that_was_answered_is_reported() -> None:
    trace = heard(bytes(160))
    trace.sent.append(Sent(0.2, "error", {"payload": {"code": 100005, "detail": "too much"}}))
    assert judge.messages(trace).code == "rate_limit"


@pytest.mark.parametrize(("at", "code"), [(1.4, ""), (3.2, "late_clear")])
def test_a_clear_is_measured_from_the_first_word(at: float, code: str) -> None:
    trace = Trace("PCMU", "PCMU", received=[Received(0.5, Clear(), 0), Received(at, Clear(), 0)])
    assert judge.clear_after(trace, INTERRUPTED) == pytest.approx(at * 1000 - 1000)
    assert judge.barge_in(trace, INTERRUPTED).code == code


def test_a_bot_that_falls_silent_without_clear_is_fine() -> None:
    trace = Trace("PCMU", "PCMU", played=[Played(at, b"", at < 1500) for at in range(0, 3000, 20)])
    assert judge.barge_in(trace, INTERRUPTED).verdict is Verdict.OK
    trace.played = [Played(at, b"", True) for at in range(0, 3000, 20)]
    assert judge.barge_in(trace, INTERRUPTED).code == "no_clear"


def test_a_bot_that_takes_audio_for_heard_when_it_is_sent_ignores_marks() -> None:
    trace = heard(b"".join(WORDS) * 3, queued_ms=1000, marks_pending=1)
    trace.received.append(Received(0.1, Mark(b'"end"'), 0))
    assert judge.marks(trace, None).verdict is Verdict.OK
    trace.closed = Closed(0.2, 1000, "", True)
    assert judge.marks(trace, None).code == "marks_ignored"


@pytest.mark.parametrize(
    ("closed", "closing", "code"),
    [
        (Closed(1, 1000, "", True), None, ""),
        (Closed(1, 1005, "", True), None, ""),
        (Closed(1, 1011, "", True), None, "early_close"),
        (Closed(1, None, "", True), None, "early_close"),
        (Closed(1, 1000, "", False), 0.1, ""),
        (Closed(1, 1000, "", False), None, "late_close"),
        (None, None, "late_close"),
    ],
)
def test_the_end_of_a_socket_is_judged(closed: Closed | None, closing: float | None, code: str) -> None:
    trace = heard(bytes(160))
    trace.closed, trace.closing = closed, closing
    assert judge.close(trace).code == code


def test_a_close_before_any_audio_is_early() -> None:
    trace = Trace("PCMU", "PCMU", closed=Closed(1, 1000, "", True))
    assert judge.close(trace).verdict is Verdict.VIOLATION


@pytest.mark.parametrize(
    ("pings", "dropped", "code"),
    [([(0, 0.01)], 0, ""), ([(0, 1.5)], 0, "slow_reader"), ([(0, 0.01)], 3, "slow_reader")],
)
def test_a_bot_that_is_behind_does_not_read(pings: list[tuple[float, float | None]], dropped: int, code: str) -> None:
    assert judge.reading(Trace("PCMU", "PCMU", pings=pings, dropped=dropped)).code == code


@pytest.mark.parametrize(
    ("every", "size", "code"),
    [(0.02, 480, "wrong_sample_rate"), (0.02, 160, ""), (0.001, 4000, ""), (0.02, 200, "")],
)
def test_only_a_steady_pace_of_another_rate_is_one(every: float, size: int, code: str) -> None:
    frame = WORDS[8][:160].ljust(size, WORDS[8][:1])
    assert judge.audio(heard(*[frame] * 100, every=every)).code == code


def test_half_the_speed_breaks_up() -> None:
    trace = heard(*[bytes(160)] * 100, every=0.04, underruns=20)
    assert judge.pace(trace).code == "late_audio"
    assert judge.pace(heard(*[bytes(160)] * 100)).code == ""
    assert judge.pace(heard(bytes(24_000))).verdict is Verdict.OK


def test_a_bot_that_refuses_the_second_socket_is_named() -> None:
    assert judge.reconnected(None, "connection refused").code == "no_reconnect"
    assert judge.reconnected(Trace("PCMU", "PCMU", closed=Closed(0.1, 1013, "", True)), "").code == "no_reconnect"
    assert judge.reconnected(Trace("PCMU", "PCMU"), "").verdict is Verdict.OK


def test_a_bot_that_closes_at_what_it_does_not_know_is_named() -> None:
    trace = Trace("PCMU", "PCMU", closed=Closed(2.0, 1011, "", True))
    assert judge.survived("keys", trace, "a key", 1.9).code == "keys_closes"
    assert judge.survived("keys", trace, "a key", 2.1).code == ""
    assert judge.survived("keys", trace, "a key", None).verdict is Verdict.SKIPPED

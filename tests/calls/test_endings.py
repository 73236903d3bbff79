"""How calls end: each row's status, words, code, source and SIP status."""

import pytest

from trunkline.calls.endings import (
    CANCELED,
    NO_ANSWER,
    PEER_ENDS,
    TIME_LIMIT,
    UNREACHABLE,
    Ending,
    broken,
    hung_up,
    refusal_of,
    rejection,
)


@pytest.mark.parametrize(
    ("how", "peer", "detail", "ending"),
    [
        ("bye", "caller", "", Ending("completed", "caller hung up", "normal_clearing", "caller")),
        ("bye", "callee", "", Ending("completed", "callee hung up", "normal_clearing", "callee")),
        ("bye", "ann", "", Ending("completed", "ann hung up", "normal_clearing", "callee")),
        (
            *("cancel", "caller", "Q.850"),
            Ending("canceled", "caller gave up before the answer (Q.850)", "originator_cancel", "caller"),
        ),
        ("no-ack", "caller", "", Ending("failed", "our answer was never confirmed", "unspecified", "system")),
        ("error", "callee", "x", Ending("failed", "signalling failed (x)", "unspecified", "system")),
    ],
)
def test_how_a_peer_ends_a_call(how: str, peer: str, detail: str, ending: Ending) -> None:
    assert PEER_ENDS[how].by(peer, detail) == ending


def test_every_way_of_a_peer_has_a_row() -> None:
    assert set(PEER_ENDS) == {"bye", "cancel", "no-ack", "error"}


def test_our_own_ends() -> None:
    assert Ending("canceled", "cancelled before the answer", "originator_cancel", "system", None) == CANCELED
    assert Ending("no-answer", "not answered in time", "timeout", "system", None) == NO_ANSWER
    assert Ending("completed", "the call reached its time limit", "time_limit", "system", None) == TIME_LIMIT
    unreachable = "not connected: the callee is unreachable: no response at all"
    assert Ending("failed", unreachable, "unreachable", "system", None) == UNREACHABLE
    assert hung_up("over") == Ending("completed", "over", "normal_clearing", "system", None)
    assert hung_up("over", "canceled", "caller") == Ending("canceled", "over", "normal_clearing", "caller", None)
    assert broken("no port") == Ending("failed", "no port", "unspecified", "system", None)
    assert broken("no codec", 488) == Ending("failed", "no codec", "unspecified", "system", 488)


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [
        (486, "busy", "user_busy"),
        (600, "busy", "user_busy"),
        (603, "failed", "call_rejected"),
        (485, "failed", "call_rejected"),
        (487, "failed", "call_rejected"),
    ],
)
def test_an_inbound_call_that_we_refuse(status: int, shown: str, code: str) -> None:
    found = rejection(status, "busy bee")
    assert (found.status, found.code, found.source, found.sip_status) == (shown, code, "system", status)
    assert found.cause == "refused: busy bee"


@pytest.mark.parametrize(
    ("status", "shown", "code", "source"),
    [
        (400, "failed", "unspecified", "callee"),
        (401, "failed", "call_rejected", "callee"),
        (403, "failed", "call_rejected", "callee"),
        (404, "failed", "not_found", "callee"),
        (407, "failed", "call_rejected", "callee"),
        (408, "no-answer", "timeout", "system"),
        (480, "no-answer", "timeout", "callee"),
        (484, "failed", "not_found", "callee"),
        (486, "busy", "user_busy", "callee"),
        (487, "canceled", "originator_cancel", "callee"),
        (488, "failed", "unspecified", "callee"),
        (500, "failed", "unspecified", "callee"),
        (502, "failed", "unspecified", "system"),
        (503, "failed", "unspecified", "system"),
        (504, "failed", "unspecified", "system"),
        (600, "busy", "user_busy", "callee"),
        (603, "busy", "call_rejected", "callee"),
        (604, "failed", "not_found", "callee"),
    ],
)
def test_an_outbound_call_that_is_refused(status: int, shown: str, code: str, source: str) -> None:
    found = refusal_of(status, "Reason", "")
    assert (found.status, found.code, found.source, found.sip_status) == (shown, code, source, status)
    assert found.cause == f"not connected: {status} Reason"
    assert refusal_of(status, "Reason", "why").cause == f"not connected: {status} Reason (why)"


def test_without_a_response_it_is_no_refusal() -> None:
    assert refusal_of(408, "Request Timeout", "", responded=False) == Ending(
        "no-answer", "not connected: Request Timeout", "timeout", "system", None
    )
    assert refusal_of(503, "Service Unavailable", "no route to host", responded=False) == Ending(
        "failed", "not connected: no route to host", "unspecified", "system", None
    )

"""Whatever the responses to our call, nothing raises, the application gets at most one end, and nothing is left
behind: a bounded number of made-up dialogues of sound, strange and broken responses."""

import contextlib

import hypothesis
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.bench import ANSWER, EMPTY, OFFER, Bench, HandClock, response
from sip.test_uac import FIRST, SECOND
from trunkline.sip.message.validation import Discard, SipResponse, parse, validate
from trunkline.sip.values import Credentials, DialogEnded, EndDialog, InviteAccepted, InviteRefused, SendInvite

STATUSES = ("100", "180", "183", "199", "200", "202", "299", "300", "302", "380", "401", "407", "408", "422", "481")
MORE_STATUSES = ("486", "487", "491", "503", "600", "699")
HEADERS = (
    "Contact: <sip:bob@192.0.2.10:5062>",
    "Contact: *",
    "Contact: <sip:a@b>, <sip:c@d>;q=0.5, <tel:1>, <<>;q=x",
    "Contact: <sip:e@192.0.2.9>;q=9e999",
    "Contact: <sip:f@192.0.2.9>;q=nan",
    "Record-Route: <sip:192.0.2.1;lr>, <sip:p.example.com>",
    "Record-Route: <tel:1>",
    "Require: 100rel",
    "RSeq: 1",
    "RSeq: 2",
    "RSeq: \u0663",
    "RSeq: 99999999999999999999",
    "Session-Expires: 90;refresher=uac",
    "Session-Expires: 1;refresher=uas",
    "Session-Expires: 999999999",
    "Min-SE: 2000",
    "Min-SE: -1",
    'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"',
    'WWW-Authenticate: Digest realm="r", nonce="n2", stale=true, algorithm=SHA-256',
    'Proxy-Authenticate: Digest realm="p", nonce="\u00fc\\""',
    "WWW-Authenticate: Digest realm=,nonce",
    "Allow: UPDATE",
    "Reason: \x01\x02;text=\u20ac",
    "Warning: 399",
    "Content-Type: text/plain",
    "Content-Type: multipart/mixed",
    "Content-Length: 5",
)


@st.composite
def responses(draw: st.DrawFn) -> tuple[int, str, str, str, tuple[str, ...], bytes]:
    """Which of our requests is answered, how, and the bytes that are put somewhere into it."""
    return (
        draw(st.integers(0, 20)),
        draw(st.sampled_from(STATUSES + MORE_STATUSES)) + draw(st.sampled_from(("", " OK", " \u20ac"))),
        draw(st.sampled_from(("", "one", "two", "three", '"', "a b"))),
        draw(st.sampled_from(("", ANSWER, "v=0", "\x00" * 9))),
        tuple(draw(st.lists(st.sampled_from(HEADERS), max_size=4))),
        draw(st.sampled_from((b"", b"", b"", b"\xff", b"\r\n", b";", b'"', b"<", b"\x00"))),
    )


@given(
    st.lists(st.tuples(responses(), st.floats(0, 1), st.sampled_from((0.0, 0.0, 0.3, 6.0, 100.0)))), st.integers(0, 20)
)
@settings(max_examples=80, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_any_responses_end_a_call_at_most_once(
    steps: list[tuple[tuple[int, str, str, str, tuple[str, ...], bytes], float, float]], hang_up_at: int
) -> None:
    clock = HandClock()
    bench = Bench(clock)
    bench.targets = [FIRST, SECOND]
    number = bench.dialogs.new_dialog()
    credentials = Credentials("ann", "secret")
    bench.perform(SendInvite(number, "trunk", "t", "", "ann", "", OFFER, (), credentials))
    for step, ((which, status, tag, body, headers, noise), where, seconds) in enumerate(steps):
        if step == hang_up_at:
            bench.perform(EndDialog(number))
        ours = [text for text, _ in bench.wire.sent if not text.startswith(("ACK ", "SIP/2.0 "))]
        data = response(ours[-1 - which % len(ours)], status, tag, body, headers)
        at = int(where * len(data))
        receive(bench, data[:at] + noise + data[at:])
        clock.advance(seconds)
    ends = [event for event in bench.events if isinstance(event, InviteRefused | DialogEnded)]
    assert len(ends) <= 1
    assert sum(isinstance(event, InviteAccepted) for event in bench.events) <= 1
    assert not ends or bench.events[-1] is ends[0]
    bench.perform(EndDialog(number))
    clock.advance(200)
    assert bench.dialogs.sizes == EMPTY


def receive(bench: Bench, data: bytes) -> None:
    """What the endpoint does with a response, or with what was one."""
    try:
        message = parse(data, stream=False)
        validate(message, stream=False)
    except Discard:
        return
    if isinstance(message, SipResponse):
        with contextlib.suppress(Discard):
            bench.dialogs.receive_response(message, bench.clock.now)
        bench.clock.drain()

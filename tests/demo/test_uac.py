"""The caller's SIP, driven by hand: each datagram, each timer."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.demo.uac import UacState, UserAgentClient, audio_offer, media_address, parse

SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n"


def client() -> UserAgentClient:
    return UserAgentClient(
        local=("127.0.0.1", 4000),
        target=("127.0.0.1", 5060),
        caller="alice",
        called="bob",
        offer=audio_offer(("127.0.0.1", 4002)),
        token="t0",
    )


def response(status: str, method: str, cseq: int, body: str = "", headers: Sequence[str] = ()) -> bytes:
    lines = [
        f"SIP/2.0 {status}",
        "f: <sip:alice@127.0.0.1>;tag=t0",
        "To: <sip:bob@127.0.0.1>;tag=them",
        "Call-ID: t0@127.0.0.1",
        f"CSeq: {cseq} {method}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def accept(uac: UserAgentClient) -> list[bytes]:
    """Answer the INVITE; returns what the caller sends then."""
    uac.to_send()
    contact = "Contact: <sip:server@127.0.0.1:5070>"
    uac.receive(response("200 OK", "INVITE", 1, SDP, [contact, "X-Trunkline-Call-Sid: v3:abc"]), 0)
    return uac.to_send()


def methods(datagrams: list[bytes]) -> list[str]:
    return [datagram.split(b" ")[0].decode() for datagram in datagrams]


def test_an_accepted_invite_is_acknowledged_at_the_contact_of_the_200() -> None:
    uac = client()
    uac.invite(0)
    (ack,) = accept(uac)
    assert uac.state is UacState.UP
    message = parse(ack)
    assert message is not None
    assert message.start == "ACK sip:server@127.0.0.1:5070 SIP/2.0"
    assert message.header("to") == "<sip:bob@127.0.0.1>;tag=them"
    assert message.header("cseq") == "1 ACK"
    assert uac.answer is not None
    assert uac.answer.header("x-trunkline-call-sid") == "v3:abc"
    assert media_address(uac.answer.body) == ("192.0.2.9", 20000)


def test_a_repeated_200_is_acknowledged_again() -> None:
    uac = client()
    uac.invite(0)
    assert accept(uac) == accept(uac)


def test_an_unanswered_invite_is_repeated_at_doubling_distances_and_given_up() -> None:
    uac = client()
    uac.invite(100)
    first = uac.to_send()
    times = []
    while (due := uac.next_timer()) is not None:
        uac.handle_timer(due)
        if sent := uac.to_send():
            assert sent == first
            times.append(due - 100)
    assert times == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert uac.state is UacState.ENDED
    assert "no answer" in uac.failure


def test_a_provisional_response_stops_the_repetition() -> None:
    uac = client()
    uac.invite(0)
    uac.receive(response("100 Trying", "INVITE", 1), 0.1)
    assert uac.state is UacState.PROCEEDING
    assert uac.next_timer() is None


def test_a_refusal_is_acknowledged_in_the_invites_transaction_and_named() -> None:
    uac = client()
    uac.invite(0)
    invite = parse(uac.to_send()[0])
    uac.receive(response("488 Not Acceptable Here", "INVITE", 1), 0)
    (sent,) = uac.to_send()
    ack = parse(sent)
    assert invite is not None
    assert ack is not None
    assert ack.method == "ACK"
    assert ack.header("via") == invite.header("via")
    assert (uac.state, uac.failure) == (UacState.ENDED, "488 Not Acceptable Here")


def test_hanging_up_sends_bye_until_it_is_answered() -> None:
    uac = client()
    uac.invite(0)
    accept(uac)
    uac.hang_up(10)
    assert methods(uac.to_send()) == ["BYE"]
    uac.handle_timer(10.5)
    assert methods(uac.to_send()) == ["BYE"]
    uac.receive(response("200 OK", "BYE", 2), 10.6)
    assert uac.state is UacState.ENDED
    assert not uac.ended_by_peer
    assert uac.next_timer() is None


def test_the_servers_bye_is_answered_and_ends_the_call() -> None:
    uac = client()
    uac.invite(0)
    accept(uac)
    uac.receive(
        b"BYE sip:demo@127.0.0.1:4000 SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx\r\n"
        b"Call-ID: t0@127.0.0.1\r\nCSeq: 7 BYE\r\nFrom: <sip:bob>;tag=them\r\nTo: <sip:alice>;tag=t0\r\n\r\n",
        5,
    )
    (sent,) = uac.to_send()
    answer = parse(sent)
    assert answer is not None
    assert answer.status == 200
    assert answer.header("cseq") == "7 BYE"
    assert answer.header("via").endswith("branch=z9hG4bKx")
    assert (uac.state, uac.ended_by_peer) == (UacState.ENDED, True)


@pytest.mark.parametrize(
    ("method", "call_id", "status"),
    [("OPTIONS", "other", 200), ("INFO", "t0@127.0.0.1", 501), ("BYE", "other", 481), ("ACK", "t0@127.0.0.1", None)],
)
def test_other_requests_get_their_plain_answer(method: str, call_id: str, status: int | None) -> None:
    uac = client()
    uac.invite(0)
    accept(uac)
    uac.receive(f"{method} sip:demo SIP/2.0\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\r\n".encode(), 1)
    answers = [parse(datagram) for datagram in uac.to_send()]
    assert [answer.status for answer in answers if answer] == ([] if status is None else [status])
    assert uac.state is UacState.UP


def test_responses_to_another_call_are_ignored() -> None:
    uac = client()
    uac.invite(0)
    uac.to_send()
    uac.receive(response("200 OK", "INVITE", 1, SDP).replace(b"t0@127", b"zz@127"), 0)
    assert uac.state is UacState.CALLING
    assert uac.to_send() == []


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: f"SIP/2.0 {text}\r\n\r\n".encode()))
def test_no_datagram_breaks_it(datagram: bytes) -> None:
    uac = client()
    uac.invite(0)
    uac.to_send()
    uac.receive(datagram, 1)
    assert uac.state is UacState.CALLING


def test_an_sdp_without_audio_has_no_media_address() -> None:
    assert media_address("v=0\r\nc=IN IP4 192.0.2.1\r\nm=video 4000 RTP/AVP 96\r\n") is None

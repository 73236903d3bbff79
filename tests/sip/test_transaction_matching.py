"""Which messages belong to one transaction."""

import pytest

from sip.bench import OFFER, Caller
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.validation import SipRequest, parse
from trunkline.sip.transaction_matching import ack_key, same_address, server_key


def request(data: bytes) -> SipRequest:
    made = parse(data, stream=False)
    assert isinstance(made, SipRequest)
    return made


def test_the_ack_to_a_failure_and_the_cancel_match_their_invite() -> None:
    caller = Caller()
    invite = request(caller.request("INVITE", OFFER))
    assert server_key(request(caller.request("ACK", new=False))) == server_key(invite)
    cancel = request(caller.request("CANCEL", new=False))
    assert server_key(cancel) != server_key(invite)
    assert server_key(cancel, "INVITE") == server_key(invite)


def test_the_ack_to_a_success_matches_by_call_id_tag_and_number() -> None:
    caller = Caller()
    invite = request(caller.request("INVITE", OFFER))
    ack = request(caller.request("ACK"))
    assert server_key(ack) != server_key(invite)
    assert ack_key(ack) == ack_key(invite)
    assert ack_key(request(Caller(call_id="other").request("ACK"))) != ack_key(invite)


@pytest.mark.parametrize("other", [Caller(call_id="c2"), Caller(from_tag="f2"), Caller(cseq=1)])
def test_a_branch_that_is_used_twice_makes_two_transactions(other: Caller) -> None:
    first, second = (request(caller.request("OPTIONS")) for caller in (Caller(), other))
    assert first.via.params["branch"] == second.via.params["branch"]
    assert server_key(first) != server_key(second)


def test_a_branch_matches_in_any_case_and_an_rfc_2543_request_by_its_via() -> None:
    data = Caller().request("OPTIONS")
    assert server_key(request(data.replace(b"z9hG4bK1", b"Z9HG4BK1"))) == server_key(request(data))
    old = data.replace(b"z9hG4bK1", b"1")
    assert server_key(request(old)) == server_key(request(old))
    assert server_key(request(old)) != server_key(request(old.replace(b"5062;rport", b"5063;rport")))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.1", 5060), True),
        (Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.1", 5061), False),
        (Endpoint("[2001:DB8:0::1]", 5060), Endpoint("2001:db8::1", 5060), True),
        (Endpoint("Example.com", 5060), Endpoint("example.COM", 5060), True),
        (Endpoint("example.com", 5060), Endpoint("192.0.2.1", 5060), False),
    ],
)
def test_addresses_match_in_any_spelling(one: Endpoint, other: Endpoint, same: bool) -> None:
    assert same_address(one, other) is same

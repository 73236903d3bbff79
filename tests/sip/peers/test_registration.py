"""How long a registration with a trunk lasts, however the registrar or a proxy rewrites our contact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.bench import Bench, header, response
from sip.peers.test_trunks import ACCOUNT, Carrier
from trunkline.sip.message.validation import SipResponse, parse
from trunkline.sip.peers.registration import granted

EXPIRES_MAX = 86_400
REFRESH_AT = 0.8

OURS = "sip:me@198.51.100.7:5060"
SEEN = "sip:me@203.0.113.9:31022"
"""Our contact as a registrar behind our NAT rewrites it, which has seen us there."""
OTHER = "<sip:me@192.0.2.99:5066>;expires=3000"
ASKED = 3600


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # Our contact unchanged, with each form of its expiry.
        ((f"Contact: <{OURS}>;expires=58",), 58),
        ((f"Contact: <{OURS}>;expires=58", "Expires: 3600"), 58),
        ((f"Contact: <{OURS}>", "Expires: 58"), 58),
        ((f"m: {OURS};q=0.5;EXPIRES=58",), 58),
        ((f'Contact: "me, ;expires" <{OURS}> ; Expires = "58" ;+sip.instance="<urn:uuid:1>"',), 58),
        ((f"Contact: <{OURS};expires=58>",), 58),
        ((f"Contact: <{OURS}>;expires=58.0;x",), 58),
        ((f"Contact: <{OURS}>;expires=3000;expires=58",), 58),
        # Its address, port and parameters changed.
        (("Contact: <sip:me@198.51.100.7>;expires=58", f"Contact: {OTHER}"), 58),
        (("Contact: <SIP:me@198.51.100.7:5060;ob;transport=UDP>;expires=58", f"Contact: {OTHER}"), 58),
        ((f"Contact: <{SEEN}>;expires=58", "Contact: <sip:me@192.0.2.99>;expires=20"), 58),
        (("Contact: <sip:me@10.0.0.1:12345;rinstance=x>;expires=58",), 58),
        (('Contact: <sip:me@sbc.example.com>;expires=58;received="sip:x"', f"Contact: {OTHER}"), 58),
        (("Contact: <sip:gw+me@192.0.2.1:5090>;expires=58", f"Contact: {OTHER}"), 58),
        (("Contact: <tel:+15550001>;expires=58", f"Contact: {OTHER}"), 58),
        (('Contact: "me <sip:me@192.0.2.1>;expires=58', f"Contact: {OTHER}"), 58),
        # Other contacts beside it.
        ((f"Contact: {OTHER}, <{OURS}>;expires=58, <sip:me@192.0.2.98>;expires=9",), 58),
        ((f"Contact: {OTHER}", f"Contact: <{OURS}>;expires=300", "Contact: <sip:you@192.0.2.98>;expires=9"), 300),
        ((f"Contact: <{OURS}>;expires=300, <sip:me@192.0.2.99>;expires=0",), 300),
        (("Contact: <sip:me@192.0.2.98>;expires=58, <sip:me@192.0.2.99>;expires=0",), 58),
        # No expiry, or a malformed one: any other one, then the one that we asked for.
        ((f"Contact: <{OURS}>;expires=soon", "Expires: 58"), 58),
        ((f"Contact: <{OURS}>;expires=-1", f"Contact: {OTHER}"), 3000),
        ((f"Contact: <{OURS}>", "Contact: <sip:me@192.0.2.98>;expires=58"), 58),
        ((f"Contact: {OTHER}", "Expires: 58"), 58),
        (("Contact: <sip:me@192.0.2.98>;expires=20", "Expires: 58"), 20),
        (("Contact: *", "Expires: 58"), 58),
        (("Expires: 58",), 58),
        (("Expires: soon",), ASKED),
        (("Contact: <>", "Expires:"), ASKED),
        ((), ASKED),
        # Never longer than we asked for.
        ((f"Contact: <{OURS}>;expires=7200",), ASKED),
        ((f"Contact: <{OURS}>;expires=4294967295",), ASKED),
        ((f"Contact: <{OURS}>;expires={'9' * 3000}",), ASKED),
        ((f"Contact: <{OURS}>;expires={'0' * 30}58",), 58),
        ((f"Contact: <{OURS}>;expires=0", f"Contact: {OTHER}"), 0),
        (("Contact: <sip:me@192.0.2.98>;expires=0",), 0),
    ],
)
def test_the_expiry_of_our_contact_counts_or_the_shortest(bench: Bench, headers: tuple[str, ...], seconds: int) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    headers = (*headers, *(() if any(line.startswith(("Contact", "m:")) for line in headers) else ("Contact: <>",)))
    (register,) = carrier.take()
    text = register.replace(";rport;", ";rport=31022;received=203.0.113.9;")
    assert text != register
    bench.receive(response(text, headers=headers).replace(b"Contact: <>\r\n", b""))
    if not seconds:
        assert carrier.changes == [("registration_failed", "carrier", "192.0.2.1:5060: registered for 0 seconds")]
        return
    bench.clock.advance(seconds * REFRESH_AT - 0.1)
    assert carrier.take() == []
    bench.clock.advance(0.2)
    assert carrier.one().startswith("REGISTER ")


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("sip:me@198.51.100.7:5060", "sip:me@198.51.100.7", True),
        ("sip:me@198.51.100.7:5060", "sip:me@198.51.100.7;transport=tcp", True),
        ("sip:me@198.51.100.7:5060", "sip:me@198.51.100.7;transport=tls", False),
        ("sip:me@198.51.100.7:5061;transport=tls", "sip:me@198.51.100.7;transport=tls", True),
        ("sip:me@198.51.100.7:5061;transport=tls", "sips:me@198.51.100.7", True),
        ("sip:me@198.51.100.7:5061;transport=tls", "sip:me@198.51.100.7", False),
        ("sip:me@198.51.100.7:5061;transport=tls", "sip:me@198.51.100.7:5061", True),
    ],
)
def test_a_contact_without_a_port_has_the_default_port_of_its_transport(ours: str, theirs: str, same: bool) -> None:
    via = "Via: SIP/2.0/TLS 198.51.100.7;branch=z9hG4bK1"
    text = f"SIP/2.0 200 OK\r\n{via}\r\nContact: <{theirs}>;expires=58, <sip:me@192.0.2.99>;expires=20\r\n\r\n"
    message = parse(text.encode(), stream=False)
    assert isinstance(message, SipResponse)
    assert granted(message, ours, ASKED) == (58 if same else 20)


@pytest.mark.parametrize(
    ("seconds", "taken"), [(ASKED, False), (ASKED + 1, True), (EXPIRES_MAX, True), (EXPIRES_MAX + 1, False)]
)
def test_a_longer_time_is_taken_from_the_registrar_up_to_a_day(bench: Bench, seconds: int, taken: bool) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    bench.answer(carrier.one(), "423 Interval Too Brief", headers=(f"Min-Expires: {seconds}",))
    assert [header(text, "Expires") for text in carrier.take()] == [str(seconds)] * taken
    assert [change for change, *_ in carrier.changes] == ["registration_failed"] * (not taken)


@pytest.mark.parametrize("seconds", [1, 2, 5, 6])
def test_a_registration_for_seconds_does_not_lapse(bench: Bench, seconds: int) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    bench.answer(carrier.one(), headers=(f"Contact: <{OURS}>;expires={seconds}",))
    bench.clock.advance(seconds)
    assert len(set(carrier.take())) == 1


CONTACTS = st.lists(
    st.tuples(
        st.sampled_from((OURS, SEEN, "sip:me@192.0.2.99", "sip:x@y", "<", 'a"b', "*", "tel:1")),
        st.sampled_from(("", ";expires=58", ';expires="9"', ";expires=", ";expires=-1", ";Expires=99999999999", ";q")),
    ).map(lambda pair: f"Contact: <{pair[0]}>{pair[1]}"),
    max_size=4,
)


@given(CONTACTS, st.sampled_from(("", "58", "0", "-1", "\u0663", "4294967296")), st.integers(1, EXPIRES_MAX))
def test_any_contacts_give_an_expiry_of_the_registrar_or_of_our_request(
    contacts: list[str], expires: str, asked: int
) -> None:
    via = "Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1;received=203.0.113.9;rport=31022"
    text = "\r\n".join(["SIP/2.0 200 OK", via, f"Expires: {expires}", *contacts, "", ""])
    message = parse(text.encode(), stream=False)
    assert isinstance(message, SipResponse)
    assert granted(message, OURS, asked) in {asked, *(seconds for seconds in (0, 9, 58) if seconds < asked)}

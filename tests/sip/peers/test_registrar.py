"""Contacts of phones: kept, replaced, removed, bounded."""

import pytest

from sip.bench import Wire, message
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.validation import Headers, Rejection, SipRequest, validate
from trunkline.sip.peers.registrar import Registrar

CONTACT_LIMIT = 10

SOURCE = Endpoint("203.0.113.9", 40000)


class Phone:
    """Registers `ann`."""

    def __init__(self, transport: str = "udp") -> None:
        self.registrar = Registrar(60, 3600)
        self.wire = Wire(transport)
        self.cseq = 0

    def register(
        self, *headers: str, now: float = 0, call_id: str = "c", cseq: int | None = None, via: str = ""
    ) -> Headers:
        self.cseq += 1
        lines = [
            "REGISTER sip:198.51.100.7 SIP/2.0",
            f"Via: SIP/2.0/UDP 10.0.0.2:5062;branch=z9hG4bK1{via}",
            "From: <sip:ann@198.51.100.7>;tag=1",
            "To: <sip:ann@198.51.100.7>",
            f"Call-ID: {call_id}",
            f"CSeq: {self.cseq if cseq is None else cseq} REGISTER",
            *headers,
        ]
        request = message("\n".join(lines))
        assert isinstance(request, SipRequest)
        validate(request, stream=False)
        return self.registrar.register("ann", request, SOURCE, self.wire, now)

    def uris(self, now: float = 0) -> list[str]:
        return [binding.uri for binding in self.registrar.bindings("ann", now)]


def test_contacts_are_kept_until_they_expire_the_newest_first() -> None:
    phone = Phone()
    phone.register("Contact: <sip:ann@10.0.0.2:5062>;expires=100")
    headers = phone.register("Contact: <sip:ann@10.0.0.3>", "Expires: 200", now=10)
    assert headers == (
        ("Contact", "<sip:ann@10.0.0.3>;expires=200"),
        ("Contact", "<sip:ann@10.0.0.2:5062>;expires=90"),
    )
    assert phone.uris(100) == ["sip:ann@10.0.0.3"]
    assert phone.uris(210) == []
    assert len(phone.registrar) == 0


def test_a_phone_is_at_the_address_that_it_registered_from_until_it_expires() -> None:
    phone = Phone()
    assert not phone.registrar.is_at(SOURCE, 0)
    phone.register("Contact: <sip:ann@10.0.0.2:5062>;expires=100")
    assert phone.registrar.is_at(SOURCE, 99)
    assert not phone.registrar.is_at(Endpoint(SOURCE.host, SOURCE.port + 1), 99)
    assert not phone.registrar.is_at(SOURCE, 100)


def test_a_query_changes_no_contact() -> None:
    phone = Phone()
    phone.register("Contact: <sip:ann@10.0.0.2>")
    assert phone.register() == (("Contact", "<sip:ann@10.0.0.2>;expires=3600"),)


def test_too_long_an_expiry_is_shortened_and_too_short_a_one_refused() -> None:
    phone = Phone()
    assert phone.register("Contact: <sip:a@10.0.0.2>;expires=99999") == (("Contact", "<sip:a@10.0.0.2>;expires=3600"),)
    with pytest.raises(Rejection) as refused:
        phone.register("Contact: <sip:b@10.0.0.2>;expires=59")
    assert (refused.value.status, refused.value.headers) == (423, (("Min-Expires", "60"),))
    assert phone.uris() == ["sip:a@10.0.0.2"]


def test_contacts_are_removed_one_by_one_or_all_at_once() -> None:
    phone = Phone()
    phone.register("Contact: <sip:a@10.0.0.2>, <sip:b@10.0.0.2>, <sip:c@10.0.0.2>")
    phone.register("Contact: <sip:b@10.0.0.2>;expires=0")
    assert phone.uris() == ["sip:c@10.0.0.2", "sip:a@10.0.0.2"]
    assert phone.register("Contact: *", "Expires: 0") == ()
    assert phone.uris() == []


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        (("Contact: *",), "400 Contact * needs Expires: 0, and no other contact"),
        (("Contact: *", "Expires: 60"), "400 Contact * needs Expires: 0, and no other contact"),
        (("Contact: *", "Contact: <sip:a@b>", "Expires: 0"), "400 Contact * needs Expires: 0, and no other contact"),
        (("Contact: <sip:a@b>", "Path: nonsense"), "400 Malformed Path"),
        (("Contact: <mailto:a@b>",), "400 Contact: URI scheme mailto"),
        (("Contact: " + ", ".join(f"<sip:a@10.0.0.{n}>" for n in range(CONTACT_LIMIT + 1)),), "403 Too Many Contacts"),
    ],
)
def test_malformed_requests_are_refused_and_change_nothing(headers: tuple[str, ...], refusal: str) -> None:
    phone = Phone()
    phone.register("Contact: <sip:ann@10.0.0.2>")
    with pytest.raises(Rejection) as refused:
        phone.register(*headers)
    assert str(refused.value) == refusal
    assert phone.uris() == ["sip:ann@10.0.0.2"]


def test_an_out_of_order_request_is_refused_and_a_repeated_one_is_not() -> None:
    phone = Phone()
    phone.register("Contact: <sip:a@10.0.0.2>", cseq=5)
    phone.register("Contact: <sip:a@10.0.0.2>", cseq=5)
    with pytest.raises(Rejection, match="500"):
        phone.register("Contact: <sip:a@10.0.0.2>;expires=0", cseq=4)
    phone.register("Contact: <sip:a@10.0.0.2>", cseq=1, call_id="restarted")
    assert phone.uris() == ["sip:a@10.0.0.2"]


def test_contacts_are_bounded_and_the_oldest_goes() -> None:
    phone = Phone()
    for number in range(50):
        phone.register(f"Contact: <sip:ann@10.0.0.{number}>")
    assert phone.uris() == [f"sip:ann@10.0.0.{number}" for number in range(49, 49 - CONTACT_LIMIT, -1)]


def test_an_instance_has_one_contact_for_each_of_its_flows() -> None:
    phone = Phone()
    for port, reg_id in ((1, 1), (2, 1), (3, 2)):
        phone.register(f'Contact: <sip:ann@10.0.0.2:{port}>;+sip.instance="<urn:uuid:1>";reg-id={reg_id}')
    assert phone.uris() == ["sip:ann@10.0.0.2:3", "sip:ann@10.0.0.2:2"]


@pytest.mark.parametrize(
    ("transport", "contact", "endpoint"),
    [
        ("udp", "sip:ann@10.0.0.2:5062", SOURCE),
        ("udp", "sip:ann@203.0.113.9:5062", Endpoint("203.0.113.9", 5062)),
        ("tcp", "sip:ann@10.0.0.2:5062;transport=tcp", Endpoint("10.0.0.2", 5062)),
        ("tls", "sip:ann@10.0.0.2;transport=tls", Endpoint("10.0.0.2", 5061)),
    ],
)
def test_calls_use_the_flow_that_the_phone_opened(transport: str, contact: str, endpoint: Endpoint) -> None:
    phone = Phone(transport)
    phone.register(f"Contact: <{contact}>")
    target = phone.registrar.bindings("ann", 0)[0].target()
    assert (target.uri, target.endpoint, target.transport) == (contact, endpoint, transport)
    assert target.flow is phone.wire


def test_a_phone_with_rport_is_called_at_its_source_address() -> None:
    phone = Phone()
    phone.register("Contact: <sip:ann@203.0.113.9:5062>", via=";rport")
    assert phone.registrar.bindings("ann", 0)[0].target().endpoint == SOURCE


def test_a_path_is_stored_and_returned() -> None:
    phone = Phone("tcp")
    headers = phone.register("Contact: <sip:ann@10.0.0.2>", "Path: <sip:edge.example.com;lr>", "Supported: path")
    assert ("Path", "<sip:edge.example.com;lr>") in headers
    target = phone.registrar.bindings("ann", 0)[0].target()
    assert target.route == ("<sip:edge.example.com;lr>",)
    assert target.endpoint == Endpoint("edge.example.com", 5060)


def test_a_flow_is_used_while_a_phone_is_registered_by_it() -> None:
    phone = Phone()
    assert not phone.registrar.uses(phone.wire, 0)
    phone.register("Contact: <sip:ann@10.0.0.2:5062>;expires=100")
    assert phone.registrar.uses(phone.wire, 99)
    assert not phone.registrar.uses(Wire(), 99)
    assert not phone.registrar.uses(phone.wire, 100)

"""Contacts of phones that are restored after a restart."""

import pytest

from sip.bench import Wire
from trunkline.sdp.values import Endpoint
from trunkline.sip.peers.binding_store import decode_bindings, encode_bindings
from trunkline.sip.peers.registrar import Binding, Registrar

NAT = Endpoint("203.0.113.9", 40000)


def binding(transport: str, uri: str, *path: str, source: Endpoint = NAT, expires_at: float = 100) -> Binding:
    return Binding(uri, ("", uri), Wire(transport), source, path, "c", 7, expires_at)


def back(*bindings: Binding) -> list[Binding]:
    """Saved when the clock showed 1970 at -1000, restored where it does at -2000."""
    return decode_bindings(encode_bindings(bindings, -1000), -2000, lambda transport, _to: Wire(transport))


def test_a_udp_contact_is_restored_and_called_through_its_nat() -> None:
    before = binding("udp", "sip:ann@10.0.0.2:5062", "<sip:edge.example;lr>")
    (after,) = back(before, binding("tls", "sip:ann@203.0.113.9:5061"))
    assert (after.uri, after.key, after.source, after.path) == (before.uri, before.key, NAT, before.path)
    assert (after.call_id, after.cseq, after.expires_at) == ("c", 7, -900)
    assert back(binding("udp", "sip:ann@10.0.0.2:5062"))[0].target().endpoint == NAT


def test_a_tcp_contact_is_restored_where_a_new_connection_reaches_it() -> None:
    near = binding("tcp", "sip:ann@203.0.113.9:5062;transport=tcp")
    asked: list[tuple[str, Endpoint]] = []

    def connect(transport: str, to: Endpoint) -> Wire:
        asked.append((transport, to))
        return Wire(transport)

    (after,) = decode_bindings(
        encode_bindings([near, binding("tcp", "sip:ann@10.0.0.2:5062;transport=tcp")], 0), 0, connect
    )
    assert asked == [("tcp", Endpoint("203.0.113.9", 5062))]
    assert after.target().endpoint == Endpoint("203.0.113.9", 5062)


def test_the_registrar_restores_contacts_that_have_not_expired() -> None:
    registrar = Registrar(60, 3600)
    bindings = [binding("udp", f"sip:ann@10.0.0.{number}", expires_at=number) for number in (1, 2, 3)]
    registrar.restore("ann", bindings, 1)
    assert [one.uri for one in registrar.bindings("ann", 1)] == ["sip:ann@10.0.0.3", "sip:ann@10.0.0.2"]
    registrar.restore("bob", bindings, 9)
    assert len(registrar) == 2


@pytest.mark.parametrize(
    "text", ["", "{}", '[{"uri": 1}]', encode_bindings([binding("udp", "sip:a@b")], 0).replace("udp", "ws")]
)
def test_a_malformed_record_raises(text: str) -> None:
    with pytest.raises((ValueError, LookupError)):
        decode_bindings(text, 0, lambda transport, _to: Wire(transport))

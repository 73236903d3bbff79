"""Where calls go."""

from collections.abc import Sequence
from typing import Literal

from sip.bench import Wire, message
from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.validation import SipRequest
from trunkline.sip.peers.registrar import Registrar
from trunkline.sip.peers.router import Router
from trunkline.sip.peers.trunks import Trunks
from trunkline.sip.targets import Target, Unreachable
from trunkline.sip.timers import Timers
from trunkline.sip.transactions import Transactions
from trunkline.sip.values import Credentials, DialogId, SendInvite

SETTINGS = SipSettings.model_validate(
    {
        "phones": [{"user": "ann", "password": "secret"}],
        "trunks": [
            {"name": "open", "targets": ["sip:192.0.2.1", "sip:192.0.2.2:5070;transport=tcp"], "caller_id": "+1999"},
            {"name": "closed", "targets": ["sips:[2001:db8::1]"], "username": "me", "password": "secret"},
        ],
    }
)


class Bench:
    def __init__(self) -> None:
        self.registrar = Registrar(60, 3600)
        self.now = 0.0
        transactions = Transactions(Timers(), lambda: "tag")
        trunks = Trunks(SETTINGS, transactions, lambda _target: Wire(), lambda: "tag", lambda: 0.5)
        self.router = Router(SETTINGS, self.registrar, trunks)

    def targets(
        self, route: Literal["trunk", "phone", "uri"], name: str, to: str = ""
    ) -> Sequence[Target] | Unreachable:
        return self.router.targets(SendInvite(DialogId(1), route, name, to, "", "", ""), self.now)

    def register(self, contact: str, wire: Wire) -> None:
        request = message(
            f"REGISTER sip:a SIP/2.0\nVia: SIP/2.0/UDP h\nContact: <{contact}>;expires=60\nCall-ID: a\nCSeq: 1 REGISTER"
        )
        assert isinstance(request, SipRequest)
        self.registrar.register("ann", request, Endpoint("10.0.0.2", 5062), wire, self.now)


def test_a_phone_is_called_at_its_contacts_the_newest_first_until_they_expire() -> None:
    bench, wire = Bench(), Wire("tcp")
    bench.register("sip:ann@10.0.0.2:5062", wire)
    bench.register("sip:ann@10.0.0.3:5062;transport=tcp", wire)
    found = bench.targets("phone", "ann")
    assert isinstance(found, Sequence)
    assert [target.uri for target in found] == ["sip:ann@10.0.0.3:5062;transport=tcp", "sip:ann@10.0.0.2:5062"]
    assert all(target.flow is wire for target in found)
    bench.now = 61
    assert bench.targets("phone", "ann") == Unreachable(480, "Temporarily Unavailable", "the phone is not registered")
    assert bench.targets("phone", "bob") == Unreachable(404, "Not Found", "no such phone")


def test_a_trunk_is_tried_at_its_targets_in_order() -> None:
    assert Bench().targets("trunk", "open", "+1 555") == [
        Target("sip:+1%20555@192.0.2.1", Endpoint("192.0.2.1", 5060), "udp", from_user="+1999"),
        Target("sip:+1%20555@192.0.2.2:5070;transport=tcp", Endpoint("192.0.2.2", 5070), "tcp", from_user="+1999"),
    ]
    assert Bench().targets("trunk", "none", "1") == Unreachable(404, "Not Found", "no such trunk")


def test_a_trunk_with_an_account_gets_its_credentials() -> None:
    assert Bench().targets("trunk", "closed", "1") == [
        Target(
            "sips:1@[2001:db8::1]",
            Endpoint("2001:db8::1", 5061),
            "tls",
            credentials=Credentials("me", "secret"),
            from_host="[2001:db8::1]",
        )
    ]


def test_a_uri_is_called_as_it_is_where_its_host_is_found() -> None:
    bench = Bench()
    target = Target("sip:eve@example.com", Endpoint("example.com", 5060), "udp")
    assert bench.targets("uri", "", "sip:eve@example.com") == (target,)
    assert isinstance(bench.targets("uri", "", "tel:+15550001"), Unreachable)

"""Where requests in a dialog go: peers behind a NAT, proxies on the way, peers that move."""

import pytest

from sip.bench import ANSWER, OFFER, PEER, Bench, Caller, HandClock, Wire, header, response
from sip.test_refresh import UPDATES, WE_REFRESH
from sip.test_uac import callee, invite_of, place
from sip.test_user_agent import answer
from trunkline.sdp.values import Endpoint
from trunkline.sip.targets import Target
from trunkline.sip.values import AcceptInvite, AcceptReinvite, DialogEnded, DialogId, EndDialog, SendInvite

NAT = Endpoint("203.0.113.9", 40000)
REMAPPED = Endpoint("203.0.113.9", 41000)
PRIVATE = "Contact: <sip:ann@192.168.1.5:5062>"
LAN = Endpoint("192.168.1.5", 5062)
ROUTE = "Record-Route: <sip:192.0.2.77:5080;lr>"
PROXY = Endpoint("192.0.2.77", 5080)


class Phone(Caller):
    """A peer whose source address is not that of its Contact."""

    def __init__(self, bench: Bench, contact: str = PRIVATE, source: Endpoint = NAT, rport: bool = True) -> None:
        super().__init__()
        self.bench, self.contact, self.source, self.rport = bench, contact, source, rport

    def send(self, method: str, body: str = "", headers: tuple[str, ...] = (), *, new: bool = True) -> None:
        """To us."""
        if method == "INVITE" and not any(line.startswith("Contact:") for line in headers):
            headers = (self.contact, *headers)
        data = self.request(method, body, headers, new=new)
        self.bench.receive(data if self.rport else data.replace(b";rport", b""), source=self.source)

    def call(self, *headers: str) -> DialogId:
        """A call that is up."""
        self.send("INVITE", OFFER, headers)
        dialog = self.bench.event().dialog
        answer(self.bench, self, dialog)
        self.send("ACK")
        self.bench.event()
        self.bench.wire.take()
        return dialog


def sent_to(bench: Bench) -> list[tuple[str, Endpoint]]:
    """Methods of the requests since the last look, and where they went."""
    found = [(text.partition(" ")[0], to) for text, to in bench.wire.sent]
    bench.wire.take()
    return found


def hung_up(bench: Bench, dialog: DialogId) -> Endpoint:
    """Where the BYE goes."""
    bench.perform(EndDialog(dialog))
    ((method, to),) = sent_to(bench)
    assert method == "BYE"
    return to


@pytest.mark.parametrize(
    ("contact", "source", "rport", "route", "there"),
    [
        ("sip:ann@192.168.1.5:5062", NAT, True, False, NAT),
        ("sip:ann@192.168.1.5", NAT, False, False, NAT),
        ("sip:ann@phone.local", NAT, True, False, NAT),
        ("sip:ann@a1b2c3.invalid;transport=ws", NAT, True, False, NAT),
        ("sip:ann@[fd00::5]:5062", Endpoint("2001:db8::9", 40000), True, False, Endpoint("2001:db8::9", 40000)),
        ("sip:ann@203.0.113.9:5062", NAT, True, False, NAT),
        ("sip:ann@203.0.113.9:5062", NAT, False, False, Endpoint("203.0.113.9", 5062)),
        ("sip:ann@203.0.113.9", NAT, False, False, Endpoint("203.0.113.9", 5060)),
        ("sip:ann@192.168.1.5:5062", PROXY, True, True, PROXY),
        ("sip:ann@192.168.1.5:5062", Endpoint("192.0.2.77", 33333), True, True, PROXY),
        ("sip:ann@192.0.2.77:5090", NAT, True, True, PROXY),
    ],
)
def test_requests_go_to_the_peers_source_unless_a_route_was_recorded(
    bench: Bench, contact: str, source: Endpoint, rport: bool, route: bool, there: Endpoint
) -> None:
    dialog = Phone(bench, f"Contact: <{contact}>", source, rport).call(*((ROUTE,) if route else ()))
    bench.perform(EndDialog(dialog))
    ((bye, to),) = bench.wire.sent
    assert to == there
    assert bye.startswith(f"BYE {contact} SIP/2.0\r\n"), "whatever the way, the Contact is what is asked for"


@pytest.mark.parametrize("method", ["OPTIONS", "INFO", "UPDATE", "INVITE"])
def test_a_nat_that_gives_the_peer_another_port_is_followed(bench: Bench, method: str) -> None:
    phone = Phone(bench)
    dialog = phone.call()
    phone.source = REMAPPED
    phone.send(method)
    if method == "INVITE":
        bench.perform(AcceptReinvite(dialog, ANSWER))
        phone.send("ACK")
    bench.wire.take()
    assert hung_up(bench, dialog) == REMAPPED


def test_the_ack_gives_the_callers_address_when_a_proxy_leaves_the_path(bench: Bench) -> None:
    phone = Phone(bench, "Contact: <sip:ann@192.0.2.40:5070>", PROXY)
    phone.send("INVITE", OFFER)
    dialog = bench.event().dialog
    answer(bench, phone, dialog)
    phone.source = Endpoint("192.0.2.40", 5070)
    phone.send("ACK")
    assert hung_up(bench, dialog) == phone.source


@pytest.mark.parametrize("what", ["an old number", "a forged tag"])
def test_requests_outside_the_dialog_do_not_move_the_peer(bench: Bench, what: str) -> None:
    phone = Phone(bench)
    dialog = phone.call()
    phone.source = Endpoint("192.0.2.66", 1)
    if what == "an old number":
        phone.cseq = -1
        phone.send("INFO")
    else:
        to_tag, phone.to_tag = phone.to_tag, "forged"
        phone.send("ACK")
        phone.to_tag = to_tag
    bench.wire.take()
    assert hung_up(bench, dialog) == NAT


def test_a_peer_behind_a_nat_is_not_followed_to_another_private_address(bench: Bench) -> None:
    phone = Phone(bench)
    dialog = phone.call()
    phone.send("INVITE", OFFER, ("Contact: <sip:ann@10.9.9.9>",))
    bench.perform(AcceptReinvite(dialog, ANSWER))
    phone.send("ACK")
    bench.wire.take()
    bench.perform(EndDialog(dialog))
    ((bye, to),) = bench.wire.sent
    assert (bye.split("\r\n")[0], to) == ("BYE sip:ann@10.9.9.9 SIP/2.0", NAT)


def test_over_tcp_requests_go_by_the_connection_of_the_peers_last_message(bench: Bench) -> None:
    caller, first, second = Caller(transport="TCP"), Wire("tcp"), Wire("tcp")
    bench.receive(caller.request("INVITE", OFFER, (PRIVATE,)), first, NAT)
    dialog = bench.event().dialog
    bench.perform(AcceptInvite(dialog, ANSWER))
    caller.learn(first.take()[-1])
    bench.receive(caller.request("ACK"), second, REMAPPED)
    bench.perform(EndDialog(dialog))
    assert first.take() == []
    assert [text.partition(" ")[0] for text in second.take()] == ["BYE"]


def test_a_large_request_by_tcp_does_not_take_a_dialog_off_udp(bench: Bench) -> None:
    phone = Phone(bench)
    dialog = phone.call()
    bench.receive(phone.request("OPTIONS"), Wire("tcp"), Endpoint("203.0.113.9", 55555))
    assert hung_up(bench, dialog) == NAT


# ── calls of ours ──


@pytest.mark.parametrize(
    ("where", "contact", "registered", "there"),
    [
        (NAT, "sip:ann@192.168.1.5:5062", True, NAT),
        (NAT, "sip:ann@192.168.1.5:7777", True, NAT),
        (NAT, "sip:ann@203.0.113.9:5062", True, NAT),
        (PEER, "sip:bob@172.17.0.2:5060", False, PEER),
        (PEER, "sip:bob@container.lan", False, PEER),
        (PEER, "sip:bob@192.0.2.10:5080", False, Endpoint("192.0.2.10", 5080)),
    ],
)
def test_requests_to_a_called_peer_go_to_the_source_of_its_answer(
    bench: Bench, where: Endpoint, contact: str, registered: bool, there: Endpoint
) -> None:
    uri = "sip:ann@192.168.1.5:5062" if registered else "sip:bob@192.0.2.10:5062"
    bench.targets = [Target(uri, where, "udp", bench.wire if registered else None)]
    number = place(bench)
    bench.answer(invite_of(bench), "200 OK", "them", ANSWER, (f"Contact: <{contact}>", WE_REFRESH))
    bench.perform(EndDialog(number))
    assert sent_to(bench) == [("ACK", there), ("BYE", there)]


def test_a_called_phone_whose_nat_gives_it_another_port_is_followed(bench: Bench) -> None:
    bench.targets = [Target("sip:ann@192.168.1.5:5062", NAT, "udp", bench.wire)]
    number = place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "200 OK", "them", ANSWER, (PRIVATE,))
    bench.receive(callee(invite).request("OPTIONS"), source=REMAPPED)
    bench.wire.take()
    assert hung_up(bench, number) == REMAPPED


def test_a_called_phone_is_not_followed_to_another_private_address(bench: Bench) -> None:
    bench.targets = [Target("sip:ann@192.168.1.5:5062", NAT, "udp", bench.wire)]
    number = place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "200 OK", "them", ANSWER, (PRIVATE,))
    peer = callee(invite)
    bench.receive(peer.request("UPDATE", headers=("Contact: <sip:ann@10.9.9.9>",)), source=NAT)
    bench.wire.take()
    assert hung_up(bench, number) == NAT


def test_a_called_name_is_followed_to_the_address_that_it_names(bench: Bench) -> None:
    bench.targets = [Target("sip:bob@carrier.example", PEER, "udp")]
    number = place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "200 OK", "them", ANSWER, ("Contact: <sip:bob@carrier.example>",))
    bench.receive(callee(invite).request("UPDATE", headers=("Contact: <sip:bob@192.0.2.99>",)), source=PEER)
    bench.wire.take()
    assert hung_up(bench, number) == Endpoint("192.0.2.99", 5060)


# ── the registration of a phone ──


@pytest.mark.parametrize("ours", [True, False], ids=["a call to the phone", "a call of the phone's"])
@pytest.mark.parametrize(
    ("phone", "uri", "there"),
    [
        ("ann", "sip:ann@192.168.1.5:5062", REMAPPED),
        ("ann", "sip:ann@192.168.1.5:5062;ob;transport=udp", REMAPPED),
        ("ann", "sip:ann@192.168.1.6:5062", NAT),
        ("ann", "sip:eve@192.168.1.5:5062", NAT),
        ("eve", "sip:ann@192.168.1.5:5062", NAT),
    ],
)
def test_a_call_follows_its_phone_to_the_address_of_a_later_register(
    bench: Bench, ours: bool, phone: str, uri: str, there: Endpoint
) -> None:
    if ours:
        bench.targets = [Target("sip:ann@192.168.1.5:5062", NAT, "udp", bench.wire)]
        dialog = bench.dialogs.new_dialog()
        bench.perform(SendInvite(dialog, "phone", "ann", "", "", "", OFFER))
        bench.answer(invite_of(bench), "200 OK", "them", ANSWER, (PRIVATE,))
        bench.wire.take()
    else:
        bench.caller.phone = "ann"
        dialog = Phone(bench).call()
    bench.dialogs.contact_registered(phone, uri, REMAPPED, bench.wire)
    assert hung_up(bench, dialog) == there


def test_a_call_over_tcp_uses_the_connection_of_the_phones_last_register(bench: Bench) -> None:
    bench.caller.phone = "ann"
    caller, first, second = Caller(transport="TCP"), Wire("tcp"), Wire("tcp")
    bench.receive(caller.request("INVITE", OFFER, (PRIVATE,)), first, NAT)
    dialog = bench.event().dialog
    bench.perform(AcceptInvite(dialog, ANSWER))
    caller.learn(first.take()[-1])
    bench.receive(caller.request("ACK"), first, NAT)
    bench.dialogs.contact_registered("ann", "sip:ann@192.168.1.5:5062", REMAPPED, Wire("udp"))
    bench.dialogs.contact_registered("ann", "sip:ann@192.168.1.5:5062", REMAPPED, second)
    bench.perform(EndDialog(dialog))
    assert first.take() == []
    assert [text.partition(" ")[0] for text in second.take()] == ["BYE"]


# ── the other next hop ──


def test_an_ack_after_a_repeated_2xx_goes_to_both_addresses(bench: Bench) -> None:
    place(bench)
    ok = response(invite_of(bench), "200 OK", "them", ANSWER, ("Contact: <sip:bob@172.17.0.2:5060>",))
    bench.receive(ok)
    assert sent_to(bench) == [("ACK", PEER)]
    bench.receive(ok)
    assert sent_to(bench) == [("ACK", PEER), ("ACK", Endpoint("172.17.0.2", 5060))]


@pytest.mark.parametrize("said", ["", "404 Not here", "481 Who", "403 No relaying", "503 Not now"])
@pytest.mark.parametrize("route", [False, True], ids=["no route", "a route that leads nowhere"])
def test_an_unanswered_bye_goes_to_the_other_address_once(
    bench: Bench, clock: HandClock, said: str, route: bool
) -> None:
    dialog = Phone(bench).call(*((ROUTE,) if route else ()))
    first, second = (PROXY, NAT) if route else (NAT, LAN)
    numbers = []
    bench.perform(EndDialog(dialog, "enough"))
    for there in (first, second):
        ((bye, to), *_) = bench.wire.sent
        assert (bye.partition(" ")[0], to) == ("BYE", there)
        assert header(bye, "Reason") == 'SIP;cause=200;text="enough"'
        numbers.append(header(bye, "CSeq"))
        bench.wire.take()
        if said:
            bench.answer(bye, said)
        else:
            clock.advance(32.1)
            del bench.wire.sent[:-1]
    assert numbers == ["1 BYE", "2 BYE"]
    clock.advance(40)
    assert bench.dialogs.sizes["by_key"] == bench.dialogs.sizes["client"] == 0


def test_an_answered_bye_is_not_sent_to_the_other_address(bench: Bench) -> None:
    dialog = Phone(bench).call()
    bench.perform(EndDialog(dialog))
    bench.answer(bench.wire.take()[0], "500 Oops")
    assert (bench.wire.take(), bench.dialogs.sizes["by_key"]) == ([], 0)


@pytest.mark.parametrize("there", [True, False])
def test_a_refresh_without_a_response_is_sent_to_the_other_address_first(
    bench: Bench, clock: HandClock, there: bool
) -> None:
    dialog = Phone(bench).call("Supported: timer", "Session-Expires: 600;refresher=uas", UPDATES)
    clock.advance(300)
    clock.advance(32.1)
    assert {to for _, to in bench.wire.sent[:-1]} == {NAT}
    update, to = bench.wire.sent[-1]
    assert (update.partition(" ")[0], to) == ("UPDATE", LAN)
    bench.wire.take()
    if there:
        bench.answer(update, headers=(WE_REFRESH, PRIVATE))
        clock.advance(300)
        assert sent_to(bench) == [("UPDATE", LAN)], "where it was found"
        assert bench.events == []
    else:
        clock.advance(32.1)
        assert bench.event() == DialogEnded(dialog, "error", "the peer is gone: 408 to the session refresh")


def test_a_refresh_by_reinvite_is_confirmed_where_it_was_answered(bench: Bench, clock: HandClock) -> None:
    Phone(bench).call("Supported: timer", "Session-Expires: 600;refresher=uas")
    clock.advance(300.1)
    ((invite, to),) = bench.wire.sent
    assert (invite.partition(" ")[0], to) == ("INVITE", NAT)
    bench.wire.take()
    bench.answer(invite, "200 OK", "", ANSWER, (WE_REFRESH, PRIVATE))
    assert sent_to(bench) == [("ACK", NAT)]


def test_a_refresh_without_a_response_is_not_repeated_after_our_bye(bench: Bench, clock: HandClock) -> None:
    dialog = Phone(bench).call("Supported: timer", "Session-Expires: 600;refresher=uas", UPDATES)
    clock.advance(300.1)
    (update,) = bench.wire.take()
    assert hung_up(bench, dialog) == NAT
    bench.answer(update, "481 Who")
    assert bench.wire.take() == []

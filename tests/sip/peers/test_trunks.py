"""Trunks, on a wire in memory and with sipp as the carrier."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sip.bench import Bench, HandClock, Watched, header
from sip.sipp_uas import Scenario, sipp
from sip.test_uac import place
from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.events import TrunkLookupObsolete, TrunkLookupRequired
from trunkline.sip.message.digest import parse_digest
from trunkline.sip.peers.trunks import Trunks
from trunkline.sip.targets import Target, Unreachable
from trunkline.sip.values import EndDialog

ACCOUNT = {"username": "me", "password": "secret", "register": True, "keep_alive": 0}
CHALLENGE = 'WWW-Authenticate: Digest realm="carrier", nonce="abc", algorithm=MD5, qop="auth"'
CARRIER = {"name": "carrier", "targets": ["sip:192.0.2.1", "sip:192.0.2.2:5070"]}


class Carrier:
    """The other end of one trunk."""

    def __init__(self, bench: Bench, **trunk: Any) -> None:
        self.bench = bench
        self.changes: list[tuple[str, str, str]] = []
        settings = SipSettings.model_validate({"trunks": [CARRIER | trunk], "target_timeout": 5})
        tags = iter(range(1000))
        self.obsolete: list[str] = []
        """Trunks whose targets are not to be looked up any more."""
        self.trunks = Trunks(
            settings, bench.dialogs.transactions, bench.connect, lambda: f"tag{next(tags)}", lambda: 0.5
        )
        bench.out_of_dialog = lambda event: self.trunks.response_received(
            event.transaction, event.response, bench.clock.now
        )
        bench.clock.drains.append(self.drain)
        self.trunks.start()
        bench.clock.drain()

    def drain(self) -> None:
        """Take all events: targets are found where they are configured."""
        while self.bench.tried:
            event = self.bench.tried.pop(0)
            self.trunks.tried(event.target, answered=event.answered)
        while (change := self.trunks.next_event()) is not None:
            if isinstance(change, TrunkLookupRequired):
                self.trunks.found(change.trunk, change.targets, self.bench.clock.now)
            elif isinstance(change, TrunkLookupObsolete):
                self.obsolete.append(change.trunk)
            else:
                detail = f"{change.target}: {change.reason}" if change.reason else change.target
                self.changes.append((change.change, change.trunk, detail))

    def found(self, targets: Sequence[Target]) -> None:
        """The addresses of the trunk's targets."""
        self.trunks.found("carrier", targets, self.bench.clock.now)
        self.drain()

    def unregister(self) -> None:
        """The end of our registrations."""
        self.trunks.unregister(self.bench.clock.now)
        self.drain()

    def hosts(self) -> list[str]:
        """Which targets a call tries."""
        found = self.trunks.targets("carrier", "1")
        assert isinstance(found, Sequence)
        return [target.endpoint.host for target in found]

    def take(self) -> list[str]:
        """The requests since the last look."""
        return self.bench.wire.take()

    def one(self) -> str:
        """The one request since the last look."""
        (text,) = self.take()
        return text

    def wait(self, seconds: int, answering: Sequence[str] = ()) -> None:
        """Advance the clock; only the targets in `answering` respond."""
        for _ in range(seconds):
            for text in self.take():
                if any(f" sip:{host}" in text.split("\r\n", 1)[0] for host in answering):
                    self.bench.answer(text)
            self.bench.clock.advance(1)


BOTH = ("192.0.2.1", "192.0.2.2")


@pytest.fixture
def carrier(bench: Bench) -> Carrier:
    return Carrier(bench)


def test_targets_get_options_and_any_response_means_up(carrier: Carrier) -> None:
    texts = carrier.take()
    assert [text.split("\r\n", 1)[0] for text in texts] == [
        "OPTIONS sip:192.0.2.1 SIP/2.0",
        "OPTIONS sip:192.0.2.2:5070 SIP/2.0",
    ]
    assert len({header(text, "Call-ID") for text in texts}) == 2
    assert {header(text, "CSeq") for text in texts} == {"1 OPTIONS"}
    for text in texts:
        carrier.bench.answer(text, "501 Not Implemented")
    carrier.wait(300, BOTH)
    assert carrier.changes == []
    assert [target.up for target in carrier.trunks.status[0].targets] == [True, True]


def test_a_target_that_misses_two_options_is_skipped_until_it_answers(carrier: Carrier) -> None:
    carrier.wait(39, ["192.0.2.2"])
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"], "one miss is no proof"
    carrier.wait(2, ["192.0.2.2"])
    assert carrier.hosts() == ["192.0.2.2"]
    carrier.wait(200, ["192.0.2.2"])
    assert carrier.changes == [("target_down", "carrier", "192.0.2.1:5060: No Answer")]
    carrier.wait(36, BOTH)
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"]
    assert carrier.changes[1:] == [("target_up", "carrier", "192.0.2.1:5060")]


@pytest.mark.parametrize("trunk", [{}, ACCOUNT])
def test_a_request_that_we_failed_to_send_is_repeated(
    bench: Bench, trunk: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(bench.dialogs.transactions, "send", fails)
        carrier = Carrier(bench, **trunk)
        carrier.wait(35)
    assert "a fault of ours" in carrier.changes[0][2]
    carrier.wait(35, BOTH)
    assert carrier.changes[-1][0] in ("target_up", "registered")


def test_an_answer_between_two_misses_clears_the_first(carrier: Carrier) -> None:
    for _ in range(4):
        carrier.wait(35)
        carrier.wait(30, BOTH)
    assert carrier.changes == []


def called(carrier: Carrier, status: str = "200 OK") -> None:
    """A call by the trunk, answered by its first target; no status: by none of them."""
    bench = carrier.bench
    found = carrier.trunks.targets("carrier", "1")
    assert isinstance(found, Sequence)
    bench.targets = list(found)
    carrier.take()
    number = place(bench)
    invite = next(text for text in carrier.take() if text.startswith("INVITE "))
    if status:
        bench.answer(invite, status, "them")
    else:
        bench.clock.advance(40)
    bench.perform(EndDialog(number))
    carrier.take()


@pytest.mark.parametrize("status", ["100 Trying", "180 Ringing", "200 OK", "486 Busy Here", "503 Service Unavailable"])
def test_a_target_that_answers_calls_and_no_options_is_up(bench: Bench, status: str) -> None:
    carrier = Carrier(bench, targets=["sip:192.0.2.1"])
    carrier.wait(90)
    assert [change for change, _, _ in carrier.changes] == ["target_down"]
    called(carrier, status)
    assert carrier.changes[1:] == [("target_up", "carrier", "192.0.2.1:5060")]
    carrier.wait(900)
    assert carrier.trunks.status[0].targets[0].up, "OPTIONS alone do not bring it down again"
    called(carrier, "")
    carrier.wait(40)
    assert [change for change, _, _ in carrier.changes[2:]] == ["target_down"]


def test_a_target_is_judged_by_options_again_once_it_answers_them(bench: Bench) -> None:
    carrier = Carrier(bench, targets=["sip:192.0.2.1"])
    called(carrier)
    carrier.wait(40, BOTH)
    carrier.wait(90)
    assert [change for change, _, _ in carrier.changes] == ["target_down"]


def test_calls_that_a_target_does_not_answer_count_as_options_do(bench: Bench) -> None:
    carrier = Carrier(bench)
    carrier.wait(20, BOTH)
    called(carrier, "")
    carrier.take()
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"]
    carrier.wait(40, ["192.0.2.2"])
    assert carrier.hosts() == ["192.0.2.2"]


def test_without_options_no_call_brings_a_target_down(bench: Bench) -> None:
    carrier = Carrier(bench, keep_alive=0)
    for _ in range(3):
        called(carrier, "")
    assert (carrier.changes, carrier.hosts()) == ([], ["192.0.2.1", "192.0.2.2"])


def test_a_target_whose_host_calls_us_is_up(carrier: Carrier) -> None:
    carrier.wait(90, ["192.0.2.2"])
    carrier.trunks.call_received("carrier", "192.0.2.9")
    assert carrier.hosts() == ["192.0.2.2"]
    carrier.trunks.call_received("carrier", "192.0.2.1")
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"]


def test_a_target_that_takes_our_registration_is_up(bench: Bench) -> None:
    carrier = Carrier(bench, **ACCOUNT | {"keep_alive": 30})
    for _ in range(200):
        for text in carrier.take():
            if text.startswith("REGISTER "):
                bench.answer(text, headers=("Expires: 20",))
        bench.clock.advance(1)
    assert carrier.hosts()[0] == "192.0.2.1"
    assert [change for change, _, where in carrier.changes if where.startswith("192.0.2.1:")] == ["registered"]


def test_where_all_targets_are_down_all_are_tried_in_order(carrier: Carrier) -> None:
    carrier.wait(90)
    assert [change for change, _, _ in carrier.changes] == ["target_down", "target_down"]
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"]


def test_options_to_an_unreachable_target_leave_nothing_behind(carrier: Carrier, clock: HandClock) -> None:
    carrier.wait(300)
    assert carrier.bench.dialogs.sizes["client"] <= 2
    carrier.trunks.stop()
    clock.advance(100)
    assert len(carrier.trunks) == carrier.bench.dialogs.sizes["client"] == 0
    assert carrier.take() == carrier.take() == []


def test_options_can_be_disabled(bench: Bench, clock: HandClock) -> None:
    carrier = Carrier(bench, keep_alive=0)
    clock.advance(100)
    assert carrier.take() == []
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"]


def test_options_of_a_trunk_with_an_account_have_its_user(bench: Bench) -> None:
    carrier = Carrier(bench, username="me", password="secret")
    assert header(carrier.take()[0], "From").startswith("<sip:me@192.0.2.1>;tag=")


def test_known_targets_keep_their_state_after_another_look_up(bench: Bench) -> None:
    carrier = Carrier(bench)
    carrier.wait(41, ["192.0.2.2"])
    first, second = (place.endpoint for place in carrier.trunks.status[0].targets)
    assert carrier.hosts() == [second.host]
    found = [Target("sip:192.0.2.1", first, "udp"), Target("sip:192.0.2.1", Endpoint("192.0.2.3", 5060), "udp")]
    carrier.found(found)
    assert carrier.hosts() == ["192.0.2.3"], "still down"
    assert "OPTIONS sip:192.0.2.1 SIP/2.0" in bench.wire.take_lines()
    carrier.found([])
    assert carrier.hosts() == ["192.0.2.3"], "nothing was found: what was known stays"
    assert "OPTIONS" not in " ".join(bench.wire.take_lines())


def test_a_target_that_is_gone_gets_no_options_after_its_late_answer(bench: Bench, clock: HandClock) -> None:
    carrier = Carrier(bench)
    options = carrier.take()
    carrier.found([Target("sip:192.0.2.3", Endpoint("192.0.2.3", 5060), "udp")])
    carrier.take()
    for request in options:
        bench.answer(request)
    clock.advance(60)
    assert {line.split()[1] for line in bench.wire.take_lines()} == {"sip:192.0.2.3"}
    assert carrier.hosts() == ["192.0.2.3"]


def test_registered_with_digest_and_again_before_it_expires(bench: Bench) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    (first,) = carrier.take()
    assert first.startswith("REGISTER sip:192.0.2.1 SIP/2.0\r\n")
    assert header(first, "To") == "<sip:me@192.0.2.1>"
    assert header(first, "Contact") == "<sip:me@198.51.100.7:5060>"
    assert header(first, "Expires") == "3600"
    bench.answer(first, "401 Unauthorized", headers=(CHALLENGE,))
    (second,) = carrier.take()
    assert parse_digest(header(second, "Authorization"))["username"] == "me"
    bench.answer(second, headers=("Contact: <sip:me@198.51.100.7:5060>;expires=100, <sip:me@192.0.2.99>;expires=9",))
    bench.clock.advance(79)
    assert carrier.take() == []
    bench.clock.advance(1.1)
    (third,) = carrier.take()
    assert header(third, "Call-ID") == header(first, "Call-ID")
    assert [header(text, "CSeq") for text in (first, second, third)] == ["1 REGISTER", "2 REGISTER", "3 REGISTER"]
    bench.answer(third, headers=("Expires: 1000",))
    assert carrier.changes == [("registered", "carrier", "192.0.2.1:5060")], "reported once, not for each refresh"
    assert carrier.trunks.status[0].registered


def test_a_registrar_that_wants_longer_registrations_gets_them_once(bench: Bench) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    bench.answer(carrier.one(), "423 Interval Too Brief", headers=("Min-Expires: 7200",))
    (again,) = carrier.take()
    assert header(again, "Expires") == "7200"
    bench.answer(again, "423 Interval Too Brief", headers=("Min-Expires: 7300",))
    assert carrier.changes == [("registration_failed", "carrier", "192.0.2.1:5060: 423 Interval Too Brief")]


def test_the_password_is_used_only_in_the_realm_of_the_settings(bench: Bench) -> None:
    carrier = Carrier(bench, **ACCOUNT, realm="elsewhere")
    bench.answer(carrier.one(), "401 Unauthorized", headers=(CHALLENGE,))
    assert carrier.take() == []
    assert carrier.changes == [("registration_failed", "carrier", "192.0.2.1:5060: 401 Unauthorized")]


def test_a_wrong_password_is_retried_with_growing_waits_and_reported_once(bench: Bench, clock: HandClock) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    times = []
    for _ in range(12):
        while not (texts := carrier.take()):
            clock.advance(0.25)
        times.append(clock.now)
        bench.answer(texts[0], "403 Forbidden")
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[:3] == [3.75, 7.5, 15]
    assert waits[-3:] == [450, 450, 450], "the bound, less a quarter by our random source"
    assert carrier.changes == [("registration_failed", "carrier", "192.0.2.1:5060: 403 Forbidden")]


@pytest.mark.parametrize("dead", ["silent", "503 Service Unavailable"])
def test_where_a_target_fails_the_next_one_has_our_registration(bench: Bench, clock: HandClock, dead: str) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    if dead == "silent":
        clock.advance(5.1)
        text = carrier.take()[-1]
    else:
        bench.answer(carrier.one(), dead)
        (text,) = carrier.take()
    assert text.startswith("REGISTER sip:192.0.2.2:5070 ")
    bench.answer(text)
    assert carrier.changes == [("registered", "carrier", "192.0.2.2:5070")]


def test_when_the_registered_target_goes_down_the_registration_moves(bench: Bench) -> None:
    carrier = Carrier(bench, **ACCOUNT | {"keep_alive": 30})
    carrier.wait(38, BOTH)
    carrier.wait(70, ["192.0.2.2"])
    assert [change for change, _, _ in carrier.changes] == ["registered", "target_down", "registered"]
    assert carrier.changes[-1] == ("registered", "carrier", "192.0.2.2:5070")


@pytest.mark.parametrize("answers", [True, False])
def test_our_contact_is_removed_at_the_end(bench: Bench, clock: HandClock, answers: bool) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    bench.answer(carrier.one())
    carrier.unregister()
    (text,) = carrier.take()
    assert header(text, "Expires") == "0"
    assert not carrier.trunks.unregistered
    if answers:
        bench.answer(text)
    else:
        clock.advance(5)
    assert carrier.trunks.unregistered
    carrier.take()
    clock.advance(5000)
    assert carrier.take() == []
    assert carrier.trunks.status[0].registered is False


def test_without_a_registration_nothing_is_to_be_removed(bench: Bench, clock: HandClock) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    carrier.unregister()
    assert carrier.trunks.unregistered
    clock.advance(5000)
    assert not carrier.changes


def taken(carrier: Carrier, *trunks: dict[str, Any]) -> list[str]:
    """New settings; returns the trunks whose targets are no longer valid."""
    settings = SipSettings.model_validate({"trunks": [CARRIER | trunk for trunk in trunks], "target_timeout": 5})
    carrier.obsolete.clear()
    carrier.trunks.reconfigure(settings.trunks, carrier.bench.clock.now)
    carrier.drain()
    return carrier.obsolete


def test_a_change_of_local_settings_keeps_the_registration(bench: Bench, clock: HandClock) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    bench.answer(carrier.one(), headers=("Expires: 100",))
    assert taken(carrier, ACCOUNT | {"caller_id": "+1", "prefixes": ["1*"], "srtp": "required"}) == []
    assert carrier.take() == []
    found = carrier.trunks.targets("carrier", "1")
    assert isinstance(found, Sequence)
    assert found[0].from_user == "+1"
    assert carrier.trunks.status[0].registered
    clock.advance(80.1)
    assert header(carrier.one(), "Expires") == "3600", "the refresh goes on unchanged"


@pytest.mark.parametrize("answers", [True, False])
def test_another_registration_is_made_after_the_first_was_removed(
    bench: Bench, clock: HandClock, answers: bool
) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    bench.answer(carrier.one())
    assert taken(carrier, ACCOUNT | {"password": "other"}) == ["carrier"]
    (back,) = carrier.take()
    assert header(back, "Expires") == "0"
    if answers:
        bench.answer(back)
    else:
        clock.advance(5)
    fresh = carrier.take()[-1]
    assert header(fresh, "Expires") == "3600"
    bench.answer(fresh)
    assert carrier.trunks.status[0].registered
    assert [change for change, _, _ in carrier.changes] == ["registered", "registered"]


def test_a_trunk_that_is_changed_twice_is_started_once(bench: Bench) -> None:
    carrier = Carrier(bench, **ACCOUNT)
    bench.answer(carrier.one())
    taken(carrier, ACCOUNT | {"password": "other"})
    taken(carrier, ACCOUNT | {"password": "third"})
    back, fresh = carrier.take()
    assert [header(text, "Expires") for text in (back, fresh)] == ["0", "3600"]
    bench.answer(back)
    assert carrier.take() == []


def test_a_removed_trunk_gets_no_options_and_no_calls_and_others_stay(bench: Bench, clock: HandClock) -> None:
    carrier = Carrier(bench)
    other = {"name": "other", "targets": ["sip:192.0.2.9"]}
    assert taken(carrier, {}, other) == []
    carrier.wait(40, (*BOTH, "192.0.2.9"))
    assert taken(carrier, other) == ["carrier"]
    assert isinstance(carrier.trunks.targets("carrier", "1"), Unreachable)
    carrier.found(())  # of a look-up that was under way
    carrier.take()
    clock.advance(300)
    assert {text.split("\r\n", 1)[0] for text in carrier.take()} == {"OPTIONS sip:192.0.2.9 SIP/2.0"}
    assert [trunk.name for trunk in carrier.trunks.status] == ["other"]


@pytest.mark.peer
async def test_a_carrier_stops_and_comes_back(tmp_path: Path) -> None:
    scenario = Scenario().recv("OPTIONS").answer("200 OK")
    async with sipp(scenario, tmp_path, calls=2) as port:
        endpoint = SipEndpoint(
            SipSettings.model_validate(
                {
                    "port": 0,
                    "target_timeout": 0.3,
                    "trunks": [{"name": "a", "targets": [f"sip:127.0.0.1:{port}"], "keep_alive": 0.1}],
                }
            ),
            lambda _event: None,
        )
        counters = endpoint.counters = Watched()
        await endpoint.start()
    try:
        await counters.reached("target_down")
        assert not endpoint.trunks[0].targets[0].up
        assert endpoint.gauges["trunk_targets_down"] == 1
        async with sipp(scenario, tmp_path, calls=2, port=port):
            await counters.reached("target_up")
            assert endpoint.trunks[0].targets[0].up
    finally:
        await endpoint.stop()
    assert Counter(counters)["target_up"] == 1
    assert endpoint.sizes["trunk_requests"] == 0


@pytest.mark.peer
async def test_a_carrier_accepts_our_registration_and_its_removal(tmp_path: Path) -> None:
    scenario = Scenario()
    for expires in ("3600", "0"):
        scenario.recv("REGISTER", ("Expires", f"^ *{expires}$")).answer("401 Unauthorized", CHALLENGE)
        scenario.recv_authorized("me", "secret", "REGISTER").answer("200 OK", f"Expires: {expires}")
    async with sipp(scenario, tmp_path) as port:
        trunk = {"name": "a", "targets": [f"sip:127.0.0.1:{port}"], **ACCOUNT}
        endpoint = SipEndpoint(SipSettings.model_validate({"port": 0, "trunks": [trunk]}), lambda _event: None)
        counters = endpoint.counters = Watched()
        await endpoint.start()
        try:
            await counters.reached("registered")
            assert endpoint.trunks[0].registered
            assert [trunk.registered for trunk in endpoint.trunks] == [True]
        finally:
            await endpoint.stop()
    assert counters["registration_failed"] == 0

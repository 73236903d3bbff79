"""Admission of calls and registrations, and bans after wrong passwords."""

from collections import Counter
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from sip.bench import message
from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.shares import origin_of
from trunkline.sip.message.digest import DigestClient, DigestServer
from trunkline.sip.message.validation import Rejection, SipRequest
from trunkline.sip.peers.access import Access
from trunkline.sip.targets import Target, Unreachable
from trunkline.sip.values import Credentials, DialogId, PeerIdentity, SendInvite

URI = "sip:+1555@198.51.100.7"
ELSEWHERE = Endpoint("203.0.113.9", 5060)
REGISTERED = Endpoint("203.0.113.20", 1024)
"""Where a phone is registered."""
ANONYMOUS = ("anonymous@anonymous.invalid", "Anonymous@x", "@anonymous.invalid", "@privacy.INVALID")


class Bench:
    def __init__(self, **settings: Any) -> None:
        settings.setdefault("phones", [{"user": "ann", "password": "secret"}, {"user": "bob", "password": "hidden"}])
        self.counters: Counter[str] = Counter()
        self.server = DigestServer("trunkline", b"k" * 32)
        self.access = Access(
            SipSettings.model_validate(settings),
            self.server,
            self.counters,
            lambda source, _now: source == REGISTERED,
        )

    def request(self, user: str, authorization: str = "", method: str = "INVITE") -> SipRequest:
        sender = f"sip:{user}" if "@" in user else f"sip:{user}@x"
        lines = [f"{method} {URI} SIP/2.0", f"From: <{sender}>;tag=1", f"To: <{sender}>"]
        request = message("\n".join([*lines, f"Authorization: {authorization}"] if authorization else lines))
        assert isinstance(request, SipRequest)
        return request

    def call(self, user: str, source: Endpoint = ELSEWHERE, authorization: str = "", now: float = 0) -> PeerIdentity:
        return self.access.identify(self.request(user, authorization), source, now)

    def refused(self, user: str, source: Endpoint = ELSEWHERE, authorization: str = "", now: float = 0) -> Rejection:
        with pytest.raises(Rejection) as refused:
            self.call(user, source, authorization, now)
        return refused.value

    def answer(
        self,
        user: str,
        password: str,
        now: float = 0,
        method: str = "INVITE",
        uri: str = URI,
        source: Endpoint = ELSEWHERE,
    ) -> str:
        """The credentials of the user's phone for our challenge to that address."""
        cnonces = count()
        answerer = DigestClient(Credentials(user, password), lambda: f"cnonce{next(cnonces)}")
        assert answerer.challenged([("www-authenticate", self.server.challenges(origin_of(source.host), now)[0])])
        return answerer.headers(method, uri)[0][1]

    def register(self, user: str, source: Endpoint, authorization: str = "", now: float = 0) -> str:
        """The refusal of a REGISTER; empty if it is accepted."""
        try:
            return "" if self.access.registrant(self.request(user, authorization, "REGISTER"), source, now) else "?"
        except Rejection as refused:
            return str(refused)


def test_a_phone_with_the_right_password_may_call() -> None:
    bench = Bench()
    refused = bench.refused("ann")
    assert refused.status == 401
    assert [value.rpartition("algorithm=")[2] for _, value in refused.headers] == ["SHA-256", "MD5"]
    assert bench.call("ann", authorization=bench.answer("ann", "secret")) == PeerIdentity(phone="ann")
    assert bench.counters["auth_failures"] == 0


def test_a_phone_may_not_call_as_another_user() -> None:
    bench = Bench()
    other = "403 From Is Not The Authenticated User"
    assert str(bench.refused("bob", authorization=bench.answer("ann", "secret"))) == other
    assert str(bench.refused("+1555", authorization=bench.answer("ann", "secret"))) == other


@pytest.mark.parametrize("sender", ANONYMOUS)
def test_a_phone_may_call_anonymously(sender: str) -> None:
    bench = Bench(unknown_callers="none")
    refused = bench.refused(sender)
    assert (refused.status, refused.headers[0][0]) == (401, "WWW-Authenticate")
    assert bench.call(sender, authorization=bench.answer("ann", "secret")) == PeerIdentity(phone="ann")
    assert bench.refused(sender, authorization=bench.answer("ann", "guess")).status == 401
    assert bench.counters["auth_failures"] == 1


@pytest.mark.parametrize("sender", ["+1900@anonymous.invalid", "bob@anonymous.invalid", "x.anonymous@x", "@invalid.x"])
def test_no_host_makes_a_name_or_number_anonymous(sender: str) -> None:
    bench = Bench(unknown_callers="none")
    assert bench.refused(sender, authorization=bench.answer("ann", "secret")).status == 403
    assert bench.refused(sender).status == 401


def test_a_uri_of_another_scheme_is_neither_a_phone_nor_anonymous() -> None:
    bench = Bench(unknown_callers="all")
    request = message(f"INVITE {URI} SIP/2.0\nFrom: <urn:service:sos>;tag=1\nTo: <{URI}>")
    assert isinstance(request, SipRequest)
    assert bench.access.identify(request, REGISTERED, 0) == PeerIdentity()
    with pytest.raises(Rejection, match="403 Unknown Caller"):
        Bench(unknown_callers="none", phones=[]).access.identify(request, REGISTERED, 0)


def test_an_anonymous_call_is_challenged_only_if_a_phone_may_be_the_caller() -> None:
    trunks = [{"name": "t", "targets": ["sip:198.51.100.1"], "networks": ["192.0.2.0/24"]}]
    for policy, admitted in (("all", PeerIdentity()), ("none", None), ("loopback", None)):
        bench = Bench(unknown_callers=policy, trunks=trunks)
        assert bench.call(ANONYMOUS[0], Endpoint("192.0.2.1", 5060)) == PeerIdentity(trunk="t")
        assert bench.call(ANONYMOUS[0], Endpoint("198.51.100.1", 5060)) == PeerIdentity(trunk="t")
        assert bench.refused(ANONYMOUS[0], REGISTERED).status == 401
        if admitted is None:
            assert bench.refused(ANONYMOUS[0]).status == 401
        else:
            assert bench.call(ANONYMOUS[0]) == admitted
    assert bench.refused("+1555", REGISTERED).status == 401, "an unknown name is not admitted"
    assert Bench(unknown_callers="none", phones=[]).refused(ANONYMOUS[0]).status == 403


def test_anonymous_wrong_passwords_are_banned_like_others() -> None:
    bench = Bench(auth_failures=3, unknown_callers="none")
    for now in range(3):
        bench.refused(ANONYMOUS[0], authorization=bench.answer("ann", "guess"), now=now)
    assert str(bench.refused(ANONYMOUS[0], now=4)) == "403 Too Many Failures"


def test_credentials_are_valid_for_one_call() -> None:
    bench = Bench()
    first, second = bench.answer("ann", "secret"), bench.answer("ann", "secret", 1)
    assert bench.call("ann", authorization=first) == PeerIdentity(phone="ann")
    other = bench.request("ann", first.replace("Digest", "digest"))
    with pytest.raises(Rejection, match="401") as again:
        bench.access.identify(other, ELSEWHERE, 1)
    assert "stale=true" in again.value.headers[0][1]
    assert bench.call("ann", authorization=second, now=2) == PeerIdentity(phone="ann")
    assert bench.counters["auth_failures"] == 0


def test_an_expired_nonce_is_stale_and_no_failure() -> None:
    bench = Bench()
    refused = bench.refused("ann", authorization=bench.answer("ann", "secret"), now=100)
    assert "stale=true" in refused.headers[0][1]
    assert bench.counters["auth_failures"] == 0


def test_repeated_wrong_passwords_are_banned_for_a_time() -> None:
    bench = Bench(auth_failures=3, auth_ban=30)
    for now in range(3):
        assert bench.refused("ann", authorization=bench.answer("ann", "guess"), now=now).status == 401
    right = bench.answer("ann", "secret")
    assert str(bench.refused("ann", authorization=right, now=31)) == "403 Too Many Failures"
    other = Endpoint("203.0.113.10", 5060)
    assert bench.call("ann", other, bench.answer("ann", "secret", source=other), now=31) == PeerIdentity(phone="ann")
    assert bench.call("ann", authorization=right, now=32) == PeerIdentity(phone="ann")
    assert bench.counters == {"auth_failures": 3, "auth_banned": 1}


def test_forged_requests_do_not_ban_the_address_that_they_name() -> None:
    bench = Bench(auth_failures=1, auth_failures_per_name=1)
    guess = bench.answer("ann", "guess")
    for forged in (
        guess.replace(' nonce="', ' nonce="f'),
        bench.answer("ann", "guess", source=Endpoint("192.0.2.66", 5060)),
        guess.replace("nc=", "n="),
        guess.replace('realm="trunkline"', 'realm="x"'),
    ):
        assert bench.refused("ann", authorization=forged).status == 401
        assert bench.register("ann", ELSEWHERE, forged).startswith("401")
    assert bench.counters["auth_failures"] == 0
    assert bench.call("ann", authorization=bench.answer("ann", "secret")) == PeerIdentity(phone="ann")


def test_a_phone_at_a_new_address_is_challenged_again_and_not_counted() -> None:
    bench = Bench(auth_failures=1)
    old, new = ELSEWHERE, Endpoint("203.0.113.50", 7000)
    answer = bench.answer("ann", "secret", method="REGISTER", source=old)
    assert bench.register("ann", old, answer) == ""
    assert bench.register("ann", Endpoint(old.host, 9), bench.answer("ann", "secret", 1, "REGISTER"), 1) == ""
    assert bench.register("ann", new, answer, 2) == "401 Unauthorized"
    assert bench.register("ann", new, bench.answer("ann", "secret", 2, "REGISTER", source=new), 3) == ""
    assert bench.counters["auth_failures"] == 0


def test_a_phone_goes_on_where_it_has_proved_its_password() -> None:
    bench = Bench(auth_failures=2, auth_failures_per_name=3)
    assert bench.call("ann", authorization=bench.answer("ann", "secret")) == PeerIdentity(phone="ann")
    for number in range(9):
        for user in ("ann", "bob"):
            source = Endpoint(f"192.0.2.{number}", 5060)
            bench.refused(user, source, bench.answer(user, "guess", source=source))
        bench.refused("bob", authorization=bench.answer("bob", "guess"))
    assert str(bench.refused("bob")) == "403 Too Many Failures"
    assert str(bench.refused("ann", REGISTERED)) == "403 Too Many Failures"
    assert bench.call("ann", authorization=bench.answer("ann", "secret", 1), now=1) == PeerIdentity(phone="ann")


def test_unknown_names_get_the_answers_of_phones() -> None:
    for user, policy in (("ann", "none"), ("eve", "none"), ("ann", "loopback"), ("+1555", "loopback")):
        bench = Bench(unknown_callers=policy, auth_failures=3, auth_failures_per_name=2)
        guesses = [bench.answer(user, "guess") for _ in range(3)]
        answers = [bench.refused(user), *(bench.refused(user, authorization=guess, now=1) for guess in guesses)]
        answers.append(bench.refused(user, REGISTERED))
        assert [(one.status, one.reason, len(one.headers)) for one in answers] == [
            (401, "Unauthorized", 2),
            (401, "Unauthorized", 2),
            (401, "Unauthorized", 2),
            (403, "Too Many Failures", 0),
            (403, "Too Many Failures", 0),
        ]
        assert not any("stale" in value for one in answers for _, value in one.headers)


@pytest.mark.parametrize(
    ("user", "source", "authorization", "ignored"),
    [
        ("eve", ELSEWHERE, "", True),
        ("anonymous", ELSEWHERE, "", True),
        ("ann", ELSEWHERE, "", False),
        ("anonymous", ELSEWHERE, 'Digest username="ann", realm="trunkline"', False),
        ("eve", ELSEWHERE, 'Digest username="eve", realm="trunkline"', True),
        ("eve", REGISTERED, "", False),
        ("eve", Endpoint("127.0.0.1", 9), "", False),
        ("eve", Endpoint("192.0.2.9", 9), "", False),
        ("eve", Endpoint("198.51.100.1", 9), "", False),
    ],
)
def test_requests_of_unknown_origin_get_no_answer(
    user: str, source: Endpoint, authorization: str, ignored: bool
) -> None:
    trunks = [{"name": "t", "targets": ["sip:198.51.100.1"], "networks": ["192.0.2.0/24"]}]
    silent, loud = Bench(silent=True, trunks=trunks), Bench(trunks=trunks)
    request = silent.request(user, authorization)
    assert silent.access.is_ignored(request, source, 0) is ignored
    assert not loud.access.is_ignored(request, source, 0)


def test_malformed_requests_of_unknown_origin_get_no_answer() -> None:
    request = message("INVITE sip:x SIP/2.0\nFrom: <")
    assert isinstance(request, SipRequest)
    assert Bench(silent=True).access.is_ignored(request, ELSEWHERE, 0)


def test_a_register_needs_a_phone_s_password_and_its_own_address() -> None:
    bench = Bench()
    for user in ("ann", "nobody"):
        with pytest.raises(Rejection, match=r"^401 Unauthorized$"):
            bench.access.registrant(bench.request(user, method="REGISTER"), ELSEWHERE, 0)
    answer = bench.answer("ann", "secret", method="REGISTER")
    assert bench.access.registrant(bench.request("ann", answer, "REGISTER"), ELSEWHERE, 0) == "ann"
    answer = bench.answer("ann", "secret", method="REGISTER")
    with pytest.raises(Rejection, match="403 To Is Not The Authenticated User"):
        bench.access.registrant(bench.request("bob", answer, "REGISTER"), ELSEWHERE, 0)


def test_without_phones_each_register_is_refused() -> None:
    bench = Bench(phones=[])
    with pytest.raises(Rejection, match="403 No Phones Here"):
        bench.access.registrant(bench.request("ann", method="REGISTER"), ELSEWHERE, 0)


@pytest.mark.parametrize(
    ("policy", "host", "taken"),
    [
        ("loopback", "127.0.0.1", True),
        ("loopback", "::1", True),
        ("loopback", "::ffff:127.0.0.1", True),
        ("loopback", "203.0.113.9", False),
        ("all", "203.0.113.9", True),
        ("none", "127.0.0.1", False),
    ],
)
def test_unknown_callers_are_admitted_as_the_setting_says(policy: str, host: str, taken: bool) -> None:
    bench = Bench(unknown_callers=policy)
    if taken:
        assert bench.call("+1555", Endpoint(host, 5060)) == PeerIdentity()
    else:
        bench = Bench(unknown_callers=policy, phones=[])
        assert bench.refused("+1555", Endpoint(host, 5060)).reason == "Unknown Caller"
        assert bench.counters["unknown_callers"] == 1


def test_trunks_are_recognised_by_their_networks_and_targets() -> None:
    bench = Bench(
        trunks=[
            {"name": "a", "targets": ["sip:a.example.com"], "networks": ["192.0.2.0/24", "2001:db8::/32"]},
            {"name": "b", "targets": ["sip:198.51.100.1:5070", "sip:[2001:db9::1]"]},
        ]
    )
    assert bench.call("+1555", Endpoint("192.0.2.77", 9)) == PeerIdentity(trunk="a")
    assert bench.call("ann", Endpoint("2001:db8::5", 9)) == PeerIdentity(trunk="a"), "a trunk may send any From"
    assert bench.call("+1555", Endpoint("198.51.100.1", 9)) == PeerIdentity(trunk="b")
    assert bench.call("+1555", Endpoint("2001:db9::1", 9)) == PeerIdentity(trunk="b")
    assert bench.refused("ann", Endpoint("198.51.100.1", 9)).status == 401
    bench.access.learn("a", ["203.0.113.9"])
    assert bench.call("+1555", ELSEWHERE) == PeerIdentity(trunk="a")


def test_new_settings_keep_learned_addresses_and_bans() -> None:
    bench = Bench(
        auth_failures=1, trunks=[{"name": "a", "targets": ["sip:a.test"]}, {"name": "b", "targets": ["sip:b"]}]
    )
    for name, address in (("a", "198.51.100.8"), ("b", "198.51.100.9")):
        bench.access.learn(name, [address])
    bench.refused("ann", authorization=bench.answer("ann", "guess"))
    trunks = [{"name": "a", "targets": ["sip:a.test"]}, {"name": "b", "targets": ["sip:other.test"]}]
    phones = [{"user": "ann", "password": "changed"}]
    bench.access.reconfigure(SipSettings.model_validate({"auth_failures": 1, "trunks": trunks, "phones": phones}))
    assert bench.call("+1", Endpoint("198.51.100.8", 5060)) == PeerIdentity(trunk="a")
    assert (
        str(bench.refused("+1", Endpoint("198.51.100.9", 5060)))
        == "401 Unauthorized: neither a trunk nor a phone calls, and sip.unknown_callers=loopback does not admit this "
        "address"
    )
    bench.access.learn("gone", ["198.51.100.9"])
    assert bench.refused("+1", Endpoint("198.51.100.9", 5060)).status == 401
    assert bench.refused("ann").status == 403, "still shut out"
    elsewhere, settings = Endpoint("203.0.113.20", 5060), {"auth_failures": 9, "trunks": trunks, "phones": phones}
    bench.access.reconfigure(SipSettings.model_validate(settings))
    assert bench.call("ann", elsewhere, bench.answer("ann", "changed", source=elsewhere)) == PeerIdentity(phone="ann")
    assert bench.refused("bob", elsewhere, bench.answer("bob", "secret", source=elsewhere)).status == 401


TRUNKS = [
    {"name": "carrier", "targets": ["sip:198.51.100.1"], "dial_prefixes": ["+4930*"]},
    {"name": "closed", "targets": ["sip:c.test"], "networks": ["192.0.2.0/24"]},
]


@pytest.mark.parametrize(
    ("uri", "host", "name", "allowed"),
    [
        ("sip:+19001@198.51.100.1", "198.51.100.1", "", False),
        ("sip:+49301@198.51.100.1", "198.51.100.1", "", True),
        ("sip:%2B49301@198.51.100.1:5080", "198.51.100.1", "", True),
        ("sip:0301;phone-context=+1900@198.51.100.1", "198.51.100.1", "", False),
        ("sip:198.51.100.1", "198.51.100.1", "", False),
        ("sip:+19001@looks.harmless.example", "::ffff:198.51.100.1", "", False),
        ("sip:+19001@x.example", "203.0.113.77", "", False),
        ("sip:+49301@x.example", "192.0.2.8", "", False),
        ("sip:+19001@x.example", "192.0.2.8", "closed", True),
        ("sip:+19001@x.example", "192.0.2.8", "carrier", False),
        ("sip:+19001@x.example", "203.0.113.9", "", True),
    ],
)
def test_a_uri_at_a_trunk_s_address_needs_a_number_that_the_trunk_allows(
    uri: str, host: str, name: str, allowed: bool
) -> None:
    bench = Bench(trunks=TRUNKS)
    bench.access.learn("closed", ["203.0.113.77"])
    target, free = Target(uri, Endpoint(host, 5060), "udp"), Target(uri, ELSEWHERE, "udp")
    invite = SendInvite(DialogId(1), "uri", name, uri, "us", "", "", restricted=True)
    assert bench.access.permitted(replace(invite, restricted=False), (target,)) == (target,)
    assert bench.access.permitted(invite, (target, free)) == ([target, free] if allowed else [free])
    alone = bench.access.permitted(invite, (target,))
    if allowed:
        assert alone == [target]
    else:
        assert isinstance(alone, Unreachable)
        assert (alone.status, "dial_prefixes" in alone.detail) == (403, True)
    assert bench.access.permitted(invite, unknown := Unreachable(404, "Not Found", "")) is unknown

"""Digest authentication, held against the examples of RFC 2617 and RFC 7616."""

import re
from collections import Counter

import pytest

from sip.bench import message
from trunkline.sip.message.digest import (
    DigestClient,
    DigestServer,
    covers,
    digest_response,
    format_digest,
    parse_digest,
)
from trunkline.sip.message.nonces import NONCE_LIFETIME
from trunkline.sip.message.validation import SipRequest
from trunkline.sip.values import Credentials

MUFASA = {
    "username": "Mufasa",
    "uri": "/dir/index.html",
    "nc": "00000001",
    "qop": "auth",
}
RFC_2617 = {
    **MUFASA,
    "realm": "testrealm@host.com",
    "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
    "cnonce": "0a4f113b",
}
RFC_7616 = {
    **MUFASA,
    "realm": "http-auth@example.org",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
}
CREDENTIALS = Credentials("ann", "secret")
URI = "sip:bob@example.com"
ADDRESS = "203.0.113.9"


@pytest.mark.parametrize(
    ("params", "password", "response"),
    [
        (RFC_2617, "Circle Of Life", "6629fae49393a05397450978507c4ef1"),
        ({**RFC_7616, "algorithm": "MD5"}, "Circle of Life", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            {**RFC_7616, "algorithm": "SHA-256"},
            "Circle of Life",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
        (
            {**RFC_7616, "algorithm": "SHA-512-256"},
            "Circle of Life",
            "430d05014cecc49cab6fbe03176d41a1da86cbfe24a16580e22aaad928d960d0",
        ),
    ],
    ids=["RFC 2617 3.5", "RFC 7616 3.9.1 MD5", "RFC 7616 3.9.1 SHA-256", "RFC 7616 3.4.1"],
)
def test_the_examples_of_the_rfcs(params: dict[str, str], password: str, response: str) -> None:
    assert digest_response(params, password, "GET") == response


def answerer() -> DigestClient:
    return DigestClient(CREDENTIALS, lambda: "0123456789abcdef")


def challenge(**params: str) -> tuple[str, str]:
    return "www-authenticate", format_digest({"realm": "r", "nonce": "n1", **params})


def right(value: str, method: str = "INVITE") -> bool:
    """Whether a server that knows the password would accept a header."""
    params = parse_digest(value)
    return params["response"] == digest_response(params, "secret", method)


def test_a_challenge_is_answered_in_the_header_that_belongs_to_it() -> None:
    for asked, answered in (("www-authenticate", "Authorization"), ("proxy-authenticate", "Proxy-Authorization")):
        client = answerer()
        assert client.challenged([("via", "x"), (asked, 'Digest realm="a, b", nonce="n", opaque="o\\"p", qop="auth"')])
        ((name, value),) = client.headers("INVITE", URI)
        assert name == answered
        assert parse_digest(value) | {"response": ""} == {
            "username": "ann",
            "realm": "a, b",
            "nonce": "n",
            "uri": URI,
            "opaque": 'o"p',
            "qop": "auth",
            "nc": "00000001",
            "cnonce": "0123456789abcdef",
            "response": "",
        }
        assert right(value)


@pytest.mark.parametrize("extra", [{}, {"qop": '"auth-int,auth"'}, {"algorithm": "MD5-sess"}])
def test_with_and_without_qop(extra: dict[str, str]) -> None:
    client = answerer()
    assert client.challenged([challenge(**extra)])
    ((_, value),) = client.headers("INVITE", URI)
    assert right(value)
    assert ("nc" in parse_digest(value)) == ("qop" in extra)


def test_the_best_algorithm_offered_is_chosen() -> None:
    client = answerer()
    offered = ["MD5", "token", "SHA-256", "MD5-sess"]
    assert client.challenged([challenge(algorithm=name, nonce=name) for name in offered])
    ((_, value),) = client.headers("INVITE", URI)
    assert parse_digest(value)["algorithm"] == "SHA-256"
    assert right(value)
    client = answerer()
    assert client.challenged([challenge(algorithm=name, nonce=name) for name in (*offered, "SHA-512-256")])
    ((_, value),) = client.headers("INVITE", URI)
    assert parse_digest(value)["algorithm"] == "SHA-512-256"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic realm=x",
        "Digest",
        "Digest realm=(",
        'Digest realm="r"',
        'Digest realm="r", nonce="n", algorithm=X',
        'Digest realm="r", nonce="n", qop="auth-int"',
    ],
)
def test_a_challenge_that_cannot_be_answered_is_final(value: str) -> None:
    assert not answerer().challenged([("www-authenticate", value)])


def test_a_second_rejection_is_final_and_a_stale_nonce_only_if_repeated() -> None:
    client = answerer()
    assert client.challenged([challenge()])
    assert not client.challenged([challenge()])
    assert not client.challenged([challenge(nonce="n2")])
    assert not client.challenged([challenge(stale="true")])
    assert client.challenged([challenge(nonce="n2", stale="TRUE")])
    assert parse_digest(client.headers("INVITE", URI)[0][1])["nonce"] == "n2"
    assert not client.challenged([challenge(nonce="n3", stale="true")])


def test_a_proxy_and_a_server_behind_it_are_both_answered() -> None:
    client = answerer()
    assert client.challenged([("proxy-authenticate", 'Digest realm="p", nonce="1"')])
    assert client.challenged([challenge()])
    assert [name for name, _ in client.headers("INVITE", URI)] == ["Proxy-Authorization", "Authorization"]


def test_a_nonce_that_is_used_again_is_counted_on() -> None:
    uses: Counter[str] = Counter()
    counts = []
    for method in ("INVITE", "BYE"):
        client = DigestClient(CREDENTIALS, lambda: "c", uses)
        assert client.challenged([challenge(qop='"auth"')])
        ((_, value),) = client.headers(method, URI)
        assert right(value, method)
        counts.append(parse_digest(value)["nc"])
    assert counts == ["00000001", "00000002"]


def guard() -> DigestServer:
    return DigestServer("trunkline", b"k" * 32)


def credentials(now: float = 100.0, password: str = "secret", algorithm: int = 0, uri: str = URI) -> str:
    """The Authorization of a client with that password for our challenge."""
    client = DigestClient(Credentials("ann", password), lambda: "c")
    assert client.challenged([("www-authenticate", guard().challenges(ADDRESS, now)[algorithm])])
    return client.headers("REGISTER", uri)[0][1]


def request(method: str = "REGISTER", uri: str = URI, cseq: int = 1) -> SipRequest:
    made = message(f"{method} {uri} SIP/2.0\nCSeq: {cseq} {method}")
    assert isinstance(made, SipRequest)
    return made


def check(authorization: str, now: float = 100.5, server: DigestServer | None = None, address: str = ADDRESS) -> str:
    params = parse_digest(authorization)
    return (server or guard()).check(params, request(), address, now, {"ann": "secret"}.get).outcome


def test_our_challenges_are_answered_and_checked() -> None:
    strong, weak = guard().challenges(ADDRESS, 100)
    assert parse_digest(strong)["algorithm"] == "SHA-256"
    assert parse_digest(weak)["algorithm"] == "MD5"
    assert 'qop="auth"' in strong
    assert check(credentials()) == check(credentials(algorithm=1)) == "good"
    assert parse_digest(guard().challenges(ADDRESS, 100, stale=True)[0])["stale"] == "true"


@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_a_nonce_that_cannot_be_used_is_stale_whatever_the_password(password: str) -> None:
    late = 100 + NONCE_LIFETIME + 1
    ours = credentials(password=password)
    assert check(ours, late) == check(ours, 99) == "stale"
    assert check(ours, server=DigestServer("trunkline", b"x" * 32)) == "stale"
    assert check(ours, address="203.0.113.10") == "stale"
    assert check(ours.replace(' nonce="', ' nonce="f')) == "stale"


def test_credentials_are_valid_for_one_request_and_its_retransmissions() -> None:
    server = guard()
    client = DigestClient(CREDENTIALS, lambda: "c")
    assert client.challenged([("www-authenticate", server.challenges(ADDRESS, 100)[0])])
    first, second = (parse_digest(client.headers("REGISTER", URI)[0][1]) for _ in range(2))

    def outcome(params: dict[str, str], cseq: int) -> str:
        return server.check(params, request(cseq=cseq), ADDRESS, 100.5, {"ann": "secret"}.get).outcome

    assert outcome(first, 1) == outcome(first, 1) == "good"
    assert outcome(first, 2) == "stale", "the same credentials in another request"
    assert outcome(second, 2) == "good"
    assert outcome(first, 1) == "stale", "a replay after the next request"


def test_credentials_without_a_count_are_valid_once() -> None:
    server = guard()
    client = DigestClient(CREDENTIALS, lambda: "c")
    value = server.challenges(ADDRESS, 100)[0].replace(', qop="auth"', "")
    assert client.challenged([("www-authenticate", value)])
    params = parse_digest(client.headers("REGISTER", URI)[0][1])
    assert "nc" not in params
    for cseq, outcome, detail in ((1, "good", ""), (1, "good", ""), (2, "stale", "a nonce that was used before")):
        result = server.check(params, request(cseq=cseq), ADDRESS, 100, {"ann": "secret"}.get)
        assert (result.outcome, result.detail) == (outcome, detail)


@pytest.mark.parametrize(
    ("authorization", "outcome", "detail"),
    [
        (credentials(password="wrong"), "wrong", "wrong password"),
        (credentials(uri="sip:eve@example.com"), "wrong", "another URI"),
        (credentials().replace('"ann"', '"eve"'), "wrong", "unknown user"),
        (credentials().replace('"trunkline"', '"other"'), "invalid", "another realm"),
        (credentials().replace("SHA-256", "SHA-512"), "invalid", "algorithm"),
        (credentials().replace("qop=auth", "qop=auth-int"), "invalid", "malformed .* qop auth-int"),
        (credentials().replace("nc=", "xx="), "invalid", "incomplete"),
        (credentials().replace("nc=", "nc=g"), "invalid", "malformed"),
        (credentials().replace("response=", "r="), "invalid", "incomplete"),
        (credentials().replace('response="', 'response="\udcff'), "invalid", "malformed"),
        ("Digest ", "invalid", "incomplete"),
        ('Digest username="ann", response="\udcff"', "invalid", "incomplete"),
        (credentials(now=20), "stale", "expired nonce"),
        (credentials().replace('nonce="', 'nonce="f'), "stale", "not issued to this address"),
    ],
)
def test_wrong_credentials_are_refused_with_a_reason_for_the_log(authorization: str, outcome: str, detail: str) -> None:
    result = guard().check(parse_digest(authorization), request(), ADDRESS, 100.5, {"ann": "secret"}.get)
    assert result.outcome == outcome
    assert re.search(detail, result.detail)
    assert "secret" not in result.detail


CALL = "sip:+15550199@192.0.2.1:5060;transport=udp"
HOSTS = frozenset({"pbx.example"})


@pytest.mark.parametrize(
    ("method", "claimed", "uri", "covered"),
    [
        ("INVITE", CALL, CALL, True),
        ("INVITE", "sip:+15550199@192.0.2.1", CALL, True),
        ("INVITE", "sip:+15550199@192.0.2.1:5070;transport=tcp", CALL, True),
        ("INVITE", "sip:%2B1-555-0199@192.0.2.1;user=phone", CALL, True),
        ("INVITE", "sips:+15550199@PBX.example", CALL, True),
        ("INVITE", "sip:+15550199@elsewhere.example", CALL, True),
        ("INVITE", "tel:+15550199", CALL, True),
        ("INVITE", "sip:192.0.2.1;transport=UDP", CALL, True),
        ("INVITE", "sip:pbx.example", CALL, True),
        ("REGISTER", "sip:192.0.2.1;transport=UDP", "sip:192.0.2.1", True),
        ("REGISTER", "sip:192.0.2.1:5060", "sip:192.0.2.1", True),
        ("REGISTER", "sip:pbx.example", "sip:192.0.2.1", True),
        ("INVITE", "sip:+15550198@192.0.2.1", CALL, False),
        ("INVITE", "sip:15550199@192.0.2.1", CALL, False),
        ("INVITE", "sip:+15550199", CALL, False),  # a host, and no user
        ("INVITE", "sip:elsewhere.example", CALL, False),
        ("INVITE", "sip:0199;phone-context=+44@192.0.2.1", "sip:0199;phone-context=+1555@192.0.2.1", False),
        ("INVITE", "sip:elsewhere.example", "sip:192.0.2.1", False),
        ("REGISTER", "sip:elsewhere.example", "sip:192.0.2.1", False),
        ("REGISTER", "sip:ann@192.0.2.1", "sip:192.0.2.1", False),
        ("REGISTER", "sip:192.0.2.1", "sip:ann@192.0.2.1", False),
        ("INVITE", "http://192.0.2.1", CALL, False),
        ("INVITE", "", CALL, False),
        ("INVITE", "*", CALL, False),
    ],
)
def test_credentials_are_for_the_called_user_at_our_server(method: str, claimed: str, uri: str, covered: bool) -> None:
    assert covers(claimed, method, uri, HOSTS) is covered


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'uri="{URI}"', f"uri={URI}"),
        ('username="ann"', "username=ann"),
        ("qop=auth", 'qop="auth"'),
        ("nc=00000001", 'nc="00000001"'),
        (", nonce=", ",,nonce="),
        ("Digest ", "digest\t , "),
        ("algorithm=SHA-256", 'Algorithm="sha-256"'),
    ],
)
def test_sloppy_credentials_are_understood(old: str, new: str) -> None:
    assert old in credentials()
    assert check(credentials().replace(old, new)) == "good"
    assert check(credentials(password="wrong").replace(old, new)) == "wrong"
    assert check(credentials() + " , ") == "good"


def test_passwords_and_keys_are_in_no_repr() -> None:
    assert "secret" not in repr(answerer())
    assert "kkk" not in repr(guard())


@pytest.mark.parametrize("wrong", [{"qop": "auth-int"}, {"qop": "AUTH"}, {"algorithm": "SHA-1"}])
def test_unknown_schemes_and_algorithms_are_no_digest(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        digest_response({**RFC_7616, **wrong}, "Circle of Life", "GET")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Basic abc", "not Digest"),
        ("", "not Digest"),
        ('Digest realm="a" nonce', "malformed parameters"),
        ('Digest realm="a', "malformed parameters"),
    ],
)
def test_malformed_digests_are_refused_with_a_reason(value: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        parse_digest(value)

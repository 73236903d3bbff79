"""Digest authentication, server and client (RFC 7616, RFC 8760; RFC 3261 section 22). Pure.

A `DigestClient` belongs to one request with its retries: it takes the challenges of each rejection and makes the
headers of the next try, until it has no new answer. A `DigestServer` challenges and checks: credentials are valid for
one request, and from the address that was challenged (`nonces.py`). Only with a nonce that can be used does a wrong
password count as one; any other gets a new challenge whatever the password is, so that guessing with nonces that were
made up says nothing.

The `uri` of credentials says what they are for. Clients write it in other ways than the Request-URI: without its port
or parameters, with parameters of their own, with their own domain where a proxy has put our address. RFC 3261 section
22.4 leaves the decision to the server. What counts is the user that is called, and the server (`covers`):

* The same user at a host of ours: port and parameters do not change the target.
* The same user at another host, in an INVITE: a server that copies it can only call the same user here. A copied
  REGISTER would redirect the phone's calls, and is refused.
* No user at the host of the Request-URI, in an INVITE.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from trunkline.sip.message.headers import TOKEN, parse_uri
from trunkline.sip.message.nonces import Nonces
from trunkline.sip.message.numbers import number_of
from trunkline.sip.message.validation import SipRequest
from trunkline.sip.values import Credentials

ALGORITHMS = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
"""Best first, with their names in hashlib. Each may have the suffix `-sess`."""
_QUOTED = ("realm", "nonce", "opaque", "uri", "username", "response", "cnonce")
_ANSWERED_BY = {"www-authenticate": "Authorization", "proxy-authenticate": "Proxy-Authorization"}
# Some clients do not quote values that must be quoted, such as the URI, or end the list with a comma.
_PARAM = re.compile(
    rf"[\s,]*(?P<name>{TOKEN})\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^\s,\"]+))\s*(?:,|$)"
)


def parse_digest(value: str) -> dict[str, str]:
    """The parameters of a challenge or of credentials, names in lower case, values unquoted. Raises ValueError: another
    scheme, or broken."""
    scheme, text, *_ = *value.split(None, 1), "", ""
    if scheme.lower() != "digest":
        raise ValueError("not Digest")
    params: dict[str, str] = {}
    end = 0
    while match := _PARAM.match(text, end):
        quoted = match["quoted"]
        value = match["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        params.setdefault(match["name"].lower(), value)
        end = match.end()
    if text[end:].strip(" \t,"):
        raise ValueError("malformed parameters")
    return params


def format_digest(params: dict[str, str]) -> str:
    """The text of a challenge or of credentials."""
    return "Digest " + ", ".join(
        f"{name}={_quoted(value) if name in _QUOTED else value}" for name, value in params.items()
    )


def digest_response(params: dict[str, str], secret: str, method: str) -> str:
    """The `response` that credentials must have (RFC 7616 section 3.4.1), with qop `auth` or none. `secret` is the
    password. Raises ValueError: unknown algorithm or qop."""
    name = params.get("algorithm", "MD5")
    plain = name.upper().removesuffix("-SESS")
    if plain not in ALGORITHMS:
        raise ValueError(f"algorithm {name}")

    def digest(*parts: str) -> str:
        return hashlib.new(ALGORITHMS[plain], ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    qop, nonce = params.get("qop", ""), params["nonce"]
    ha1 = digest(params["username"], params["realm"], secret)
    if name.upper().endswith("-SESS"):
        ha1 = digest(ha1, nonce, params["cnonce"])
    ha2 = digest(method, params["uri"])
    if not qop:
        return digest(ha1, nonce, ha2)
    if qop != "auth":
        raise ValueError(f"qop {qop}")
    return digest(ha1, nonce, params["nc"], params["cnonce"], qop, ha2)


@dataclass(slots=True)
class DigestClient:
    """Answers the challenges to one request that we send."""

    credentials: Credentials
    random: Callable[[], str]
    """Makes cnonces: tokens of at least 64 random bits."""
    uses: Counter[str] = field(default_factory=Counter)
    """Uses of each nonce; the requests of one dialog share it."""
    _challenges: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """By header and realm; several proxies may challenge a request, each with its own realm."""
    _refreshed: set[tuple[str, str]] = field(default_factory=set)

    def challenged(self, headers: Iterable[tuple[str, str]]) -> bool:
        """Take the challenges of a 401 or 407: its headers, names in lower case. False: the request fails, since
        no challenge can be answered, or our answer was rejected."""
        best: dict[tuple[str, str], dict[str, str]] = {}
        for name, value in headers:
            params = _usable(value) if name in _ANSWERED_BY else None
            if params is not None and self.credentials.realm in (None, params["realm"]):
                key = (_ANSWERED_BY[name], params["realm"])
                if key not in best or _rank(params) < _rank(best[key]):
                    best[key] = params
        for key, params in best.items():
            if key in self._challenges and not self._stale(key, params):
                return False
        self._challenges.update(best)
        return bool(best)

    def _stale(self, key: tuple[str, str], params: dict[str, str]) -> bool:
        """Whether only the nonce of our answer was rejected; accepted once."""
        again = params.get("stale", "").lower() == "true" and params["nonce"] != self._challenges[key]["nonce"]
        if not again or key in self._refreshed:
            return False
        self._refreshed.add(key)
        return True

    def headers(self, method: str, uri: str) -> tuple[tuple[str, str], ...]:
        """Headers of the next try; new ones for each."""
        return tuple((name, self._answer(params, method, uri)) for (name, _), params in self._challenges.items())

    def _answer(self, challenge: dict[str, str], method: str, uri: str) -> str:
        answer = {"username": self.credentials.username, "realm": challenge["realm"], "nonce": challenge["nonce"]}
        answer["uri"] = uri
        algorithm = challenge.get("algorithm", "MD5")
        if "algorithm" in challenge:
            answer["algorithm"] = algorithm
        if "opaque" in challenge:
            answer["opaque"] = challenge["opaque"]
        if "qop" in challenge:
            self.uses[challenge["nonce"]] += 1
            answer |= {"qop": "auth", "nc": f"{self.uses[challenge['nonce']]:08x}"}
        if "qop" in challenge or algorithm.upper().endswith("-SESS"):
            answer["cnonce"] = self.random()
        answer["response"] = digest_response(answer, self.credentials.password, method)
        return format_digest(answer)


@dataclass(frozen=True, slots=True)
class AuthResult:
    """Result of checking credentials."""

    outcome: Literal["good", "stale", "invalid", "wrong"]
    """`stale`: the nonce cannot be used, and nothing else was checked; challenge again, with `stale=True`. `invalid`:
    no answer to a challenge of ours. `wrong`: a wrong password."""
    detail: str = ""
    """The error, for the log; without secrets."""


class DigestServer:
    """Challenges requests of peers, and checks their credentials."""

    def __init__(
        self,
        realm: str,
        key: bytes,
        algorithms: tuple[str, ...] = ("SHA-256", "MD5"),
        hosts: frozenset[str] = frozenset(),
        server: str = "",
    ) -> None:
        """`key` and `server` are those of `Nonces`; `algorithms` in order of preference (RFC 8760 section 2.4); `hosts`
        are ours besides that of a Request-URI, in lower case."""
        self.realm = realm
        self._algorithms = algorithms
        self._hosts = hosts
        self._nonces = Nonces(key, realm, server)

    def challenges(self, address: str, now: float, *, stale: bool = False) -> tuple[str, ...]:
        """Values of WWW-Authenticate for a peer at that address, one for each algorithm."""
        params = {"realm": self.realm, "nonce": self._nonces.issue(address, now), "qop": '"auth"'}
        if stale:
            params["stale"] = "true"
        return tuple(format_digest({**params, "algorithm": algorithm}) for algorithm in self._algorithms)

    def check(
        self,
        params: dict[str, str],
        request: SipRequest,
        address: str,
        now: float,
        password_of: Callable[[str], str | None],
    ) -> AuthResult:
        """Check the credentials of a request, its Authorization as `parse_digest` gives it. `password_of` gives the
        password of a user, None if unknown; an unknown user and a wrong password give the same result, after the same
        work. `good`: the user is `params["username"]`."""
        missing = {"username", "realm", "nonce", "uri", "response"} - params.keys()
        if missing or (params.get("qop") and not params.keys() >= {"nc", "cnonce"}):
            return AuthResult("invalid", "incomplete credentials")
        if params["realm"] != self.realm or params.get("algorithm", "MD5").upper() not in self._algorithms:
            return AuthResult("invalid", "another realm or algorithm")
        fault = self._nonces.fault(params["nonce"], address, now)
        if fault:
            return AuthResult("stale", fault)
        password = password_of(params["username"])
        try:
            count = int(params["nc"][:8], 16) if params.get("qop") else None
            expected = digest_response(params, password or "", request.method).encode()
            right = hmac.compare_digest(expected, params["response"].lower().encode()) and password is not None
        except ValueError as error:
            return AuthResult("invalid", f"malformed credentials: {error}")
        if not right:
            return AuthResult("wrong", "unknown user or wrong password")
        if not covers(params["uri"], request.method, request.uri, self._hosts):
            return AuthResult("wrong", "another URI than the request's")
        identity = hashlib.sha256(repr(request).encode()).digest()
        if not self._nonces.use(params["nonce"], count, identity, now):
            return AuthResult("stale", "a nonce that was used before")
        return AuthResult("good")


def covers(claimed: str, method: str, uri: str, hosts: frozenset[str] = frozenset()) -> bool:
    """Whether credentials with the `uri` `claimed` are for a request with that Request-URI."""
    if claimed == uri:
        return True
    try:
        there, here = parse_uri(claimed), parse_uri(uri)
    except (ValueError, LookupError):
        return False
    ours = there.host.lower() in {here.host.lower(), *hosts}
    if number_of(there) == number_of(here):
        return ours or (method == "INVITE" and bool(here.user))
    return ours and method == "INVITE" and not there.user


def _usable(value: str) -> dict[str, str] | None:
    """A challenge that we can answer."""
    try:
        params = parse_digest(value)
    except ValueError:
        return None
    if not params.keys() >= {"realm", "nonce"} or _rank(params) >= len(ALGORITHMS):
        return None
    if "qop" in params and "auth" not in re.split(r"[\s,]+", params["qop"].lower()):
        return None
    return params


def _rank(params: dict[str, str]) -> int:
    name = params.get("algorithm", "MD5").upper().removesuffix("-SESS")
    return list(ALGORITHMS).index(name) if name in ALGORITHMS else len(ALGORITHMS)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

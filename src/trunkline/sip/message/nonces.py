"""Nonces of our digest challenges (RFC 7616 sections 3.3 and 5.4). Pure.

A nonce has the time of its issue, a number, the label of the server that issued it, and a signature of these and of the
address that it was issued to. So one that was made up, or issued to another address, is recognised without memory. The
port is not signed, since NATs change it.

Who has proved a password uses up the request count (`nc`) of its nonce. Counts may come in any order within `WINDOW`;
the same request again is a retransmission, and the same use. Clients without counts can use a nonce once. The counts of
a nonce that another server with the same key has issued are not known, so it can be used once too.

Uses are kept until the nonce expires. Beyond `USED_LIMIT` nonces the one used first is dropped: it, and any as old that
was not used, counts as expired.
"""

import hmac
from dataclasses import dataclass

NONCE_LIFETIME = 60.0
"""Seconds for which a nonce can be used; then the client gets a new one (`stale=true`)."""
USED_LIMIT = 100_000
"""Nonces whose uses are kept."""
WINDOW = 32
"""Counts below the highest that may still come: requests over UDP overtake each other."""


@dataclass(slots=True)
class _Uses:
    issued: float
    highest: int
    """Count."""
    seen: int
    """Bit n: the count `highest - n` was used."""
    once: bool
    """It cannot be used again."""
    request: bytes
    """Identifies the latest one."""


class Nonces:
    """Nonces of one realm. Times are seconds of any clock; nonces survive a restart only if it and the key do."""

    def __init__(self, key: bytes, realm: str, server: str = "") -> None:
        """`key`: 32 random bytes, the same in all servers that accept each other's nonces; `server` is the label of
        this one, without dots."""
        self._key = key
        self._realm = realm
        self._server = server
        self._issued = 0
        self._uses: dict[str, _Uses] = {}
        """By nonce, first used first."""
        self._expired_until = float("-inf")
        """Issued until then, and not used: expired."""

    def issue(self, address: str, now: float) -> str:
        """A new nonce for that address."""
        self._issued += 1
        return self._signed(f"{int(now * 1000):x}.{self._issued:x}.{self._server}", address)

    def fault(self, nonce: str, address: str, now: float) -> str:
        """Why a nonce cannot be used by that address; empty if it can be."""
        signed = self._signed(nonce.rpartition(".")[0], address)
        if not nonce.isascii() or not hmac.compare_digest(signed, nonce):
            return "a nonce that was not issued to this address"
        return "" if 0 <= now - _issued(nonce) <= NONCE_LIFETIME else "an expired nonce"

    def use(self, nonce: str, count: int | None, request: bytes, now: float) -> bool:
        """Use up a count of a nonce without fault; None: the client sends no counts. `request` identifies the request
        as a whole. False: it was used before."""
        while self._uses and now - next(iter(self._uses.values())).issued > NONCE_LIFETIME:
            del self._uses[next(iter(self._uses))]
        uses = self._uses.get(nonce)
        if uses is None:
            return self._use_first(nonce, count, request)
        if uses.request == request:
            return True
        if uses.once or count is None or not _take(uses, count):
            return False
        uses.request = request
        return True

    def _use_first(self, nonce: str, count: int | None, request: bytes) -> bool:
        issued = _issued(nonce)
        if issued <= self._expired_until:
            return False
        ours = nonce.split(".")[2] == self._server
        self._uses[nonce] = _Uses(issued, count or 0, 1, count is None or not ours, request)
        if len(self._uses) > USED_LIMIT:
            dropped = self._uses.pop(next(iter(self._uses)))
            self._expired_until = max(self._expired_until, dropped.issued)
        return True

    def _signed(self, text: str, address: str) -> str:
        signed = f"{text} {address} {self._realm}".encode("utf-8", "backslashreplace")
        return f"{text}.{hmac.new(self._key, signed, 'sha256').hexdigest()[:32]}"


def _issued(nonce: str) -> float:
    return int(nonce.partition(".")[0], 16) / 1000


def _take(uses: _Uses, count: int) -> bool:
    """Mark a count as used; False if it was, or is too old to know."""
    behind = uses.highest - count
    if behind >= WINDOW or (behind >= 0 and uses.seen >> behind & 1):
        return False
    if behind >= 0:
        uses.seen |= 1 << behind
    else:
        uses.seen = uses.seen << min(-behind, WINDOW) | 1
        uses.highest = count
    uses.seen &= (1 << WINDOW) - 1
    return True

"""Bans after wrong passwords, by address and by name. Pure.

An address (IPv6: its /64) with `sip.auth_failures` wrong passwords is banned, and so is a name with
`sip.auth_failures_per_name` of them from all addresses together, until `sip.auth_ban` seconds after the last. A phone
goes on where it has proved its password before: there only wrong passwords for its own name, from that address, count.
So neither another phone behind the same NAT nor passwords that are guessed elsewhere shut it out.

Names count whether a phone has them or not. Bounds: `COUNT_LIMIT` counts, of which the one that rests longest is
dropped; `PROVEN_LIMIT` addresses of a phone, of which the oldest is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from trunkline.config import SipSettings

COUNT_LIMIT = 10000
"""Addresses and names with wrong passwords that are remembered."""
PROVEN_LIMIT = 20
"""Addresses at which one phone has proved its password."""
NAME_LENGTH = 65
"""Characters of a name that are kept: one more than a phone's may have."""

_Key = tuple[str | None, str | None]
"""A name and an address; None: any."""


@dataclass(slots=True)
class _Count:
    wrong: int
    last: float


class Bans:
    """The counts of one endpoint. An address is an `origin_of`; times are seconds of a monotonic clock."""

    def __init__(self, settings: SipSettings) -> None:
        self._settings = settings
        self._counts: dict[_Key, _Count] = {}
        """The one that rests longest first."""
        self._proven: dict[str, dict[str, None]] = {}
        """Addresses of each phone, the newest last."""

    def __len__(self) -> int:
        """Counts that are remembered."""
        return len(self._counts)

    def reconfigure(self, settings: SipSettings) -> None:
        """Use these settings from now on. Phones that are gone, or have another password, have proved nothing."""
        before = {phone.user: phone.password for phone in self._settings.phones}
        same = {phone.user for phone in settings.phones if before.get(phone.user) == phone.password}
        self._proven = {user: addresses for user, addresses in self._proven.items() if user in same}
        self._settings = settings

    def is_banned(self, name: str, address: str, now: float) -> bool:
        """Whether passwords for that name from that address are not checked at present."""
        return any(self._wrong(key, now) >= limit for key, limit in self._limits(name, address))

    def failed(self, name: str, address: str, now: float) -> None:
        """The password for that name from that address was wrong."""
        for key, _ in self._limits(name, address):
            count = _Count(self._wrong(key, now) + 1, now)
            self._counts.pop(key, None)
            self._counts[key] = count
        while len(self._counts) > COUNT_LIMIT:
            del self._counts[next(iter(self._counts))]

    def proved(self, phone: str, address: str) -> None:
        """A phone has proved its password from that address."""
        addresses = self._proven.setdefault(phone, {})
        addresses.pop(address, None)
        addresses[address] = None
        if len(addresses) > PROVEN_LIMIT:
            del addresses[next(iter(addresses))]

    def _limits(self, name: str, address: str) -> Iterator[tuple[_Key, int]]:
        settings = self._settings
        if address in self._proven.get(name, ()):
            yield (name, address), settings.auth_failures
        else:
            yield (None, address), settings.auth_failures
            yield (name[:NAME_LENGTH], None), settings.auth_failures_per_name

    def _wrong(self, key: _Key, now: float) -> int:
        count = self._counts.get(key)
        return 0 if count is None or now - count.last >= self._settings.auth_ban else count.wrong

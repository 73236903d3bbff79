"""How many calls accounts and trunks may have, at once and a minute. Pure.

A call counts for its account, and for the trunk that it came by or goes out by, from its admission to its end; the legs
of a `<Dial>` are calls too. Calls that are refused do not count.
"""

from collections import Counter, deque
from dataclasses import dataclass
from math import ceil

from trunkline.config import SipSettings
from trunkline.ids import AccountSid, CallSid

MINUTE = 60.0
"""Seconds in which the calls of a rate are counted."""
RETRY_AFTER = 5
"""Seconds after which a call beyond a limit may be tried again: one that is up may have ended."""
Key = tuple[str, str]
"""`account` and its sid, or `trunk` and its name."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Why a call is refused."""

    of: str
    """`account` or `trunk`."""
    kind: str
    """`limit` of calls at once, or `rate`."""
    detail: str
    """In words, with the setting."""
    retry_after: int
    """Seconds."""


@dataclass(frozen=True, slots=True)
class _Quota:
    limit: int | None
    rate: int
    """0: none."""
    words: str
    setting: str


class Quotas:
    """The calls of all accounts and trunks. Times are seconds of a monotonic clock."""

    def __init__(self, settings: SipSettings) -> None:
        self._held: dict[CallSid, tuple[Key, ...]] = {}
        self._live: Counter[Key] = Counter()
        self._begun: dict[Key, deque[float]] = {}
        """Calls of the last minute, for keys with a rate: at most as many as it."""
        self.take(settings)

    def take(self, settings: SipSettings) -> None:
        """Use these settings from now on; calls that are up stay."""
        self._account = settings.account_call_limit, settings.account_call_rate
        self._trunks = {trunk.name: (trunk.call_limit, trunk.call_rate) for trunk in settings.trunks}

    def admit(self, call: CallSid, account: AccountSid, trunk: str | None, now: float) -> Excess | None:
        """Count a new call, unless there is an excess."""
        keys: tuple[Key, ...] = (("account", account), *([("trunk", trunk)] if trunk in self._trunks else []))
        quotas = {key: self._quota(key) for key in keys}
        for key, quota in quotas.items():
            excess = self._excess(key, quota, now)
            if excess is not None:
                return excess
        self._held[call] = keys
        self._live.update(keys)
        for key, quota in quotas.items():
            if quota.rate:
                self._begun.setdefault(key, deque()).append(now)
        return None

    def release(self, call: CallSid) -> None:
        """A call has ended."""
        for key in self._held.pop(call, ()):
            self._live[key] -= 1
            if not self._live[key]:
                del self._live[key]

    def _quota(self, key: Key) -> _Quota:
        of, name = key
        if of == "account":
            return _Quota(*self._account, "the account", "sip.account_call_")
        return _Quota(*self._trunks[name], f"trunk {name}", "its call_")

    def _excess(self, key: Key, quota: _Quota, now: float) -> Excess | None:
        of, begun = key[0], self._begun.get(key, deque())
        if quota.limit is not None and self._live[key] >= quota.limit:
            detail = f"{quota.words} has {quota.limit} calls, which is {quota.setting}limit"
            return Excess(of, "limit", detail, RETRY_AFTER)
        while begun and now - begun[0] >= MINUTE:
            begun.popleft()
        if not begun:
            self._begun.pop(key, None)
        if quota.rate and len(begun) >= quota.rate:
            detail = f"{quota.words} had {quota.rate} calls within a minute, which is {quota.setting}rate"
            wait = MINUTE - (now - begun[-quota.rate])  # in this order it is at most a minute, to the last bit
            return Excess(of, "rate", detail, ceil(wait))
        return None

"""Logins at the console: a one-time token, and the key that it is exchanged for. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from trunkline.api.auth import Principal
from trunkline.calls.accounts import CONSOLE
from trunkline.ids import Seconds
from trunkline.live.tickets import Tickets

TOKEN_LIFETIME = Seconds(300.0)
SESSION = timedelta(hours=12)
"""For which the key is valid."""


@dataclass(frozen=True, slots=True)
class Login:
    """A key to be made."""

    sender: Principal
    """Who made the token."""
    key_name: str
    expires_at: datetime


class Logins:
    """`clock` is monotonic, `utc` the wall clock; `make` makes a secret."""

    def __init__(self, make: Callable[[], str], clock: Callable[[], float], utc: Callable[[], datetime]) -> None:
        self._tokens: Tickets[Principal] = Tickets(make, TOKEN_LIFETIME)
        self._clock = clock
        self._utc = utc

    def token(self, sender: Principal) -> tuple[str, int]:
        """A new token, and the seconds for which it is good. Raises TooManyRequests."""
        return self._tokens.issue(sender, sender.key_sid, Seconds(self._clock())), round(TOKEN_LIFETIME)

    def login(self, token: str) -> Login | None:
        """What a token is good for, this once."""
        sender = self._tokens.use(token, Seconds(self._clock()))
        if sender is None:
            return None
        now = self._utc()
        return Login(sender, f"{CONSOLE}{now:%Y-%m-%d %H:%M:%S} {token[:4]}", now + SESSION)

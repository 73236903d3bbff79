"""Logins at the console: a token is good once, and for five minutes."""

from datetime import UTC, datetime, timedelta

from trunkline.api.auth import Principal
from trunkline.api.logins import Logins
from trunkline.ids import AccountSid

NOW = datetime(2034, 1, 31, 12, tzinfo=UTC)
SENDER = Principal(AccountSid("one"), "key", "first", "full")


def test_a_token_gives_one_key_for_twelve_hours() -> None:
    logins = Logins(lambda: "secret", lambda: 0.0, lambda: NOW)
    assert logins.token(SENDER) == ("secret", 300)
    login = logins.login("secret")
    assert login is not None
    assert (login.sender, login.expires_at) == (SENDER, NOW + timedelta(hours=12))
    assert login.key_name == "console 2034-01-31 12:00:00 secr"
    assert logins.login("secret") is None
    assert logins.login("another") is None


def test_a_token_is_good_for_five_minutes() -> None:
    now = [0.0]
    logins = Logins(lambda: "secret", lambda: now[0], lambda: NOW)
    logins.token(SENDER)
    now[0] = 300.0
    assert logins.login("secret") is None

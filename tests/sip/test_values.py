"""What signalling and calls pass to each other."""

from dataclasses import fields, is_dataclass

from trunkline.sip import values
from trunkline.sip.values import DialogId


def test_descriptions_which_may_hold_keys_and_passwords_are_in_no_log() -> None:
    hidden = {
        f"{kind.__name__}.{field.name}": field.repr
        for kind in vars(values).values()
        if isinstance(kind, type) and is_dataclass(kind)
        for field in fields(kind)
        if field.name in ("sdp", "password")
    }
    assert len(hidden) >= 4
    assert [name for name, shown in hidden.items() if shown] == []


def test_an_invite_that_says_nothing_else_is_not_restricted() -> None:
    invite = values.SendInvite(DialogId(1), "uri", "", "sip:a@b", "us", "", "v=0")
    assert not invite.restricted
    assert (invite.headers, invite.credentials) == ((), None)
    assert "v=0" not in repr(invite)

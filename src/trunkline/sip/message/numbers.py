"""Telephone numbers in URIs (RFC 3966, RFC 3261 section 19.1.6), and the called number of a call. Pure.

Numbers have no separators (`ids.plain_number`), so that one number is one text. A local number with a `phone-context`
that begins with `+` becomes a global one (RFC 3966 section 5.1.5). Names stay unchanged.
"""

import re
from urllib.parse import unquote

from trunkline.ids import plain_number
from trunkline.setting_tables import TrunkSettings
from trunkline.sip.message.headers import Uri, parse_uri
from trunkline.sip.values import InviteReceived

_CONTEXT = "phone-context="
_GLOBAL = re.compile(r"\+[0-9]+")
_LOCAL = re.compile(r"[0-9]+")


def number_of(uri: Uri) -> str:
    """The number or name in the user part; empty without one."""
    marked = uri.scheme == "tel" or "user=phone" in uri.params
    number = plain_number(uri.user, marked=marked)
    context = next((param for param in uri.user_params if param.startswith(_CONTEXT)), _CONTEXT)
    area = plain_number(unquote(context.removeprefix(_CONTEXT)), marked=True)
    return area + number if _GLOBAL.fullmatch(area) and _LOCAL.fullmatch(number) else number


def called_number(trunk: TrunkSettings, invite: InviteReceived) -> str:
    """The called number of a trunk's call, by the trunk's `called_number`. Any header may be used, since the trunk may
    call any number."""
    found = {"to": _number_in(invite.to_uri), "p-called-party-id": _number_in(invite.called_party)}
    if trunk.called_number in found:
        return found[trunk.called_number] or invite.to_user
    if trunk.called_number == "request-uri" or invite.to_user != trunk.username:
        return invite.to_user
    # The Request-URI is our contact, without the called number.
    if found["p-called-party-id"]:
        return found["p-called-party-id"]
    is_number = _LOCAL.fullmatch(invite.to_user.removeprefix("+"))
    return (found["to"] if not is_number else "") or invite.to_user


def _number_in(uri: str) -> str:
    try:
        return number_of(parse_uri(uri))
    except (ValueError, LookupError):
        return ""

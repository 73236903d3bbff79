"""Where a call of ours goes: to a phone's contacts, by a trunk, or to whom a URI names. Pure.

A phone is tried at each of its contacts, the newest first. A trunk's targets are tried in the order in which the
settings have them, with the trunk's credentials; with them the From URI is at the target's host, since carriers look
there for an account.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import quote

from trunkline.config import SipSettings, TrunkSettings
from trunkline.sip.caller import USER_CHARACTERS
from trunkline.sip.registrar import Registrar
from trunkline.sip.targets import Found, Target, Unreachable, UriLocator, uri_target
from trunkline.sip.values import Credentials, Invite


class EdgeLocator:
    """The `Locator` of an endpoint. `clock` is the registrar's, in seconds."""

    def __init__(self, settings: SipSettings, registrar: Registrar, clock: Callable[[], float]) -> None:
        self._trunks = {trunk.name: trunk for trunk in settings.trunks}
        self._phones = {phone.user for phone in settings.phones}
        self._registrar = registrar
        self._clock = clock

    def locate(self, invite: Invite, found: Found) -> None:
        """See `Locator`."""
        if invite.route == "phone":
            found(self._phone(invite.name))
        elif invite.route == "trunk":
            trunk = self._trunks.get(invite.name)
            found(Unreachable(404, "Not Found", "no such trunk") if trunk is None else _by_trunk(trunk, invite.to))
        else:
            UriLocator().locate(invite, found)

    def _phone(self, user: str) -> Sequence[Target] | Unreachable:
        if user not in self._phones:
            return Unreachable(404, "Not Found", "no such phone")
        targets = [binding.target() for binding in self._registrar.bindings(user, self._clock())]
        return targets or Unreachable(480, "Temporarily Unavailable", "the phone is not registered")


def _by_trunk(trunk: TrunkSettings, user: str) -> Sequence[Target] | Unreachable:
    targets: list[Target] = []
    for text in trunk.targets:
        scheme, _, rest = text.partition(":")
        found = uri_target(f"{scheme}:{quote(user, safe=USER_CHARACTERS)}@{rest}")
        if isinstance(found, Unreachable):
            return found
        targets += found
    caller = trunk.caller_id or ""
    if trunk.username is None:
        return [replace(target, from_user=caller) for target in targets]
    ours = Credentials(trunk.username, trunk.password or "")
    return [replace(one, credentials=ours, from_user=caller, from_host=_host(one.server_name)) for one in targets]


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host

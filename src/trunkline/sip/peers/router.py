"""Where a call of ours goes: to a phone's contacts, by a trunk, or to whom a URI names. Pure.

A phone is tried at each of its contacts, the newest first; a trunk at its targets, see `trunks.py`.
"""

from collections.abc import Callable, Sequence

from trunkline.config import SipSettings
from trunkline.sip.peers.registrar import Registrar
from trunkline.sip.peers.trunks import Trunks
from trunkline.sip.targets import OnLocated, Target, Unreachable, UriLocator
from trunkline.sip.values import SendInvite


class Router:
    """The `Locator` of an endpoint. `clock` is the registrar's, in seconds; `look_up` finds out where a URI's host
    is."""

    def __init__(
        self,
        settings: SipSettings,
        registrar: Registrar,
        trunks: Trunks,
        clock: Callable[[], float],
        look_up: Callable[[Target, OnLocated], None],
    ) -> None:
        self._phones = {phone.user for phone in settings.phones}
        self._registrar = registrar
        self._trunks = trunks
        self._clock = clock
        self._uris = UriLocator(look_up)

    def reconfigure(self, settings: SipSettings) -> None:
        """Go by these settings from now on."""
        self._phones = {phone.user for phone in settings.phones}

    def locate(self, invite: SendInvite, found: OnLocated) -> None:
        """See `Locator`."""
        if invite.route == "phone":
            found(self._phone(invite.name))
        elif invite.route == "trunk":
            found(self._trunks.targets(invite.name, invite.to))
        else:
            self._uris.locate(invite, found)

    def tried(self, target: Target, *, answered: bool) -> None:
        """See `Locator`."""
        self._trunks.tried(target, answered=answered)

    def _phone(self, user: str) -> Sequence[Target] | Unreachable:
        if user not in self._phones:
            return Unreachable(404, "Not Found", "no such phone")
        targets = [binding.target() for binding in self._registrar.bindings(user, self._clock())]
        return targets or Unreachable(480, "Temporarily Unavailable", "the phone is not registered")

"""Routes of our calls: to the contacts of a phone, the targets of a trunk, or the host of a URI. Pure.

A phone is called at its contacts, the newest first; a trunk at its targets in order, see `trunks.py`.
"""

from collections.abc import Sequence

from trunkline.config import SipSettings
from trunkline.sip.peers.registrar import Registrar
from trunkline.sip.peers.trunks import Trunks
from trunkline.sip.targets import Target, Unreachable, uri_target
from trunkline.sip.values import SendInvite


class Router:
    """Finds the targets of calls."""

    def __init__(self, settings: SipSettings, registrar: Registrar, trunks: Trunks) -> None:
        self._registrar = registrar
        self._trunks = trunks
        self.reconfigure(settings)

    def reconfigure(self, settings: SipSettings) -> None:
        """Use these settings from now on."""
        self._phones = {phone.user for phone in settings.phones}

    def targets(self, invite: SendInvite, now: float) -> Sequence[Target] | Unreachable:
        """The targets of a call, in order; that of a URI is still to be looked up."""
        if invite.route == "phone":
            return self._contacts(invite.name, now)
        if invite.route == "trunk":
            return self._trunks.targets(invite.name, invite.to)
        return uri_target(invite.to)

    def _contacts(self, user: str, now: float) -> Sequence[Target] | Unreachable:
        if user not in self._phones:
            return Unreachable(404, "Not Found", "no such phone")
        targets = [binding.target() for binding in self._registrar.bindings(user, now)]
        return targets or Unreachable(480, "Temporarily Unavailable", "the phone is not registered")

"""The phone of the server's own that browsers call by (`api/phone_socket.py`): how it gets into the settings."""

import secrets
from dataclasses import dataclass, field
from typing import Self

from trunkline.api.phone_socket import PhoneLine
from trunkline.config import Settings
from trunkline.ids import AccountSid
from trunkline.sdp.values import Endpoint
from trunkline.setting_tables import PhoneSettings
from trunkline.sip.endpoint import SipEndpoint

USER = "browser-phone"
"""From user of calls from browsers; with `_` behind it where a phone of the settings has that name."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses to listen on, and one to call there."""


@dataclass(frozen=True, slots=True)
class BrowserPhones:
    """Its credential is made at each start, and known to nothing else."""

    user: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With a user that no phone of the settings has."""
        user = USER
        while any(phone.user == user for phone in settings.sip.phones):
            user += "_"
        return cls(user, secrets.token_urlsafe(24))

    def added_to(self, settings: Settings) -> Settings:
        """Settings with this phone."""
        phones = (*settings.sip.phones, PhoneSettings(user=self.user, password=self.password))
        return settings.model_copy(update={"sip": settings.sip.model_copy(update={"phones": phones})})

    def line(self, account: AccountSid, host: str, sip: SipEndpoint) -> PhoneLine:
        """How the browsers' calls come in; `host` is that of SIP."""
        there = EVERYWHERE.get(host, host)
        return PhoneLine(account, lambda: str(Endpoint(there, sip.local.port)), self.user, self.password)

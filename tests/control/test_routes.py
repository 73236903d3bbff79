"""Numbers, phones and trunks as they are shown."""

from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline.calls.directory import Directory
from trunkline.calls.views import NumberView, PhoneView, RoutesView, TargetView, TrunkView
from trunkline.config import Settings
from trunkline.control.destinations import Destinations
from trunkline.control.routes import routes_of, routing_of
from trunkline.errors import InvalidRequest
from trunkline.ids import AccountSid
from trunkline.outbound.egress import Egress, EgressRules
from trunkline.sdp.values import Endpoint
from trunkline.sip.values import TargetStatus, TrunkStatus

ACCOUNT = AccountSid("one")
SETTINGS: dict[str, Any] = {
    "applications": [{"name": "bot", "voice_url": "http://host/texml"}],
    "numbers": [
        {"pattern": "+1*", "application": "bot"},
        {"pattern": "+12*", "stream": "wss://user:secret@host/ws?secret=1"},
        {"pattern": "+123*", "voice_url": "https://user:secret@host/texml?secret=1"},
        {"pattern": "+1234*", "texml": "<Response><Hangup/></Response>"},
    ],
    "sip": {"phones": [{"user": "alice", "password": "secret"}, {"user": "own", "password": "secret"}]},
}
TRUNK = TrunkStatus("carrier", None, (TargetStatus("sip:192.0.2.1", Endpoint("192.0.2.1", 5060), False),))


def test_the_account_of_the_settings_sees_them_without_secrets() -> None:
    directory = Directory(Settings.model_validate(SETTINGS), ACCOUNT, (), datetime.now(UTC), "own")
    assert routes_of(directory, ACCOUNT, lambda user: [f"{user}'s address"], [TRUNK]) == RoutesView(
        (
            NumberView("+1234*", "texml"),
            NumberView("+123*", "voice_url https://host/texml"),
            NumberView("+12*", "stream wss://host/ws"),
            NumberView("+1*", "application bot"),
        ),
        (PhoneView("alice", ("alice's address",)),),
        (TrunkView("carrier", None, (TargetView("sip:192.0.2.1", False),)),),
    )
    assert routes_of(directory, AccountSid("other"), lambda _: [], [TRUNK]) == RoutesView()


def test_a_browser_phone_alone_calls_applications_by_name() -> None:
    directory = Directory(Settings.model_validate(SETTINGS), ACCOUNT, (), datetime.now(UTC), "own")
    found = directory.service_for("app-bot", trunk=None, phone="own").application
    assert found is not None
    assert found.friendly_name == "bot"
    assert directory.service_for("app-bot", trunk=None, phone="alice").application is None


def test_a_number_is_looked_up_as_calls_are() -> None:
    inside = {"trunks": [{"name": "carrier", "targets": ["sip:192.0.2.1"]}]}
    settings = Settings.model_validate({**SETTINGS, "sip": {**SETTINGS["sip"], **inside}})
    directory = Directory(settings, ACCOUNT, (), datetime.now(UTC))
    destinations = Destinations(Egress(EgressRules.of(settings, ACCOUNT)))
    found = routing_of(directory, destinations, "+15550001", "carrier", None)
    service = directory.service_for("+15550001", trunk="carrier", phone=None)
    assert service.application is not None
    assert found.inbound.application_sid == service.application.sid
    assert (found.placed.kind, found.placed.name, found.dialled.kind) == ("trunk", "carrier", None)
    forbidden = routing_of(directory, destinations, "sip:a@169.254.169.254", None, None)
    assert (forbidden.placed.kind, "169.254.169.254" in forbidden.placed.why) == (None, True)
    for trunk, phone in (("other", None), (None, "other")):
        with pytest.raises(InvalidRequest, match="other"):
            routing_of(directory, destinations, "+1", trunk, phone)

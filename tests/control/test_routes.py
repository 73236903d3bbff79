"""Numbers, phones and trunks as they are shown."""

from datetime import UTC, datetime

from trunkline.calls.directory import Directory
from trunkline.calls.views import NumberView, PhoneView, RoutesView, TargetView, TrunkView
from trunkline.config import Settings
from trunkline.control.routes import routes_of
from trunkline.ids import AccountSid
from trunkline.sdp.values import Endpoint
from trunkline.sip.values import TargetStatus, TrunkStatus

ACCOUNT = AccountSid("one")
SETTINGS = {
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

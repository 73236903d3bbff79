"""Which application a number runs, and where a call goes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trunkline.calls.commands import Instructions, Route
from trunkline.calls.directory import Directory, Service
from trunkline.calls.views import Application
from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.ids import AccountSid
from trunkline.setting_tables import derived_sid

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT, OTHER_ACCOUNT = AccountSid("account"), AccountSid("other")
STORED = Application(
    sid="1293384261075731499",
    account_sid=ACCOUNT,
    friendly_name="made by REST",
    voice_url="https://rest.example/",
    voice_method="GET",
    voice_fallback_url=None,
    status_callback=None,
    status_callback_method="POST",
    active=True,
    created_at=NOON,
    updated_at=NOON,
)


def directory(*stored: Application, **settings: Any) -> Directory:
    settings.setdefault("applications", [{"name": name, "voice_url": f"http://{name}.example/"} for name in "abcd"])
    return Directory(Settings.model_validate(settings), ACCOUNT, stored, NOON)


def found(there: Directory, to: str, *, trunk: str | None = None, phone: str | None = None) -> str | None:
    application = there.service_for(to, trunk=trunk, phone=phone).application
    return application.friendly_name if application else None


def test_the_most_specific_number_wins_whatever_the_order() -> None:
    numbers = [("*", "a"), ("+49*", "b"), ("*99", "d"), ("+4930123", "c")]
    for order in (numbers, numbers[::-1]):
        there = directory(numbers=[{"pattern": pattern, "application": name} for pattern, name in order])
        names = [found(there, number) for number in ("+1", "+4940", "+4930123", "+4999", "alice")]
        assert names == ["a", "b", "c", "b", "a"]


def test_encryption_is_what_the_phone_or_trunk_says_else_the_setting() -> None:
    phones = [{"user": "ann", "password": "x", "srtp": "required"}, {"user": "bob", "password": "x"}]
    trunks = [{"name": "t", "targets": ["sip:192.0.2.1"], "srtp": "off"}]
    there = directory(sip={"phones": phones, "trunks": trunks}, media={"srtp": "optional"})
    asked = [("t", None), (None, "ann"), (None, "bob"), (None, None)]
    rules = [there.srtp(trunk=trunk, phone=phone) for trunk, phone in asked]
    assert rules == ["off", "required", "optional", "optional"]


def test_of_equals_the_first_wins_and_case_counts() -> None:
    pairs = [("bot*", "a"), ("*bot", "b"), ("Bot", "c")]
    there = directory(numbers=[{"pattern": pattern, "application": name} for pattern, name in pairs])
    assert [found(there, user) for user in ("bot", "robot", "Bot", "BOT")] == ["a", "b", "c", None]


def test_an_unassigned_number_runs_the_application_of_the_phone_or_trunk() -> None:
    there = directory(
        numbers=[{"pattern": "+49*", "application": "a"}],
        sip={
            "trunks": [
                {"name": "t", "targets": ["sip:t"], "application": "b"},
                {"name": "plain", "targets": ["sip:t"]},
            ],
            "phones": [
                {"user": "alice", "password": "s", "application": "c"},
                {"user": "bob", "password": "s"},
            ],
        },
    )
    assert found(there, "+4930", trunk="t") == "a"
    assert found(there, "+1", trunk="t") == "b"
    assert found(there, "+1", trunk="plain") is None
    assert found(there, "+1", phone="alice") == "c"
    assert found(there, "+1", phone="bob") is None
    assert found(there, "+1") is None


def test_instructions_come_from_the_application_the_number_or_the_stream() -> None:
    there = directory(
        stream="ws://rest",
        applications=[
            {"name": "url", "voice_url": "http://a/", "voice_method": "GET", "voice_fallback_url": "http://b/"},
            {"name": "inline", "texml": "<Response/>"},
        ],
        numbers=[
            {"pattern": "1", "application": "url"},
            {"pattern": "2", "application": "inline"},
            {"pattern": "3", "stream": "ws://c"},
            {"pattern": "4", "texml": "<Response>4</Response>"},
            {"pattern": "5", "voice_url": "http://d/"},
        ],
        sip={"phones": [{"user": "ann", "password": "s", "application": "inline"}]},
    )

    def run(to: str, phone: str | None = None) -> tuple[str | None, Instructions | None]:
        service = there.service_for(to, trunk=None, phone=phone)
        name = service.application.friendly_name if service.application else None
        return name, service.instructions

    assert run("1") == ("url", Instructions(None, "http://a/", "GET", "http://b/"))
    assert run("2") == run("6", "ann") == ("inline", Instructions("<Response/>", None, "POST"))
    assert run("4") == (None, Instructions("<Response>4</Response>"))
    assert run("5") == (None, Instructions(url="http://d/"))
    for to, url in (("3", "ws://c"), ("6", "ws://rest")):
        application, instructions = run(to)
        assert application is None
        assert instructions is not None
        assert f'url="{url}"' in (instructions.texml or "")
    assert directory().service_for("6", trunk=None, phone=None) == Service()


def test_applications_are_named_by_name_or_sid_and_may_be_those_of_the_store() -> None:
    pairs = [("1", derived_sid("a")), ("2", "b"), ("3", STORED.sid)]
    there = directory(STORED, numbers=[{"pattern": pattern, "application": name} for pattern, name in pairs])
    assert [found(there, number) for number in "123"] == ["a", "b", "made by REST"]
    there.put(replace(STORED, friendly_name="changed", active=False))
    application = there.service_for("3", trunk=None, phone=None).application
    assert application
    assert (application.friendly_name, application.active) == ("changed", False)
    assert there.users(STORED.sid) == ["number '3'"]
    assert there.users(derived_sid("d")) == []


def test_a_reference_to_nothing_and_a_sid_twice_stop_the_start() -> None:
    with pytest.raises(StartupError, match="number '1' has the application '7', which is neither"):
        directory(numbers=[{"pattern": "1", "application": "7"}])
    # Another account's is none.
    with pytest.raises(StartupError, match="neither configured nor stored"):
        directory(replace(STORED, account_sid=OTHER_ACCOUNT), numbers=[{"pattern": "1", "application": STORED.sid}])
    taken = {"name": "a", "voice_url": "http://a/", "sid": STORED.sid}
    with pytest.raises(StartupError, match="is taken by one made by REST"):
        directory(STORED, applications=[taken])


def test_an_account_sees_its_own_applications() -> None:
    there = directory(STORED, replace(STORED, sid="2", account_sid=OTHER_ACCOUNT))
    assert {one.friendly_name for one in there.applications(ACCOUNT)} == {"a", "b", "c", "d", "made by REST"}
    assert [one.sid for one in there.applications(OTHER_ACCOUNT)] == ["2"]
    assert there.application(ACCOUNT, STORED.sid) == STORED
    assert there.application(OTHER_ACCOUNT, STORED.sid) is None
    assert there.is_configured(derived_sid("a"))
    assert not there.is_configured(STORED.sid)
    there.remove(STORED.sid)
    assert there.application(ACCOUNT, STORED.sid) is None
    assert not there.is_taken(STORED.sid)


SIP = {
    "host": "192.0.2.1",
    "port": 5070,
    "advertised_host": "pbx.example",
    "trunks": [
        {"name": "germany", "targets": ["sip:t"], "prefixes": ["+49*", "0049*"]},
        {"name": "world", "targets": ["sip:t"], "prefixes": ["+*", "+"]},
    ],
    "phones": [{"user": "alice", "password": "s"}],
}


@pytest.mark.parametrize(
    ("to", "route"),
    [
        ("alice", Route("phone", "alice", "alice")),
        ("sip:alice@pbx.example", Route("phone", "alice", "alice")),
        ("SIPS:%61lice:x@PBX.example:5070;transport=tls", Route("phone", "alice", "alice")),
        ("sip:alice@192.0.2.1", Route("phone", "alice", "alice")),
        ("sips:alice@pbx.example:5061", Route("phone", "alice", "alice")),
        ("sip:alice@192.0.2.1:5080", Route("uri", "", "sip:alice@192.0.2.1:5080")),
        ("sip:alice@elsewhere.example", Route("uri", "", "sip:alice@elsewhere.example")),
        ("sip:bob@pbx.example", Route("uri", "", "sip:bob@pbx.example")),
        ("sip:[2001:db8::1]:5060", Route("uri", "", "sip:[2001:db8::1]:5060")),
        ("+4930123", Route("trunk", "germany", "+4930123")),
        ("004930123", Route("trunk", "germany", "004930123")),
        ("+15550001", Route("trunk", "world", "+15550001")),
        ("+1-555-0001", Route("trunk", "world", "+15550001")),
        ("+49(30)123", Route("trunk", "germany", "+4930123")),
        ("0049-30-123", Route("trunk", "germany", "004930123")),
        ("tel:+1-555-0001", Route("trunk", "world", "+15550001")),
        ("TEL:%2B49.30.123;isub=1", Route("trunk", "germany", "+4930123")),
        ("tel:bob@pbx.example", None),
        ("15550001", None),
        ("bob", None),
        ("", None),
        ("+1 555", None),
        ("+1555>\r\nX: y", None),
        ("sip:bob@exa mple", None),
        ("sip:", None),
    ],
)
def test_where_a_call_goes(to: str, route: Route | None) -> None:
    assert directory(sip=SIP).route(to) == route


NONE = "no trunk or phone takes the call"


@pytest.mark.parametrize(
    ("to", "route"),
    [
        ("+4930123", Route("trunk", "second", "+4930123")),
        ("tel:+49-176-1", Route("trunk", "second", "+491761")),
        ("+49900123", "the dial_prefixes of trunk first do not allow documents to call this number"),
        ("+15550001", "the dial_prefixes of trunk third do not allow documents to call this number"),
        ("15550001", NONE),
        ("", NONE),
        ("alice", Route("phone", "alice", "alice")),
        ("sip:alice@192.0.2.1", Route("phone", "alice", "alice")),
        ("sip:+1900@elsewhere.example", Route("uri", "", "sip:+1900@elsewhere.example", restricted=True)),
    ],
)
def test_a_document_dials_numbers_that_a_trunk_allows(to: str, route: Route | str) -> None:
    trunks = [
        {"name": "first", "targets": ["sip:t"], "prefixes": ["+49*"]},
        {"name": "second", "targets": ["sip:t"], "prefixes": ["+49*"], "dial_prefixes": ["+4930*", "+49176*", "+1*"]},
        {"name": "third", "targets": ["sip:t"], "prefixes": ["+*"], "dial_prefixes": []},
    ]
    assert directory(sip={**SIP, "trunks": trunks}).dial(to) == route


def test_each_way_has_a_reason() -> None:
    trunks = [
        {"name": "first", "targets": ["sip:t"], "prefixes": ["+49*"]},
        {"name": "second", "targets": ["sip:t"], "prefixes": ["+*"], "dial_prefixes": ["+4930*"]},
    ]
    there = directory(sip={**SIP, "trunks": trunks})
    assert there.way("+4930").why == "trunk first is the first whose prefixes match it (+49*)"
    dialled = there.way("+4930", dialled=True).why
    assert dialled == "trunk second is the first whose prefixes and dial_prefixes match it (+*, +4930*)"
    assert there.way("15").why == NONE
    assert there.way("alice").why == "a phone has this name"
    assert [there.knows(trunk="first", phone=None), there.knows(trunk=None, phone="nobody")] == [True, False]


def test_what_a_call_runs_has_a_reason() -> None:
    there = directory(
        STORED,
        numbers=[{"pattern": "1*", "application": STORED.sid}, {"pattern": "2", "stream": "wss://u:p@b/?secret"}],
        sip={"phones": [{"user": "ann", "password": "s", "application": "a"}]},
    )
    by_rest, stream, phone, nothing = (
        there.service_for(to, trunk=None, phone=by) for to, by in (("1", None), ("2", None), ("3", "ann"), ("3", None))
    )
    assert (by_rest.number, by_rest.runs) == ("1*", "voice_url https://rest.example/")
    assert (stream.number, stream.runs) == ("2", "stream wss://b/")
    assert (phone.number, phone.why) == (None, "no number matches, and phone ann has this application")
    assert nothing.why.endswith("the setting stream is not set")


def test_a_phone_is_a_number_to_those_called_by_a_trunk() -> None:
    phones = [{"user": "alice", "password": "s", "caller_id": "+4930"}, {"user": "bob", "password": "s"}]
    there = directory(sip={"phones": phones})
    trunk, phone = Route("trunk", "t", "+1"), Route("phone", "bob", "bob")
    assert [there.caller_id(who, trunk) for who in ("alice", "bob", "+15550001")] == ["+4930", "bob", "+15550001"]
    assert there.caller_id("alice", phone) == "alice"


def test_without_trunks_a_number_goes_nowhere() -> None:
    assert directory().route("+15550001") is None
    any_number = {"trunks": [{"name": "t", "targets": ["sip:t"]}]}
    assert directory(sip=any_number).route("1*69") == Route("trunk", "t", "1*69")
    names = ("415-555-0123", "100-200", "john-doe")
    assert [directory(sip=any_number).route(name) for name in names] == [
        Route("trunk", "t", "4155550123"),
        Route("trunk", "t", "100-200"),
        Route("trunk", "t", "john-doe"),
    ]


def test_a_phone_with_separators_in_its_name_is_called_by_its_name() -> None:
    phones = {"phones": [{"user": "+1-555-0001", "password": "s"}], "trunks": [{"name": "t", "targets": ["sip:t"]}]}
    assert directory(sip=phones).route("+1-555-0001") == Route("phone", "+1-555-0001", "+1-555-0001")


def test_other_settings_are_taken_whole_or_not_at_all() -> None:
    numbers = [{"pattern": "*", "application": "a"}, {"pattern": "9", "application": STORED.sid}]
    there = directory(STORED, numbers=numbers)
    later = NOON + timedelta(hours=1)

    def configured(*names: str, **other: Any) -> Settings:
        applications = [{"name": name, "voice_url": f"http://{name}.example/"} for name in names]
        return Settings.model_validate({"applications": applications, **other})

    for wrong in (
        configured("a", numbers=[{"pattern": "*", "application": "123"}]),
        configured("a", applications=[{"name": "a", "voice_url": "http://a/", "sid": STORED.sid}]),
    ):
        with pytest.raises(StartupError):
            there.take(wrong, later)
        assert (found(there, "1"), found(there, "9")) == ("a", "made by REST")
    changed = {"name": "c", "voice_url": "http://other.example/"}
    same = [{"name": name, "voice_url": f"http://{name}.example/"} for name in "be"]
    there.take(Settings.model_validate({"applications": [changed, *same], "numbers": [numbers[1]]}), later)
    assert (found(there, "1"), found(there, "9")) == (None, "made by REST")
    times = {one.friendly_name: (one.created_at, one.updated_at) for one in there.applications(ACCOUNT)}
    assert times == {
        "b": (NOON, NOON),
        "c": (NOON, later),
        "e": (later, later),
        "made by REST": (NOON, NOON),
    }
    assert not there.is_taken(derived_sid("a"))
    assert there.is_configured(derived_sid("e"))

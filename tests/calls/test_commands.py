"""What a request for a call leaves to its application."""

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime

from trunkline.calls import commands, effects
from trunkline.calls.commands import CallRequest, Instructions, PlaceCall, Route
from trunkline.calls.views import Application
from trunkline.ids import AccountSid

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
APPLICATION = Application(
    sid="1293384261075731499",
    account_sid=AccountSid("a"),
    friendly_name="f",
    voice_url="https://app.example/voice",
    voice_method="GET",
    voice_fallback_url="https://app.example/fallback",
    status_callback="https://app.example/status",
    status_callback_method="GET",
    active=True,
    created_at=NOON,
    updated_at=NOON,
)


def test_a_request_without_instructions_gets_those_of_the_application() -> None:
    request = CallRequest("+1", "+2", "me").completed_by(APPLICATION)
    assert request.instructions == Instructions(None, APPLICATION.voice_url, "GET", APPLICATION.voice_fallback_url)
    assert (request.status_callback, request.status_callback_method) == (APPLICATION.status_callback, "GET")


def test_a_document_of_the_application_stands_for_its_url() -> None:
    inline = replace(APPLICATION, voice_url="", voice_fallback_url=None, texml="<Response/>")
    request = CallRequest("+1", "+2", "me").completed_by(inline)
    assert request.instructions == Instructions("<Response/>", None, "GET")


def test_fields_of_the_request_are_not_replaced() -> None:
    here = Instructions(url="https://mine", method="POST")
    given = CallRequest("+1", "+2", "me", instructions=here, status_callback="https://x", status_callback_method="POST")
    assert given.completed_by(APPLICATION) == given
    inline = CallRequest("+1", "+2", "me", instructions=Instructions("<Response/>")).completed_by(APPLICATION)
    assert inline.instructions is not None
    assert (inline.instructions.texml, inline.instructions.url) == ("<Response/>", None)
    fallback = CallRequest("+1", "+2", "me", instructions=Instructions(fallback_url="https://mine"))
    completed = fallback.completed_by(APPLICATION).instructions
    assert completed is not None
    assert (completed.url, completed.fallback_url) == (APPLICATION.voice_url, "https://mine")


def test_methods_that_are_not_given_are_those_of_the_application() -> None:
    here = Instructions(url="https://mine", fallback_url="https://spare")
    completed = CallRequest("+1", "+2", "me", instructions=here, status_callback="https://x").completed_by(APPLICATION)
    assert completed.instructions == Instructions(None, "https://mine", "GET", "https://spare")
    assert (completed.status_callback, completed.status_callback_method) == ("https://x", "GET")


def test_a_request_without_options_is_a_call_without_options() -> None:
    request, route = CallRequest("+1", "+2", "me"), Route("trunk", "t", "1")
    assert request.place(route) == PlaceCall(route)
    assert (request.status_callback_events, request.place(route).send_digits) == ("completed", "")


def test_the_command_has_what_the_request_has_and_shows_no_password() -> None:
    request = CallRequest("+1", "+2", "me", timeout=5, username="u", password="hush", send_digits="1w2", srtp=True)
    route = Route("trunk", "t", "1")
    assert request.place(route) == PlaceCall(
        route, timeout=5, username="u", password="hush", send_digits="1w2", srtp=True
    )
    assert "hush" not in repr(request) + repr(request.place(route))


def test_descriptions_which_may_hold_keys_and_passwords_are_in_no_log() -> None:
    hidden = {
        f"{kind.__name__}.{field.name}": field.repr
        for module in (commands, effects)
        for kind in vars(module).values()
        if isinstance(kind, type) and is_dataclass(kind)
        for field in fields(kind)
        if field.name in ("sdp", "password")
    }
    assert len(hidden) >= 6
    assert [name for name, shown in hidden.items() if shown] == []

"""The fields of requests about calls: what each takes, and what is refused and how."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.api.bodies import FORM, JSON, Fields, parse, parse_query
from trunkline.calls.commands import CallRequest, Instructions
from trunkline.errors import InvalidEnum, InvalidRequest, InvalidType, InvalidUrl, MissingParameter
from trunkline.faces.telnyx.fields.calls import (
    INSTRUCTIONS,
    MORE_PLACE_SCHEMAS,
    PLACE_FIELDS,
    WITHOUT_EFFECT,
    CallUpdate,
    call_request,
    call_update,
    callback_events,
    without_effect,
)
from trunkline.faces.telnyx.fields.recordings import PLACED_FIELDS

LEAST: dict[str, object] = {"To": "+13121230000", "From": "+13120001234", "Url": "https://x/voice"}
DOCUMENTED = """
ApplicationSid AsyncAmd AsyncAmdStatusCallback AsyncAmdStatusCallbackMethod CallerId
CancelPlaybackOnDetectMessageEnd CancelPlaybackOnMachineDetection CustomHeaders DeepfakeDetection
DeepfakeDetectionCallbackMethod DeepfakeDetectionCallbackUrl DetectionMode FallbackUrl From MachineDetection
MachineDetectionPromptEndTimeout MachineDetectionSilenceTimeout MachineDetectionSpeechEndThreshold
MachineDetectionSpeechThreshold MachineDetectionTimeout MediaEncryption PreferredCodecs Record
RecordingChannels RecordingStatusCallback RecordingStatusCallbackEvent RecordingStatusCallbackMethod
RecordingTimeout RecordingTrack SendRecordingUrl SipAuthPassword SipAuthUsername SipRegion StatusCallback
StatusCallbackEvent StatusCallbackMethod SuperviseCallSid SupervisingRole Texml TimeLimit Timeout To Trim Url
UrlMethod
"""
"""Names of InitiateTexmlCall, in the order of the document."""
HEADERS = (("X-A", "1"), ("X-B", "two words"))


def _request(**members: object) -> CallRequest:
    return call_request(Fields({**LEAST, **members}.items()))


def _refusal(kind: type[InvalidRequest], **members: object) -> str:
    with pytest.raises(kind) as failure:
        _request(**members)
    assert type(failure.value) is kind
    assert failure.value.pointer
    assert failure.value.detail.startswith(failure.value.pointer[1:]) or "exclude each other" in failure.value.detail
    return failure.value.detail


def test_the_defaults_are_the_documented_ones() -> None:
    assert _request() == CallRequest(
        to="+13121230000",
        from_="+13120001234",
        caller_name="+13120001234",
        application_sid=None,
        instructions=Instructions(None, "https://x/voice", None, None, None),
        status_callback=None,
        status_callback_method=None,
        status_callback_events="completed",
        timeout=30,
        time_limit=14400,
        codecs=None,
        srtp=None,
        headers=(),
        username=None,
        password=None,
        send_digits="",
    )


def test_every_field_reaches_the_request() -> None:
    assert _request(
        To="sip:alice@example.com;transport=tcp",
        ApplicationSid="1293384261075731499",
        UrlMethod="GET",
        FallbackUrl="http://x/fallback",
        CallerId="Trunk ~ 1",
        Timeout="5",
        TimeLimit=30,
        StatusCallback="https://x/status",
        StatusCallbackMethod="GET",
        StatusCallbackEvent="answered initiated",
        PreferredCodecs="pcma, G729,PCMU,PCMA",
        MediaEncryption="SRTP",
        SipAuthUsername="user",
        SipAuthPassword='p"w',
        SendDigits="ww12#*AD",
        CustomHeaders=[{"name": name, "value": value} for name, value in HEADERS],
    ) == CallRequest(
        to="sip:alice@example.com;transport=tcp",
        from_="+13120001234",
        caller_name="Trunk ~ 1",
        application_sid="1293384261075731499",
        instructions=Instructions(None, "https://x/voice", "GET", "http://x/fallback"),
        status_callback="https://x/status",
        status_callback_method="GET",
        status_callback_events="initiated answered",
        timeout=5,
        time_limit=30,
        codecs=("PCMA", "PCMU"),
        srtp=True,
        headers=HEADERS,
        username="user",
        password='p"w',
        send_digits="ww12#*AD",
    )


def test_every_documented_field_has_its_row() -> None:
    ours = [row.name for row in PLACE_FIELDS + INSTRUCTIONS + PLACED_FIELDS] + [*MORE_PLACE_SCHEMAS, *WITHOUT_EFFECT]
    assert sorted(ours) == sorted([*DOCUMENTED.split(), "SendDigits"])


def test_instructions_are_a_url_a_document_or_the_applications() -> None:
    document = "<Response><Say>Hello</Say></Response>"
    assert _request(Url=None, Texml=document).instructions == Instructions(document)
    assert _request(Url=None, ApplicationSid="7").instructions is None
    fallback = _request(Url=None, ApplicationSid="7", FallbackUrl="https://x/f").instructions
    assert fallback == Instructions(fallback_url="https://x/f")
    assert _refusal(InvalidRequest, Texml=document) == "Url and Texml exclude each other"
    for members in ({}, {"FallbackUrl": "https://x/f"}):
        detail = _refusal(MissingParameter, Url=None, **members)
        assert detail == "ApplicationSid is required where neither Url nor Texml is given"


@pytest.mark.parametrize(
    ("kind", "name", "value", "detail"),
    [
        (MissingParameter, "To", None, "To is required"),
        (MissingParameter, "From", "", "From is required"),
        (MissingParameter, "SipAuthUsername", "u", "SipAuthPassword is required with SipAuthUsername"),
        (InvalidType, "To", 13121230000, "To must be a string"),
        (InvalidRequest, "To", "Alice <sip:a@b>", "To must be a number, a name or a SIP URI, without"),
        (InvalidRequest, "From", "+1\r\nVia: x", "From must be a number, a name or a SIP URI, without"),
        (InvalidRequest, "To", "1" * 256, "To must be at most 255 characters"),
        (InvalidRequest, "CallerId", "a<b", "CallerId must be letters, digits, spaces and -_~!.+"),
        (InvalidRequest, "CallerId", "x" * 129, "CallerId must be at most 128 characters"),
        (InvalidRequest, "Timeout", 4, "Timeout must be from 5 to 120"),
        (InvalidRequest, "Timeout", "121", "Timeout must be from 5 to 120"),
        (InvalidType, "Timeout", "5.5", "Timeout must be a whole number"),
        (InvalidType, "Timeout", True, "Timeout must be a whole number"),
        (InvalidRequest, "TimeLimit", 29, "TimeLimit must be from 30 to 14400"),
        (InvalidRequest, "TimeLimit", 14401, "TimeLimit must be from 30 to 14400"),
        (InvalidUrl, "Url", "ftp://x", "Url must be a http:// or https:// URL: it has another scheme"),
        (InvalidUrl, "StatusCallback", "x", "StatusCallback must be a http:// or https:// URL: it has no scheme"),
        (InvalidEnum, "UrlMethod", "PUT", "UrlMethod must be one of GET, POST"),
        (InvalidEnum, "StatusCallbackEvent", "answered busy", "StatusCallbackEvent must be of initiated, ringing, "),
        (InvalidType, "StatusCallbackEvent", [1], "StatusCallbackEvent must be a string"),
        (InvalidRequest, "PreferredCodecs", "G729, AMR-WB", "PreferredCodecs must name one of PCMU, PCMA, G722, OPUS"),
        (InvalidEnum, "MediaEncryption", "DTLS", "MediaEncryption DTLS is not supported yet"),
        (InvalidEnum, "MediaEncryption", "srtp", "MediaEncryption must be one of disabled, SRTP, DTLS"),
        (InvalidRequest, "SendDigits", "12E", "SendDigits must be digits, *, #, A to D, and w or W for a pause"),
        (InvalidType, "CustomHeaders", {"name": "X-A"}, "CustomHeaders must be an array"),
        (InvalidRequest, "CustomHeaders", "X-A: b", "CustomHeaders: Not valid JSON"),
        (InvalidType, "CustomHeaders", ["X-A: b"], "CustomHeaders/0 must be an object"),
        (MissingParameter, "CustomHeaders", [{"name": "X-A"}], "CustomHeaders/0/value is required"),
        (InvalidType, "CustomHeaders", [{"name": "X-A", "value": 1}], "CustomHeaders/0/value must be a string"),
        (InvalidRequest, "CustomHeaders", [{"name": "Via", "value": "x"}], "CustomHeaders/0/name must be an X-"),
        (InvalidRequest, "CustomHeaders", [{"name": "X-A:b", "value": ""}], "CustomHeaders/0/name must be an X-"),
        (InvalidRequest, "CustomHeaders", [{"name": "X-A", "value": "a\r\nb"}], "CustomHeaders/0/value must hold no"),
        (InvalidRequest, "CustomHeaders", [{"name": "X-A", "value": "x" * 4096}], "CustomHeaders must have at most"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    kind: type[InvalidRequest], name: str, value: object, detail: str
) -> None:
    assert _refusal(kind, **{name: value}).startswith(detail)


def test_a_password_is_in_no_refusal_and_no_repr() -> None:
    assert "hush" not in _refusal(InvalidRequest, SipAuthUsername="u", SipAuthPassword="hush\n")
    assert "hush" not in repr(_request(SipAuthUsername="u", SipAuthPassword="hush"))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"Status": "completed"}, CallUpdate(True, None, None, "POST")),
        ({"Status": "canceled"}, CallUpdate(True, None, None, "POST", unanswered=True)),
        ({"Url": "https://x/"}, CallUpdate(False, Instructions(url="https://x/"), None, "POST")),
        (
            {"Url": "https://x/", "FallbackUrl": "https://y/", "FallbackMethod": "GET"},
            CallUpdate(
                False, Instructions(url="https://x/", fallback_url="https://y/", fallback_method="GET"), None, "POST"
            ),
        ),
        ({"Texml": "<Response/>"}, CallUpdate(False, Instructions(texml="<Response/>"), None, "POST")),
        (
            {"StatusCallback": "https://x/", "StatusCallbackMethod": "GET"},
            CallUpdate(False, None, "https://x/", "GET"),
        ),
        ({"Status": "completed", "StatusCallback": "https://x/"}, CallUpdate(True, None, "https://x/", "POST")),
    ],
)
def test_an_update_ends_the_call_redirects_it_or_sets_its_callback(
    members: dict[str, object], expected: CallUpdate
) -> None:
    assert call_update(Fields(members.items())) == expected


@pytest.mark.parametrize(
    ("members", "kind", "pointer"),
    [
        ({}, MissingParameter, "/Status"),
        ({"StatusCallbackMethod": "GET"}, MissingParameter, "/Status"),
        ({"FallbackUrl": "https://x/"}, MissingParameter, "/Url"),
        ({"Status": "completed", "Url": "https://x/"}, InvalidRequest, "/Status"),
        ({"Status": "busy"}, InvalidEnum, "/Status"),
    ],
)
def test_an_update_without_a_meaning_is_refused_by_name(
    members: dict[str, object], kind: type[InvalidRequest], pointer: str
) -> None:
    with pytest.raises(kind) as refused:
        call_update(Fields(members.items()))
    assert (type(refused.value), refused.value.pointer) == (kind, pointer)


@pytest.mark.parametrize(
    "form",
    [
        "CustomHeaders[0][name]=X-A&CustomHeaders[0][value]=1&CustomHeaders[1][name]=X-B&CustomHeaders[1][value]=two+words",
        "custom_headers[][name]=X-A&custom_headers[][value]=1&custom_headers[][name]=X-B&custom_headers[][value]=two+words",
        "CustomHeaders=%5B%7B%22name%22%3A%22X-A%22%2C%22value%22%3A%221%22%7D"
        "%2C%7B%22name%22%3A%22X-B%22%2C%22value%22%3A%22two+words%22%7D%5D",
    ],
    ids=["numbered", "unnumbered", "json"],
)
def test_headers_of_a_form_come_in_several_shapes(form: str) -> None:
    assert call_request(parse_query(f"To=1&From=2&Url=https://x&{form}")).headers == HEADERS


@pytest.mark.parametrize(
    ("content_type", "body", "events"),
    [
        (JSON, '{"StatusCallbackEvent": ["answered", "initiated ringing"]}', "initiated ringing answered"),
        (JSON, '{"status_callback_event": "completed  ringing"}', "ringing completed"),
        (JSON, '{"StatusCallbackEvent": null}', "completed"),
        (JSON, '{"StatusCallbackEvent": []}', "completed"),
        (FORM, "StatusCallbackEvent=ringing&StatusCallbackEvent=answered", "ringing answered"),
        (FORM, "StatusCallbackEvent[]=ringing&StatusCallbackEvent[]=answered", "ringing answered"),
        (FORM, "StatusCallbackEvent=initiated%20answered", "initiated answered"),
    ],
)
def test_events_come_as_text_or_as_an_array(content_type: str, body: str, events: str) -> None:
    assert callback_events(parse(content_type, None, body.encode())) == events


def test_only_what_asks_for_something_is_without_effect() -> None:
    asked = {
        "Trim": "trim-silence",
        "SipRegion": "Europe",
        "MachineDetection": "Disable",
        "AsyncAmd": "false",
        "DetectionMode": None,
    }
    assert without_effect(Fields(asked.items())) == ["SipRegion", "Trim"]
    assert without_effect(parse_query("machine_detection=Enable&To=1")) == ["MachineDetection"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["+1", "https://x", "PCMU", "GET", "X-A"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "value"]), inner, max_size=2),
    max_leaves=4,
)
_NAMES = [row.name for row in PLACE_FIELDS + INSTRUCTIONS] + [*MORE_PLACE_SCHEMAS, *WITHOUT_EFFECT, "Status", "Method"]


@given(st.dictionaries(st.sampled_from(_NAMES), _JSON))
def test_any_values_are_taken_or_refused(members: dict[str, Any]) -> None:
    for base in (LEAST, {}):
        fields = Fields({**base, **members}.items())
        with suppress(InvalidRequest):
            request = call_request(fields)
            assert all(value.isprintable() for header in request.headers for value in header)
        with suppress(InvalidRequest):
            update = call_update(fields)
            assert update.ended or update.instructions or update.status_callback
        with suppress(InvalidRequest):
            without_effect(fields)

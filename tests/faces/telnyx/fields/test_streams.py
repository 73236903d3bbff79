"""The start request's fields: every documented value, and every way to get one wrong."""

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.api.bodies import Fields, parse_query
from trunkline.errors import (
    ApiError,
    InvalidEnum,
    InvalidRequest,
    InvalidType,
    InvalidUrl,
    MissingParameter,
)
from trunkline.faces.telnyx.fields.streams import START_FIELDS, stream_params
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.params import BidirectionalMode, StreamParams, TargetLegs, Track

URL = "wss://www.example.com/websocket"


def _params(**members: object) -> StreamParams:
    return stream_params(Fields({"Url": URL, **members}.items()))


def _refusal(kind: type[ApiError], **members: object) -> str:
    with pytest.raises(kind) as failure:
        _params(**members)
    assert type(failure.value) is kind
    name = next(iter(members))
    assert failure.value.pointer == f"/{name}"
    return failure.value.detail


def test_url_alone_takes_the_documented_defaults() -> None:
    assert _params() == StreamParams(url=WebSocketUrl.parse(URL))


def test_every_field_has_its_place() -> None:
    given_params = _params(
        Track="both_tracks",
        Name="My stream",
        BidirectionalMode="rtp",
        BidirectionalCodec="G722",
        StatusCallback="http://user:pw@webhook.com/callback?a=b",
        StatusCallbackMethod="GET",
        Codec="PCMA",
        SamplingRate=8000,
        BidirectionalSamplingRate="8000",
        BidirectionalTargetLegs="both",
        EnableReconnect=False,
        Capture=True,
        AuthToken="s3cret token",
        CustomParameters={"a": "1", "b": ""},
        ClientState="c3RhdGU=",
    )
    assert given_params == StreamParams(
        url=WebSocketUrl.parse(URL),
        track=Track.BOTH,
        name="My stream",
        mode=BidirectionalMode.RTP,
        bidirectional_codec="G722",
        codec="PCMA",
        enable_reconnect=False,
        capture=True,
        auth_token="s3cret token",
        target_legs=TargetLegs.BOTH,
        custom_parameters={"a": "1", "b": ""},
        client_state="c3RhdGU=",
        status_callback="http://user:pw@webhook.com/callback?a=b",
        status_callback_method="GET",
    )


@pytest.mark.parametrize("url", [None, ""])
def test_url_is_required(url: str | None) -> None:
    assert _refusal(MissingParameter, Url=url) == "Url is required"


@pytest.mark.parametrize(
    "url",
    [
        "ws://x",
        "WSS://EXAMPLE.com",
        "ws://127.0.0.1:9000/a?b=%20&c=d;e&&",
        "wss://user:p%40ss@example.com:443/",
        "ws://[::1]:80/x",
        "wss://a_b.example-1.com/?q={x}|y",
    ],
)
def test_a_url_is_kept_byte_for_byte(url: str) -> None:
    assert _params(Url=url).url.text == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com", "it has another scheme"),
        ("example.com/x", "it has no scheme"),
        ("ws://", "its host or port is malformed"),
        ("ws:/example.com", "its host or port is malformed"),
        ("ws://:80/", "its host or port is malformed"),
        ("ws://x:99999/", "its host or port is malformed"),
        ("ws://x:0/", "its host or port is malformed"),
        ("ws://x:http/", "its host or port is malformed"),
        ("ws://[::1/", "its host or port is malformed"),
        ("ws://[::g]/", "its host or port is malformed"),
        ("ws://a%b/", "its host or port is malformed"),
        ("ws://x/#part", "it has a fragment"),
        ("ws://x/a b", "it holds a space, a control character or a character outside ASCII"),
        ("ws://x/\r\nEvil: 1", "it holds a space, a control character or a character outside ASCII"),
        ("ws://x/é", "it holds a space, a control character or a character outside ASCII"),
        ("ws://x/" + "a" * 1994, "it is longer than 2000 characters"),
    ],
)
def test_a_bad_url_is_refused_with_the_reason(url: str, reason: str) -> None:
    assert _refusal(InvalidUrl, Url=url) == f"Url must be a ws:// or wss:// URL: {reason}"


def test_a_url_of_two_thousand_characters_is_accepted() -> None:
    assert len(_params(Url="ws://x/" + "a" * 1993).url.text) == 2000


def test_a_status_callback_is_http() -> None:
    assert _refusal(InvalidUrl, StatusCallback="ws://x") == (
        "StatusCallback must be a http:// or https:// URL: it has another scheme"
    )
    assert _params(StatusCallback="https://x/#fragments-are-harmless-here").status_callback is not None


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("Track", "both", "Track must be one of inbound_track, outbound_track, both_tracks"),
        ("Track", "BOTH_TRACKS", "Track must be one of inbound_track, outbound_track, both_tracks"),
        ("BidirectionalMode", "RTP", "BidirectionalMode must be one of mp3, rtp"),
        ("BidirectionalCodec", "pcmu", "BidirectionalCodec must be one of PCMU, PCMA, G722, L16, OPUS"),
        ("Codec", "AMR", "Codec must be one of default, PCMU, PCMA, G722, L16, OPUS"),
        ("StatusCallbackMethod", "PUT", "StatusCallbackMethod must be one of GET, POST"),
        ("SamplingRate", "44100", "SamplingRate must be one of 8000, 16000, 24000, 48000"),
        ("SamplingRate", 22050, "SamplingRate must be one of 8000, 16000, 24000, 48000"),
        ("BidirectionalSamplingRate", 1, "BidirectionalSamplingRate must be one of 8000, 16000, 22050, 24000, 48000"),
        ("BidirectionalTargetLegs", "other", "BidirectionalTargetLegs must be one of self, opposite, both"),
    ],
)
def test_a_value_outside_the_enumeration_is_named(name: str, value: object, detail: str) -> None:
    assert _refusal(InvalidEnum, **{name: value}) == detail


@pytest.mark.parametrize("rate", [8000, "16000", 24000, 48000])
def test_l16_has_a_choice_of_rates_both_ways(rate: object) -> None:
    params = _params(Codec="L16", SamplingRate=rate, BidirectionalCodec="L16", BidirectionalSamplingRate=rate)
    assert params.encoding("PCMU") == params.bidirectional_encoding == f"L16/{rate}"


def test_formats_without_a_rate() -> None:
    params = _params(Codec="L16", BidirectionalCodec="L16")
    assert (params.encoding("PCMU"), params.bidirectional_encoding) == ("L16/8000", "L16/8000")
    assert _params(BidirectionalCodec="L16", BidirectionalSamplingRate=22050).bidirectional_encoding == "L16/22050"
    assert _params().encoding("G722") == "G722"
    assert _params(Codec="OPUS", SamplingRate=48000).encoding("PCMU") == "OPUS"


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"SamplingRate": 16000}, "SamplingRate 16000 needs Codec L16; of Codec default it is 8000"),
        ({"SamplingRate": 16000, "Codec": "PCMA"}, "SamplingRate 16000 needs Codec L16; of Codec PCMA it is 8000"),
        (
            {"SamplingRate": 24000, "Codec": "G722"},
            "SamplingRate 24000 needs Codec L16; of Codec G722 it is 8000 or 16000",
        ),
        ({"SamplingRate": 8000, "Codec": "OPUS"}, "SamplingRate 8000 needs Codec L16; of Codec OPUS it is 48000"),
        (
            {"BidirectionalSamplingRate": 16000},
            "BidirectionalSamplingRate 16000 needs BidirectionalCodec L16; of BidirectionalCodec PCMU it is 8000",
        ),
    ],
)
def test_a_rate_that_the_codec_does_not_have_is_refused(members: dict[str, object], detail: str) -> None:
    assert _refusal(InvalidRequest, **members) == detail


def test_the_byte_order_of_l16_is_the_streams_or_the_servers() -> None:
    assert [_params(L16Endian=order).l16_endian for order in ("little", "big")] == ["little", "big"]
    assert _params(l16_endian="big").l16_endian == "big"
    assert _params().l16_endian is None
    assert _refusal(InvalidEnum, L16Endian="BIG") == "L16Endian must be one of little, big"


@pytest.mark.parametrize(("value", "wanted"), [(True, True), ("true", True), (False, False), ("false", False)])
def test_reconnecting_is_a_boolean_or_its_name(value: object, wanted: bool) -> None:
    assert _params(EnableReconnect=value).enable_reconnect is wanted


def test_reconnecting_is_the_default() -> None:
    assert _params().enable_reconnect is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Url", 7),
        ("Name", 7),
        ("Name", ["x"]),
        ("Track", {"a": 1}),
        ("StatusCallback", True),
        ("SamplingRate", True),
        ("SamplingRate", 8000.0),
        ("EnableReconnect", 0),
        ("EnableReconnect", "no"),
        ("AuthToken", 1.5),
        ("ClientState", []),
        ("CustomParameters", [1]),
        ("CustomParameters", 1),
        ("CustomParameters", "[1]"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    assert _refusal(InvalidType, **{name: value}).startswith(f"{name} must be ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Name", "x" * 256),
        ("Name", "a\0b"),
        ("Name", "\ud800"),
        ("AuthToken", "x" * 4001),
        ("AuthToken", "tökén"),
        ("AuthToken", "a\r\nEvil: 1"),
        ("AuthToken", " a"),
        ("ClientState", "not base64!"),
        ("ClientState", "YQ"),
        ("CustomParameters", "language=en"),
        ("CustomParameters", '{"a": "1", "a": "2"}'),
    ],
)
def test_a_value_that_cannot_be_passed_on_is_refused(name: str, value: str) -> None:
    assert _refusal(InvalidRequest, **{name: value}).startswith(name)


def test_the_longest_values_are_accepted() -> None:
    assert len(_params(Name="é" * 255).name or "") == 255
    assert len(_params(AuthToken="x" * 4000).auth_token or "") == 4000


@pytest.mark.parametrize(
    "form",
    [
        "CustomParameters=%7B%22a%22%3A%221%22%2C%22b%22%3A%222%22%7D",
        "CustomParameters%5Ba%5D=1&CustomParameters%5Bb%5D=2",
        "custom_parameters[a]=1&custom_parameters[b]=2",
        "Parameter1.Name=a&Parameter1.Value=1&Parameter7.Name=b&Parameter7.Value=2",
        "Parameter10.Value=2&Parameter10.Name=b&Parameter9.Name=a&Parameter9.Value=1",
    ],
)
def test_custom_parameters_of_a_form_come_in_several_shapes(form: str) -> None:
    assert stream_params(parse_query(f"Url=ws://x&{form}")).custom_parameters == {"a": "1", "b": "2"}


def test_a_numbered_parameter_may_lack_its_value_and_not_its_name() -> None:
    assert stream_params(parse_query("Url=ws://x&Parameter1.Name=a")).custom_parameters == {"a": ""}
    with pytest.raises(MissingParameter) as failure:
        stream_params(parse_query("Url=ws://x&Parameter1.Value=a"))
    assert failure.value.pointer == "/Parameter1.Name"


def test_a_custom_parameter_is_a_string() -> None:
    with pytest.raises(InvalidType) as failure:
        _params(CustomParameters={"a": 1})
    assert (failure.value.detail, failure.value.pointer) == (
        "CustomParameters/a must be a string",
        "/CustomParameters/a",
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["rtp", "PCMU", URL]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(string.ascii_letters), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([row.name for row in START_FIELDS] + ["CustomParameters"]), _JSON))
def test_any_values_are_taken_or_refused(members: dict[str, object]) -> None:
    with suppress(InvalidRequest):
        params = stream_params(Fields(members.items()))
        assert params.url.text.lower().startswith(("ws://", "wss://"))
        assert params.mode is not BidirectionalMode.MP3 or not members.get("BidirectionalMode")

"""The JSON of docs/reference/websocket.md byte for byte, and the messages that apps send."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_params import stream_params
from trunkline import speedups
from trunkline.streaming import messages
from trunkline.streaming.messages import Clear, Dtmf, Mark, Media, Problem, Refusal, decode
from trunkline.streaming.params import BidirectionalMode, ErrorTitle, StreamIdentity

MARK_NAME_LIMIT = 4096

SID = "32de0dea-53cb-4b21-89a4-9e1819c043bc"


def test_connected() -> None:
    assert messages.connected(None) == b'{"event":"connected","version":"1.0.0"}'


def test_connected_repeats_the_token() -> None:
    assert messages.connected("s3cret") == (
        b'{"event":"connected","version":"1.0.0","connected":{"x-telnyx-streaming-auth-token":"s3cret"}}'
    )


def test_start(identity: StreamIdentity) -> None:
    params = stream_params("ws://app", custom_parameters={"b": "2", "a": "1"})
    assert messages.start(identity, params, "PCMU", 1, extensions=False).decode() == (
        '{"event":"start","sequence_number":"1","stream_id":"32de0dea-53cb-4b21-89a4-9e1819c043bc","start":{'
        '"user_id":"3f2b7e52-0f6d-4a0e-9d5b-6f1f8a3f1c11",'
        '"call_control_id":"v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg",'
        '"call_session_id":"428c31b6-7af4-4bcb-b7f5-5013ef9657c1",'
        '"from":"+13129457420","to":"+13129457421","tags":[],"custom_parameters":{"b":"2","a":"1"},'
        '"media_format":{"encoding":"PCMU","sample_rate":8000,"channels":1}}}'
    )


def test_start_shows_the_client_state_when_given(identity: StreamIdentity) -> None:
    params = stream_params("ws://app", client_state="c3RhdGU=")
    text = messages.start(identity, params, "G722", 1, extensions=False).decode()
    assert '"tags":[],"client_state":"c3RhdGU=","custom_parameters":{}' in text
    assert '"media_format":{"encoding":"G722","sample_rate":8000,"channels":1}' in text


def test_start_has_no_member_of_twilio(identity: StreamIdentity) -> None:
    start = json.loads(messages.start(identity, stream_params("ws://app"), "PCMU", 1, extensions=True))["start"]
    assert not {"streamSid", "callSid"} & set(start)


@pytest.mark.parametrize(("mode", "shown"), [(BidirectionalMode.RTP, True), (BidirectionalMode.MP3, False)])
def test_start_with_extensions_has_the_bidirectional_format(
    identity: StreamIdentity, mode: BidirectionalMode, shown: bool
) -> None:
    params = stream_params("ws://app", mode=mode, bidirectional_codec="PCMA")
    start = json.loads(messages.start(identity, params, "PCMU", 1, extensions=True))["start"]
    assert (start.get("bidirectional_media_format", {}).get("encoding") == "PCMA") is shown


def test_media() -> None:
    assert speedups.encode_media(messages.media_prefix(SID, "inbound"), 4, 2, 40, b"\xff\xff\xff\xff") == (
        b'{"event":"media","sequence_number":"4","stream_id":"32de0dea-53cb-4b21-89a4-9e1819c043bc",'
        b'"media":{"track":"inbound","chunk":"2","timestamp":"40","payload":"/////w=="}}'
    )


def test_dtmf_has_microseconds_even_when_they_are_zero() -> None:
    at = datetime(2025, 6, 5, 8, 54, 19, tzinfo=UTC)
    assert messages.dtmf(SID, 5, "#", at) == (
        b'{"event":"dtmf","stream_id":"32de0dea-53cb-4b21-89a4-9e1819c043bc",'
        b'"occurred_at":"2025-06-05T08:54:19.000000Z","sequence_number":"5","dtmf":{"digit":"#"}}'
    )


@pytest.mark.parametrize("name", ['"some_mark_name"', "7", "1.0", "null", '{"a": [1]}', '"caf\\u00e9 \\/"'])
def test_mark_echoes_the_name_byte_for_byte(name: str) -> None:
    assert messages.mark(SID, 5, name.encode()).decode() == (
        '{"event":"mark","stream_id":"32de0dea-53cb-4b21-89a4-9e1819c043bc","sequence_number":"5","mark":{"name":'
        + name
        + "}}"
    )


def test_error() -> None:
    assert messages.error(SID, Refusal(Problem.MALFORMED, "why")) == (
        b'{"event":"error","payload":{"code":100003,"title":"malformed_frame","detail":"why"},'
        b'"stream_id":"32de0dea-53cb-4b21-89a4-9e1819c043bc"}'
    )


def test_stop(identity: StreamIdentity) -> None:
    assert messages.stop(identity, 9) == (
        b'{"event":"stop","sequence_number":"9","stop":{"user_id":"3f2b7e52-0f6d-4a0e-9d5b-6f1f8a3f1c11",'
        b'"call_control_id":"v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg"},'
        b'"stream_id":"32de0dea-53cb-4b21-89a4-9e1819c043bc"}'
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"media","media":{"payload":"//8="}}',
        '{"media":{"payload":"//8="},"event":"media"}',
        '{"event":"media","media":{"payload":"\\/\\/8="}}',
        '{"event":"media","streamId":"x","stream_id":5,"media":{"payload":"//8=","track":"in","timestamp":null}}',
    ],
)
def test_media_in_any_json_form_is_understood(text: str) -> None:
    message = decode(text.encode())
    assert isinstance(message, Media)
    assert message.media.payload == b"\xff\xff"


@pytest.mark.parametrize("name", ['"a"', "7", "1.50", "1e999", "null", "[1, 2]"])
def test_mark_keeps_its_name_as_sent(name: str) -> None:
    assert decode(f'{{"event":"mark","mark":{{"name":{name} }} }}'.encode()) == Mark(name.encode())


def test_clear() -> None:
    assert isinstance(decode(b'{"event":"clear","stream_id":"x"}'), Clear)


@pytest.mark.parametrize(
    ("text", "problem", "word"),
    [
        (b"", Problem.MALFORMED, "JSON"),
        (b"hello", Problem.MALFORMED, "JSON"),
        (b"\xff\xfe", Problem.MALFORMED, "JSON"),
        (b'{"event":"\xff"}', Problem.MALFORMED, "JSON"),
        (b'{"event":"media","media":{"payload":NaN}}', Problem.MALFORMED, "JSON"),
        (b"[]", Problem.MALFORMED, "object"),
        (b"5", Problem.MALFORMED, "object"),
        (b"{}", Problem.MALFORMED, "event"),
        (b'{"event":5}', Problem.MALFORMED, "event"),
        (b'{"event":null}', Problem.MALFORMED, "event"),
        (b'{"event":"dance"}', Problem.UNKNOWN, "'dance'"),
        (b'{"event":"start","start":{}}', Problem.UNKNOWN, "'start'"),
        (b'{"event":"media","payload":"AA=="}', Problem.MALFORMED, 'has no "media": {"payload": "…"} beside its'),
        (b'{"event":"media","media":"AA=="}', Problem.MALFORMED, "media is not an object"),
        (b'{"event":"media","media":{}}', Problem.MALFORMED, "payload"),
        (b'{"event":"media","media":{"payload":[1]}}', Problem.MALFORMED, "payload"),
        (b'{"event":"media","media":{"payload":"AA"}}', Problem.INVALID_MEDIA, "base64"),
        (b'{"event":"media","media":{"payload":"__8="}}', Problem.INVALID_MEDIA, "base64"),
        (b'{"event":"media","media":{"payload":"hello, world"}}', Problem.INVALID_MEDIA, "base64"),
        (b'{"event":"media","media":{"payload":"data:audio/x-mulaw;base64,AA=="}}', Problem.INVALID_MEDIA, "comma"),
        (b'{"event":"mark"}', Problem.MALFORMED, 'has no "mark": {"name": "…"} beside its event'),
        (b'{"event":"mark","mark":{}}', Problem.MALFORMED, "mark.name is missing"),
        (b'{"event":"mark","mark":{"name":"\\ud800"}}', Problem.MALFORMED, "JSON"),
        (b'{"event":"mark","mark":{"name":"\xff"}}', Problem.MALFORMED, "UTF-8"),
        (b'{"event":"clear","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Problem.MALFORMED, "deep"),
    ],
)
def test_a_refusal_has_a_problem_and_a_reason(text: bytes, problem: Problem, word: str) -> None:
    message = decode(text)
    assert isinstance(message, Refusal)
    assert message.problem is problem
    assert word in message.detail


@pytest.mark.parametrize("digits", ["5", "0123456789*#ABCD"])
def test_keys_are_an_extension(digits: str) -> None:
    text = json.dumps({"event": "dtmf", "stream_id": "x", "dtmf": {"digit": digits}}).encode()
    assert decode(text, extensions=True) == Dtmf(digits)
    refused = decode(text)
    assert isinstance(refused, Refusal)
    assert refused.problem is Problem.UNKNOWN


@pytest.mark.parametrize(
    ("text", "problem", "word"),
    [
        (b'{"event":"dtmf"}', Problem.MALFORMED, 'has no "dtmf": {"digit": "…"} beside its event'),
        (b'{"event":"dtmf","dtmf":"5"}', Problem.MALFORMED, "dtmf is not an object"),
        (b'{"event":"dtmf","dtmf":{"digit":5}}', Problem.MALFORMED, "dtmf.digit is not a string"),
        (b'{"event":"dtmf","dtmf":{}}', Problem.MALFORMED, "not a string"),
        (b'{"event":"dtmf","dtmf":{"digit":""}}', Problem.MALFORMED, "0123456789*#ABCD"),
        (b'{"event":"dtmf","dtmf":{"digit":"1x2"}}', Problem.MALFORMED, "0123456789*#ABCD"),
        (b'{"event":"dtmf","dtmf":{"digit":"5\\n"}}', Problem.MALFORMED, "0123456789*#ABCD"),
        (b'{"event":"dance"}', Problem.UNKNOWN, "media, mark, clear, dtmf"),
    ],
)
def test_a_refusal_with_extensions(text: bytes, problem: Problem, word: str) -> None:
    message = decode(text, extensions=True)
    assert isinstance(message, Refusal)
    assert message.problem is problem
    assert word in message.detail


def test_the_four_problems_have_the_documented_codes() -> None:
    assert {problem.title: problem.code for problem in Problem} == {
        "unknown_error": 100002,
        "malformed_frame": 100003,
        "invalid_media": 100004,
        "rate_limit_reached": 100005,
    }


def test_a_mark_name_is_bounded() -> None:
    longest = '"' + "x" * (MARK_NAME_LIMIT - 2) + '"'
    assert decode(f'{{"event":"mark","mark":{{"name":{longest}}}}}'.encode()) == Mark(longest.encode())
    assert isinstance(decode(f'{{"event":"mark","mark":{{"name":{longest[:-1]}x"}}}}'.encode()), Refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["payload", "name"]), inner),
    max_leaves=8,
)
FRAMES = st.dictionaries(
    st.sampled_from(["event", "media", "mark", "clear", "dtmf", "digit"]), JSON | st.sampled_from(["media", "dtmf"])
)


@given(st.binary() | FRAMES.map(lambda frame: json.dumps(frame).encode()))
def test_no_message_raises(text: bytes) -> None:
    message = decode(memoryview(text), extensions=True)
    assert isinstance(message, Media | Mark | Clear | Dtmf | Refusal)
    if isinstance(message, Refusal):
        json.loads(messages.error(SID, message))
    if isinstance(message, Mark):
        json.loads(messages.mark(SID, 2, message.name))


@given(st.binary(min_size=1, max_size=500))
def test_any_audio_arrives_unchanged(audio: bytes) -> None:
    message = decode(json.dumps({"event": "media", "media": {"payload": b64encode(audio).decode()}}).encode())
    assert isinstance(message, Media)
    assert message.media.payload == audio


@pytest.mark.parametrize("event", ["clear", "error"])
def test_a_message_with_two_events_is_malformed(event: str) -> None:
    refusal = Refusal(Problem.MALFORMED, "the message has more than one event")
    assert messages.decode(f'{{"event":"x","event":"{event}"}}'.encode()) == refusal


def test_each_problem_has_its_code_and_title() -> None:
    assert tuple(problem.title for problem in Problem) == get_args(ErrorTitle)
    assert [problem.code for problem in Problem] == [100002, 100003, 100004, 100005]

"""Messages as test apps read and write them, and the lines about them."""

import json
from datetime import UTC, datetime

import pytest

from trunkline.apps import wire
from trunkline.apps.wire import AppNote
from trunkline.media.codecs import CODECS
from trunkline.streaming import messages

FORMAT = {"encoding": "PCMU", "sample_rate": 8000}
AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_what_apps_send_is_what_the_server_reads() -> None:
    assert messages.decode(wire.media(b"abc").encode()) == messages.Media(messages.MediaBody(b"abc"))
    assert messages.decode(wire.mark("one").encode()) == messages.Mark(b'"one"')
    assert messages.decode(wire.clear().encode()) == messages.Clear()


@pytest.mark.parametrize("text", ["", "[]", "7", "no JSON", b"\xff"])
def test_what_is_no_message_is_an_empty_one(text: str | bytes) -> None:
    assert wire.read(text) == {}


@pytest.mark.parametrize("media", [None, 7, {}, {"payload": 7}, {"payload": "&"}])
def test_a_media_message_without_audio_has_none(media: object) -> None:
    assert wire.payload_of({"media": media}) == b""


@pytest.mark.parametrize(
    ("form", "encoding"),
    [
        ({"encoding": "PCMA", "sample_rate": 8000}, "PCMA"),
        ({"encoding": "l16", "sample_rate": 16000}, "L16/16000"),
        ({"encoding": "L16"}, "L16/8000"),
        ({"encoding": "L16", "sample_rate": 7}, "PCMU"),
        ({"encoding": "other"}, "PCMU"),
        (None, "PCMU"),
    ],
)
def test_the_format_is_the_one_that_start_announces(form: object, encoding: str) -> None:
    assert wire.encoding_of({"start": {"media_format": form}}) == encoding


@pytest.mark.parametrize("encoding", ["PCMU", "PCMA", "G722", "L16/16000"])
def test_speech_is_cut_into_frames_of_one_length(encoding: str) -> None:
    pcm = bytes(CODECS[encoding].sample_rate * 2 * 50 // 1000)
    payloads = wire.frames(pcm, encoding)
    assert [len(payload) for payload in payloads] == [CODECS[encoding].bytes_per_ms * 20] * 3


def test_a_line_has_at_most_80_columns_and_no_json() -> None:
    note = AppNote("dtmf", {"digit": "1" * 200})
    assert wire.shown(note, AT) == "03:04:05.678  dtmf    digit " + "1" * 52
    assert wire.shown(AppNote("start", {"text": "a to b", "from": "a"}), AT) == "03:04:05.678  start   a to b"
    assert wire.shown(AppNote("mark", {"name": "a", "of": 2}), AT) == "03:04:05.678  mark    name a  of 2"
    assert wire.shown(AppNote("stop"), AT) == "03:04:05.678  stop"


@pytest.mark.parametrize(
    ("message", "event", "fields"),
    [
        ({"event": "connected"}, "connected", {}),
        ({"event": "stop", "stop": {}}, "stop", {}),
        (
            {"event": "start", "stream_id": "s", "start": {"from": "+1", "to": "+2", "media_format": FORMAT}},
            "start",
            {"text": "+1 to +2, PCMU/8000", "from": "+1", "to": "+2", "media_format": "PCMU/8000", "stream_id": "s"},
        ),
        (
            {"event": "start", "start": 7},
            "start",
            {"text": "None to None, None/None", "from": "None", "to": "None", "media_format": "None/None"}
            | {"stream_id": None},
        ),
        ({"event": "dtmf", "dtmf": {"digit": "1"}}, "dtmf", {"digit": "1"}),
        (
            {"event": "error", "payload": {"code": 100003, "detail": "why"}},
            "error",
            {"code": 100003, "text": "100003 why", "detail": "why"},
        ),
        ({"event": "mark", "mark": {"name": "a"}}, "mark", {"name": "a"}),
        ({"event": "new"}, "unknown", {"text": '{"event": "new"}'}),
        ({}, "unknown", {"text": "{}"}),
    ],
)
def test_each_message_but_media_has_a_note(message: dict[str, object], event: str, fields: dict[str, object]) -> None:
    [note] = wire.notes_of(message)
    assert note == AppNote(event, fields)
    assert json.loads(wire.as_json(note, AT)) == {"time": "2026-01-02T03:04:05.678000+00:00", "event": event, **fields}
    assert list(wire.notes_of({"event": "media"})) == []

"""Records of a stream, and the lines that they become."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline.config import StreamSettings
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.capture import (
    CapturedReader,
    CapturedSink,
    CaptureRecord,
    Payloads,
    RecordKind,
    StreamCapture,
    head,
    is_wanted,
    line,
    masked_number,
)
from trunkline.streaming.params import StreamIdentity, StreamParams
from trunkline.streaming.session import MessageSink, SendBuffer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEDIA = b'{"event":"media","media":{"payload":"//7+"}}'
START = json.dumps(
    {
        "event": "start",
        "start": {"from": "+13120001234", "to": "bob", "client_state": "aGk=", "custom_parameters": {"pin": "1"}},
    }
).encode()


class Queue:
    """Takes what there is room for."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.taken: list[CaptureRecord] = []

    def put(self, record: CaptureRecord) -> bool:
        if len(self.taken) >= self.room:
            return False
        self.taken.append(record)
        return True


class Sink(MessageSink):
    """What reached the socket."""

    def __init__(self) -> None:
        super().__init__(SendBuffer(1, 1))
        self.sent: list[bytes] = []

    def media(self, message: bytes, at: int) -> None:
        self.sent.append(message)

    def control(self, message: bytes) -> None:
        self.sent.append(message)


def shown(
    data: bytes, kind: RecordKind = RecordKind.TO_SERVER, payloads: Payloads = "whole", masked: bool = False
) -> dict[str, Any]:
    text = line(CaptureRecord("a", 0.0201, kind, data), payloads=payloads, masked=masked)
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_message_is_kept_as_it_is_in_one_line() -> None:
    assert shown(b'{"event":\n"clear"}') == {"ms": 20.1, "to": "server", "message": {"event": "clear"}}
    assert shown(MEDIA, RecordKind.TO_APP)["message"] == json.loads(MEDIA)


@pytest.mark.parametrize("data", [b"no\nJSON", b"\xff", b"[" * 2000])
def test_what_is_not_json_is_kept_as_text(data: bytes) -> None:
    assert shown(data)["text"] == data.decode(errors="replace")
    assert shown(b"", RecordKind.BINARY) == {"ms": 20.1, "to": "server", "binary": True}


def test_of_audio_a_hash_is_kept_where_that_is_asked() -> None:
    media = shown(MEDIA, payloads="hash")["message"]["media"]
    assert media["payload"] == ""
    assert len(media["payload_sha256"]) == 16
    assert shown(b'{"media":7}', payloads="hash")["message"] == {"media": 7}


def test_numbers_keys_and_parameters_are_masked_where_that_is_asked() -> None:
    assert "34" in json.dumps(masked := shown(START, RecordKind.TO_APP, masked=True))
    for secret in ("+1312", "bob", "aGk=", '"1"'):
        assert secret not in json.dumps(masked)
    assert shown(b'{"dtmf":{"digit":"5"}}', masked=True)["message"]["dtmf"]["digit"] == "..."
    assert shown(START)["message"] == json.loads(START)
    assert masked_number("12") == "..."


def test_the_auth_token_is_never_kept() -> None:
    assert "secret" not in str(shown(b'{"connected":{"x-telnyx-streaming-auth-token":"secret"}}'))


def test_the_head_says_what_is_needed_to_play_it_again(identity: StreamIdentity) -> None:
    params = StreamParams(WebSocketUrl.parse("ws://user:pass@bot/a?key=secret"))
    found = json.loads(head(identity, params, "PCMU", StreamSettings(), NOON))
    assert (found["capture"], found["codec"], found["bot_codec"], found["mode"]) == (1, "PCMU", "PCMU", "mp3")
    assert found["url"] == "ws://bot/a"


@pytest.mark.parametrize(
    ("settings", "asked", "wanted"),
    [
        ({}, True, False),
        ({}, None, False),
        ({"capture": "d"}, None, True),
        ({"capture": "d"}, False, False),
        ({"capture": "d", "capture_streams": "asked"}, None, False),
        ({"capture": "d", "capture_streams": "asked"}, True, True),
    ],
)
def test_which_streams_are_captured(settings: dict[str, str], asked: bool | None, wanted: bool) -> None:
    params = StreamParams(WebSocketUrl.parse("ws://bot/"), capture=asked)
    assert is_wanted(params, StreamSettings.model_validate(settings)) is wanted


def test_both_ways_pass_and_are_captured_in_order() -> None:
    queue, socket, read = Queue(), Sink(), []

    class Reader:
        def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
            read.append(bytes(message))

        def binary(self, now: float) -> None:
            read.append(b"")

    capture = StreamCapture("a", queue, lambda: 5.0)
    sink, reader = CapturedSink(socket, capture), CapturedReader(Reader(), capture)
    sink.control(b"start")
    sink.media(b"media", 20)
    reader.text(memoryview(b"mark"), 5.0)
    reader.binary(5.0)
    assert socket.sent == [b"start", b"media"]
    assert read == [b"mark", b""]
    assert sink.outbox is socket.outbox
    assert [(one.kind, one.data) for one in queue.taken] == [
        (RecordKind.TO_APP, b"start"),
        (RecordKind.TO_APP, b"media"),
        (RecordKind.TO_SERVER, b"mark"),
        (RecordKind.BINARY, b""),
    ]


def test_what_there_is_no_room_for_is_counted_in_the_next_record() -> None:
    queue = Queue(room=1)
    capture = StreamCapture("a", queue, lambda: 5.0)
    for number in range(4):
        capture.note(str(number))
    queue.room = 9
    capture.note("end", reason="why")
    assert [json.loads(one.data) for one in queue.taken[1:]] == [
        {"note": "dropped", "records": 3},
        {"note": "end", "reason": "why"},
    ]


def test_a_line_says_where_a_message_went_and_a_note_is_itself() -> None:
    assert shown(MEDIA, RecordKind.TO_APP)["to"] == "app"
    assert shown(MEDIA, RecordKind.TO_SERVER)["to"] == "server"
    assert shown(b'{"note":"open"}', RecordKind.NOTE) == {"ms": 20.1, "note": "open"}

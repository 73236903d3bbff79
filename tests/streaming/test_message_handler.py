"""The effects of the app's messages."""

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_params import stream_params
from trunkline.config import StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.codecs import opus
from trunkline.streaming.message_handler import MessageHandler
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.params import StreamIdentity
from trunkline.streaming.playback import Playback
from trunkline.streaming.session import Session

IDENTITY = StreamIdentity(StreamSid("s"), AccountSid("a"), CallSid("v3:c"), CallSessionId("i"), "1", "2")


class Stream:
    """The pure parts of a stream, joined; messages go in and out as objects."""

    def __init__(
        self,
        codec: str = "PCMU",
        rate: int = 8000,
        queued_as: str = "PCMU",
        **settings: Any,
    ) -> None:
        values = StreamSettings(**settings)
        params = stream_params("ws://app", bidirectional_codec=codec, bidirectional_sampling_rate=rate)
        session = Session(params, IDENTITY, "PCMU", values)
        session.start_messages(0)
        self.playback = Playback(queued_as, prebuffer=0, limit=values.playback_limit, mark_limit=values.mark_limit)
        self.pressed = ""
        self.press_refusal: Refusal | None = None
        self.handler = MessageHandler(params, values, session, self.playback, self.press)

    def press(self, digits: str) -> Refusal | None:
        if self.press_refusal is None:
            self.pressed += digits
        return self.press_refusal

    def send(self, frame: object, now: float = 0) -> list[dict[str, Any]]:
        return [json.loads(answer) for answer in self.handler.text(json.dumps(frame).encode(), now)]

    def media(self, audio: bytes) -> list[dict[str, Any]]:
        return self.send({"event": "media", "media": {"payload": b64encode(audio).decode()}})

    def mark(self, name: object) -> list[dict[str, Any]]:
        return self.send({"event": "mark", "mark": {"name": name}})

    def tick(self, at: int) -> list[object]:
        self.playback.next_frame(at)
        return [json.loads(answer)["mark"]["name"] for answer in self.handler.due_marks()]


def problem(answers: list[dict[str, Any]]) -> tuple[int, str]:
    (answer,) = answers
    assert answer["event"] == "error"
    return answer["payload"]["code"], answer["payload"]["detail"]


def test_media_are_queued_and_marks_come_back_when_they_were_played() -> None:
    stream = Stream()
    assert stream.media(bytes(160)) == []
    assert stream.mark("one") == []
    assert stream.media(bytes(160)) == []
    assert stream.mark(2) == []
    assert [stream.tick(at) for at in (0, 20, 40, 60)] == [[], ["one"], [2], []]
    assert (stream.handler.messages, stream.handler.bytes) == (4, 320)


def test_a_mark_before_any_media_comes_back_at_once() -> None:
    (answer,) = Stream().mark({"a": 1})
    assert answer["mark"] == {"name": {"a": 1}}


def test_clear_returns_the_pending_marks_in_order() -> None:
    stream = Stream()
    stream.media(bytes(1600))
    stream.mark("a")
    stream.mark("b")
    assert [answer["mark"] for answer in stream.send({"event": "clear"})] == [{"name": "a"}, {"name": "b"}]
    assert stream.playback.queued_ms == 0


def test_clear_with_extensions_is_named_in_the_marks() -> None:
    stream = Stream(extensions=True)
    stream.media(bytes(1600))
    stream.mark("a")
    stream.tick(0)
    (answer,) = stream.send({"event": "clear"})
    assert answer["mark"] == {"name": "a", "played_ms": 20, "cleared": True}


def test_the_backlog_is_reported_while_it_changes_and_when_it_is_empty() -> None:
    stream, reports = Stream(), []
    stream.media(bytes(2400))
    for at in range(0, 400, 20):
        stream.tick(at)
        if (message := stream.handler.backlog(at)) is not None:
            reports.append((at, json.loads(message)))
    assert [(at, each["queue"]) for at, each in reports] == [
        (0, {"queued_ms": 280, "played_ms": 20}),
        (100, {"queued_ms": 180, "played_ms": 120}),
        (200, {"queued_ms": 80, "played_ms": 220}),
        (280, {"queued_ms": 0, "played_ms": 300}),
    ]
    assert reports[0][1] == {"event": "queue", "stream_id": "s", "queue": {"queued_ms": 280, "played_ms": 20}}


def test_a_clear_is_seen_in_the_backlog_at_once() -> None:
    stream = Stream()
    stream.media(bytes(2400))
    stream.tick(0)
    assert stream.handler.backlog(0) is not None
    stream.send({"event": "clear"})
    assert b'"queued_ms":0' in (stream.handler.backlog(20) or b"")


def test_too_much_audio_is_refused_and_what_is_queued_stays() -> None:
    stream = Stream(playback_limit=1)
    assert stream.media(bytes(8000)) == []
    code, detail = problem(stream.media(bytes(1)))
    assert code == 100005
    assert "1 s" in detail
    assert stream.playback.queued_ms == 1000


def test_too_many_marks_are_refused() -> None:
    stream = Stream(mark_limit=1)
    stream.media(bytes(160))
    stream.mark("a")
    assert problem(stream.mark("b"))[0] == 100005


def test_empty_media_and_binary_messages_are_refused() -> None:
    stream = Stream()
    assert problem(stream.media(b""))[0] == 100004
    (answer,) = stream.handler.binary(0)
    assert json.loads(answer)["payload"]["code"] == 100003


def test_at_most_ten_error_frames_a_second() -> None:
    stream = Stream()
    answers = [stream.send({"event": "dance"}, now=number / 100) for number in range(100)]
    assert sum(len(answer) for answer in answers) == 10
    assert len(stream.send({"event": "dance"}, now=1.0)) == 1


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_garbage_changes_nothing(garbage: list[bytes]) -> None:
    stream = Stream(error_rate=1000)
    stream.media(bytes(160))
    stream.mark("m")
    for text in garbage:
        for answer in stream.handler.text(text, 0):
            assert json.loads(answer)["event"] == "error"
    assert [stream.tick(at) for at in (0, 20)] == [[], ["m"]]


def test_opus_comes_one_packet_to_a_message_of_any_length() -> None:
    stream = Stream(codec="OPUS", queued_as="L16/48000")
    for milliseconds in (20, 60, 10):
        assert stream.media(opus.silence(milliseconds)) == []
    assert stream.playback.queued_ms == 90
    code, detail = problem(stream.media(b"\xff no packet"))
    assert code == 100004
    assert "no Opus packet" in detail
    assert stream.media(opus.silence(20)) == []
    assert stream.playback.queued_ms == 110


def test_l16_at_22050_may_split_samples_and_is_reset_by_clear() -> None:
    stream = Stream(codec="L16", rate=22050, queued_as="L16/24000")
    second = np.full(22050, 12345, "<i2").tobytes()
    for start in range(0, len(second), 999):
        assert stream.media(second[start : start + 999]) == []
    assert stream.playback.queued_ms in range(993, 1001)
    stream.media(b"\x39")  # the first half of a sample
    stream.send({"event": "clear"})
    stream.media(second)
    stream.playback.leg_changed("L16/24000", 20)
    stream.playback.next_frame(0)
    settled = stream.playback.next_frame(20)
    assert settled is not None
    assert set(np.frombuffer(settled, "<i2").tolist()) == {12345}


def test_l16_comes_in_the_byte_order_that_is_set() -> None:
    stream = Stream(codec="L16", rate=16000, queued_as="L16/16000/big", l16_endian="big")
    stream.playback.leg_changed("L16/16000", 20)
    assert stream.media(bytes((1, 2)) * 320) == []
    assert stream.playback.next_frame(0) == bytes((2, 1)) * 320


def key(digits: object) -> dict[str, object]:
    return {"event": "dtmf", "dtmf": {"digit": digits}}


def test_with_extensions_the_app_presses_keys() -> None:
    stream = Stream(extensions=True)
    assert stream.send(key("5")) == []
    assert stream.send(key("*#AD0")) == []
    assert stream.pressed == "5*#AD0"


def test_a_key_that_cannot_be_pressed_is_answered_with_a_reason() -> None:
    stream = Stream(extensions=True)
    stream.press_refusal = Refusal(Problem.RATE_LIMIT, "more than 64 digits would wait to be sent")
    assert problem(stream.send(key("5"))) == (100005, "more than 64 digits would wait to be sent")


@pytest.mark.parametrize(
    "complaint",
    [
        {"event": "error"},
        {"event": "error", "payload": {"code": 100003, "title": "malformed_frame", "detail": "?"}, "stream_id": "s"},
        {"event": "error", "error": "no such voice"},
        {"event": "error", "error": None, "media": {"payload": 5}},
        {"seq": 1, "event": "error", "message": ["a"]},
    ],
)
@pytest.mark.parametrize("extensions", [False, True])
def test_an_error_of_the_apps_is_counted_and_never_answered(complaint: object, extensions: bool) -> None:
    stream = Stream(extensions=extensions)
    stream.media(bytes(160))
    assert [stream.send(complaint) for _ in range(20)] == [[]] * 20
    assert (stream.handler.complaints, stream.handler.messages) == (20, 21)
    assert problem(stream.send({"event": "errors"}))[0] == 100002


def test_error_frames_of_the_app_cause_no_loop() -> None:
    stream, sent = Stream(error_rate=1000), 0
    messages: list[object] = [{"event": "dance"}]
    while messages:
        sent += 1
        messages = [{"event": "error", "about": answer} for answer in stream.send(messages.pop())]
    assert (sent, stream.handler.complaints) == (2, 1)


def test_without_extensions_a_key_is_an_unknown_event() -> None:
    stream = Stream()
    code, detail = problem(stream.send(key("5")))
    assert (code, detail) == (100002, "unknown event 'dtmf'; known are media, mark, clear")
    assert problem(stream.send({"event": "dtmf"}))[0] == 100002
    assert stream.pressed == ""


def test_what_the_audio_is_instead_of_its_codec_comes_with_what_to_change() -> None:
    stream = Stream()
    assert stream.handler.content == ("", "")
    stream.media(b"OggS" + bytes(800))
    kind, words = stream.handler.content
    assert kind == "ogg"
    assert words.startswith("it is an Ogg file. In rtp mode a message holds bare PCMU at 8000 Hz")
    stream = Stream()
    for _ in range(10):
        stream.media(np.random.default_rng(1).bytes(8000))
    kind, words = stream.handler.content
    assert (kind, words[:24]) == ("noise", "it sounds like noise. Is")


def test_audio_that_is_converted_first_is_looked_at_as_it_came() -> None:
    stream = Stream("L16", 22050, queued_as="L16/24000")
    stream.media(b"RIFF\xff\xff\xff\xffWAVE" + bytes(20))
    assert stream.handler.content[0] == "wav"
    stream = Stream("OPUS", queued_as="L16/48000")
    (code, detail) = problem(stream.media(b"OggS\x00\x02" + bytes(60)))
    assert (code, detail[-19:]) == (100004, "; it is an Ogg file")


@pytest.mark.parametrize(
    ("codec", "rate", "queued_as", "size"),
    [
        ("PCMU", 8000, "PCMU", 8000),
        ("G722", 8000, "G722", 8000),
        ("L16", 24000, "L16/24000", 48000),
        ("L16", 22050, "L16/24000", 44100),
        ("OPUS", 48000, "L16/48000", 0),
    ],
)
def test_bytes_of_a_second_of_audio(codec: str, rate: int, queued_as: str, size: int) -> None:
    assert Stream(codec, rate, queued_as).handler.bytes_per_second == size

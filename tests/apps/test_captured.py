"""Captures, read: whole ones, and what is none."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from trunkline.apps.captured import LIMIT_MS, BadCapture, caller_frames, read_capture, trace_of, track_audio
from trunkline.apps.wire import media

HEAD: dict[str, Any] = {"capture": 1, "codec": "PCMU", "bot_codec": "PCMU", "mode": "rtp", "payloads": "whole"}


def to_app(number: int, payload: bytes, at: int | None = None) -> dict[str, Any]:
    """A `media` message of the inbound track."""
    message = json.loads(media(payload))
    message["media"] |= {"track": "inbound", "timestamp": str(number * 20 if at is None else at)}
    return {"ms": number * 20 + 5.0, "to": "app", "message": message}


def said(ms: float, text: str) -> dict[str, Any]:
    """A message of the bot."""
    return {"ms": ms, "to": "server", "message": json.loads(text)}


def text_of(*lines: dict[str, Any], **changed: Any) -> str:
    """A capture's text."""
    return "".join(json.dumps(line) + "\n" for line in (HEAD | changed, *lines))


def start(ms: float = 0.0) -> dict[str, Any]:
    """The `start` of a socket."""
    return {"ms": ms, "to": "app", "message": {"event": "start", "start": {"from": "+1", "to": "+2"}}}


def test_parts_are_one_capture_and_its_digest_is_that_of_its_lines() -> None:
    lines = [start(), to_app(0, b"a" * 160), said(30, '{"event": "clear"}')]
    whole = read_capture([text_of(*lines)])
    parts = read_capture([text_of(*lines[:2]), text_of(*lines[2:])])
    assert [one.ms for one in parts.messages] == [0, 5, 30]
    assert parts.digest == whole.digest != read_capture([text_of(*lines[:2])]).digest
    assert len(whole.sockets) == 1
    assert whole.has_audio()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("{}\n", "does not say that it is a capture"),
        ("no JSON\n", "line 1 is not JSON"),
        (text_of() + "[]\n", "line 2 is not an object"),
        (text_of() + '{"ms": -1, "to": "app"}\n', 'line 2 has no "ms"'),
        (text_of() + '{"ms": 1}\n', 'line 2 has neither "to" nor "note"'),
        (text_of({"ms": 0, "note": "open"}), "empty"),
    ],
)
def test_what_is_no_capture_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(BadCapture, match=words):
        read_capture([text] if text else [])


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(BadCapture, match="no codec that is known"):
        _ = read_capture([text_of(start(), codec="x")]).codec


def test_the_caller_s_audio_has_silence_where_packets_were_lost() -> None:
    def lines() -> Iterator[dict[str, Any]]:
        yield start()
        for number in (0, 1, 4):
            yield to_app(number, bytes([number]) * 160)
        yield start(500)
        yield to_app(30, b"\x09" * 160)

    capture = read_capture([text_of(*lines())])
    again, frames = caller_frames(capture, capture.sockets[0])
    assert (again, [frame[:1] for frame in frames]) == ([], [b"\0", b"\1", b"\xff", b"\xff", b"\4"])


def test_a_socket_after_a_loss_has_what_it_got_at_once_and_what_came_then() -> None:
    lines = [start(), *(to_app(n, bytes([n]) * 160) for n in range(10)), {"ms": 210.0, "note": "lost"}]
    lines += [{"ms": 1000.0, "to": "app", "message": {"event": "connected"}}, start(1000)]
    lines += [to_app(n, bytes([n]) * 160) | {"ms": 1000.0} for n in (5, 6, 8)]
    lines += [to_app(n, bytes([n]) * 160) for n in (50, 51, 53)]
    lines += [said(1100, '{"event": "clear"}')]
    capture = read_capture([text_of(*lines)])
    first, second = capture.sockets
    assert (first.lost_ms, first.ended_ms, second.lost_ms) == (210, 210, None)
    assert (second.opened_ms, second.ended_ms) == (1000, 1100)
    again, frames = caller_frames(capture, second)
    assert [frame[0] for frame in again] == [5, 6, 0xFF, 8]
    assert [frame[0] for frame in frames] == [50, 51, 0xFF, 53]
    assert [one.at for one in trace_of(capture, second).received] == [0.1]
    assert trace_of(capture, first).received == []


def test_a_line_that_the_server_did_not_finish_is_left_out() -> None:
    whole = text_of(start(), to_app(0, b"a" * 160))
    assert read_capture([whole + '{"ms": 9, "to"']).digest == read_capture([whole]).digest
    with pytest.raises(BadCapture, match="line 4 is not JSON"):
        read_capture([whole + '{"ms": 9, "to"\n'])


def test_packets_of_30_ms_are_cut_to_the_clock_of_20_ms() -> None:
    capture = read_capture([text_of(start(), to_app(0, b"a" * 240, 0), to_app(1, b"b" * 240, 30))])
    assert caller_frames(capture, capture.sockets[0])[1] == [b"a" * 160, b"a" * 80 + b"b" * 80, b"b" * 160]


def test_what_the_bot_did_is_measured_as_in_a_call() -> None:
    lines = (start(), said(250, media(bytes(160))), {"ms": 260, "to": "server", "binary": True})
    capture = read_capture([text_of(*lines)])
    trace = trace_of(capture, capture.sockets[0])
    assert trace.first_audio == 0.25
    assert len(trace.received) == 2
    assert [one.event for one in trace.sent] == ["start"]


@pytest.mark.parametrize(
    ("head", "codec", "endian", "mode", "whole"),
    [
        ({"codec": "L16/8000", "l16_endian": "big"}, "L16/8000/big", "big", "rtp", True),
        ({"codec": "L16/8000", "mode": "other"}, "L16/8000", "little", "rtp", True),
        ({"codec": "G722", "l16_endian": "other", "mode": "mp3"}, "G722", "little", "mp3", True),
        ({"payloads": "hash"}, "PCMU", "little", "rtp", False),
    ],
)
def test_the_head_says_how_the_audio_is_to_be_read(
    head: dict[str, str], codec: str, endian: str, mode: str, whole: bool
) -> None:
    capture = read_capture([text_of(start(), bot_codec="PCMA", **{"payloads": "whole", **head})])
    assert (capture.codec, capture.endian, capture.mode, capture.has_audio()) == (codec, endian, mode, whole)
    assert capture.bot_codec == "PCMA"
    trace = trace_of(capture, capture.sockets[0])
    assert (trace.codec, trace.bot_codec, trace.mode) == (codec, "PCMA", mode)


def test_times_of_a_day_are_taken_and_notes_are_apart() -> None:
    lines = [{"ms": LIMIT_MS, "note": "end"}, {"ms": 0, "to": "server", "text": "no JSON"}, start(LIMIT_MS)]
    capture = read_capture([text_of(*lines)])
    assert capture.notes == lines[:1]
    assert [(one.to_app, one.data, one.message, one.binary) for one in capture.messages[:1]] == [
        (False, b"no JSON", {}, False)
    ]
    assert json.loads(capture.messages[1].data) == capture.messages[1].message == lines[2]["message"]
    for ms in (LIMIT_MS + 1, "1", None):
        with pytest.raises(BadCapture, match=f'line 2 has no "ms" from 0 to {LIMIT_MS}'):
            read_capture([text_of({"ms": ms, "to": "app"})])


def test_a_track_has_its_stamps_or_else_the_times_of_its_messages() -> None:
    lines = [start(), to_app(1, b"a"), to_app(2, b"b"), to_app(3, b"c"), said(70, media(b"d"))]
    lines[2]["message"]["media"]["track"] = "outbound"
    del lines[3]["message"]["media"]["timestamp"]
    capture = read_capture([text_of(*lines)])
    assert track_audio(capture.sockets[0]) == [(20.0, b"a"), (65.0, b"c")]
    assert track_audio(capture.sockets[0], "outbound") == [(40.0, b"b")]


def test_frames_of_a_codec_without_lengths_are_those_of_the_packets() -> None:
    lines = [to_app(number, payload) for number, payload in ((0, b"abc"), (5, b"d"))]
    capture = read_capture([text_of(*lines, codec="OPUS")])
    assert caller_frames(capture, capture.sockets[0])[1] == [b"abc", b"d"]

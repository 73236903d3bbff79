"""Captures, read: whole ones, and what is none."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from trunkline.apps.captured import BadCapture, caller_frames, read_capture, trace_of
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
    assert whole.sockets == 1
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
    assert [frame[:1] for frame in caller_frames(capture)] == [b"\0", b"\1", b"\xff", b"\xff", b"\4"]
    assert capture.sockets == 2


def test_packets_of_30_ms_are_cut_to_the_clock_of_20_ms() -> None:
    capture = read_capture([text_of(start(), to_app(0, b"a" * 240, 0), to_app(1, b"b" * 240, 30))])
    assert caller_frames(capture) == [b"a" * 160, b"a" * 80 + b"b" * 80, b"b" * 160]


def test_what_the_bot_did_is_measured_as_in_a_call() -> None:
    lines = (start(), said(250, media(bytes(160))), {"ms": 260, "to": "server", "binary": True})
    trace = trace_of(read_capture([text_of(*lines)]))
    assert trace.first_audio == 0.25
    assert len(trace.received) == 2
    assert [one.event for one in trace.sent] == ["start"]

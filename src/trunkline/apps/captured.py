"""Reads captures (`streaming/capture.py`), which may come from anywhere. Pure."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from trunkline.apps.trace import FRAME_MS, Received, Sent, Trace
from trunkline.apps.wire import member, payload_of
from trunkline.media.codecs import CODECS, socket_codec
from trunkline.streaming import messages
from trunkline.streaming.capture import VERSION

LIMIT_MS = 24 * 3_600_000
"""A day: what is longer is no capture of a call."""


class BadCapture(Exception):
    """Not a capture, or one that does not do; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """A message, or what the app sent instead of one."""

    ms: float
    to_app: bool
    data: bytes
    """The text of the message."""
    message: dict[str, Any]
    """Empty for what is no JSON object."""
    binary: bool = False


@dataclass(slots=True)
class Capture:
    """All of one stream that was captured."""

    head: dict[str, Any]
    messages: list[CapturedMessage] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    digest: str = ""
    """Of the content: equal for equal captures."""

    @property
    def codec(self) -> str:
        """Of the media to the app: a name of `CODECS`."""
        return self._codec("codec")

    @property
    def bot_codec(self) -> str:
        """Of the app's audio: a name of `CODECS`."""
        return self._codec("bot_codec")

    def _codec(self, name: str) -> str:
        codec = socket_codec(str(self.head.get(name)), self.endian)
        if codec not in CODECS:
            raise BadCapture(f"its head has no {name} that is known")
        return codec

    @property
    def endian(self) -> Literal["little", "big"]:
        """Byte order of L16."""
        return "big" if self.head.get("l16_endian") == "big" else "little"

    @property
    def mode(self) -> str:
        """`rtp` or `mp3`."""
        return "mp3" if self.head.get("mode") == "mp3" else "rtp"

    @property
    def sockets(self) -> int:
        """How many there were: more than one after a loss."""
        return sum(one.to_app and one.message.get("event") == "start" for one in self.messages)

    def has_audio(self) -> bool:
        """Payloads are there, not their hashes alone."""
        return self.head.get("payloads") != "hash"

    def first_socket(self) -> Iterator[CapturedMessage]:
        """The messages until a second `start`."""
        starts = 0
        for one in self.messages:
            starts += one.to_app and one.message.get("event") == "start"
            if starts > 1:
                return
            yield one


def read_capture(parts: Iterable[str]) -> Capture:
    """The parts of a capture, in order. Raises BadCapture."""
    capture: Capture | None = None
    digest = sha256()
    for text in parts:
        for number, row in enumerate(text.splitlines(), 1):
            line = _line(row, number)
            if number == 1:
                if line.get("capture") != VERSION:
                    raise BadCapture(f"its first line does not say that it is a capture of version {VERSION}")
                capture = capture or Capture(line)
                continue
            assert capture is not None
            digest.update(row.encode())
            _add(capture, line, number)
    if capture is None or not capture.messages:
        raise BadCapture("it is empty")
    capture.digest = digest.hexdigest()[:16]
    return capture


def _line(row: str, number: int) -> dict[str, Any]:
    try:
        line = json.loads(row)
    except (ValueError, RecursionError):
        raise BadCapture(f"line {number} is not JSON") from None
    if not isinstance(line, dict):
        raise BadCapture(f"line {number} is not an object")
    return line


def _add(capture: Capture, line: dict[str, Any], number: int) -> None:
    ms = line.get("ms")
    if not isinstance(ms, int | float) or not 0 <= ms <= LIMIT_MS:
        raise BadCapture(f'line {number} has no "ms" from 0 to {LIMIT_MS}')
    if "note" in line:
        capture.notes.append(line)
    elif line.get("to") in ("app", "server"):
        content = line.get("message", line.get("text", ""))
        data = content if isinstance(content, str) and "message" not in line else json.dumps(content)
        message = content if isinstance(content, dict) else {}
        capture.messages.append(CapturedMessage(ms, line["to"] == "app", data.encode(), message, "binary" in line))
    else:
        raise BadCapture(f'line {number} has neither "to" nor "note"')


def track_audio(capture: Capture, track: str = "inbound") -> list[tuple[float, bytes]]:
    """The payloads of a track of the first socket, with their milliseconds since it began."""
    return [
        (float(member(one.message, "media", "timestamp") or one.ms), payload_of(one.message))
        for one in capture.first_socket()
        if one.to_app and one.message.get("event") == "media" and member(one.message, "media", "track") == track
    ]


def caller_frames(capture: Capture) -> list[bytes]:
    """What the caller said, cut to frames of the server's clock, with silence where packets were lost."""
    codec = CODECS[capture.codec]
    if not codec.bytes_per_ms:
        return [payload for _, payload in track_audio(capture)]
    joined = bytearray()
    for at, payload in track_audio(capture):
        gap = round((at - len(joined) / codec.bytes_per_ms) / FRAME_MS)
        joined += codec.silence(FRAME_MS) * max(0, gap)
        joined += payload
    size = codec.bytes_per_ms * FRAME_MS
    return [bytes(joined[at : at + size]) for at in range(0, len(joined) - size + 1, size)]


def trace_of(capture: Capture) -> Trace:
    """What the bot did then, as `BotCall` notes it now; what was played is not in it."""
    trace = Trace(capture.codec, capture.bot_codec, capture.mode)
    for one in capture.first_socket():
        if one.to_app:
            event = str(one.message.get("event"))
            if event != "media":
                trace.sent.append(Sent(one.ms / 1000, event, one.message))
        else:
            trace.received.append(Received(one.ms / 1000, 0 if one.binary else messages.decode(one.data), 0))
    return trace

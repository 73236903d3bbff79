"""Reads captures (`streaming/capture.py`), which may come from anywhere. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any, Literal

from trunkline.apps.trace import FRAME_MS, Received, Sent, Trace
from trunkline.apps.wire import member, payload_of
from trunkline.media.codecs import CODECS, socket_codec
from trunkline.streaming import messages
from trunkline.streaming.capture import VERSION

REPLAYED_MS = 100.0
"""What comes so much later than the rest was sent again, after a loss."""
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
class CapturedSocket:
    """One of the sockets of a stream: after a loss there is another."""

    messages: list[CapturedMessage] = field(default_factory=list)
    lost_ms: float | None = None
    """When it was lost; None: it was the last."""

    @property
    def opened_ms(self) -> float:
        """When its first message was sent."""
        return self.messages[0].ms

    @property
    def ended_ms(self) -> float:
        """When it was lost, or the last message came."""
        return self.messages[-1].ms if self.lost_ms is None else self.lost_ms


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
    def sockets(self) -> list[CapturedSocket]:
        """In order: more than one after a loss."""
        found, started = [CapturedSocket()], False
        for one in self.messages:
            event = one.message.get("event") if one.to_app else None
            if started and event in ("connected", "start"):
                found.append(CapturedSocket())
                started = False
            started = started or event == "start"
            found[-1].messages.append(one)
        for socket, after in pairwise(found):
            lost = (float(note["ms"]) for note in self.notes if note["note"] == "lost")
            within = (ms for ms in lost if socket.messages[-1].ms <= ms <= after.opened_ms)
            socket.lost_ms = next(within, socket.messages[-1].ms)
        return found

    def has_audio(self) -> bool:
        """Payloads are there, not their hashes alone."""
        return self.head.get("payloads") != "hash"


def read_capture(parts: Iterable[str]) -> Capture:
    """The parts of a capture, in order. Raises BadCapture."""
    capture: Capture | None = None
    digest = sha256()
    for text in parts:
        rows = text.splitlines()
        if len(rows) > 1 and not text.endswith("\n"):
            rows.pop()  # the server died while it wrote this line
        for number, row in enumerate(rows, 1):
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


def track_audio(socket: CapturedSocket, track: str = "inbound") -> list[tuple[float, bytes]]:
    """The payloads of a track, with their milliseconds since the stream began."""
    return [(at, payload_of(one.message)) for at, one in _media(socket, track)]


def _media(socket: CapturedSocket, track: str) -> list[tuple[float, CapturedMessage]]:
    return [
        (float(member(one.message, "media", "timestamp") or one.ms), one)
        for one in socket.messages
        if one.to_app and one.message.get("event") == "media" and member(one.message, "media", "track") == track
    ]


def caller_frames(capture: Capture, socket: CapturedSocket) -> tuple[list[bytes], list[bytes]]:
    """What the caller said, cut to frames of the server's clock, with silence where packets were lost: what the socket
    got at once, as it was said while there was none, and what it got as it was said."""
    media = _media(socket, "inbound")
    first = capture.messages[0] is socket.messages[0]
    delays = [one.ms - at for at, one in media]
    late = 0 if first else next((n for n, delay in enumerate(delays) if delay - min(delays) < REPLAYED_MS), 0)
    return (
        _frames(capture, media[:late], media[0][0] if late else 0.0),
        _frames(capture, media[late:], 0.0 if first or late == len(media) else media[late][0]),
    )


def _frames(capture: Capture, media: list[tuple[float, CapturedMessage]], begin: float) -> list[bytes]:
    codec = CODECS[capture.codec]
    if not codec.bytes_per_ms:
        return [payload_of(one.message) for _, one in media]
    joined = bytearray()
    for at, one in media:
        gap = round((at - begin - len(joined) / codec.bytes_per_ms) / FRAME_MS)
        joined += codec.silence(FRAME_MS) * max(0, gap)
        joined += payload_of(one.message)
    size = codec.bytes_per_ms * FRAME_MS
    return [bytes(joined[at : at + size]) for at in range(0, len(joined) - size + 1, size)]


def trace_of(capture: Capture, socket: CapturedSocket) -> Trace:
    """What the bot did then, as `BotCall` notes it now; what was played is not in it."""
    trace, began = Trace(capture.codec, capture.bot_codec, capture.mode), socket.opened_ms
    if capture.messages[0] is socket.messages[0]:
        began = 0.0
    for one in socket.messages:
        at = (one.ms - began) / 1000
        if one.to_app:
            event = str(one.message.get("event"))
            if event != "media":
                trace.sent.append(Sent(at, event, one.message))
        else:
            trace.received.append(Received(at, 0 if one.binary else messages.decode(one.data), 0))
    return trace

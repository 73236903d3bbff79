"""What a test app does with the messages of a stream: read them, answer, and describe them in a line. Pure."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trunkline.codecs import CODEC_TABLE, format_name
from trunkline.media.codecs import CODECS

FRAME_MS = 20
SHOWN = 58
"""Columns of the last part of a line, so that a line has 80."""


def read(text: str | bytes) -> dict[str, Any]:
    """A message of the server; of anything else, an empty one."""
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def member(message: dict[str, Any], *names: str) -> Any:
    """A member of a member; None where there is none."""
    value: Any = message
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def payload_of(message: dict[str, Any]) -> bytes:
    """The audio of a `media` message; empty if there is none."""
    try:
        return b64decode(member(message, "media", "payload") or "", validate=True)
    except (ValueError, TypeError):
        return b""


def media(payload: bytes) -> str:
    """A `media` message from the app."""
    return json.dumps({"event": "media", "media": {"payload": b64encode(payload).decode()}})


def mark(name: str) -> str:
    """A `mark` message from the app."""
    return json.dumps({"event": "mark", "mark": {"name": name}})


def clear() -> str:
    """A `clear` message from the app."""
    return json.dumps({"event": "clear"})


def encoding_of(start: dict[str, Any]) -> str:
    """The name in `CODECS` of the format that `start` announces; PCMU if it announces none that we know."""
    form = member(start, "start", "media_format") or {}
    name = str(form.get("encoding", "")).upper()
    if name not in CODEC_TABLE:
        return "PCMU"
    full = format_name(name, form.get("sample_rate") or 8000)
    return full if full in CODECS else "PCMU"


def frames(pcm: bytes, encoding: str, ms: int = FRAME_MS) -> list[bytes]:
    """PCM at the rate of this format as payloads of `ms` each; the rest is filled with silence."""
    codec = CODECS[encoding]
    size = codec.sample_rate * ms // 1000 * 2
    encode = codec.encoder()
    return [encode(pcm[at : at + size].ljust(size, b"\0")) for at in range(0, len(pcm), size)]


@dataclass(frozen=True, slots=True)
class AppNote:
    """Something that an app has to report."""

    event: str
    """One word, such as `start` or `mark`."""
    fields: dict[str, Any] = field(default_factory=dict)
    """For JSON; people read `text` alone where there is one."""


def shown(note: AppNote, at: datetime) -> str:
    """A note as a line of at most 80 columns."""
    words = str(note.fields.get("text") or "  ".join(f"{name} {value}" for name, value in note.fields.items()))
    clock = at.strftime("%H:%M:%S.%f")[:-3]
    return f"{clock}  {note.event:8}{words[:SHOWN]}".rstrip()


def as_json(note: AppNote, at: datetime) -> str:
    """A note as a line of JSON."""
    return json.dumps({"time": at.isoformat(), "event": note.event, **note.fields})


def notes_of(message: dict[str, Any]) -> Iterator[AppNote]:
    """What to report of a message of the server, which of `media` is nothing."""
    event = message.get("event")
    if event == "start":
        party = [str(member(message, "start", name)) for name in ("from", "to")]
        form = member(message, "start", "media_format") or {}
        media_format = f"{form.get('encoding')}/{form.get('sample_rate')}"
        yield AppNote(
            "start",
            {
                "text": f"{party[0]} to {party[1]}, {media_format}",
                "from": party[0],
                "to": party[1],
                "media_format": media_format,
                "stream_id": message.get("stream_id"),
            },
        )
    elif event == "dtmf":
        yield AppNote("dtmf", {"digit": member(message, "dtmf", "digit")})
    elif event == "mark":
        yield AppNote("mark", {"name": member(message, "mark", "name")})
    elif event == "error":
        code, detail = member(message, "payload", "code"), member(message, "payload", "detail")
        yield AppNote("error", {"code": code, "text": f"{code} {detail}", "detail": detail})
    elif event in ("connected", "stop"):
        yield AppNote(str(event))
    elif event != "media":
        yield AppNote("unknown", {"text": json.dumps(message)})

"""What the proxy says of the traffic between a server and a bot: a line for each message that is not audio, and once a
second a line for the audio of each direction. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from trunkline.apps.wire import SHOWN, AppNote, payload_of, read

TO_BOT, TO_SERVER = "-> bot", "<- bot"
MEDIA_INTERVAL = 1.0
"""Seconds between two lines of audio."""
_HIDDEN = ("x-telnyx-streaming-auth-token",)
"""Members whose values are secret."""


@dataclass(slots=True)
class _Audio:
    """The `media` messages of one direction since the last line."""

    messages: int = 0
    size: int = 0
    smallest: int = 0
    largest: int = 0

    def add(self, size: int) -> None:
        """Count one."""
        self.smallest = min(self.smallest, size) if self.messages else size
        self.largest = max(self.largest, size)
        self.messages += 1
        self.size += size


class Traffic:
    """The traffic of one connection. `now` is in seconds, monotonic."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._audio = {TO_BOT: _Audio(), TO_SERVER: _Audio()}
        self._due = now + MEDIA_INTERVAL

    def text(self, direction: str, text: str, now: float) -> list[AppNote]:
        """A text message."""
        message = read(text)
        if message.get("event") == "media":
            self._audio[direction].add(len(payload_of(message)))
            return self.media(now)
        words = json.dumps(_without_secrets(message)) if message else f"not a JSON object: {text[:40]!r}"
        return [*self.media(now, at_once=True), self._note(direction, str(message.get("event", "?")), now, words)]

    def binary(self, direction: str, size: int, now: float) -> list[AppNote]:
        """A binary message."""
        return [self._note(direction, "binary", now, f"{size} bytes; messages are JSON in text frames")]

    def closed(self, direction: str, code: int | None, reason: str, now: float) -> list[AppNote]:
        """The party from which `direction` comes closed its connection."""
        return [
            *self.media(now, at_once=True),
            self._note(direction, "close", now, f"{code or 'no code'} {reason}".rstrip()),
        ]

    def media(self, now: float, *, at_once: bool = False) -> list[AppNote]:
        """The lines of audio that are due."""
        if now < self._due and not at_once:
            return []
        self._due = now + MEDIA_INTERVAL
        notes = []
        for direction, audio in self._audio.items():
            if audio.messages:
                sizes = f"{audio.smallest}" if audio.smallest == audio.largest else f"{audio.smallest}-{audio.largest}"
                words = f"{audio.messages} messages, {audio.size} bytes, {sizes} each"
                notes.append(self._note(direction, "media", now, words))
                self._audio[direction] = _Audio()
        return notes

    def _note(self, direction: str, kind: str, now: float, words: str) -> AppNote:
        fields: dict[str, Any] = {"kind": kind, "seconds": round(now - self._began, 3), "text": words}
        return AppNote(direction, fields)


def line(note: AppNote) -> str:
    """A note of the proxy in at most 80 columns."""
    fields = note.fields
    return f"{fields['seconds']:8.3f}  {note.event}  {fields['kind']:9}  {fields['text'][: SHOWN - 7]}".rstrip()


def _without_secrets(message: dict[str, Any]) -> dict[str, Any]:
    return {
        name: "..." if name in _HIDDEN else _without_secrets(value) if isinstance(value, dict) else value
        for name, value in message.items()
    }

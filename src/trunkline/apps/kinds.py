"""The test apps of `trunkline app`: a row of `KINDS` each."""

import asyncio
import json
import re
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection

from trunkline.apps import wire
from trunkline.apps.proxy import proxy
from trunkline.apps.speech import speak
from trunkline.apps.wire import AppNote
from trunkline.errors import StartupError
from trunkline.media.audio.level import SILENT, level
from trunkline.media.codecs import CODECS, UndecodablePacket

LOUD = -38
"""dBFS from which a frame of the caller counts as speech."""
SPOKEN = 5
"""Frames of speech in a row that are an interruption: 100 ms."""
QUIET_AFTER = 30
"""Frames without speech after which the caller has finished."""
SECOND = 1000


@dataclass(slots=True)
class AppStream:
    """One socket of a test app."""

    socket: ServerConnection
    argument: str
    """What followed the kind on the command line."""
    codec: str
    """A name of `CODECS`: what the app sends."""
    report: Callable[[AppNote], None]
    start: dict[str, Any] = field(default_factory=dict)
    """The `start` message, once it came."""

    async def messages(self) -> Any:
        """The messages of the server, each reported, until the socket is closed."""
        async for text in self.socket:
            message = wire.read(text)
            if message.get("event") == "start":
                self.start = message
            for note in wire.notes_of(message):
                self.report(note)
            yield message

    async def play(self, payloads: list[bytes], mark: str) -> None:
        """Send audio at once, and a mark behind it."""
        for payload in payloads:
            await self.socket.send(wire.media(payload))
        await self.socket.send(wire.mark(mark))


async def echo(stream: AppStream) -> None:
    """Sends back what it hears."""
    async for message in stream.messages():
        if message.get("event") == "media":
            await stream.socket.send(wire.media(wire.payload_of(message)))


async def record(stream: AppStream) -> None:
    """Writes what it hears into wav files, one for each track."""
    folder = Path(stream.argument or ".")
    files: dict[str, tuple[wave.Wave_write, Callable[[bytes], bytes]]] = {}
    try:
        async for message in stream.messages():
            if message.get("event") != "media":
                continue
            track = str(wire.member(message, "media", "track"))
            if track not in files:
                codec = CODECS[wire.encoding_of(stream.start)]
                name = re.sub(r"[^\w-]", "", f"{stream.start.get('stream_id', 'stream')}-{track}")
                path = folder / f"{name[:100]}.wav"
                files[track] = (_wav(path, codec.sample_rate), codec.decoder())
                stream.report(AppNote("record", {"file": str(path)}))
            file, decode = files[track]
            file.writeframes(_decoded(decode, wire.payload_of(message)))
    finally:
        for file, _ in files.values():
            file.close()


def _wav(path: Path, rate: int) -> wave.Wave_write:
    file = wave.open(str(path), "wb")  # noqa: SIM115
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(rate)
    return file


def _decoded(decode: Callable[[bytes], bytes], payload: bytes) -> bytes:
    try:
        return decode(payload)
    except UndecodablePacket:
        return b""


async def tone(stream: AppStream) -> None:
    """Plays a tone; a mark after each second, and the next second when it returns."""
    hertz = _number(stream.argument or "440", "Hz", 20, 20_000)
    rate = CODECS[stream.codec].sample_rate
    wave_form = (8000 * np.sin(2 * np.pi * hertz / rate * np.arange(rate))).astype("<i2")
    payloads = wire.frames(wave_form.tobytes(), stream.codec)
    seconds = 0
    async for message in stream.messages():
        if message.get("event") in ("start", "mark"):
            for _ in range(2 if message["event"] == "start" else 1):
                seconds += 1
                await stream.play(payloads, f"second {seconds}")


async def say(stream: AppStream) -> None:
    """Says a text when the call begins and whenever the caller has spoken; sends `clear` when it is interrupted."""
    text = stream.argument or "Hello. This is a test. Say something, and I will say this again."
    pcm = await asyncio.to_thread(speak, text, CODECS[stream.codec].sample_rate)
    payloads = wire.frames(pcm, stream.codec)
    decode: Callable[[bytes], bytes] = bytes
    pending, spoken, quiet, heard = "", 0, 0, False
    async for message in stream.messages():
        event = message.get("event")
        if event == "start":
            decode = CODECS[wire.encoding_of(message)].decoder()
            pending = "1"
            await stream.play(payloads, pending)
        elif event == "mark" and wire.member(message, "mark", "name") == pending:
            pending = ""
        elif event == "media" and wire.member(message, "media", "track") != "outbound":
            loud = level(_decoded(decode, wire.payload_of(message))) >= LOUD
            spoken, quiet = (spoken + 1, 0) if loud else (0, quiet + 1)
            heard = heard or spoken >= SPOKEN
            if pending and spoken >= SPOKEN:
                stream.report(AppNote("clear", {"text": "the caller speaks"}))
                pending = ""
                await stream.socket.send(wire.clear())
            elif heard and not pending and quiet >= QUIET_AFTER:
                heard, pending = False, f"after {wire.member(message, 'media', 'timestamp')} ms"
                await stream.play(payloads, pending)


async def levels(stream: AppStream) -> None:
    """Shows once a second how loud each track is."""
    heard: dict[str, list[bytes]] = {}
    due = SECOND
    async for message in stream.messages():
        if message.get("event") != "media":
            continue
        heard.setdefault(str(wire.member(message, "media", "track")), []).append(wire.payload_of(message))
        if int(wire.member(message, "media", "timestamp") or 0) >= due:
            due = int(message["media"]["timestamp"]) + SECOND
            for track, payloads in heard.items():
                decode = CODECS[wire.encoding_of(stream.start)].decoder()
                loud = level(b"".join(_decoded(decode, payload) for payload in payloads))
                stream.report(AppNote("level", {"track": track, "db": loud, "text": "#" * ((loud - SILENT) // 4)}))
            heard.clear()


async def through(stream: AppStream) -> None:
    """Passes everything on to a bot, and shows it."""
    await proxy(stream.socket, stream.argument, stream.report)


async def stall(stream: AppStream) -> None:
    """Reads `start`, then nothing any more."""
    async for message in stream.messages():
        if message.get("event") == "start":
            stream.report(AppNote("stall", {"text": "reads nothing from now on"}))
            await stream.socket.wait_closed()
            return


async def drop(stream: AppStream) -> None:
    """Breaks the connection after some seconds, without a close frame; so does the next one."""
    after = _number(stream.argument or "3", "seconds", 0, 86_400)
    stream.report(AppNote("drop", {"text": f"breaks off in {after:g} s"}))
    reading = asyncio.ensure_future(_read(stream))
    await asyncio.wait((reading,), timeout=after)
    reading.cancel()
    stream.socket.transport.abort()


async def _read(stream: AppStream) -> None:
    async for _ in stream.messages():
        pass


GARBAGE: tuple[str | bytes, ...] = (
    "not JSON",
    "[]",
    "{}",
    json.dumps({"event": "audio", "audio": "//7+"}),
    json.dumps({"event": "media"}),
    json.dumps({"event": "media", "media": {"payload": 7}}),
    json.dumps({"event": "media", "media": {"payload": "&&&"}}),
    json.dumps({"event": "media", "media": {"payload": ""}}),
    json.dumps({"event": "mark"}),
    b"\xff" * 160,
)
"""A message of each kind that is refused."""


async def garbage(stream: AppStream) -> None:
    """Sends one wrong message after another, and shows the errors that come back."""
    async for message in stream.messages():
        if message.get("event") == "start":
            for wrong in GARBAGE:
                stream.report(AppNote("sent", {"text": repr(wrong)}))
                await stream.socket.send(wrong)


def _number(text: str, unit: str, least: float, most: float) -> float:
    """Raises StartupError."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise StartupError(f"{text!r} is not a number of {unit} from {least:g} to {most:g}")
    return value


def _folder(text: str) -> None:
    if text and not Path(text).is_dir():
        raise StartupError(f"{text} is no directory")


def _bot(text: str) -> None:
    if not text.startswith(("ws://", "wss://")):
        raise StartupError(f"proxy needs the URL of a bot, ws://… or wss://…{f', not {text!r}' if text else ''}")


def _no_argument(text: str) -> None:
    if text:
        raise StartupError(f"{text!r}: this app takes no argument")


@dataclass(frozen=True, slots=True)
class AppKind:
    """A row of `KINDS`."""

    run: Callable[[AppStream], Awaitable[None]]
    argument: str = ""
    """What may follow the name, for the help."""
    check: Callable[[str], object] = _no_argument
    """Raises StartupError for an argument that does not fit."""


KINDS = {
    "echo": AppKind(echo),
    "record": AppKind(record, "DIRECTORY", _folder),
    "tone": AppKind(tone, "HZ", lambda text: _number(text or "440", "Hz", 20, 20_000)),
    "say": AppKind(say, "TEXT", lambda text: None),
    "levels": AppKind(levels),
    "proxy": AppKind(through, "URL", _bot),
    "stall": AppKind(stall),
    "drop": AppKind(drop, "SECONDS", lambda text: _number(text or "3", "seconds", 0, 86_400)),
    "garbage": AppKind(garbage),
}
"""The test apps by name."""

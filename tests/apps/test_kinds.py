"""Each test app, with the server's side of a stream against it."""

import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from trunkline.apps.call import BotCall
from trunkline.apps.kinds import GARBAGE, KINDS
from trunkline.apps.server import listen
from trunkline.apps.speech import babble
from trunkline.apps.stream import BotStream
from trunkline.apps.trace import Trace
from trunkline.apps.wire import AppNote, frames
from trunkline.errors import StartupError

WORDS = frames(babble(600), "PCMU")


@asynccontextmanager
async def call_to(kind: str, argument: str = "", **asked: Any) -> AsyncIterator[tuple[BotCall, list[AppNote]]]:
    """A stream to the app, open; and its notes."""
    notes: list[AppNote] = []
    async with await listen(kind, argument, host="127.0.0.1", port=0, codec="PCMU", report=notes.append) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        call = BotCall(BotStream(f"ws://127.0.0.1:{port}/", **asked))
        await call.open()
        yield call, notes
        await call.hang_up()


async def test_echo_says_what_it_hears() -> None:
    async with call_to("echo") as (call, notes):
        call.speak(WORDS)
        assert await call.until(call.trace.echoes, 10)
        call.press("7")
    assert [note.fields["digit"] for note in notes if note.event == "dtmf"] == ["7"]
    assert call.trace.closing is not None


async def test_record_writes_what_it_hears(tmp_path: Path) -> None:
    async with call_to("record", str(tmp_path)) as (call, notes):
        call.speak(WORDS)
        assert await call.until(lambda: len(call.trace.said) > 40, 10)
    [path] = [note.fields["file"] for note in notes if note.event == "record"]
    with wave.open(path) as file:
        assert file.getnframes() >= 160 * 35
        assert any(file.readframes(file.getnframes()))


async def test_tone_plays_on_as_its_marks_return() -> None:
    async with call_to("tone", "300") as (call, notes):
        assert await call.until(lambda: sum(one.event == "mark" for one in call.trace.sent) == 1, 10)
        assert await call.until(lambda: len(list(call.trace.media())) == 150, 10)
    assert "mark" in [note.event for note in notes]


@pytest.mark.process
async def test_say_stops_when_it_is_interrupted() -> None:
    async with call_to("say", "One, two, three, four, five, six, seven, eight, nine, ten.") as (call, notes):
        assert await call.until(lambda: call.queued_ms > 1000, 20)
        call.speak(WORDS)
        assert await call.until(lambda: call.queued_ms == 0, 10)
    assert "clear" in [note.event for note in notes]


async def test_levels_shows_each_track() -> None:
    async with call_to("levels") as (call, notes):
        call.speak(WORDS)
        assert await call.until(lambda: any(note.event == "level" for note in notes), 10)
    [note, *_] = [note for note in notes if note.event == "level"]
    assert note.fields["track"] == "inbound"
    assert note.fields["db"] > -40


async def test_drop_breaks_the_connection() -> None:
    async with call_to("drop", "0.1") as (call, _):
        assert await call.until(lambda: call.over, 10)
    assert call.trace.closed is not None
    assert call.trace.closed.code is None


async def test_garbage_sends_what_is_refused() -> None:
    async with call_to("garbage") as (call, _):
        assert await call.until(lambda: sum(one.event == "error" for one in call.trace.sent) == len(GARBAGE), 10)


async def test_stall_reads_nothing() -> None:
    async with call_to("stall") as (call, notes):
        assert await call.until(lambda: any(note.event == "stall" for note in notes), 10)
        trace: Trace = await call.abort()
    assert trace.first_audio is None


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        ("echo", "x"),
        ("tone", "high"),
        ("tone", "9"),
        ("drop", "-1"),
        ("proxy", ""),
        ("proxy", "http://a"),
        ("record", "/no"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(kind: str, argument: str) -> None:
    with pytest.raises(StartupError):
        KINDS[kind].check(argument)

"""The demo, shortened, against the real server; and its failures."""

import asyncio
import io
import os
import re
import signal
import sys
import wave
from functools import partial

import pytest
from rich.console import Console

from trunkline.demo import story, verdict
from trunkline.demo.errors import ServerFailed, StoryBroken
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.process


@pytest.mark.peer
async def test_the_demo_succeeds_in_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    # Limits for a busy machine; see test_verdict.py.
    monkeypatch.setattr(verdict, "LATENCY_LIMIT", 60)
    monkeypatch.setattr(story, "ServerProcess", partial(ServerProcess, settings={"streams.prebuffer": 500}))
    out = io.StringIO()
    assert await story.play(Console(file=out, width=120), 2.5) == 0, out.getvalue()
    shown = out.getvalue()
    assert "FAILED" not in shown
    *_, verdict_line, heard, following = shown.splitlines()
    assert re.fullmatch(r"OK: all \d+ checks passed", verdict_line)
    assert re.fullmatch(r"With your own bot: +\S*trunkline dev ws://127.0.0.1:7860/ws", following)
    file = heard.removeprefix("What the caller heard: ")
    with wave.open(file) as sound:
        assert sound.getnframes() / sound.getframerate() > 2
        assert len(set(sound.readframes(sound.getnframes()))) > 100  # no silence
    os.unlink(file)
    for words in (r"(\d+) of \1 sent after `start`", r"440\.\d Hz", r"stream-started, stream-stopped; 2 verified"):
        assert re.search(words, shown), shown


@pytest.mark.peer
async def test_a_row_that_fails_is_named_and_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "LATENCY_LIMIT", 0)
    out = io.StringIO()
    assert await story.play(Console(file=out, width=120), 1) == 1
    assert re.search(r"^FAILED: .*ms", out.getvalue(), re.MULTILINE), out.getvalue()


@pytest.mark.peer
async def test_a_stream_that_is_refused_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"streams.bidirectional_per_call": 0}
    monkeypatch.setattr(story, "ServerProcess", partial(ServerProcess, settings=settings))
    with pytest.raises(StoryBroken, match=r"the stream was not started: .*90045"):
        await story.play(Console(file=io.StringIO()), 1)


async def test_a_server_that_does_not_start_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServerFailed, match="exited with code 1"):
        await story.play(Console(file=io.StringIO()), 1)


@pytest.mark.peer
async def test_ctrl_c_ends_it_cleanly() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "trunkline.demo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        # A shell may ignore SIGINT for background processes, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    shown = ""
    async with asyncio.timeout(100):
        while "in-progress" not in shown:
            shown += (await process.stdout.readline()).decode()
        process.send_signal(signal.SIGINT)
        shown += (await process.stdout.read()).decode()
        assert await process.wait() == 130
    assert shown.endswith("interrupted\n")
    assert "Traceback" not in shown

"""`trunkline dev`: one command, and a call reaches the bot."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

import commands
from peers.harness import RecordingApp, happens
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import free_ports
from webapp import WebApp, texml

pytestmark = pytest.mark.process

COMMAND = (sys.executable, "-m", "trunkline")
SECONDS = 100


class Dev:
    """A first terminal."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self.process, self.home = process, home
        self.shown = ""

    async def until(self, pattern: str) -> re.Match[str]:
        """Read until a pattern is shown."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while (found := re.search(pattern, self.shown)) is None:
                line = await self.process.stdout.readline()
                assert line, self.shown
                self.shown += line.decode()
        return found

    async def sip(self) -> tuple[str, int]:
        found = await self.until(r"sip:bot@(.+):(\d+)")
        return found[1], int(found[2])

    async def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.shown += (await asyncio.wait_for(self.process.stdout.read(), SECONDS)).decode()
        return await self.process.wait()


def surroundings(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "TELNYX_"))}
    return clean | {"HOME": str(home), "TMPDIR": str(home)}


async def trunkline(home: Path, *words: str, env: dict[str, str] | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *words,
        cwd=home,
        env=surroundings(home) | (env or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A shell may ignore SIGINT for background processes, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


@asynccontextmanager
async def dev(home: Path, *words: str, env: dict[str, str] | None = None) -> AsyncIterator[Dev]:
    port = free_ports(20)
    ports = ("--media.port_min", str(port), "--media.port_max", str(port + 19))
    process = await trunkline(home, "dev", *words, *ports, env=env)
    terminal = Dev(process, home)
    try:
        yield terminal
        if process.returncode is None:
            assert await terminal.end() == 0
        assert "Traceback" not in terminal.shown
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        sys.stderr.write(terminal.shown)  # pytest shows it when the test fails


async def second_terminal(terminal: Dev, script: str) -> str:
    """What is printed when the lines between `eval` and `Ctrl-C` are typed as they were shown."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-ec", f'trunkline() {{ "{COMMAND[0]}" -m trunkline "$@"; }}; {script}'),
        cwd=terminal.home,
        env=surroundings(terminal.home),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0
    return out.decode()


@pytest.fixture
async def app() -> AsyncIterator[RecordingApp]:
    async with RecordingApp() as app:
        yield app


async def test_a_call_reaches_the_bot_and_the_printed_lines_work(tmp_path: Path, app: RecordingApp) -> None:
    (tmp_path / "trunkline.toml").write_text("[http]\nport = 1\n")  # is not read
    async with dev(tmp_path, app.url) as terminal:
        host, port = await terminal.sip()
        await terminal.until(r"is there: call it")
        async with DemoCaller((host, port), speech(500)) as caller:
            await caller.call()
            stream = await app.socket()
            assert stream.all("start")[0]["start"]["call_control_id"] == caller.call_sid
            await terminal.until(r"\[1\] the bot is connected")
            printed = re.search(r"^  eval.*(?:\n  .*)+", terminal.shown, re.MULTILINE)
            assert printed
            calls = json.loads(await second_terminal(terminal, printed[0]))["calls"]
            assert [call["sid"] for call in calls] == [caller.call_sid]
            assert caller.call_sid in await second_terminal(terminal, f"trunkline why {caller.call_sid} || true")
            await caller.hang_up()
        await terminal.until(r"\[1\] over: completed")
        assert caller.call_sid in terminal.shown
        assert await terminal.end() == 0
    assert max(map(len, terminal.shown.splitlines())) <= 80
    assert "\x1b" not in terminal.shown
    assert not [name for name in os.listdir(tmp_path) if name.startswith("trunkline-dev-")]


async def test_the_printed_call_reaches_the_bot_and_the_console_opens(tmp_path: Path, app: RecordingApp) -> None:
    app.echo = True
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" >{opened}\n')
    browser.chmod(0o755)
    async with dev(tmp_path, app.url, "--open", env={"BROWSER": str(browser)}) as terminal:
        console = (await terminal.until(r"Console +(http://\S+#token=\S+)"))[1]
        await terminal.until(r"is there: call it")
        assert opened.read_text() == console
        async with httpx.AsyncClient() as client:
            assert "text/html" in (await client.get(console)).headers["content-type"]
        printed = await terminal.until(r"Call it +(trunkline call \+\d+)")
        options = "--say Hello --hangup-after 2s --allow-no-audio --json"
        done = json.loads(await second_terminal(terminal, f"{printed[1]} {options}"))
        assert done
        assert (await app.socket()).started
        await terminal.until(r"\[1\] over: completed")


async def test_busy_ports_are_named_and_others_taken(tmp_path: Path, app: RecordingApp) -> None:
    with socket.socket() as http, socket.socket(type=socket.SOCK_DGRAM) as sip:
        for holder, port in ((http, 8080), (sip, 5060)):
            with suppress(OSError):  # another program has it: all the same
                holder.bind(("127.0.0.1", port))
        http.listen()
        async with dev(tmp_path, app.url) as terminal:
            moved = await terminal.until(
                r"Port 8080 is taken: HTTP is on (\d+)\.\n  Port 5060 is taken: SIP is on (\d+)"
            )
            assert (await terminal.sip())[1] == int(moved[2])
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{moved[1]}/readyz")).status_code == 200


async def test_a_bot_that_is_not_there_is_named_and_seen_when_it_comes(tmp_path: Path) -> None:
    port = free_ports(1)
    url = f"ws://127.0.0.1:{port}/ws"
    async with dev(tmp_path, url, "--streams.reconnect_window", "60") as terminal:
        await terminal.until(rf"! {url}: nothing listens there")
        async with DemoCaller(await terminal.sip(), speech(2000)) as caller:
            await caller.call()
            await terminal.until(r"\[1\] the bot cannot be\s+reached")
            connections: list[str] = []

            async def bot(connection: ServerConnection) -> None:
                nonlocal connections
                async for text in connection:
                    connections += [json.loads(text)["event"]]

            async with serve(bot, "127.0.0.1", port):
                await terminal.until(r"is there: call it")
                await terminal.until(r"\[1\] the bot is (connected|reached again)")
            assert connections[:2] == ["connected", "start"]
        await terminal.until(r"\[1\] over: completed")


async def test_texml_comes_from_a_url_and_the_store_may_be_kept(tmp_path: Path, app: RecordingApp) -> None:
    async with WebApp() as web:
        web.answers["/voice"] = texml(f'<Connect><Stream url="{app.url}" bidirectionalMode="rtp"/></Connect>')
        kept = tmp_path / "calls"
        url = f"{web.url}/voice"
        async with dev(tmp_path, "--texml", url, "--store.directory", str(kept)) as terminal:
            async with DemoCaller(await terminal.sip(), speech(500)) as caller:
                await caller.call()
                await app.socket()
            await happens(app.watch, "the stream ends", lambda: app.sockets[0].close_code is not None)
            await terminal.until(rf"eval \"\$\(trunkline env --store.directory {kept}\)\"")
            assert await terminal.end(signal.SIGTERM) == 0
    assert (kept / "trunkline.db").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say where your bot is: trunkline dev ws://"),
        (("ws://a", "--texml", "http://a"), "say where your bot is"),
        (("127.0.0.1:7860/ws",), "is it ws://127.0.0.1:7860/ws?"),
        (("http://a",), "bad setting stream (dev): must be a ws:// or wss:// URL, got 'http://a'"),
        (("ws://a", "--http.prt", "1"), "no such setting: --http.prt"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = commands.trunkline(tmp_path, "dev", *words, env={"HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1

"""Each file of `examples/` does on real calls what it says; pages of docs/ have it word by word."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import httpx
import pytest
from websockets.asyncio.server import ServerConnection

import examples
import mp3files
from openai_realtime import ANSWER, GREETING, KEY, RealtimeApi
from peers.called_party import Callee, sdp
from testing.bots import free_port
from trunkline.demo.audio import decode, speech
from trunkline.media.codecs import transcoder
from trunkline.phone.call import PhoneCall
from trunkline.phone.sounds import save
from trunkline.testing import DialledCall, LocalServer, Phone

pytestmark = [pytest.mark.peer, pytest.mark.process]
PIPECAT = Path(sys.prefix) / "pipecat" / "bin" / "python"
needs_pipecat = pytest.mark.skipif(not PIPECAT.exists(), reason="pipecat is not installed; `make test` installs it")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; `make test` installs it")
HELLO = transcoder("L16/8000", "L16/16000").convert(decode(b"".join(speech(40))).astype("<i2").tobytes())
"""0.8 s like speech."""
FASTAPI, NODE = "+13125550001", "+13125550002"
"""Numbers whose instructions come from the two TeXML apps."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
SECONDS = 60.0
BUSY = re.compile(r"_ms < \d+")
"""Times that a bot of one's own machine keeps to, and a busy one does not."""


class Program:
    """An example that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self.process, self._lines, self.shown = process, process.stdout, ""

    async def until(self, text: str, times: int = 1) -> None:
        """Read until it has shown this so often."""
        async with asyncio.timeout(SECONDS):
            while self.shown.count(text) < times:
                line = await self._lines.readline()
                assert line, self.shown
                self.shown += line.decode()


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {FASTAPI: free_port(), NODE: free_port()}


@pytest.fixture(scope="module")
def example_server(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[LocalServer]:
    directory = tmp_path_factory.mktemp("trunkline")
    numbers = (
        f'[[numbers]]\npattern = "{number}"\nvoice_url = "http://127.0.0.1:{port}/voice"\n'
        for number, port in ports.items()
    )
    (directory / "trunkline.toml").write_text("\n".join(numbers))
    with LocalServer(directory) as server:
        yield server
    assert "Traceback" not in server.log


@pytest.fixture
def caller(example_server: LocalServer, tmp_path: Path) -> Iterator[Phone]:
    phone = Phone(example_server, (tmp_path,))
    yield phone
    phone.close()


def copied(directory: Path, name: str, **changed: str) -> Path:
    """An example in a directory of its own, with other ports than those in its text."""
    text = (examples.DIRECTORY / name).read_text()
    for old, new in changed.items():
        number = old.removeprefix("port_")
        assert number in text
        text = text.replace(number, new)
    (directory / name).write_text(text)
    return directory / name


@asynccontextmanager
async def running(phone: Phone, port: int, *command: str | Path, **environment: str) -> AsyncIterator[Program]:
    """A program, from when its port takes connections."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env=ENVIRONMENT | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    program = Program(process)
    try:
        await asyncio.to_thread(phone.wait_for, f"ws://127.0.0.1:{port}/")
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_echo_bot_says_what_it_hears(caller: Phone, tmp_path: Path) -> None:
    port = free_port()
    bot = copied(tmp_path, "echo_bot.py", port_9000=str(port))
    async with running(caller, port, sys.executable, bot) as program:
        call = await caller.call(f"ws://127.0.0.1:{port}/", say=HELLO, keys="1", quiet=0.4)
        await program.until("the call is over")
    assert call.heard(HELLO)
    assert program.shown.splitlines() == ["call from +13125550100", "key 1", "the call is over"]


async def test_the_level_meter_shows_both_tracks(caller: Phone, tmp_path: Path) -> None:
    port = free_port()
    meter = copied(tmp_path, "level_meter.py", port_9000=str(port))
    url, both = f"ws://127.0.0.1:{port}/", {"Track": "both_tracks"}
    async with running(caller, port, sys.executable, meter) as program, caller.dial(url, stream=both) as call:
        await program.until("outbound")
        await call.say(HELLO + HELLO)
        await program.until("outbound", 3)
        await call.finish()
    rows = re.findall(r"^(inbound|outbound) +(-\d+) dBFS$", program.shown, re.MULTILINE)
    assert len(rows) == len(program.shown.splitlines())
    levels = {track: [int(level) for name, level in rows if name == track] for track in ("inbound", "outbound")}
    assert max(levels["inbound"]) > -30
    assert max(levels["outbound"]) <= -70


async def test_the_receiver_takes_callbacks_of_the_server_only(caller: Phone, tmp_path: Path) -> None:
    port, bot = free_port(), free_port()
    receiver = copied(tmp_path, "callbacks.py", port_8001=str(port))
    echo = copied(tmp_path, "echo_bot.py", port_9000=str(bot))
    url, callback = f"ws://127.0.0.1:{bot}/", f"http://127.0.0.1:{port}/events"
    key = {"TELNYX_BASE_URL": caller.server.base_url}
    async with (
        running(caller, bot, sys.executable, echo),
        running(caller, port, sys.executable, receiver, **key) as got,
    ):
        async with caller.dial(url, stream={"StatusCallback": callback}) as call:
            await got.until("stream-started v3:")
            await call.finish()
        await got.until("stream-stopped v3:")
        async with httpx.AsyncClient(trust_env=False) as client:
            forged = {"telnyx-timestamp": str(int(time.time())), "telnyx-signature-ed25519": "AAAA"}
            answer = await client.post(
                callback, data={"StreamEvent": "stream-failed", "CallSid": "v3:"}, headers=forged
            )
    assert answer.status_code == 403
    assert len(got.shown.splitlines()) == 2


async def test_the_mp3_is_heard_and_its_end_is_noticed(caller: Phone, tmp_path: Path) -> None:
    port = free_port()
    bot = copied(tmp_path, "play_mp3.py", port_9000=str(port))
    (tmp_path / "greeting.mp3").write_bytes(mp3files.mp3(seconds=1.0))
    async with running(caller, port, sys.executable, bot, tmp_path / "greeting.mp3") as program:
        call = await caller.call(f"ws://127.0.0.1:{port}/", stream={"BidirectionalMode": "mp3"}, quiet=0.5)
        await program.until("the caller has heard it")
    assert call.heard(mp3files.HERTZ)
    assert call.heard_ms > 700
    assert "refused" not in program.shown


async def test_the_bridge_to_openai_greets_is_interrupted_and_answers(caller: Phone, tmp_path: Path) -> None:
    port = free_port()
    bridge = copied(tmp_path, "openai_realtime.py", port_9000=str(port))
    async with RealtimeApi() as api:
        settings = {"OPENAI_API_KEY": KEY, "OPENAI_REALTIME_URL": api.url}
        async with running(caller, port, sys.executable, bridge, **settings):
            call = await caller.call(f"ws://127.0.0.1:{port}/", say=HELLO, quiet=0.5)
            assert await api.watch.until(lambda: api.ended == 1, SECONDS)
    assert call.heard(GREETING)
    assert call.heard(ANSWER)
    assert call.cleared_within_ms < 1500
    assert call.heard_ms < 4500, "the greeting of 5 s was cut"
    [cut] = api.of("conversation.item.truncate")
    assert cut["item_id"] == "item_1"
    assert 250 <= cut["audio_end_ms"] < 4000
    assert cut["audio_end_ms"] % 250 == 0
    assert [event["type"] for event in api.received if event["type"] != "input_audio_buffer.append"] == [
        "session.update",
        "response.create",
        "conversation.item.truncate",
    ]
    await accepted_by_the_sdk(api.received)


async def test_the_bridge_has_a_new_session_when_openai_is_lost(caller: Phone, tmp_path: Path) -> None:
    port = free_port()
    bridge = copied(tmp_path, "openai_realtime.py", port_9000=str(port))
    async with RealtimeApi() as api:
        settings = {"OPENAI_API_KEY": KEY, "OPENAI_REALTIME_URL": api.url}
        async with (
            running(caller, port, sys.executable, bridge, **settings),
            caller.dial(f"ws://127.0.0.1:{port}/") as call,
        ):
            await call.wait_for_audio()
            api.lose()
            assert await api.watch.until(lambda: len(api.of("response.create")) == 2, SECONDS), "greets again"
            await call.finish()
    assert api.sessions == 2


async def test_the_sdk_places_a_call_for_a_bot(caller: Phone, tmp_path: Path) -> None:
    program = copied(tmp_path, "place_call.py")
    server, hear = caller.server, asyncio.Event()

    async def bot(ws: ServerConnection) -> None:
        async for text in ws:
            if json.loads(text)["event"] == "start":
                await hear.wait()
                return

    key = {
        "TRUNKLINE_ACCOUNT_SID": server.account_sid,
        "TELNYX_API_KEY": server.api_key,
        "TELNYX_BASE_URL": server.base_url,
    }
    async with caller.app(bot) as url, Callee() as callee:
        called = f"sip:callee@127.0.0.1:{callee.port}"
        async with running(caller, server.http_port, sys.executable, program, called, url, **key) as got:
            await got.until("placed v3:")  # the SDK takes seconds to load
            await callee.gets("INVITE")
            callee.answer(sdp("127.0.0.1", free_port()))
            await got.until("in-progress")
            hear.set()
            await got.until("completed")
            assert await got.process.wait() == 0
    assert set(got.shown.split()[2:]) <= {"queued", "ringing", "in-progress", "completed"}


ACCEPT = """
import json, sys
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
kinds = {kind.model_fields["type"].annotation.__args__[0]: kind for kind in RealtimeClientEvent.__args__[0].__args__}
for event in json.load(sys.stdin):
    assert kinds[event["type"]](**event).to_dict(mode="json") == event, event
    kinds[event["type"]].model_validate(event, strict=True, extra="forbid")
"""


async def accepted_by_the_sdk(events: list[dict[str, object]]) -> None:
    """OpenAI's own SDK, which pipecat's environment has, knows these events and all their fields."""
    if PIPECAT.exists():
        kinds = {str(event["type"]): event for event in events}
        done = await asyncio.to_thread(
            subprocess.run, [str(PIPECAT), "-c", ACCEPT], input=json.dumps(list(kinds.values())).encode(), check=False
        )
        assert done.returncode == 0


@asynccontextmanager
async def called(server: LocalServer, number: str) -> AsyncIterator[DialledCall]:
    """A call to a number, answered."""
    async with PhoneCall(server.sip_uri(number), user="+13125550100", codecs=["PCMU"]) as call:
        await call.wait_answered()
        yield DialledCall(call, (), call.loop_time, list)


async def choose_the_bot(call: DialledCall, program: Program) -> None:
    """Press 1 at the menu, and speak to the bot once it is there."""
    await call.wait_for_audio()
    call.press("1")
    await program.until("stream-started")
    await call.say(HELLO)
    await call.wait_for_quiet(0.4)
    done = await call.finish()
    assert done.heard(HELLO)
    await program.until("stream-stopped")


@needs_pipecat
async def test_the_fastapi_app_has_a_menu_and_a_bot(caller: Phone, ports: dict[str, int], tmp_path: Path) -> None:
    copied(tmp_path, "texml_fastapi.py")
    place = ("--app-dir", tmp_path, "--host", "127.0.0.1", "--port", str(ports[FASTAPI]))
    command = (PIPECAT, "-m", "uvicorn", "texml_fastapi:app", *place)
    async with running(caller, ports[FASTAPI], *command) as program, called(caller.server, FASTAPI) as call:
        await choose_the_bot(call, program)
    assert "call from +13125550100" in program.shown
    assert " 500 " not in program.shown


@needs_node
async def test_the_node_app_has_a_menu_and_calls_a_bot(caller: Phone, ports: dict[str, int], tmp_path: Path) -> None:
    port = free_port()
    bot, app = (
        copied(tmp_path, "echo_bot.py", port_9000=str(port)),
        copied(tmp_path, "texml_node.mjs", port_8000=str(ports[NODE])),
    )
    async with (
        running(caller, port, sys.executable, bot),
        running(caller, ports[NODE], "node", app, BOT_URL=f"ws://127.0.0.1:{port}/") as program,
        called(caller.server, NODE) as call,
    ):
        await choose_the_bot(call, program)


@needs_pipecat
async def test_the_pipecat_bot_is_called_by_its_test(
    caller: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(free_port())
    copied(tmp_path, "pipecat_bot.py")
    text = copied(tmp_path, "test_pipecat_bot.py", port_7860=port).read_text()
    assert len(text.split('"""')[2].strip().splitlines()) <= 11, "some ten lines"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(PIPECAT))
    test: dict[str, Callable[[Phone], Awaitable[None]]] = {}
    exec(BUSY.sub("_ms < 5000", text).replace('"-t"', f'"--port", "{port}", "-t"'), cast(dict[str, object], test))
    save(tmp_path / "hello.wav", HELLO, 16000)
    await test["test_the_pipecat_bot_answers"](caller)


def test_the_workflow_of_github_installs_and_tests_a_bot(tmp_path: Path) -> None:
    lines = examples.workflow_lines()
    port = str(free_port())
    for name in ("echo_bot.py", "test_echo_bot.py"):
        copied(tmp_path, name, port_9000=port)
    test = tmp_path / "test_echo_bot.py"
    test.write_text(BUSY.sub("_ms < 3000", test.read_text()))
    (tmp_path / "requirements.txt").write_text("websockets\ntrunkline\n")
    save(tmp_path / "hello.wav", HELLO, 16000)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # All of it is installed; the plugins of this repository take seconds to load.
    offline = {"PIP_NO_INDEX": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "trunkline.testing.plugin"}
    for line in lines:
        done = subprocess.run(
            ["bash", "-e", "-c", line],
            cwd=tmp_path,
            env=ENVIRONMENT | offline | plugins | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert 'tests="1"' in (tmp_path / "result.xml").read_text()
    assert any(line.startswith("pip install") for line in lines)


def test_every_example_is_run_here_and_is_on_a_page() -> None:
    here = Path(__file__).read_text()
    names = {path.name for path in examples.DIRECTORY.iterdir() if path.suffix in examples.KINDS}
    assert {name for name in names if f'"{name}"' not in here and name != "github-actions.yml"} == set()
    assert {name for name, _ in examples.blocks()} == names


@pytest.mark.parametrize("page", examples.pages(), ids=lambda path: path.name)
def test_pages_have_the_code_of_the_examples(page: Path) -> None:
    assert page.read_text() == examples.renewed(page), "run `python tests/examples.py`"

"""`trunkline app`, as a process."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from commands import trunkline
from trunkline.apps.call import BotCall
from trunkline.apps.speech import babble
from trunkline.apps.stream import BotStream
from trunkline.apps.wire import frames

pytestmark = pytest.mark.process

TRUNKLINE = (sys.executable, "-m", "trunkline")


async def test_an_app_is_run_until_it_is_ended() -> None:
    process = await asyncio.create_subprocess_exec(
        *TRUNKLINE, "app", "echo", "--port", "0", "--json", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        listening = json.loads(await process.stdout.readline())
        call = BotCall(BotStream(listening["url"]))
        await call.open()
        call.speak(frames(babble(200), "PCMU"))
        assert await call.until(call.trace.echoes, 20)
        await call.hang_up()
        process.send_signal(signal.SIGINT)
        rest, _ = await process.communicate()
    assert process.returncode == 0
    assert [json.loads(line)["event"] for line in rest.splitlines()][:3] == ["open", "connected", "start"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none",), "there are echo, record"),
        (("echo", "--codec", "OPUS"), "no codec 'OPUS'"),
        (("proxy",), "needs the URL of a bot"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = trunkline(tmp_path, "app", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1

"""`trunkline check`, as a process."""

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from websockets.asyncio.server import serve

import commands
from apps import bots

pytestmark = pytest.mark.process


async def trunkline(*arguments: str) -> tuple[int | None, str, str]:
    """Exit code, stdout, stderr."""
    done = await asyncio.to_thread(commands.trunkline, Path.cwd(), *arguments)
    return done.returncode, done.stdout, done.stderr


async def test_the_result_is_json_and_junit(tmp_path: Path) -> None:
    async with serve(bots.leaves, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        file = tmp_path / "check.xml"
        code, out, err = await trunkline("check", url, "--no-reconnect", "--json", "--junit", str(file))
    found = json.loads(out)
    assert (code, err) == (3, "")
    assert found["exit_code"] == 3
    assert found["violations"] == ["early_close"]
    assert ElementTree.parse(file).getroot().get("name") == "trunkline check"


async def test_no_connection_is_exit_code_5() -> None:
    code, out, _ = await trunkline("check", "ws://127.0.0.1:9/")
    assert code == 5
    assert "is the bot running" in out


@pytest.mark.parametrize(
    "arguments", [("http://a/",), ("ws://a/", "--mode", "x"), ("ws://a/", "--codec", "x"), ("ws://a/", "--wait", "0")]
)
async def test_a_mistake_is_one_line_and_exit_code_4(arguments: tuple[str, ...]) -> None:
    code, out, err = await trunkline("check", *arguments)
    assert (code, out) == (4, "")
    assert err.startswith("trunkline: ")
    assert err.count("\n") == 1

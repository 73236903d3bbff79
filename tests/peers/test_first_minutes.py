"""A fresh clone, typed from README: to a word that is spoken to the bot of README and heard again."""

import asyncio
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from peers.test_console import SLOW, Watched, phone, talk
from test_cli_dev import Dev, surroundings
from trunkline.demo.server import free_ports

pytestmark = [pytest.mark.peer, pytest.mark.long]
ROOT = Path(__file__).parents[2]
MINUTES = 5 * 60
"""Seconds in which all of it is done."""


def typed(readme: str, heading: str) -> list[str]:
    """The lines of the first block below a heading."""
    block = re.search(rf"^## {heading}$.*?^```\w*\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert block is not None, heading
    return block[1].splitlines()


async def run(line: str, home: Path) -> None:
    process = await asyncio.create_subprocess_exec("bash", "-ec", line, cwd=home, env=surroundings(home))
    assert await process.wait() == 0, line


@asynccontextmanager
async def terminal(line: str, home: Path) -> AsyncIterator[Dev]:
    """A command that runs until Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"exec {line}"),
        cwd=home,
        env=surroundings(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    shown = Dev(process, home)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 30)
        sys.stderr.write(shown.shown)


async def test_from_a_fresh_clone_to_a_spoken_word(tmp_path: Path) -> None:
    chromium, begun = shutil.which("chromium"), time.monotonic()
    assert chromium is not None, "`make test` installs it"
    home = tmp_path / "clone"
    await run(f"git clone -q {ROOT} {home}", tmp_path)
    lines = typed((home / "README.md").read_text(), "Try it")
    bot, serve = lines.pop(-2), lines.pop()
    assert serve.endswith("trunkline dev ws://127.0.0.1:9000")
    for line in lines:
        await run(line, home)
    # The ports of README may be taken on this machine.
    port = str(free_ports(2))
    example = home / "examples" / "echo_bot.py"
    example.write_text(example.read_text().replace("9000", port))
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream"]
    flags.append(f"--use-file-for-fake-audio-capture={talk(tmp_path / 'talk.wav')}")
    async with terminal(bot.removesuffix(" &"), home) as app, terminal(serve.replace("9000", port), home) as server:
        console = (await server.until(r"Console +(http://\S+#token=\S+)"))[1]
        await server.until("is there: call it")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
            context = await browser.new_context(permissions=["microphone"])
            watched = Watched(await context.new_page(), console)
            await watched.go()
            page = watched.page
            await page.get_by_label("Number or SIP user to call").fill("+13125550123")
            await phone(page).get_by_role("button", name="Call", exact=True).click()
            await expect(phone(page)).to_contain_text("speak now", timeout=SLOW)
            speaker = "document.querySelector('browser-phone .meter.out i').style.transform.match(/[\\d.]+/)?.[0] > 0.2"
            await page.wait_for_function(f"() => {speaker}")
            await app.until("call from")
            assert watched.faults == []
            await browser.close()
    took = time.monotonic() - begun
    sys.stderr.write(f"from the clone to the word: {took:.0f} s\n")
    assert took < MINUTES

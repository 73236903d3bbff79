"""The documentation as a site, and what its quick start has users type."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from test_cli_dev import dev, second_terminal
from trunkline.demo.server import free_ports

pytestmark = pytest.mark.process

ROOT = Path(__file__).parent.parent
QUICK_START = ROOT / "docs/guide/quick-start.md"


def test_the_site_is_built_without_a_warning_and_has_plain_pages(tmp_path: Path) -> None:
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    linked = re.findall(r"^- \[[^\]]+\]\((.+)\)$", (tmp_path / "llms.txt").read_text(), re.MULTILINE)
    assert set(linked) == pages
    assert all((tmp_path / page).read_text() == (ROOT / "docs" / page).read_text() for page in pages)
    loaded = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', (tmp_path / "index.html").read_text())
    assert loaded == [], "nothing is loaded from elsewhere"
    assert (
        '<div class="highlight"><pre><span></span><code><span class="'
        in (tmp_path / "guide/examples/index.html").read_text()
    )


async def test_the_quick_start_ends_with_the_echo_of_what_was_said(tmp_path: Path) -> None:
    text = QUICK_START.read_text().replace("9000", str(free_ports(1)))
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    [start] = re.findall(r"^trunkline dev (\S+)$", text, re.MULTILINE)
    [call] = re.findall(r"^trunkline call .*$", text, re.MULTILINE)
    (tmp_path / "bot.py").write_text(code)
    bot = await asyncio.create_subprocess_exec(sys.executable, str(tmp_path / "bot.py"), stdout=asyncio.subprocess.PIPE)
    assert bot.stdout is not None
    try:
        async with dev(tmp_path, start) as terminal:
            await terminal.until(r"is there: call it")
            shown = await second_terminal(terminal, call)
            async with asyncio.timeout(30):
                assert (await bot.stdout.readline()).startswith(b"call from")
                assert await bot.stdout.readline() == b"the call is over\n"
            assert await terminal.end() == 0
    finally:
        bot.kill()
        await bot.wait()
    assert "first audio" in shown
    assert (tmp_path / "heard.wav").stat().st_size > 16_000

"""The plugin as users run it: pytest in a folder of theirs, with the code of docs/guide/testing.md and real bots."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.bots import free_port
from trunkline import testing
from trunkline.demo.audio import decode, speech
from trunkline.phone.sounds import save

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.process
BOTS = Path(__file__).parent / "bots.py"
GUIDE = Path(__file__).parent.parent.parent / "docs" / "guide" / "testing.md"
TOO_MUCH = re.compile(r"_ms < [0-9]+")
"""Times that a bot of one's own machine keeps to, and a busy one does not."""


def blocks(name: str) -> str:
    """The code of the guide that belongs into this file."""
    found = re.findall(rf"```python\n# {re.escape(name)}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found, name
    return "\n\n".join(found)


@pytest.fixture
def bot_url() -> Iterator[str]:
    """A bot in another process, at the URL that stands in place of the guide's."""
    url = f"ws://127.0.0.1:{free_port()}/ws"
    bot = subprocess.Popen([sys.executable, str(BOTS), "greeter", url.rpartition(":")[2].partition("/")[0]])
    yield url
    bot.terminate()
    bot.wait()


def test_the_code_of_the_guide_runs(pytester: pytest.Pytester, bot_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    save(pytester.path / "hello.wav", decode(b"".join(speech(40))).astype("<i2").tobytes(), 8000)
    (pytester.path / "bot.py").write_text(BOTS.read_text())
    tests = TOO_MUCH.sub("_ms < 3000", blocks("test_bot.py")).replace("ws://127.0.0.1:7860/ws", bot_url)
    marked = "import pytest\n\n@pytest.mark.asyncio\nasync def test_marked(phone):\n    assert phone.server.log\n"
    pytester.makepyfile(test_bot=tests.replace("9000", str(free_port())), test_marked=marked)
    pytester.makeconftest(blocks("conftest.py"))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # those of this repository take seconds to load
    plugins = ("-p", "trunkline.testing.plugin", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider")
    result = pytester.run(sys.executable, "-m", "pytest", *plugins, "-v", timeout=110)
    outcomes = result.parseoutcomes()
    silent = [line for line in result.outlines if "NotMeasured: the bot never spoke. `trunkline why`:" in line]
    assert (outcomes.get("failed"), bool(silent)) == (1, True)
    result.stdout.fnmatch_lines(["*test_a_silent_bot_is_explained FAILED*"])
    assert outcomes["passed"] == tests.count("def test_") - 1 + 1


def test_the_package_has_its_names_and_no_others() -> None:
    assert all(isinstance(getattr(testing, name), type) for name in testing.__all__)
    assert not hasattr(testing, "Nothing")


def test_a_test_run_without_the_fixture_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'av', 'httpx', 'pydantic'}"
    check = f"import sys, trunkline.testing.plugin; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0

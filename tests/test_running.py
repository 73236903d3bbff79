"""Commands find the server that runs, and no other."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trunkline import running
from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.running import adopted
from trunkline.settings import load

pytestmark = pytest.mark.process


@contextmanager
def server(directory: Path, port: int) -> Iterator[None]:
    """A process that holds the lock of a server there."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = Settings.model_validate({"http": {"port": 0}, "store": {"directory": directory}})
    running.write(settings, {"http.port": port})
    code = (
        "import sys; from pathlib import Path; from trunkline.drain import DrainLock;"
        f"lock = DrainLock(Path({str(directory)!r})); print(lock.held, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield
        process.communicate()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user that has no server yet, and whose temporary files are there too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def found(*words: str) -> tuple[int, str]:
    flags = dict(zip(words[::2], words[1::2], strict=True))
    settings = adopted(load(flags, {}, None))
    return settings.http.port, settings.store.directory.name


def test_the_server_of_the_default_directory_goes_before_those_of_dev(home: Path) -> None:
    assert found() == (8080, "trunkline")
    with server(home / f"{running.DEV_PREFIX}a", 1001):
        with server(home / ".local/share/trunkline", 1000):
            assert found() == (1000, "trunkline")
        assert found() == (1001, "trunkline-dev-a")
        with server(home / f"{running.DEV_PREFIX}b", 1002):
            assert found() == (1002, "trunkline-dev-b")
            assert found("http.port", "9") == (9, "trunkline-dev-b")
            file = home / "trunkline.toml"
            file.write_text("[http]\nport = 9\n[store]\ndirectory = 'x'\n")
            assert adopted(load({}, {}, file)).http.port == 1002
            assert adopted(load({}, {"TRUNKLINE_HTTP__PORT": "7"}, file)).http.port == 7
            assert found("store.directory", str(home / f"{running.DEV_PREFIX}a")) == (1001, "trunkline-dev-a")
        assert found() == (1001, "trunkline-dev-a")
    assert found() == (8080, "trunkline")


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_file_that_is_not_ours_names_no_server(home: Path, text: str) -> None:
    directory = home / f"{running.DEV_PREFIX}a"
    with server(directory, 1000):
        (directory / running.FILE).write_text(text)
        assert found() == (8080, "trunkline")


def test_a_certificate_is_found_too(home: Path) -> None:
    with server(directory := home / f"{running.DEV_PREFIX}a", 1000):
        given = {"http": {"tls_certificate_file": "c.pem"}, "store": {"directory": directory}}
        running.write(Settings.model_validate(given), {})
        assert adopted(load({}, {}, None)).http.tls_certificate_file == Path("c.pem").absolute()
    with pytest.raises(StartupError, match="cannot write"):
        running.write(Settings.model_validate({"store": {"directory": home / "none"}}), {})

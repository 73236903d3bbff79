"""The command line's own key: kept, found again, and replaced."""

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trunkline import own_key
from trunkline.config import Settings
from trunkline.errors import StartupError

ONE, TWO = "4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e", "4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7f"


class Operator:
    """What a server answers to its operator."""

    def __init__(self, *accounts: str) -> None:
        self.accounts = accounts
        self.keys = [{"id": "7", "name": own_key.NAME}, {"id": "8", "name": "first"}]
        self.asked: list[tuple[str, str]] = []

    def ask(
        self, _settings: Settings, method: str, path: str, body: dict[str, object] | None = None, *, unknown: str = ""
    ) -> dict[str, Any]:
        """One request."""
        self.asked.append((method, path.removeprefix(own_key.ACCOUNTS)))
        if method == "POST":
            assert body == {"name": own_key.NAME, "scope": "full"}
            return {"data": {"api_key": f"KEY{len(self.asked)}"}}
        if path.endswith("/keys"):
            return {"data": self.keys}
        return {"data": [{"account_sid": sid} for sid in self.accounts]}


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings.model_validate({"store": {"directory": tmp_path}, **more})


def test_a_key_of_the_settings_is_taken_as_it_is(tmp_path: Path) -> None:
    given = settings(tmp_path, account_sid=ONE, api_key="KEY4567890123456")
    operator = Operator(ONE)
    assert own_key.credentials(given, operator.ask) == (ONE, "KEY4567890123456")
    assert operator.asked == []
    with pytest.raises(StartupError, match="set account_sid and api_key"):
        own_key.credentials(settings(tmp_path, api_key="KEY4567890123456"), operator.ask)


def test_a_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    operator = Operator(ONE)
    made = own_key.credentials(settings(tmp_path), operator.ask)
    assert made == own_key.credentials(settings(tmp_path), operator.ask) == (ONE, "KEY4")
    keys = f"/{ONE}/keys"
    assert operator.asked == [("GET", ""), ("GET", keys), ("DELETE", f"{keys}/7"), ("POST", keys)]
    file = tmp_path / own_key.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert own_key.read(file) == {ONE: "KEY4"}


@pytest.mark.process
def test_without_a_server_there_is_no_key_to_make(tmp_path: Path) -> None:
    def ask(*_: Any, **_more: Any) -> dict[str, Any]:
        raise StartupError("operator's key: cannot read it")

    with pytest.raises(StartupError, match=r"no server runs on .*: start one, or say which one by --http\.host"):
        own_key.credentials(settings(tmp_path), ask)
    held = (
        "import sys; from pathlib import Path; from trunkline.drain import DrainLock;"
        "lock = DrainLock(Path(sys.argv[1]));"
    )
    command = (sys.executable, "-c", held + "print(flush=True); input()", str(tmp_path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StartupError, match="or run this as the server's user: operator's key: cannot read it"):
            own_key.credentials(settings(tmp_path), ask)
        other.communicate(b"\n")


def test_a_key_that_is_valid_no_more_is_replaced(tmp_path: Path) -> None:
    own_key.write(tmp_path / own_key.FILE, {ONE: "KEYold"})
    assert own_key.credentials(settings(tmp_path), Operator(ONE).ask, fresh=True)[1] != "KEYold"


def test_of_several_accounts_one_must_be_named(tmp_path: Path) -> None:
    operator = Operator(ONE, TWO)
    with pytest.raises(StartupError, match="there are 2 accounts: say which by --account_sid"):
        own_key.credentials(settings(tmp_path), operator.ask)
    assert own_key.credentials(settings(tmp_path, account_sid=TWO), operator.ask)[0] == TWO
    assert own_key.credentials(settings(tmp_path, account_sid=ONE), operator.ask)[0] == ONE
    assert set(own_key.read(tmp_path / own_key.FILE)) == {ONE} | {TWO}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "\xff"])
def test_a_file_that_is_not_ours_has_no_keys(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text, encoding="latin-1")
    assert own_key.read(tmp_path / "x") == {}
    with pytest.raises(StartupError, match="cannot write"):
        own_key.write(tmp_path / "none" / "x", {})

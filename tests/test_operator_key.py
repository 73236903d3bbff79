"""Where the operator's key comes from."""

import stat
from pathlib import Path

import pytest

from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.operator_key import KEY_FILE, read, read_or_make


def _settings(directory: Path, key: str | None = None) -> Settings:
    return Settings.model_validate({"store": {"directory": directory}, "http": {"operator_key": key}})


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    keys = iter(["KEYone", "KEYtwo"])
    made = [read_or_make(_settings(tmp_path), lambda: next(keys)) for _ in range(2)]
    assert made == ["KEYone", "KEYone"]
    assert read(_settings(tmp_path)) == "KEYone"
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_the_setting_comes_first_and_nothing_is_made_then(tmp_path: Path) -> None:
    given = _settings(tmp_path, "0123456789abcdef")
    assert read_or_make(given, lambda: "KEYone") == read(given) == "0123456789abcdef"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"cannot read .*operator\.key: No such file or directory; or set http"):
        read(_settings(tmp_path))
    (tmp_path / KEY_FILE).write_bytes(b"")
    with pytest.raises(StartupError, match="is empty"):
        read(_settings(tmp_path))
    (tmp_path / KEY_FILE).write_bytes(b"\xff")
    with pytest.raises(StartupError, match="not text"):
        read(_settings(tmp_path))
    with pytest.raises(StartupError, match="cannot write"):
        read_or_make(_settings(Path("/proc/none")), lambda: "KEYone")

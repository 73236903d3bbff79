"""Where the store is, and that no other server has it open."""

import os
import stat
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trunkline.config import StoreSettings
from trunkline.errors import StartupError
from trunkline.store.location import FileLock, database_url, make_file_private, make_private, prepare_directory


def url_of(text: str | None, directory: Path = Path("/d")) -> str:
    return database_url(StoreSettings(url=text), directory).render_as_string(hide_password=False)


def test_the_default_is_a_file_in_the_directory() -> None:
    assert url_of(None) == "sqlite+aiosqlite:////d/trunkline.db"


def test_without_its_library_postgresql_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)  # as Python notes a module that there is not
    with pytest.raises(StartupError, match="needs the extra `postgres` of Trunkline: pip install asyncpg"):
        url_of("postgresql://u:p@h/db")
    assert url_of("sqlite:////var/x.db") == "sqlite+aiosqlite:////var/x.db"


def test_the_drivers_name_may_be_left_out() -> None:
    assert url_of("postgres://u:p@h/db") == "postgresql+asyncpg://u:p@h/db"
    assert url_of("postgresql://u:p@h/db") == "postgresql+asyncpg://u:p@h/db"
    assert url_of("sqlite:////var/x.db") == "sqlite+aiosqlite:////var/x.db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a url", "not a database URL"),
        ("mysql://u:hush@h/db", "only sqlite and postgresql"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("postgresql://u:hush@h:port/db", "not a database URL"),
    ],
)
def test_other_urls_are_refused_without_showing_the_password(text: str, message: str) -> None:
    with pytest.raises(StartupError, match=message) as failure:
        url_of(text)
    assert "hush" not in str(failure.value)


def test_a_file_in_the_directorys_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StartupError, match=r"store\.directory: cannot make .*/state/x: Not a directory"):
        prepare_directory(tmp_path / "state" / "x")


def test_a_lock_names_its_owner_and_ends_with_it(tmp_path: Path) -> None:
    first = FileLock(str(tmp_path / "db"))
    with pytest.raises(StartupError, match=rf"in use by another server \(process {os.getpid()}\)"):
        FileLock(str(tmp_path / "db"))
    first.release()
    FileLock(str(tmp_path / "db")).release()


def modes(directory: Path) -> dict[str, int]:
    found = [directory, *directory.rglob("*")]
    return {str(path.relative_to(directory)): stat.S_IMODE(path.lstat().st_mode) for path in found}


def test_what_the_directory_holds_is_its_owners_only_whatever_it_was(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    other.write_text("of another program")
    for folder in ("", "recordings", "cache", "foreign"):
        (home / folder).mkdir()
        (home / folder / "file").write_text("")
    (home / "link").symlink_to(other)
    (home / "read-only.pem").write_text("")
    for path in (home, *home.rglob("*"), other):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (home / "read-only.pem").chmod(0o400)
    prepare_directory(home)
    assert modes(home) == {
        ".": 0o700,
        "file": 0o600,
        "read-only.pem": 0o400,
        "recordings": 0o700,
        "recordings/file": 0o600,
        "cache": 0o700,
        "cache/file": 0o600,
        "foreign": 0o777,
        "foreign/file": 0o666,
        "link": 0o777,
    }
    assert stat.S_IMODE(other.stat().st_mode) == 0o666, "a link is not followed"


def test_a_database_elsewhere_is_its_owners_only(tmp_path: Path) -> None:
    for name in ("x.db", "x.db-wal", "y.db"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o644)
    make_file_private(str(tmp_path / "x.db"))
    assert [modes(tmp_path)[name] for name in ("x.db", "x.db-wal", "y.db")] == [0o600, 0o600, 0o644]


def test_what_is_another_users_is_reported_and_no_reason_not_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    tmp_path.chmod(0o770)
    monkeypatch.setattr(Path, "chmod", refuse)
    with capture_logs() as lines:
        make_private(tmp_path)
        make_private(tmp_path / "nothing")
    (line,) = lines
    assert (line["event"], line["path"], line["reason"]) == (
        "file_not_private",
        str(tmp_path),
        "Operation not permitted",
    )

"""Where the store is, and that no other server has it open."""

import os
from pathlib import Path

import pytest

from trunkline.config import StoreSettings
from trunkline.errors import StartupError
from trunkline.store.location import FileLock, database_url, prepare_directory


def url_of(text: str | None, directory: Path = Path("/d")) -> str:
    return database_url(StoreSettings(url=text), directory).render_as_string(hide_password=False)


def test_the_default_is_a_file_in_the_directory() -> None:
    assert url_of(None) == "sqlite+aiosqlite:////d/trunkline.db"


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

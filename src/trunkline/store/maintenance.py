"""What an operator does with the database while no server need run: look at its schema, upgrade it, back it up.

A backup of SQLite may be taken while a server writes: SQLite copies it page by page in one read transaction. PostgreSQL
has pg_dump, which is called here.
"""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from trunkline.config import StoreSettings
from trunkline.errors import StartupError
from trunkline.store.location import database_url
from trunkline.store.schema import version_table
from trunkline.store.store import Store

PG_DUMP = "pg_dump"


async def current(settings: StoreSettings) -> str | None:
    """The revision of the database's schema; None without a database. Raises StartupError."""
    url = _url(settings)
    if _is_sqlite(url) and not _exists(url):
        return None
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            revision: str | None = await connection.scalar(select(version_table.c.version_num))
            return revision
    except (SQLAlchemyError, OSError) as error:
        raise StartupError(f"store: cannot read {_shown(url)}: {_line(error)}") from error
    finally:
        await engine.dispose()


async def upgrade(settings: StoreSettings) -> None:
    """Make the database, or bring it to this version's schema. Raises StartupError, also while a server uses it."""
    await (await Store.open(settings)).close()


def backup(settings: StoreSettings, file: Path) -> None:
    """Copy the database into a new file that only its owner can read: an SQLite database, or an archive for
    pg_restore. Raises StartupError."""
    url = _url(settings)
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise StartupError(f"cannot make {file}: {error.strerror}") from None
    try:
        if _is_sqlite(url):
            _copy(str(url.database), file)
        else:
            _dump(url, file)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _copy(database: str, file: Path) -> None:
    try:
        uri = Path(database).absolute().as_uri() + "?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(file)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise StartupError(f"store: cannot copy {database}: {error}") from None


def _dump(url: URL, file: Path) -> None:
    # Not in the arguments, which other users of the machine can see.
    password = {} if url.password is None else {"PGPASSWORD": str(url.password)}
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    command = [PG_DUMP, "--format=custom", "--no-owner", "--file", str(file), plain]
    try:
        done = subprocess.run(command, env=os.environ | password, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise StartupError(f"{PG_DUMP} is not installed (Debian: postgresql-client)") from None
    if done.returncode:
        raise StartupError(f"{PG_DUMP}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")


def _url(settings: StoreSettings) -> URL:
    return database_url(settings, settings.directory.expanduser().absolute())


def _is_sqlite(url: URL) -> bool:
    return url.drivername == "sqlite+aiosqlite"


def _exists(url: URL) -> bool:
    return Path(str(url.database)).exists()


def _shown(url: URL) -> str:
    return str(url.database) if _is_sqlite(url) else url.render_as_string(hide_password=True)


def _line(error: BaseException) -> str:
    return (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]

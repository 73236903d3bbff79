"""Migrations lead to the tables that the code uses, and to nothing else."""

import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from trunkline.config import StoreSettings
from trunkline.errors import StartupError
from trunkline.store.location import database_url
from trunkline.store.store import Store
from trunkline.store.tables import metadata


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_the_newest_migration_is_what_the_tables_say(any_settings: StoreSettings) -> None:
    await (await Store.open(any_settings)).close()
    engine = create_async_engine(database_url(any_settings, any_settings.directory))
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    assert found == []


async def test_a_newer_schema_is_refused_in_one_line_and_left_alone(settings: StoreSettings) -> None:
    await (await Store.open(settings)).close()
    file = settings.directory / "trunkline.db"
    database = sqlite3.connect(file)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    with pytest.raises(StartupError, match="has schema 9999, written by a newer version"):
        await Store.open(settings)
    database = sqlite3.connect(file)
    assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    database.close()

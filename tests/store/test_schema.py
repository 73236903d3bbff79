"""A database that was made and one that was migrated have the tables that the code uses, and nothing else."""

import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from trunkline.config import StoreSettings
from trunkline.errors import StartupError
from trunkline.store.location import database_url, prepare_directory
from trunkline.store.schema import KNOWN, MIGRATIONS, NEWEST, migrate, upgrade
from trunkline.store.store import Store
from trunkline.store.tables import metadata


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_new_and_migrated_databases_have_the_tables_that_the_code_uses(any_settings: StoreSettings) -> None:
    url = database_url(any_settings, prepare_directory(any_settings.directory))
    for make in (upgrade, migrate):
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(make)
            assert await connection.run_sync(differences) == []
            assert list(await connection.scalars(text("SELECT version_num FROM alembic_version"))) == [NEWEST]
            for table in reversed(await connection.run_sync(lambda sync: inspect(sync).get_table_names())):
                await connection.execute(text(f"DROP TABLE {table}"))
        await engine.dispose()


async def test_an_older_database_is_migrated_when_it_is_opened(any_settings: StoreSettings) -> None:
    url = database_url(any_settings, prepare_directory(any_settings.directory))
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, "0001")
        assert await connection.run_sync(differences) != []
    await (await Store.open(any_settings)).close()
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


def test_migrations_are_named_after_their_revisions() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [NEWEST]
    assert {script.revision for script in scripts.walk_revisions()} == KNOWN


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

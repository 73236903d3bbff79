"""Brings a database to the schema that this version knows, in one transaction.

A new database gets the tables as they are now. An older one is migrated by Alembic, inside the package, when it is
opened: an upgrade of Trunkline needs no step by hand. One that a newer version has already migrated is refused rather
than guessed at. Alembic is loaded for a migration only: it takes longer than all else that opening does.
"""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from trunkline.errors import StartupError
from trunkline.store.tables import metadata

MIGRATIONS = Path(__file__).with_name("migrations")
KNOWN = {file.name[1:5] for file in (MIGRATIONS / "versions").glob("v*.py")}
"""Every revision; a file is named after its own, and they are numbered in order."""
NEWEST = max(KNOWN)

version_table = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Alembic's note of the schema that a database has."""


def migrate(connection: Connection) -> None:
    """Make what is missing. Raises StartupError for a schema from a newer version."""
    if not inspect(connection).has_table(version_table.name):
        metadata.create_all(connection)
        version_table.create(connection)
        connection.execute(insert(version_table).values(version_num=NEWEST))
        return
    found = set(connection.scalars(select(version_table.c.version_num)))
    if found - KNOWN:
        newer = ", ".join(sorted(found - KNOWN))
        raise StartupError(f"store: the database has schema {newer}, written by a newer version of Trunkline")
    if found != {NEWEST}:
        upgrade(connection)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations that the database has not had yet, up to a revision; on an empty one, all."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    # The value goes through %-interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)

"""Brings a database to the schema that this version knows, in one transaction.

Migrations are Alembic's, inside the package, run at every opening: an upgrade of Trunkline needs no step by hand.
A database that a newer version has already migrated is refused rather than guessed at.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from trunkline.errors import StartupError

MIGRATIONS = Path(__file__).with_name("migrations")


def migrate(connection: Connection) -> None:
    """Run what is missing. Raises StartupError for a schema from a newer version."""
    config = Config()
    # The value goes through %-interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if found - known:
        newer = ", ".join(sorted(found - known))
        raise StartupError(f"store: the database has schema {newer}, written by a newer version of Trunkline")
    command.upgrade(config, "head")

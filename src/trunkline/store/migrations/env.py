"""Alembic's entry point: migrates over the connection that `store.schema` hands in, inside its transaction."""

from alembic import context

from trunkline.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()

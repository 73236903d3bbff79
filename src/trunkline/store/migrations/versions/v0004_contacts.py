"""Contacts of phones."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "contacts",
        sa.Column("user", sa.Text, primary_key=True),
        sa.Column("saved", sa.Text, nullable=False),
    )

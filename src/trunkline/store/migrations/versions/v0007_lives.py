"""Lives of servers, and the SIP dialogs of calls that are up."""

import sqlalchemy as sa
from alembic import op

from trunkline.store.tables import UtcTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("lease_until", UtcTime),
        sa.Column("left_at", UtcTime),
        sa.Column("died_at", UtcTime),
    )
    op.add_column("calls", sa.Column("dialog", sa.Text))

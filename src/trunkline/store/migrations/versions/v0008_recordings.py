"""Recordings as records."""

import sqlalchemy as sa
from alembic import op

from trunkline.store.tables import UtcTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "recordings",
        sa.Column("sid", sa.Text, primary_key=True),
        sa.Column("account_sid", sa.Text, nullable=False),
        sa.Column("call_sid", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("channels", sa.SmallInteger, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("ended_at", UtcTime),
        sa.Column("duration", sa.Float),
        sa.Column("size", sa.BigInteger),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_recordings_call", "recordings", ["call_sid", "created_at"])
    op.create_index("ix_recordings_account", "recordings", ["account_sid", "created_at", "sid"])
    op.create_index("ix_recordings_ended", "recordings", ["ended_at"])

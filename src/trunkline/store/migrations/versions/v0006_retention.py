"""Indexes by which old calls and streams are found to be deleted."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the indexes."""
    op.create_index("ix_calls_ended", "calls", ["ended_at"])
    op.create_index("ix_streams_updated", "streams", ["updated_at"])

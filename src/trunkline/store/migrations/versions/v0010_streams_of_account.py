"""Lists of all streams of an account."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add an index for their order."""
    op.create_index("ix_streams_account", "streams", ["account_sid", "created_at", "sid"])

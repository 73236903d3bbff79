"""Streams that say in which mode and codec the app sends audio."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns."""
    for name in ("mode", "codec"):
        op.add_column("streams", sa.Column(name, sa.Text))

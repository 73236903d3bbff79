"""Recordings that are started by REST: what they record, and where their status is reported."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the columns. What there is was recorded by documents."""
    for name in ("application_sid", "status_callback"):
        op.add_column("recordings", sa.Column(name, sa.Text))
    for name, default in (
        ("track", "both"),
        ("status_callback_method", "POST"),
        ("status_callback_events", "completed"),
    ):
        op.add_column("recordings", sa.Column(name, sa.Text, nullable=False, server_default=default))
    op.add_column("recordings", sa.Column("sends_url", sa.Boolean, nullable=False, server_default=sa.true()))

"""Calls that have parents, applications and status callbacks of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    for name in ("parent_sid", "application_sid", "status_callback", "hangup_code"):
        op.add_column("calls", sa.Column(name, sa.Text))
    op.add_column("calls", sa.Column("sip_status", sa.Integer))
    for name, default in (("status_callback_method", "POST"), ("status_callback_events", "completed")):
        op.add_column("calls", sa.Column(name, sa.Text, nullable=False, server_default=default))

"""SIP messages of failed calls."""

import sqlalchemy as sa
from alembic import op

from trunkline.store.tables import UtcTime

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "sip_traces",
        sa.Column("call_sid", sa.Text, primary_key=True),
        sa.Column("account_sid", sa.Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("trace", sa.Text, nullable=False),
    )
    op.create_index("ix_sip_traces_created", "sip_traces", ["created_at"])

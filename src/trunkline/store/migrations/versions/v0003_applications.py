"""TeXML applications made by REST."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "applications",
        sa.Column("sid", sa.Text, primary_key=True),
        sa.Column("account_sid", sa.Text, nullable=False),
        sa.Column("friendly_name", sa.Text, nullable=False),
        sa.Column("voice_url", sa.Text, nullable=False),
        sa.Column("voice_method", sa.Text, nullable=False),
        sa.Column("voice_fallback_url", sa.Text),
        sa.Column("status_callback", sa.Text),
        sa.Column("status_callback_method", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("other", sa.Text, nullable=False),
    )

"""API keys as records of their own, and names of accounts."""

import sqlalchemy as sa
from alembic import op

from trunkline.store.tables import UtcTime

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Move each account's key into the new table, under the name `first`."""
    keys = op.create_table(
        "api_keys",
        sa.Column("sid", sa.Text, primary_key=True),
        sa.Column("account_sid", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key_hash", sa.Text, nullable=False, unique=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("expires_at", UtcTime),
        sa.Column("last_used_at", UtcTime),
    )
    before = sa.table(
        "accounts", sa.column("sid", sa.Text), sa.column("key_hash", sa.Text), sa.column("created_at", UtcTime)
    )
    found = op.get_bind().execute(sa.select(before.c.sid, before.c.key_hash, before.c.created_at)).all()
    # SQLite cannot drop a column that is unique.
    op.drop_table("accounts")
    accounts = op.create_table(
        "accounts",
        sa.Column("sid", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
    )
    op.bulk_insert(accounts, [{"sid": sid, "name": "", "created_at": at} for sid, _, at in found])
    rows = [
        {"sid": sid, "account_sid": sid, "name": "first", "key_hash": key_hash, "scope": "full", "created_at": at}
        for sid, key_hash, at in found
    ]
    op.bulk_insert(keys, rows)

"""The first schema. A migration states the tables as they were at its time, so it does not use `store.tables`."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make everything."""
    _accounts()
    _calls()
    _streams()
    _callbacks()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("sid", sa.Text, primary_key=True),
        sa.Column("key_hash", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", _TIME, nullable=False),
    )


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("sid", sa.Text, primary_key=True),
        sa.Column("account_sid", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("direction", sa.Text, nullable=False),
        sa.Column("from_", sa.Text, nullable=False),
        sa.Column("to", sa.Text, nullable=False),
        sa.Column("caller_name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("answered_at", _TIME),
        sa.Column("ended_at", _TIME),
        sa.Column("codec", sa.Text),
        sa.Column("hangup_cause", sa.Text),
        sa.Column("hangup_source", sa.Text),
        sa.Column("report", sa.Text, nullable=False),
    )
    op.create_index("ix_calls_account", "calls", ["account_sid", "created_at", "sid"])
    _partial_index("ix_calls_open", "calls", ["created_at"], "ended_at IS NULL")


def _streams() -> None:
    op.create_table(
        "streams",
        sa.Column("sid", sa.Text, primary_key=True),
        sa.Column("account_sid", sa.Text, nullable=False),
        sa.Column("call_sid", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("track", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("status_callback", sa.Text),
        sa.Column("status_callback_method", sa.Text, nullable=False),
        sa.Column("ended_reason", sa.Text),
        sa.Column("report", sa.Text, nullable=False),
    )
    op.create_index("ix_streams_call", "streams", ["call_sid", "created_at"])
    _partial_index("ix_streams_open", "streams", ["created_at"], "status IN ('in-progress', 'paused')")


def _callbacks() -> None:
    op.create_table(
        "callbacks",
        sa.Column(
            "position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False
        ),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("call_sid", sa.Text, nullable=False),
        sa.Column("stream_sid", sa.Text),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("form", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.SmallInteger, nullable=False),
        sa.Column("next_try_at", _TIME),
        sa.Column("last_status", sa.SmallInteger),
        sa.Column("last_error", sa.Text),
        sa.Column("finished_at", _TIME),
    )
    _partial_index("ix_callbacks_pending", "callbacks", ["host", "position"], "state = 'pending'")
    op.create_index("ix_callbacks_finished", "callbacks", ["finished_at"])


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))

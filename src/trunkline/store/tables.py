"""What is kept: lives of servers, accounts, keys, applications, phones' contacts, calls, streams, recordings and the
callbacks still to be sent or sent lately.

Columns are named as the fields of the values they keep (`calls.views`, `store.records`), so that a row is the value
and needs no mapping by hand. Nothing refers to anything by a foreign key: rows are only ever upserted by one ordered
writer, and a constraint that fails would hold up every change queued behind it. Text has no length for the same
reason. The tables here and the newest migration describe the same schema; a test compares them.
"""

from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Insert,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    Update,
    bindparam,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from trunkline.calls.views import LIVE
from trunkline.store.records import RESULT_CHANGES

Changes = Literal["calls", "streams", "recordings", "callbacks", "contacts", "results", "sip_traces"]
"""The kinds of changes that are made during calls."""
Change = Insert | Update


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC; SQLite, which knows no zones, keeps the bare UTC text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Into the database: in UTC, since SQLite would drop the offset."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Out of the database: aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime),
    Column("left_at", UtcTime),
    Column("died_at", UtcTime),
)
"""Lives of servers (`store/lives.py`), by the name that their call sids carry. `lease_until` is by the database's
clock; SQLite, whose lock file is the lease, has none."""

accounts = Table(
    "accounts",
    metadata,
    Column("sid", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("sid", Text, primary_key=True),
    Column("account_sid", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("key_hash", Text, nullable=False, unique=True),
    Column("scope", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("last_used_at", UtcTime),
)
"""`key_hash` is the SHA-256 of the key in hex (`store/accounts.py`)."""

applications = Table(
    "applications",
    metadata,
    Column("sid", Text, primary_key=True),
    Column("account_sid", Text, nullable=False),
    Column("friendly_name", Text, nullable=False),
    Column("voice_url", Text, nullable=False),
    Column("voice_method", Text, nullable=False),
    Column("voice_fallback_url", Text),
    Column("status_callback", Text),
    Column("status_callback_method", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("other", Text, nullable=False),
)
"""Those made by REST; others come from the configuration."""

contacts = Table(
    "contacts",
    metadata,
    Column("user", Text, primary_key=True),
    Column("saved", Text, nullable=False),
)
"""Where phones are to be found, as a text of the SIP endpoint's, so that they can be called after a restart."""

calls = Table(
    "calls",
    metadata,
    Column("sid", Text, primary_key=True),
    Column("account_sid", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("from_", Text, nullable=False),
    Column("to", Text, nullable=False),
    Column("caller_name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("answered_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("codec", Text),
    Column("hangup_cause", Text),
    Column("hangup_source", Text),
    Column("report", Text, nullable=False),
    Column("parent_sid", Text),
    Column("application_sid", Text),
    Column("status_callback", Text),
    Column("status_callback_method", Text, nullable=False, server_default="POST"),
    Column("status_callback_events", Text, nullable=False, server_default="completed"),
    Column("hangup_code", Text),
    Column("sip_status", Integer),
    Column("dialog", Text),
)
"""`dialog` is the SIP endpoint's text of the dialog while the call is up, so that BYE can be sent after a crash."""
Index("ix_calls_ended", calls.c.ended_at)
Index("ix_calls_account", calls.c.account_sid, calls.c.created_at, calls.c.sid)
Index(
    "ix_calls_open",
    calls.c.created_at,
    sqlite_where=calls.c.ended_at.is_(None),
    postgresql_where=calls.c.ended_at.is_(None),
)

streams = Table(
    "streams",
    metadata,
    Column("sid", Text, primary_key=True),
    Column("account_sid", Text, nullable=False),
    Column("call_sid", Text, nullable=False),
    Column("name", Text),
    Column("url", Text, nullable=False),
    Column("track", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("status_callback", Text),
    Column("status_callback_method", Text, nullable=False),
    Column("ended_reason", Text),
    Column("report", Text, nullable=False),
    Column("mode", Text),
    Column("codec", Text),
)
Index("ix_streams_updated", streams.c.updated_at)
Index("ix_streams_call", streams.c.call_sid, streams.c.created_at)
Index("ix_streams_account", streams.c.account_sid, streams.c.created_at, streams.c.sid)
Index(
    "ix_streams_open",
    streams.c.created_at,
    sqlite_where=streams.c.status.in_(LIVE),
    postgresql_where=streams.c.status.in_(LIVE),
)

recordings = Table(
    "recordings",
    metadata,
    Column("sid", Text, primary_key=True),
    Column("account_sid", Text, nullable=False),
    Column("call_sid", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("channels", SmallInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("duration", Float),
    Column("size", BigInteger),
    Column("error", Text),
    Column("track", Text, nullable=False, server_default="both"),
    Column("application_sid", Text),
    Column("status_callback", Text),
    Column("status_callback_method", Text, nullable=False, server_default="POST"),
    Column("status_callback_events", Text, nullable=False, server_default="completed"),
    Column("sends_url", Boolean, nullable=False, server_default=true()),
)
"""The audio is in a file (`calls/recordings.py`)."""
Index("ix_recordings_call", recordings.c.call_sid, recordings.c.created_at)
Index("ix_recordings_account", recordings.c.account_sid, recordings.c.created_at, recordings.c.sid)
Index("ix_recordings_ended", recordings.c.ended_at)

sip_traces = Table(
    "sip_traces",
    metadata,
    Column("call_sid", Text, primary_key=True),
    Column("account_sid", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("trace", Text, nullable=False),
)
"""SIP messages of failed calls, without secrets, as JSON (`control/sip_traces.py`)."""
Index("ix_sip_traces_created", sip_traces.c.created_at)

callbacks = Table(
    "callbacks",
    metadata,
    # SQLite makes only an INTEGER key the row's own number; PostgreSQL's INTEGER would end at 2**31.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("key", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("call_sid", Text, nullable=False),
    Column("stream_sid", Text),
    Column("url", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", SmallInteger, nullable=False),
    Column("next_try_at", UtcTime),
    Column("last_status", SmallInteger),
    Column("last_error", Text),
    Column("finished_at", UtcTime),
)
Index(
    "ix_callbacks_pending",
    callbacks.c.host,
    callbacks.c.position,
    sqlite_where=callbacks.c.state == "pending",
    postgresql_where=callbacks.c.state == "pending",
)
Index("ix_callbacks_finished", callbacks.c.finished_at)


def upsert(dialect: str, table: Table, *, by: str, keep: bool = False) -> Insert:
    """An insert that replaces the row with the same `by`, or with `keep` leaves it as it is.

    Safe to repeat, which matters when a connection breaks during the commit and its outcome is unknown.
    """
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    if keep:
        return insert.on_conflict_do_nothing(index_elements=[by])
    new = {column.name: insert.excluded[column.name] for column in table.columns if column.name != by}
    return insert.on_conflict_do_update(index_elements=[by], set_=new)


def changes(dialect: str) -> dict[Changes, Change]:
    """The statement of each kind of change. Calls, streams, recordings and contacts replace what is there, callbacks
    are added once, and results say what became of them; `of_id` says which one, as a column's own name cannot in an
    UPDATE."""
    results = update(callbacks).where(callbacks.c.id == bindparam("of_id"))
    return {
        "calls": upsert(dialect, calls, by="sid"),
        "streams": upsert(dialect, streams, by="sid"),
        "recordings": upsert(dialect, recordings, by="sid"),
        "callbacks": upsert(dialect, callbacks, by="id", keep=True),
        "contacts": upsert(dialect, contacts, by="user"),
        "sip_traces": upsert(dialect, sip_traces, by="call_sid"),
        "results": results.values({name: bindparam(name) for name in RESULT_CHANGES}),
    }

"""Times in the database, and the statements that change it. Records: test_store.py; migrations: test_schema.py."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, MetaData, Table, Text, create_engine, select
from sqlalchemy.dialects import registry
from sqlalchemy.engine import Dialect

from trunkline.store import tables
from trunkline.store.records import RESULT_CHANGES
from trunkline.store.tables import UtcTime, changes, upsert

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
DIALECTS: dict[str, Dialect] = {name: registry.load(name)() for name in ("sqlite", "postgresql")}
THINGS = Table("things", MetaData(), Column("id", Text, primary_key=True), Column("value", Text), Column("at", UtcTime))


@pytest.mark.parametrize("given", [NOON, NOON.astimezone(timezone(timedelta(hours=-5)))])
def test_a_time_comes_back_aware_and_in_utc(given: datetime) -> None:
    kind = UtcTime()
    for dialect in DIALECTS.values():
        bound = kind.process_bind_param(given, dialect)
        assert bound is not None
        assert (bound, bound.tzinfo) == (NOON, UTC)
        assert kind.process_bind_param(None, dialect) is kind.process_result_value(None, dialect) is None
        for stored in (NOON.replace(tzinfo=None), given):
            read = kind.process_result_value(stored, dialect)
            assert read is not None
            assert (read, read.tzinfo) == (NOON, UTC)


def test_an_upsert_replaces_and_with_keep_leaves_what_is_there() -> None:
    engine = create_engine("sqlite://")
    THINGS.metadata.create_all(engine)
    row = {"id": "a", "value": "one", "at": NOON}
    with engine.begin() as connection:
        connection.execute(upsert("sqlite", THINGS, by="id"), row)
        connection.execute(upsert("sqlite", THINGS, by="id"), row | {"value": "two"})
        connection.execute(upsert("sqlite", THINGS, by="id"), row | {"id": "b"})
        connection.execute(upsert("sqlite", THINGS, by="id", keep=True), row | {"value": "three"})
        found = connection.execute(select(THINGS).order_by(THINGS.c.id)).all()
    assert [tuple(one) for one in found] == [("a", "two", NOON), ("b", "one", NOON)]
    engine.dispose()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_kind_of_change_has_its_statement(dialect: str) -> None:
    compiled = {str(kind): clause.compile(dialect=DIALECTS[dialect]) for kind, clause in changes(dialect).items()}
    texts = {kind: " ".join(str(one).split()) for kind, one in compiled.items()}
    for kind, key in (
        ("calls", "sid"),
        ("streams", "sid"),
        ("recordings", "sid"),
        ("contacts", "user"),
        ("sip_traces", "call_sid"),
    ):
        text = texts[kind].replace('"', "")
        assert text.startswith(f"INSERT INTO {kind} ")
        assert f"ON CONFLICT ({key}) DO UPDATE SET" in text
    assert "ON CONFLICT (id) DO NOTHING" in texts["callbacks"]
    assert texts["results"].startswith("UPDATE callbacks SET ")
    assert "WHERE callbacks.id = " in texts["results"]
    assert len(texts) == 7


def test_results_change_what_became_of_a_callback_and_nothing_else() -> None:
    columns = {column.name for column in tables.callbacks.columns}
    assert (
        set(RESULT_CHANGES) == {"state", "tries", "next_try_at", "last_status", "last_error", "finished_at"} & columns
    )

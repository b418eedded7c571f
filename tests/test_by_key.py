"""Writes by key for a database without ON CONFLICT: the same rows as with it, exact counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.dialects.sqlite import insert

from astra.store import by_key, on_conflict
from astra.store.schema import history, price_history, runs


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path}/astra.db")
    with engine.connect() as opened:
        for table in (history, price_history, runs):
            table.create(opened)
        yield opened
    engine.dispose()


def point(at: int, equity: str | None, gain: str | None = None) -> dict[str, Any]:
    return {"account": "PA1", "at": at, "equity": equity, "profit_loss": gain}


def held(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(select(history).order_by(history.c.at))]


def test_only_rows_of_a_new_key_are_inserted_and_counted(connection: Connection) -> None:
    offered = [point(1, "1"), point(2, "2"), point(1, "9")]
    assert by_key.insert_new(connection, history, offered) == 2
    assert by_key.insert_new(connection, history, [point(2, "7"), point(3, "3")]) == 1
    assert by_key.insert_new(connection, history, []) == 0
    assert [row[2] for row in held(connection)] == ["1", "2", "3"]


def test_more_keys_than_a_statement_takes_are_counted_exactly(connection: Connection) -> None:
    assert by_key.insert_new(connection, history, [point(at, "1") for at in range(1200)]) == 1200
    assert by_key.insert_new(connection, history, [point(at, "1") for at in range(1300)]) == 100


def test_none_never_overwrites_a_value(connection: Connection) -> None:
    by_key.upsert(connection, history, [point(1, "1", "0.5")])
    by_key.upsert(connection, history, [point(1, "2", None), point(2, "3", None)])
    by_key.upsert(connection, history, [point(2, "3", "0.1"), point(2, "4", None)])
    assert held(connection) == [("PA1", 1, "2", "0.5"), ("PA1", 2, "4", "0.1")]


def test_columns_that_are_not_given_stay(connection: Connection) -> None:
    row = {"id": "r", "job": "load", "started_at": 1, "status": "running", "message": ""}
    by_key.insert_new(connection, runs, [row])
    by_key.upsert(connection, runs, [{"id": "r", "status": "ok"}])
    assert connection.execute(select(runs)).one()._asdict() == {
        **row, "status": "ok", "finished_at": None,
    }  # fmt: skip


ROWS = st.lists(
    st.builds(
        point, st.integers(0, 4), st.sampled_from(["1", "2"]), st.sampled_from([None, "3", "4"])
    ),
    max_size=6,
    unique_by=lambda row: row["at"],
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.tuples(st.booleans(), ROWS), max_size=4))
def test_it_writes_what_on_conflict_writes(
    connection: Connection, writes: list[tuple[bool, list[dict[str, Any]]]]
) -> None:
    outcomes = []
    for is_ours in (True, False):
        connection.execute(history.delete())
        counts = []
        for is_upsert, rows in writes:
            if is_upsert and is_ours:
                by_key.upsert(connection, history, rows)
            elif is_upsert:
                on_conflict.upsert(insert, connection, history, rows)
            elif is_ours:
                counts.append(by_key.insert_new(connection, history, rows))
            else:
                counts.append(on_conflict.insert_new(insert, connection, history, rows))
        outcomes.append((counts, held(connection)))
    assert outcomes[0] == outcomes[1]

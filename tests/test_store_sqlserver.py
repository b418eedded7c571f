"""SQL Server: what is said to it, where its driver is, what its errors mean.

The statements themselves run on a server if ASTRA_TEST_MSSQL_URL names one (`tests.stores`); here
they are compared with `golden/sqlserver.sql`, which a person has read. After a wanted change:

    python -m tests.test_store_sqlserver > tests/golden/sqlserver.sql
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.mssql.pyodbc import dialect as mssql

from astra.store import by_key, schema, versions
from astra.store.dialect import FIELDS
from astra.store.tsql import T_SQL

GOLDEN = Path(__file__).parent / "golden" / "sqlserver.sql"
MIGRATIONS = Path(__file__).parents[1] / "astra" / "store" / "migrations"
# As SQL Server 2012 and later.
DIALECT = mssql(deprecate_large_types=True, paramstyle="qmark")  # type: ignore[no-untyped-call]

Statement = tuple[str, str]  # what it does, T-SQL


def migrations() -> Iterator[Statement]:
    """The tables as Alembic makes them; its own alembic_version is not among them."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    for revision in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
        text = io.StringIO()
        options = {"as_sql": True, "output_buffer": text, "mssql_batch_separator": ""}
        context = MigrationContext.configure(dialect=DIALECT, opts=options)
        with Operations.context(context):
            revision.module.upgrade()
        for statement in text.getvalue().split(";\n"):
            if statement.strip():
                lines = (line.rstrip() for line in statement.strip().splitlines())
                yield f"migration {revision.revision}", "\n".join(lines)


def transactions() -> Iterator[Statement]:
    words = T_SQL
    yield "once for each connection: temp tables, empty between transactions", words.temp_tables
    for statement in words.begin_writing:
        yield "a transaction that writes; so for schema and books", statement.format(scope="prices")
    yield "a transaction that reads", words.begin_reading
    yield "its end", words.commit
    yield "its end after an error", words.roll_back


def bars() -> Iterator[Statement]:
    words, some = T_SQL, ("ts", "close")
    yield "the last bar of each ticker", words.last_ts
    yield "windows: nothing left from before", words.clear_windows
    yield "windows: one row each, as an array of parameters", words.stage_window
    for name, columns in (("all fields", FIELDS), ("some fields", some)):
        listed = "".join(words.column.format(field) for field in columns)
        yield f"bars of the windows, {name}", words.current.format(columns=listed)
        yield f"as known at a time, {name}", words.known.format(columns=listed)
    yield "a load that is mostly new: an array of parameters", words.append
    yield "a load that changes: nothing left from before", words.clear_staged
    yield "stage what differs, an array of parameters", words.stage
    steps = (
        "merge: what is replaced becomes a revision",
        "merge: overwrite",
        "merge: insert",
    )
    yield from zip(steps, words.merge, strict=True)


def keyed_rows() -> Iterator[Statement]:
    forecasts, prices = schema.forecasts, schema.price_history
    key = forecasts.primary_key.columns.keys()
    known = by_key.lookup(forecasts, [("m", 1, "A", 1), ("m", 1, "B", 2)], key)
    yield "insert_new: which of two forecasts are known", compiled(known)
    yield (
        "insert_new, upsert: those that are not, many rows at a time",
        compiled(forecasts.insert().values(dict.fromkeys(forecasts.columns.keys(), 0))),
    )
    held = by_key.lookup(prices, [("A", 1), ("A", 2)], prices.columns.keys())
    yield "upsert: two bars as they are held", compiled(held)
    changed = by_key.update_by_key(prices)
    yield "upsert: one that has changed", compiled(changed, ["close", "known_from"])
    yield "there is something new to read", compiled(versions.grown("prices", 1))


def compiled(statement: ClauseElement, columns: list[str] | None = None) -> str:
    options = {"render_postcompile": True}
    text = statement.compile(dialect=DIALECT, column_keys=columns, compile_kwargs=options)
    return "\n".join(line.strip() for line in str(text).splitlines())


def everything_said() -> str:
    said = [*migrations(), *transactions(), *bars(), *keyed_rows()]
    return "\nGO\n\n".join(f"-- {why}\n{what.rstrip(';')};" for why, what in said) + "\nGO\n"


def test_what_is_said_to_sql_server_is_what_was_reviewed() -> None:
    assert everything_said() == GOLDEN.read_text()


if __name__ == "__main__":
    sys.stdout.write(everything_said())

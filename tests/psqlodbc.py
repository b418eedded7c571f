"""`SqlServer` on PostgreSQL: the same pyodbc code, with psqlodbc and PostgreSQL's words.

No SQL Server runs in the tests, but what does not depend on T-SQL can: bulk arrays of parameters,
temp tables, transactions, rows into numpy, errors. Importing this module makes the URLs of
`url` open.
"""

# ruff: noqa: S608 - made of constants, before anybody has asked for anything

from __future__ import annotations

from typing import Any

from sqlalchemy import make_url
from sqlalchemy import types as sqltypes
from sqlalchemy.connectors.pyodbc import PyODBCConnector
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.base import PGDialect

from astra.store.dialect import FIELDS
from astra.store.tsql import WORDS, Words

DRIVER = "PostgreSQL Unicode"
_LIST = ", ".join(FIELDS)
_PLACES = ", ".join("?" * (len(FIELDS) + 1))
_OF = {alias: ", ".join(f"{alias}.{name}" for name in FIELDS) for alias in "prs"}
_INSIDE = "{0}.ticker = w.ticker AND {0}.ts >= w.start_ts AND {0}.ts < w.end_ts"

WORDS["postgresql"] = Words(
    temp_tables='CREATE TEMP TABLE staged_bars (ticker varchar(16) COLLATE "C" NOT NULL, '
    "ts bigint NOT NULL, open float8 NOT NULL, high float8 NOT NULL, low float8 NOT NULL, "
    "close float8 NOT NULL, volume bigint NOT NULL, known_from bigint NOT NULL, "
    "feed smallint NOT NULL, PRIMARY KEY (ticker, ts));"
    'CREATE TEMP TABLE windows (n int PRIMARY KEY, ticker varchar(16) COLLATE "C" NOT NULL, '
    "start_ts bigint NOT NULL, end_ts bigint NOT NULL)",
    begin_writing=(
        "BEGIN",
        "SET LOCAL lock_timeout = '60s'",
        "SELECT 0 FROM pg_advisory_xact_lock(hashtext('astra-{scope}'))",
    ),
    begin_reading="BEGIN ISOLATION LEVEL REPEATABLE READ",
    commit="COMMIT",
    roll_back="ROLLBACK",
    last_ts="SELECT ticker, max(ts) FROM price_history GROUP BY ticker ORDER BY ticker",
    append=f"INSERT INTO price_history (ticker, {_LIST}) VALUES ({_PLACES})",
    clear_staged="TRUNCATE staged_bars",
    stage=f"INSERT INTO staged_bars VALUES ({_PLACES})",
    merge=(
        f"INSERT INTO price_revisions (ticker, {_LIST}, replaced_at) "
        f"SELECT p.ticker, {_OF['p']}, s.known_from FROM staged_bars s JOIN price_history p "
        "ON p.ticker = s.ticker AND p.ts = s.ts AND p.known_from < s.known_from",
        "UPDATE price_history p SET "
        + ", ".join(f"{name} = s.{name}" for name in FIELDS if name != "ts")
        + " FROM staged_bars s WHERE p.ticker = s.ticker AND p.ts = s.ts",
        f"INSERT INTO price_history (ticker, {_LIST}) SELECT s.ticker, {_OF['s']} "
        "FROM staged_bars s WHERE NOT EXISTS (SELECT 1 FROM price_history p "
        "WHERE p.ticker = s.ticker AND p.ts = s.ts) ORDER BY s.ticker, s.ts",
    ),
    clear_windows="DELETE FROM windows",
    stage_window="INSERT INTO windows VALUES (?, ?, ?, ?)",
    column=", v.{}",
    current="SELECT w.n{columns} FROM windows w JOIN price_history v ON "
    f"{_INSIDE.format('v')} ORDER BY w.n, v.ts",
    known=f"SELECT v.n{{columns}} FROM (SELECT w.n, {_OF['p']} FROM windows w "
    f"JOIN price_history p ON {_INSIDE.format('p')} AND p.known_from <= ? "
    f"UNION ALL SELECT w.n, {_OF['r']} FROM windows w JOIN price_revisions r "
    f"ON {_INSIDE.format('r')} AND r.known_from <= ? AND r.replaced_at > ?) v ORDER BY v.n, v.ts",
)


class OdbcArray(ARRAY[Any]):
    """Flags, numbers and plain names, which ODBC hands on as text: {t,f} or, a vector, 0 0."""

    def result_processor(self, dialect: Any, coltype: object) -> Any:
        items = self.item_type.python_type

        def parse(text: str | None) -> list[Any] | None:
            if text is None:
                return None
            found = text.strip("{}").replace(" ", ",").split(",")
            return [item == "t" if items is bool else items(item) for item in found]

        return parse


class PsqlOdbc(PyODBCConnector, PGDialect):
    """PostgreSQL through pyodbc, as far as the store and the reflection of its tables need it."""

    colspecs = PGDialect.colspecs | {sqltypes.ARRAY: OdbcArray}

    supports_statement_cache = True
    default_paramstyle = "qmark"
    # As MSDialect_pyodbc: many rows of the books in one INSERT.
    use_insertmanyvalues_wo_returning = True

    def _get_server_version_info(self, connection: Any) -> Any:
        return PGDialect._get_server_version_info(self, connection)  # type: ignore[no-untyped-call]


registry.register("mssql.psqlodbc", __name__, "PsqlOdbc")


def lacking() -> str:
    """What this machine has not got to run it; empty if nothing."""
    try:
        import pyodbc
    except ImportError as error:
        return f"pyodbc cannot be imported ({error}): apt-get install libodbc2"
    if DRIVER not in pyodbc.drivers():
        return f"the ODBC driver {DRIVER!r} is not installed: apt-get install odbc-postgresql"
    return ""


def url(postgres_url: str) -> str:
    """The same database, opened as if it were a SQL Server."""
    same = make_url(postgres_url).set(drivername="mssql+psqlodbc")
    # Bytes and bigints as they are; its own savepoints around each statement are not wanted.
    options = {"driver": DRIVER, "Port": "5432", "UseServerSidePrepare": "0", "BoolsAsChar": "0"}
    return same.update_query_dict(options).render_as_string(hide_password=False)

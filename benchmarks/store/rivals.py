"""Other ways to refresh a table of bars. They validate nothing and forget what they replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from astra import bars
from benchmarks.store.engines import COLUMNS, Engine

# From a connection and one ticker's offered bars to a table that has them.
Refresh = Callable[[Engine, Any, pd.DataFrame], None]
_VALUES = bars.COLUMNS[2:]
_SET = ", ".join(f"{name} = {{0}}.{name}" for name in _VALUES)
STAGING = (
    "CREATE TEMP TABLE staging (ticker text, ts bigint, open double precision, "
    "high double precision, low double precision, close double precision, volume bigint)"
)
_MISSING = (
    f"INSERT INTO prices SELECT DISTINCT {', '.join(f's.{c}' for c in bars.COLUMNS)} "  # noqa: S608 - constants only
    "FROM staging s LEFT JOIN prices p ON p.ticker = s.ticker AND p.ts = s.ts "
    "WHERE p.ticker IS NULL"
)
_DIFFERING = (
    f"UPDATE prices SET {_SET.format('s')} FROM staging s "  # noqa: S608 - constants only
    "WHERE prices.ticker = s.ticker AND prices.ts = s.ts AND "
    f"({', '.join(f'prices.{v}' for v in _VALUES)}) IS DISTINCT FROM "
    f"({', '.join(f's.{v}' for v in _VALUES)})"
)
_DIFFERING_SQLITE = _DIFFERING.replace("IS DISTINCT FROM", "IS NOT")


def original(engine: Engine, connection: Any, rows: pd.DataFrame) -> None:
    """The original's way: each ticker's rows go one by one into a staging table that the load
    shares, then what the table of prices lacks is inserted from it. Corrections are lost."""
    cursor = connection.cursor()
    cursor.execute(engine.begin())
    _stage(engine, cursor, rows)
    cursor.execute(_MISSING)
    cursor.execute("COMMIT")


def cleared(engine: Engine, connection: Any, rows: pd.DataFrame) -> None:
    """A better one: staging is emptied for each ticker, and what differs is updated."""
    cursor = connection.cursor()
    cursor.execute(engine.begin())
    cursor.execute("DELETE FROM staging")
    _stage(engine, cursor, rows)
    cursor.execute(_MISSING)
    cursor.execute(_DIFFERING_SQLITE if engine.mark == "?" else _DIFFERING)
    cursor.execute("COMMIT")


def upserted(engine: Engine, connection: Any, rows: pd.DataFrame) -> None:
    """Every row through one prepared INSERT ... ON CONFLICT DO UPDATE."""
    cursor = connection.cursor()
    cursor.execute(engine.begin())
    marks = ", ".join([engine.mark] * len(bars.COLUMNS))
    statement = (
        f"INSERT INTO prices ({COLUMNS}) VALUES ({marks}) "  # noqa: S608 - constants only
        f"ON CONFLICT (ticker, ts) DO UPDATE SET {_SET.format('excluded')}"
    )
    cursor.executemany(statement, _tuples(rows))
    cursor.execute("COMMIT")


def _stage(engine: Engine, cursor: Any, rows: pd.DataFrame) -> None:
    marks = ", ".join([engine.mark] * len(bars.COLUMNS))
    cursor.executemany(f"INSERT INTO staging VALUES ({marks})", _tuples(rows))  # noqa: S608 - marks only


def _tuples(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(rows[list(bars.COLUMNS)].astype(object).itertuples(index=False, name=None))

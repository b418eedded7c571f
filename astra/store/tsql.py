"""The store's statements in T-SQL, for `sqlserver.py`.

Written for SQL Server 2016 and later and for Azure SQL. Batches that create temp tables or change
the session take no parameters: with parameters they would run in a scope of their own and leave
nothing behind. Where a batch answers with rows, NOCOUNT keeps the counts of its other statements
from coming first, and is off again afterwards.
"""

# ruff: noqa: S608 - made of constants, before anybody has asked for anything

from __future__ import annotations

from dataclasses import dataclass

from astra.store.dialect import BUSY_SECONDS, FIELDS


@dataclass(frozen=True, slots=True)
class Words:
    """What `SqlServer` says to the database. `{scope}` and `{columns}` are filled in by it."""

    temp_tables: str  # once for each connection; both are empty between transactions
    # The last statement of the first answers with one number; below zero = no lock, rolled back.
    begin_writing: tuple[str, ...]
    begin_reading: str
    commit: str
    roll_back: str
    last_ts: str
    append: str  # as stage: ticker and FIELDS in their order
    clear_staged: str
    stage: str
    merge: tuple[str, ...]  # the staged bars become current, what they replace a revision
    clear_windows: str
    stage_window: str  # n, ticker, start, end
    column: str  # one of {columns}
    current: str
    known: str  # takes known_at three times


_LIST = ", ".join(f"[{name}]" for name in FIELDS)
_PLACES = ", ".join("?" * (len(FIELDS) + 1))
_INTO_HISTORY = f"INSERT INTO price_history (ticker, {_LIST})"


def _of(alias: str) -> str:
    return ", ".join(f"{alias}.[{name}]" for name in FIELDS)


def _same(left: str, right: str) -> str:
    return f"{left}.ticker = {right}.ticker AND {left}.ts = {right}.ts"


def _inside(alias: str) -> str:
    return f"{alias}.ticker = w.ticker AND {alias}.ts >= w.[start] AND {alias}.ts < w.[end]"


# The tickers are collated as in the tables, or their joins fail with a collation conflict.
_TEMP_TABLES = """\
DROP TABLE IF EXISTS #staged_bars;
DROP TABLE IF EXISTS #windows;
CREATE TABLE #staged_bars (
    ticker varchar(16) COLLATE Latin1_General_BIN2 NOT NULL, ts bigint NOT NULL,
    [open] float(53) NOT NULL, [high] float(53) NOT NULL, [low] float(53) NOT NULL,
    [close] float(53) NOT NULL, [volume] bigint NOT NULL, [known_from] bigint NOT NULL,
    [feed] smallint NOT NULL, PRIMARY KEY (ticker, ts)
);
CREATE TABLE #windows (
    n int NOT NULL PRIMARY KEY, ticker varchar(16) COLLATE Latin1_General_BIN2 NOT NULL,
    [start] bigint NOT NULL, [end] bigint NOT NULL
);"""

# Writers of a scope take turns by an application lock, which no reader meets. Other programs' locks
# are waited for as long.
_BEGIN_WRITING = f"""\
SET NOCOUNT ON;
SET XACT_ABORT ON;
SET LOCK_TIMEOUT {BUSY_SECONDS * 1000};
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
BEGIN TRAN;
DECLARE @granted int;
EXEC @granted = sp_getapplock @Resource = 'astra-{{scope}}', @LockMode = 'Exclusive',
    @LockOwner = 'Transaction', @LockTimeout = {BUSY_SECONDS * 1000};
IF @granted < 0 ROLLBACK TRAN;
SET NOCOUNT OFF;
SELECT @granted;"""

# Azure SQL allows SNAPSHOT from the start, elsewhere it takes ALTER DATABASE ... SET
# ALLOW_SNAPSHOT_ISOLATION ON. Without it each statement sees what is committed when it begins:
# each answer is right, and two of one transaction may lie a load apart.
_BEGIN_READING = f"""\
SET LOCK_TIMEOUT {BUSY_SECONDS * 1000};
IF (SELECT snapshot_isolation_state FROM sys.databases WHERE name = DB_NAME()) = 1
    SET TRANSACTION ISOLATION LEVEL SNAPSHOT;
ELSE
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
BEGIN TRAN;"""

# A recursive query may not aggregate, and GROUP BY reads every bar. This loop steps down the key
# from ticker to ticker: one seek for each finds the next ticker and its last bar at once.
_LAST_TS = """\
SET NOCOUNT ON;
DECLARE @found TABLE (
    ticker varchar(16) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY, ts bigint NOT NULL
);
DECLARE @ticker varchar(16), @ts bigint;
SELECT TOP (1) @ticker = ticker, @ts = ts FROM price_history ORDER BY ticker DESC, ts DESC;
WHILE @@ROWCOUNT = 1
BEGIN
    INSERT INTO @found (ticker, ts) VALUES (@ticker, @ts);
    SELECT TOP (1) @ticker = ticker, @ts = ts FROM price_history
        WHERE ticker < @ticker ORDER BY ticker DESC, ts DESC;
END;
SET NOCOUNT OFF;
SELECT ticker, ts FROM @found ORDER BY ticker;"""

# What was replaced in the second it was seen has never been known.
_MERGE = (
    f"INSERT INTO price_revisions (ticker, {_LIST}, replaced_at)\n"
    f"SELECT p.ticker, {_of('p')}, s.known_from\n"
    f"FROM #staged_bars s JOIN price_history p ON {_same('p', 's')}\n"
    "WHERE p.known_from < s.known_from",
    "UPDATE p SET "
    + ", ".join(f"[{name}] = s.[{name}]" for name in FIELDS if name != "ts")
    + "\nFROM price_history p WITH (UPDLOCK, HOLDLOCK) "
    f"JOIN #staged_bars s ON {_same('p', 's')}",
    f"{_INTO_HISTORY}\nSELECT s.ticker, {_of('s')} FROM #staged_bars s\n"
    "WHERE NOT EXISTS (SELECT 1 FROM price_history p WITH (UPDLOCK, HOLDLOCK) "
    f"WHERE {_same('p', 's')})\nORDER BY s.ticker, s.ts",
)

# Windows in their order, each a range of the key: no sort, and no guess at the number of rows.
_BY_RANGE = "OPTION (LOOP JOIN, FORCE ORDER)"

T_SQL = Words(
    temp_tables=_TEMP_TABLES,
    begin_writing=(_BEGIN_WRITING,),
    begin_reading=_BEGIN_READING,
    commit="COMMIT TRAN",
    roll_back="IF @@TRANCOUNT > 0 ROLLBACK TRAN",
    last_ts=_LAST_TS,
    append=f"{_INTO_HISTORY} VALUES ({_PLACES})",
    clear_staged="TRUNCATE TABLE #staged_bars",
    stage=f"INSERT INTO #staged_bars VALUES ({_PLACES})",
    merge=_MERGE,
    clear_windows="DELETE FROM #windows",
    stage_window="INSERT INTO #windows VALUES (?, ?, ?, ?)",
    column=", v.[{}]",
    current="SELECT w.n{columns}\n"
    f"FROM #windows w JOIN price_history v ON {_inside('v')}\n"
    f"ORDER BY w.n, v.ts\n{_BY_RANGE}",
    known="SELECT v.n{columns} FROM (\n"
    f"    SELECT w.n, {_of('p')} FROM #windows w JOIN price_history p\n"
    f"    ON {_inside('p')} AND p.known_from <= ?\n"
    f"    UNION ALL SELECT w.n, {_of('r')} FROM #windows w JOIN price_revisions r\n"
    f"    ON {_inside('r')} AND r.known_from <= ? AND r.replaced_at > ?\n"
    f") v ORDER BY v.n, v.ts\n{_BY_RANGE}",
)

# By SQLAlchemy's name of the database. The tests add PostgreSQL's, to run `SqlServer` for real.
WORDS: dict[str, Words] = {"mssql": T_SQL}

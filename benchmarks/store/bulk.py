"""The first load of an empty store."""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from astra.store import Counts, open_store
from benchmarks import inputs
from benchmarks.results import Row
from benchmarks.store.engines import COLUMNS, Engine, PostgresEngine
from benchmarks.timing import Timed, in_turns, require_equal, timed

_TABLE = (
    'CREATE TABLE prices (ticker text COLLATE "C" NOT NULL, ts bigint NOT NULL, '
    "open double precision, high double precision, low double precision, "
    "close double precision, volume bigint, PRIMARY KEY (ticker, ts))"
)


def sqlite(engine: Engine, history: pd.DataFrame, rounds: int) -> list[Row]:
    """Rows a second into an empty file, validated."""
    (done,) = in_turns(rounds, lambda: _load(engine, history))
    case = f"{engine.name}: first load of {len(history):,} bars"
    return [Row("store", case, len(history) / done.seconds, "rows/s", 120_000, "higher")]


def postgres(engine: PostgresEngine, history: pd.DataFrame, rounds: int) -> list[Row]:
    """Against COPY of the same rows, written out as text beforehand, into a table with the key."""
    text = io.BytesIO()
    options = pa.csv.WriteOptions(include_header=False)
    pa.csv.write_csv(pa.Table.from_pandas(history, preserve_index=False), text, options)
    ours, copied = in_turns(
        rounds, lambda: _load(engine, history), lambda: _copy(engine, text.getvalue())
    )
    require_equal(copied.answer, len(history), "the rows copied and offered")
    case = f"{engine.name}: first load of {len(history):,} bars"
    return [
        Row("store", case, len(history) / ours.seconds, "rows/s", 100_000, "higher"),
        Row(
            "store", f"{case}, time over a raw COPY",
            ours.seconds / copied.seconds, "ratio", 2, "lower",
            "COPY FROM STDIN of ready-made CSV into an empty table with the same key",
        ),
    ]  # fmt: skip


def _load(engine: Engine, history: pd.DataFrame) -> Timed:
    engine.clear("ours")
    store = open_store(engine.url("ours"))
    done = timed(lambda: store.prices.upsert(history, inputs.CLOSE))
    store.close()
    wanted = Counts(inserted=len(history))
    require_equal(float(done.answer != wanted), 0, f"the counts {done.answer} and {wanted}")
    return done


def _copy(engine: PostgresEngine, text: bytes) -> Timed:
    engine.clear("copied")
    engine.url("copied")
    connection = engine.connect("copied")
    connection.execute(_TABLE)

    def copy() -> int:
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY prices ({COLUMNS}) FROM STDIN (FORMAT csv)".encode()) as stream:
                stream.write(text)
            return cursor.rowcount

    done = timed(copy)
    connection.close()
    return done

"""The bars that `train` and `evaluate` study, a file's or the simulated market's, as one panel."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from astra.errors import ConfigError, DataError, InsufficientDataError

if TYPE_CHECKING:
    from model.panel import Panel

_DAY_SECONDS = 86400
_FREQUENCIES = ("5m", "1d")
_MOST_SECONDS = 10**11  # the year 5138; milliseconds have been above it since 1973


def from_file(path: Path, frequency: str) -> tuple[Panel, str]:
    """The panel of a Parquet file, and its market's identity.

    For daily bars the file holds daily ones (columns ticker, ts or date, open, close) or 5-minute
    ones, which are summed up.

    Raises:
        ConfigError: there is no such frequency.
        DataError: the file cannot be read or lacks a column, holds daily bars where 5-minute ones
            are needed, or most of its 5-minute bars lie outside sessions.
    """
    from model.panel import daily_of

    _known(frequency)
    table = _read(path)
    if _is_daily(table):
        if frequency == "5m":
            raise DataError(
                f"5-minute bars are required, {path} holds one bar a day: add --frequency 1d"
            )
        return _daily(table), _identity(path)
    panel = _five_minutes(table, path)
    return daily_of(panel) if frequency == "1d" else panel, _identity(path)


def simulated(
    frequency: str, *, seed: int, edge: float, tickers: int, days: tuple[dt.date, dt.date]
) -> tuple[Panel, str]:
    """The panel of the simulated market over `days`, stocks alone, and its identity.

    Raises:
        ConfigError: there is no such frequency.
    """
    from model.panel import build, daily_of
    from sandbox.market import default_tickers
    from sandbox.markets import simulated_bars

    _known(frequency)
    names = default_tickers(tickers)[:tickers]  # without the ETFs behind them
    frame = simulated_bars(names, seed=seed, edge=edge, first=days[0], last=days[1])
    panel = build(frame)
    return daily_of(panel) if frequency == "1d" else panel, f"simulated:{seed}"


def without_last(panel: Panel, sessions: int) -> Panel:
    """What there was before the last `sessions` sessions, which stay unseen.

    Raises:
        InsufficientDataError: nothing was.
    """
    if sessions >= len(panel.sessions):
        raise InsufficientDataError(
            f"{sessions} sessions are to stay unseen, the bars have {len(panel.sessions)} in all: "
            "load more history, or keep fewer back"
        )
    return panel.known_at(panel.sessions[-1 - sessions].closes_at)


def _known(frequency: str) -> None:
    if frequency not in _FREQUENCIES:
        raise ConfigError(f"a frequency is one of {', '.join(_FREQUENCIES)}, found {frequency!r}")


def _read(path: Path) -> pa.Table:
    """The file's table, its `date` as midnight UTC in `ts` where it has no `ts`."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise DataError(
            f"a Parquet file of bars is required, there is no file {path}: check its name"
        ) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"a Parquet file of bars is required, {path} is not: {error}") from error
    if "ts" not in table.column_names and "date" in table.column_names:
        names = ["ts" if name == "date" else name for name in table.column_names]
        table = table.rename_columns(names)
    lacking = [name for name in ("ticker", "ts", "open", "close") if name not in table.column_names]
    if lacking:
        raise DataError(f"bars need a column {lacking[0]}, {path} has none: check the file")
    if pa.types.is_integer(table.schema.field("ts").type):
        latest = pc.max(table["ts"]).as_py()
        if latest is not None and latest > _MOST_SECONDS:
            raise DataError(
                f"times are epoch seconds or timestamps, {path} has {latest} in ts: divide it, or "
                "store it as a timestamp"
            )
    ts = table.column_names.index("ts")
    try:
        seconds = table["ts"].cast(pa.timestamp("s", "UTC"), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"bars need times or dates in ts, {path} has none: {error}") from error
    return table.set_column(ts, "ts", seconds)


def _is_daily(table: pa.Table) -> bool:
    """Whether a ticker has one bar of a UTC date, a doubled one here and there aside.

    No regular session lies on two dates, and one of 5-minute bars has dozens.
    """
    keys = pd.DataFrame(
        {
            "ticker": table["ticker"].to_pandas(),
            "day": table["ts"].cast(pa.int64()).to_numpy() // _DAY_SECONDS,
        }
    )
    return bool(len(keys)) and bool(keys.duplicated().mean() < 0.5)


def _five_minutes(table: pa.Table, path: Path) -> Panel:
    from astra.bars import from_arrow, validate
    from model.panel import build

    frame, rejected = validate(from_arrow(table), dt.datetime.now(dt.UTC))
    if rejected.off_grid > len(frame):
        raise DataError(
            f"{path} must hold bars of regular sessions in UTC, {rejected.describe()} of "
            f"{table.num_rows}: give ts its zone, or leave out the hours before and after sessions"
        )
    if frame.empty:
        why = rejected.describe() or "it is empty"
        raise DataError(f"{path} holds no valid 5-minute bar: {why}")
    return build(frame)


def _daily(table: pa.Table) -> Panel:
    from model.panel import build_daily

    frame = table.select(["ticker", "ts", "open", "close"]).to_pandas()
    frame["ts"] = table["ts"].cast(pa.int64()).to_numpy()
    return build_daily(frame.dropna())


def _identity(path: Path) -> str:
    """As the sandbox names a replay of the file."""
    with path.open("rb") as file:
        return f"replay:{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"

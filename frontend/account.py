"""What the account did and holds: books' tables in, curves and holdings out. Pure."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astra.errors import DataError
from astra.performance import Performance, summarize
from astra.records import Activity, Side
from astra.risk import FLOWS
from astra.sessions import BAR_SECONDS, NEW_YORK

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """The account's value over time and the benchmark's, both starting at the same USD.

    Deposits and withdrawals are taken out: `equity` is what the first value would have become.
    `benchmark` is None if its prices don't reach back to the start.
    """

    times: tuple[dt.datetime, ...]
    equity: Floats
    benchmark: Floats | None
    flows: int

    def performance(self, since: int = 0) -> Performance:
        """Figures from the point `since` on."""
        benchmark = None if self.benchmark is None else self.benchmark[since:]
        return summarize(self.times[since:], self.equity[since:], benchmark)

    @property
    def day_start(self) -> int:
        """Index of the last value of an earlier day in New York; 0 if there is none."""
        today = self.times[-1].astimezone(NEW_YORK).date()
        earlier = [i for i, t in enumerate(self.times) if t.astimezone(NEW_YORK).date() < today]
        return earlier[-1] if earlier else 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """The last record of the account. `table` has a row for each position or target:

    symbol, name, sector (str), qty, price, entry, value, gain (float USD), weight, target, drift
    (fractions of equity; target and drift NaN without a decision), by value, highest first.
    """

    at: dt.datetime
    equity: float
    cash: float
    table: pd.DataFrame


def account_curve(
    summary: pd.DataFrame, history: pd.DataFrame, flows: pd.DataFrame, prices: pd.DataFrame
) -> Curve | None:
    """The account's curve beside the benchmark's, or None if no value above 0 was recorded.

    The broker's own `history` is taken as far as it goes, as its steps are even; what `summary`
    knows before and after (or, without history, all of it) stands around it.

    Args:
        summary: at, equity of one account.
        history: at, equity of one account; may be empty.
        flows: type, at, net_amount of one account's activities.
        prices: ts (bar's start), close of the benchmark; may be empty.
    """
    points = [_values(history), _values(summary)]
    if len(points[0]):
        first, last = points[0].index[0], points[0].index[-1]
        points[1] = points[1][(points[1].index < first) | (points[1].index > last)]
    values = pd.concat(points)
    values = values[~values.index.duplicated(keep="last")].sort_index()
    values = values[values > 0]
    if values.empty:
        return None
    moved = flows[flows["type"].isin(FLOWS)]
    came = _values(moved, "net_amount")
    came = came[(came.index > values.index[0]) & (came.index <= values.index[-1])]
    times, equity = pd.DatetimeIndex(values.index), np.asarray(values, np.float64)
    return Curve(
        tuple(t.to_pydatetime() for t in times),
        _without(equity, times, came),
        _benchmark(prices, times, float(equity[0])),
        len(came),
    )


def _values(frame: pd.DataFrame, column: str = "equity") -> pd.Series[float]:
    found = frame.sort_values("at")
    return pd.Series(
        found[column].astype(float).to_numpy(), index=pd.DatetimeIndex(found["at"]), dtype=float
    )


def _without(equity: Floats, times: pd.DatetimeIndex, flows: pd.Series[float]) -> Floats:
    """Time-weighted: a flow counts as made at the end of the step in which it came."""
    if flows.empty:
        return equity
    step = np.searchsorted(times, flows.index, side="left")
    came = np.bincount(step, weights=flows.to_numpy(), minlength=len(equity))[1:]
    growth = np.where(equity[1:] > came, (equity[1:] - came) / equity[:-1], 1.0)
    curve: Floats = equity[0] * np.concatenate([[1.0], np.cumprod(growth)])
    return curve


def _benchmark(prices: pd.DataFrame, times: pd.DatetimeIndex, start: float) -> Floats | None:
    """The close of the last bar that had ended at each time, scaled to begin at `start`."""
    found = prices.sort_values("ts")
    ends = pd.DatetimeIndex(found["ts"]) + pd.Timedelta(seconds=BAR_SECONDS)
    last = np.searchsorted(ends, times, side="right") - 1
    if len(found) == 0 or last[0] < 0:
        return None
    closes = found["close"].to_numpy(np.float64)[last]
    rebased: Floats = closes / closes[0] * start
    return rebased


def holdings(
    summary: pd.DataFrame, universe: pd.DataFrame, targets: Mapping[str, float] | None
) -> Holdings:
    """The account's newest record as a table, beside the weights last decided.

    Args:
        summary: at, equity, cash, positions of one account, at least one row.
        universe: ticker, name, sector; may be empty.
        targets: the decided weights, or None if nothing was decided.
    """
    last = summary.sort_values("at").iloc[-1]
    equity, cash = float(last["equity"]), float(last["cash"])
    rows = {str(p["symbol"]): p for p in _positions(str(last["positions"]))}
    symbols = sorted(rows.keys() | (targets or {}).keys())
    table = pd.DataFrame(
        {
            "symbol": pd.Series(symbols, dtype="str"),
            **{
                c: [_number(rows.get(s, {}).get(key), missing) for s in symbols]
                for c, key, missing in (
                    ("qty", "qty", 0.0),
                    ("price", "price", math.nan),
                    ("entry", "average_entry_price", math.nan),
                    ("value", "value", 0.0),
                )
            },
        }
    )
    table["weight"] = table["value"] / equity if equity > 0 else math.nan
    table["target"] = [math.nan if targets is None else targets.get(s, 0.0) for s in symbols]
    table["drift"] = table["weight"] - table["target"]
    table["gain"] = table["value"] - table["qty"] * table["entry"]
    for column in ("name", "sector"):
        known = dict(zip(universe["ticker"], universe[column], strict=True))
        table[column] = [known.get(s, "" if column == "name" else "Unknown") for s in symbols]
    table = table[(table["value"] != 0) | (table["target"] > 0)]
    at = last["at"].to_pydatetime()
    return Holdings(
        at, equity, cash, table.sort_values("value", ascending=False, ignore_index=True)
    )


def by_sector(table: pd.DataFrame) -> pd.DataFrame:
    """sector, weight, target (NaN without a decision) of `Holdings.table`, smallest first."""
    sums = table.groupby("sector")[["weight", "target"]].sum(min_count=1)
    return sums.sort_values("weight").reset_index()


def fills(activities: pd.DataFrame) -> list[Activity]:
    """The FILL and SPLIT lines of a table of activities.

    Raises:
        DataError: an amount that is no number.
    """
    lines = activities[activities["type"].isin(["FILL", "SPLIT"])]
    return [_activity(row) for row in lines.to_dict("records")]


def _activity(row: Mapping[Hashable, Any]) -> Activity:
    def text(name: str) -> str | None:
        return row[name] if isinstance(row[name], str) else None

    side = text("side")
    return Activity(
        id=row["id"],
        type=row["type"],
        at=row["at"].to_pydatetime(),
        net_amount=_amount(row["net_amount"]) or Decimal(0),
        symbol=text("symbol"),
        qty=_amount(row["qty"]),
        price=_amount(row["price"]),
        side=None if side is None else Side(side),
        order_id=text("order_id"),
    )


def _positions(text: str) -> list[dict[str, object]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"positions must be a JSON list, found {text[:40]!r}") from error
    return [p for p in found if isinstance(p, dict) and "symbol" in p]


def _number(value: object, missing: float) -> float:
    return missing if value is None else float(str(value))


def _amount(value: object) -> Decimal | None:
    if not isinstance(value, str):
        return None
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise DataError(f"an amount must be a decimal number, found {value!r}") from error

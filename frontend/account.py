"""What the account did and holds: the store's records in, spans, months and holdings out. Pure."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from astra.equity_curve import Curve, Figures
from astra.errors import DataError
from astra.owned import managed_equity
from astra.performance import Floats, Trading, by_month, by_year, exposure, trading
from astra.sessions import NEW_YORK
from astra.store.equity import Daily
from frontend.weights import held_after

PRESETS = ("1D", "1W", "1M", "3M", "YTD", "1Y", "All")
_DAYS = {"1D": 1, "1W": 7}
_NOISE = 5e-4  # of a weight: equity and prices are not of the same instant
_MONTHS = {"1M": 1, "3M": 3, "1Y": 12}


@dataclass(frozen=True, slots=True)
class Books:
    """What is recorded of an account's past; each sequence oldest first.

    Attributes:
        curve: None before a value above 0 was recorded.
        invested: at each saved summary the share of equity that was not cash.
        traded, cost: USD by day; costs are fees and what fills were worse than their plan's price.
    """

    curve: Curve | None
    invested: tuple[tuple[dt.datetime, float], ...]
    traded: tuple[Daily, ...]
    cost: tuple[Daily, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The account since a day.

    Attributes:
        curve: from the last value before that day.
        figures: of it.
        trading: what was traded and what that cost since.
        exposure: mean share of equity that was not cash, NaN where none was recorded.
    """

    curve: Curve
    figures: Figures
    trading: Trading
    exposure: float


@dataclass(frozen=True, slots=True)
class Holdings:
    """The last record of the account. `table` has a row for each position or target:

    symbol, name, sector (str), qty, price, entry, value, gain (float USD), share (fraction of the
    account's equity), weight (our part of it as a fraction of what is managed), target, drift (the
    same; NaN without a decision), by value, highest first. What is not ours, a person's own shares,
    has NaN for weight, target and drift.

    Attributes:
        equity, cash: of the account, USD.
        managed: what weights are fractions of, USD.
    """

    at: dt.datetime
    equity: float
    cash: float
    managed: float
    table: pd.DataFrame

    @property
    def is_apart(self) -> bool:
        """Whether a position's share of the account is another number than its weight."""
        held = self.table[self.table["value"] != 0]
        return not np.allclose(held["share"], held["weight"], 0, _NOISE, equal_nan=True)


def first_day(preset: str, last: dt.date) -> dt.date | None:
    """The first day of one of `PRESETS`, if it ends with `last`; None = all.

    A span of a week begins at the last value of the same day a week ago, so the day after is its
    first.
    """
    if preset == "YTD":
        return last.replace(month=1, day=1)
    if preset in _DAYS:
        before = last - dt.timedelta(days=_DAYS[preset])
    elif preset in _MONTHS:
        before = (pd.Timestamp(last) - pd.DateOffset(months=_MONTHS[preset])).date()
    else:
        return None
    return before + dt.timedelta(days=1)


def span(books: Books, curve: Curve, first: dt.date | None) -> Span:
    """The account from `first` on; all of it if that is None or before its first value.

    Args:
        curve: that of `books`, beside a benchmark or not.
    """
    found = curve.since(first)
    daily = found.daily()
    start = max(first or dt.date.min, _day(found.times[0]))
    sums = [math.fsum(usd for day, usd in lines if day >= start)
            for lines in (books.traded, books.cost)]  # fmt: skip
    invested = [(at, share) for at, share in books.invested if _day(at) >= start]
    return Span(
        curve=found,
        figures=found.figures(),
        trading=trading(sums[0], sums[1], daily.times, daily.values),
        exposure=exposure(invested),
    )


def months(curve: Curve) -> pd.DataFrame:
    """period (`October 2026`), account, benchmark (NaN without one), ahead: fractions, the newest
    first; a year with several months stands before them as `Year 2026`.
    """
    daily = curve.daily()
    yearly, monthly = _returns(by_year, daily), _returns(by_month, daily)
    rows = []
    for year in reversed(yearly):
        own = [month for month in reversed(monthly) if month.year == year.year]
        if len(own) > 1:
            rows.append((f"Year {year:%Y}", *yearly[year]))
        rows += [(f"{month:%B %Y}", *monthly[month]) for month in own]
    table = pd.DataFrame(rows, columns=["period", "account", "benchmark"])
    table["ahead"] = table["account"] - table["benchmark"]
    return table


def _returns(
    rule: Callable[[Sequence[dt.datetime], Floats], dict[dt.date, float]], daily: Curve
) -> dict[dt.date, tuple[float, float]]:
    """The account's and the benchmark's by period."""
    beside = daily.rebased()
    others = {} if beside is None else rule(daily.times, beside)
    own = rule(daily.times, daily.equity)
    return {period: (share, others.get(period, math.nan)) for period, share in own.items()}


def _day(t: dt.datetime) -> dt.date:
    return t.astimezone(NEW_YORK).date()


def holdings(
    summary: pd.DataFrame,
    universe: pd.DataFrame,
    targets: Mapping[str, float] | None,
    capital: float,
) -> Holdings:
    """The account's newest record as a table, beside the weights last decided.

    Args:
        summary: at, equity, cash, positions of one account, at least one row.
        universe: ticker, name, sector; may be empty.
        targets: the decided weights, or None if nothing was decided.
        capital: USD managed at most, 0 = all.
    """
    last = summary.sort_values("at").iloc[-1]
    equity, cash = float(last["equity"]), float(last["cash"])
    rows = {str(p["symbol"]): p for p in _positions(str(last["positions"]))}
    symbols = sorted(rows.keys() | (targets or {}).keys())
    table = _as_table(symbols, rows)
    table["share"] = table["value"] / equity if equity > 0 else math.nan
    own = {symbol: value for symbol, row in rows.items() if (value := _own_value(row))}
    managed = managed_equity(cash, math.fsum(own.values()), capital, equity)
    ours = own.keys() | (targets or {}).keys()
    weights = held_after(cash, equity, own, capital) if managed > 0 else None
    for column, known in (("weight", weights), ("target", targets)):
        table[column] = [
            math.nan if known is None or s not in ours else known.get(s, 0.0) for s in symbols
        ]
    table["drift"] = table["weight"] - table["target"]
    table["gain"] = table["value"] - table["qty"] * table["entry"]
    for column in ("name", "sector"):
        known = dict(zip(universe["ticker"], universe[column], strict=True))
        table[column] = [known.get(s, "" if column == "name" else "Unknown") for s in symbols]
    table = table[(table["value"] != 0) | (table["target"] > 0)]
    at = last["at"].to_pydatetime()
    return Holdings(
        at, equity, cash, managed, table.sort_values("value", ascending=False, ignore_index=True)
    )


def _as_table(symbols: Sequence[str], rows: Mapping[str, Mapping[str, object]]) -> pd.DataFrame:
    """symbol, qty, price, entry, value; 0 or NaN for what is not held."""
    columns = (
        ("qty", "qty", 0.0),
        ("price", "price", math.nan),
        ("entry", "average_entry_price", math.nan),
        ("value", "value", 0.0),
    )
    found = {
        column: [_number(rows.get(s, {}).get(key), missing) for s in symbols]
        for column, key, missing in columns
    }
    return pd.DataFrame({"symbol": pd.Series(symbols, dtype="str"), **found})


def by_sector(table: pd.DataFrame) -> pd.DataFrame:
    """sector, weight, target (NaN without a decision) of `Holdings.table`, smallest first; without
    the sectors in which nothing is ours."""
    sums = table.groupby("sector")[["weight", "target"]].sum(min_count=1).dropna(how="all")
    return sums.sort_values("weight").reset_index()


def _positions(text: str) -> list[dict[str, object]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"positions must be a JSON list, found {text[:40]!r}") from error
    return [p for p in found if isinstance(p, dict) and "symbol" in p]


def _own_value(position: Mapping[str, object]) -> float:
    """USD of the part that is ours; all of it where a record of an earlier release does not say."""
    qty = position.get("own_qty", position.get("qty"))
    return _number(qty, 0.0) * _number(position.get("price"), 0.0)


def _number(value: object, missing: float) -> float:
    return missing if value is None else float(str(value))

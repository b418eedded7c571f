"""Trades, open lots and cash movements: nouns of `astra.trades` and `astra.cash` as tables and
sentences. Pure."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from astra import cash, shortfall
from astra.cash import Kind, Worth
from astra.errors import DataError
from astra.matching import match
from astra.records import Activity
from astra.sessions import NEW_YORK
from astra.trades import ClosedTrade, OpenLot, Statistics, statistics
from frontend.words import count, money

FEW = 20  # trades, below which a rate says next to nothing
_CENTS, _SHARES = 6, 9  # decimals of exported numbers
_SAME = Decimal("0.05")  # USD: the broker rounds each position's value to cents


@dataclass(frozen=True, slots=True)
class Record:
    """What an account's record of activities comes to.

    `closed` is `closed_table`'s; `unmatched` are the symbols of which shares were sold without a
    purchase on record; `totals` and `months` are USD by kind; `fees` by the broker's order id.
    """

    closed: pd.DataFrame
    statistics: Statistics
    lots: tuple[OpenLot, ...]
    unmatched: tuple[str, ...]
    totals: Mapping[Kind, Decimal]
    months: Mapping[dt.date, Mapping[Kind, Decimal]]
    fees: Mapping[str, Decimal]


def record(lines: Sequence[Activity]) -> Record:
    """The record of one account from all its lines.

    Raises:
        DataError: a fill lacks symbol, side, quantity or price.
    """
    found = match(lines)
    moved = cash.movements(lines, found)
    return Record(
        closed=closed_table(found.closed),
        statistics=statistics(found.closed),
        lots=found.lots,
        unmatched=tuple(sorted({sale.symbol for sale in found.unmatched})),
        totals=cash.totals(moved),
        months=cash.by_month(moved),
        fees=shortfall.fees_by_order(lines),
    )


def closed_table(closed: Sequence[ClosedTrade]) -> pd.DataFrame:
    """A row for each closed trade, the highest profit first, of equals the first sold.

    Columns: symbol; qty; entry, exit (USD a share); cost, proceeds, profit (USD); share (of the
    cost); held (timedelta); opened_at, closed_at (New York).
    """
    frame = pd.DataFrame(
        {
            "symbol": pd.Series([t.symbol for t in closed], dtype="str"),
            "qty": [float(t.qty) for t in closed],
            "cost": [float(t.cost) for t in closed],
            "proceeds": [float(t.proceeds) for t in closed],
            "profit": [float(t.profit) for t in closed],
            "opened_at": _moments([t.opened_at for t in closed]),
            "closed_at": _moments([t.closed_at for t in closed]),
        }
    )
    frame.insert(2, "entry", frame["cost"] / frame["qty"])
    frame.insert(3, "exit", frame["proceeds"] / frame["qty"])
    frame.insert(7, "share", (frame["profit"] / frame["cost"]).where(frame["cost"] != 0))
    frame.insert(8, "held", frame["closed_at"] - frame["opened_at"])
    return frame.iloc[np.argsort(-frame["profit"].to_numpy(), kind="stable")].reset_index(drop=True)


def lots_table(
    lots: Iterable[OpenLot], prices: Mapping[str, Decimal], now: dt.datetime
) -> pd.DataFrame:
    """A row for each open lot, the highest value first; NaN where cost or price is not known.

    Columns: symbol; qty; entry, price (USD a share); cost, value, profit (USD); share (of the
    cost); held (timedelta, until `now`); opened_at (New York).
    """
    rows = []
    for lot in lots:
        price = prices.get(lot.symbol)
        profit = None if price is None else lot.profit(price)
        rows.append(
            {
                "symbol": lot.symbol,
                "qty": float(lot.qty),
                "entry": _float(None if lot.cost is None else lot.cost / lot.qty),
                "price": _float(price),
                "cost": _float(lot.cost),
                "value": _float(None if price is None else lot.qty * price),
                "profit": _float(profit),
                "share": _float(profit / lot.cost if profit is not None and lot.cost else None),
                "held": max(now - lot.opened_at, dt.timedelta()),
                "opened_at": lot.opened_at,
            }
        )
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    frame["opened_at"] = _moments(list(frame["opened_at"]))
    return frame.sort_values(["value", "symbol"], ascending=[False, True], ignore_index=True)


def months_table(months: Mapping[dt.date, Mapping[Kind, Decimal]]) -> pd.DataFrame:
    """USD by month, the newest first, and of all months in the last row.

    Columns: month, then one for each kind of which anything moved, by its name; NaN where nothing
    did.
    """
    kinds = [kind for kind in Kind if any(kind in month for month in months.values())]
    rows = {
        f"{month:%b %Y}": {kind.value: float(found.get(kind, "nan")) for kind in kinds}
        for month, found in sorted(months.items(), reverse=True)
    }
    whole = {kind.value: float(sum(m.get(kind, 0) for m in months.values())) for kind in kinds}
    frame = pd.DataFrame([*rows.values(), whole])
    frame.insert(0, "month", [*rows, "All"])
    return frame


def prices_of(positions: str) -> dict[str, Decimal]:
    """USD a share by symbol, of an account's recorded positions.

    Raises:
        DataError: they are no JSON list of positions with symbol and price.
    """
    try:
        return {str(p["symbol"]): Decimal(str(p["price"])) for p in json.loads(positions)}
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise DataError(
            f"positions must be a JSON list with symbol and price, found {positions[:40]!r}"
        ) from error


def csv(frame: pd.DataFrame) -> bytes:
    """Plain numbers; times in UTC, durations in seconds."""
    plain = frame.copy()
    for name, column in frame.items():
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            plain[name] = column.dt.tz_convert("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        elif pd.api.types.is_timedelta64_dtype(column.dtype):
            plain[name] = column.dt.total_seconds().astype("int64")
        elif pd.api.types.is_float_dtype(column.dtype):
            plain[name] = column.round(_SHARES if name == "qty" else _CENTS)
    return plain.rename(columns={"held": "held_seconds"}).to_csv(index=False).encode()


def judged(found: Statistics) -> str:
    """What the win rate stands on."""
    of = f"{found.won:,} of {count(found.count, 'trade')}"
    return f"{of}: too few to judge" if found.count < FEW else of


def balance(found: Worth, recorded: Decimal) -> str:
    """What the account's value came from, as a sum, and what of `recorded` that leaves open."""
    totals = dict(found.totals)
    flows = totals.pop(Kind.FLOWS, Decimal(0))
    first = f"{Kind.FLOWS.value} {money(float(flows))}" if flows else "No deposit on record"
    parts = [
        *((kind.value.lower(), usd) for kind, usd in totals.items()),
        ("unrealised profit", found.unrealised),
        ("shares held without a purchase on record", found.unpriced),
    ]
    text = " ".join([first, *(_part(name, usd) for name, usd in parts if usd)])
    off = recorded - found.equity
    whole = f"{text} make {money(float(found.equity))}"
    if abs(off) < _SAME:
        return f"{whole}, the account's value as the broker gave it."
    return (
        f"{whole}; the broker's value is {money(float(recorded))}: "
        f"{money(float(off), signed=True)} are not explained by the lines on record."
    )


def _part(name: str, usd: Decimal) -> str:
    if usd > 0:
        return f"plus {name} {money(float(usd))}"
    return f"less {name.replace('profit', 'loss')} {money(float(-usd))}"


def _moments(times: Iterable[dt.datetime]) -> pd.Series[pd.Timestamp]:
    seconds = np.array([t.timestamp() for t in times]).astype("datetime64[s]")
    return pd.Series(seconds).dt.tz_localize("UTC").dt.tz_convert(NEW_YORK)


def _float(value: Decimal | None) -> float:
    return float("nan") if value is None else float(value)

"""Orders as rows of a table. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pandas as pd

from astra.records import Side
from astra.sessions import NEW_YORK
from astra.shortfall import of_line
from frontend.words import shares, stamp


def order_table(
    orders: pd.DataFrame, lines: pd.DataFrame, fees: Mapping[str, Decimal]
) -> pd.DataFrame:
    """A row for each order, the newest first; within an allocation sales first, by symbol.

    Args:
        orders: id, allocation_id, symbol, side, status, qty, filled_qty, filled_average_price,
            reference_price, broker_id, reason, planned_at of the store's orders.
        lines: allocation_id, symbol, decision_price of their plan lines.
        fees: USD by the broker's order id.

    Returns: id, allocation_id; at (New York); symbol, side, status; qty, filled (shares); price
        (USD a share, NaN without a fill); cost_bp: what the filled shares cost against the
        decision's price, NaN if that is not known; reason.
    """
    known = lines.set_index(["allocation_id", "symbol"])["decision_price"].to_dict()
    frame = orders.assign(
        qty=orders["qty"].astype(float),
        filled=orders["filled_qty"].astype(float),
        price=orders["filled_average_price"].astype(float),
        at=orders["planned_at"].dt.tz_convert(NEW_YORK),
    )
    frame["cost_bp"] = [
        _cost_of_filled(row, known.get((row["allocation_id"], row["symbol"])), fees)
        for row in frame.to_dict("records")
    ]
    frame = frame.sort_values(
        ["planned_at", "allocation_id", "side", "symbol", "id"],
        ascending=[False, False, False, True, True],
        ignore_index=True,
    )
    names = ["id", "allocation_id", "at", "symbol", "side", "status", "qty", "filled", "price"]
    return frame[[*names, "cost_bp", "reason"]]


def _cost_of_filled(
    row: Mapping[Any, Any], decided: float | None, fees: Mapping[str, Decimal]
) -> float:
    filled = float(row["filled"])
    fee = float(fees.get(row["broker_id"], 0)) if row["broker_id"] else 0.0
    cost = of_line(
        Side(row["side"]),
        filled,
        filled,
        fee,
        decision_price=decided,
        price=float(row["reference_price"]),
        average_price=float(row["price"]),
        last_price=None,
    )
    found = cost.bp(cost.total)
    return math.nan if found is None else found


def label(row: Mapping[Any, Any]) -> str:
    """An order of `order_table` in a line: `Fri 30 Oct, 15:00:00 · sell 16.1313 AAPL · filled`."""
    at = row["at"].to_pydatetime()
    return f"{stamp(at)} · {row['side']} {shares(row['qty'])} {row['symbol']} · {row['status']}"

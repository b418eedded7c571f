"""What the rebalance made of a decision: the allocation, its lines and what trading them cost."""

from __future__ import annotations

import datetime as dt
import math

import pandas as pd
import streamlit as st

from astra import shortfall
from astra.outcomes import outcomes
from astra.shortfall import Shortfall
from astra.store import Store
from astra.store.dossiers import Dossier
from frontend.decision import Decision
from frontend.page import Page
from frontend.tables import DOLLARS, SHARES, Column, height, styled
from frontend.words import basis_points, count, hover, new_york, plain

_TRADES = {
    "symbol": Column("Symbol"),
    "side": Column("Side"),
    "ordered": Column("Ordered", SHARES),
    "filled": Column("Filled", SHARES),
    "price": Column("Price", DOLLARS),
    "cost": Column("Cost, bp", "{:+.1f}"),
    "reason": Column("Why not all"),
}
_COST_HELP = (
    "What trading cost against the last price before the decision: delay, execution, fees and what "
    "was not filled; basis points of what was traded. Above 0 is a loss."
)


def dossier(store: Store, allocation: str) -> tuple[Dossier, dict[str, Shortfall]]:
    """All about an allocation, and what each of its orders cost, by symbol and side."""
    found = store.dossier(allocation)
    row = found.allocation
    fees = shortfall.fees_by_order(store.books.activities(row.account, row.received_at))
    costs = {}
    for ended in outcomes(found.lines, found.orders, found.unfinished):
        cost = found.cost(ended, fees)
        if cost is not None:
            costs[f"{ended.symbol} {ended.side}"] = cost
    return found, costs


def show(page: Page, made: Decision) -> Dossier | None:
    """What the rebalance made of it."""
    st.header("What came of it", anchor=False)
    told = page.table(
        "allocations", account=page.account, start=made.as_of,
        columns=("id", "object", "as_of", "received_at"),
    )  # fmt: skip
    came = told[told["as_of"] == pd.Timestamp(made.as_of)]
    if made.file:
        came = came[came["object"] == made.file]
    if came.empty:
        st.caption(
            "No allocation of this decision has reached the rebalance function"
            f"{'' if page.now - made.as_of > dt.timedelta(hours=1) else ' yet'}."
        )
        return None
    newest = str(came.sort_values("received_at")["id"].iloc[-1])
    found, costs = page.reader.read(dossier, newest)
    row = found.allocation
    reason = f": {row.reason.rstrip('.')}" if row.reason else ""
    at = row.finished_at or row.received_at
    st.markdown(plain(f"Allocation {row.status}{reason}."))
    st.caption(f"As of {hover(at, new_york(at))}", unsafe_allow_html=True)
    if costs:
        _cost(shortfall.of_all(costs.values()))
    table = _trades(found, costs)
    if len(table):
        with st.expander(f"{count(len(table), 'line')} of the plan", key="decision_orders"):
            st.dataframe(
                styled(table, _TRADES), hide_index=True, height=height(len(table), 12),
                key="decision_lines", placeholder="",
                alt="Each name of the plan and what was filled",
            )  # fmt: skip
    return found


def _cost(whole: Shortfall) -> None:
    parts = ("delay", "execution", "fees", "opportunity")
    told = [(name.capitalize(), whole.bp(getattr(whole, name))) for name in parts]
    missing = (
        f"{count(whole.left_out, 'line')} not known" if whole.left_out else "of what was traded"
    )
    with st.container(key="metrics_cost"):
        first, *rest = st.columns(5)
        first.metric(
            "Shortfall", basis_points(whole.bp(whole.total), signed=True), missing,
            delta_color="off", delta_arrow="off", help=_COST_HELP,
        )  # fmt: skip
        for column, (name, bp) in zip(rest, told, strict=True):
            column.metric(name, basis_points(bp, signed=True))


def _trades(found: Dossier, costs: dict[str, Shortfall]) -> pd.DataFrame:
    rows = []
    for o in outcomes(found.lines, found.orders, found.unfinished):
        cost = costs.get(f"{o.symbol} {o.side}")
        bp = None if cost is None else cost.bp(cost.total)
        rows.append(
            {
                "symbol": o.symbol,
                "side": o.side.value if o.side else "",
                "ordered": float(o.ordered) if o.side else math.nan,
                "filled": float(o.filled) if o.side else math.nan,
                "price": math.nan if o.average_price is None else o.average_price,
                "cost": math.nan if bp is None else bp,
                "reason": o.reason,
            }
        )
    table = pd.DataFrame(rows, columns=list(_TRADES))
    return table.sort_values(["side", "symbol"], ascending=[False, True], ignore_index=True)

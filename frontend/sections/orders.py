"""Orders, and what happened to one of them from bars to fill."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

import pandas as pd
import streamlit as st

from astra.records import Side
from astra.store import Store
from astra.store.dossiers import Dossier
from frontend import order_story, orders
from frontend.charts.trades import order_chart
from frontend.page import Page
from frontend.tables import DOLLARS, MOMENT, SHARES, Column, height, styled
from frontend.words import count, new_york, plain

_MOST = 500
_LATEST = "latest"  # goes on being the latest when the next one comes
_ORDERS_KEY, _IDS_KEY, _ORDER_KEY = "orders_table", "orders_ids", "order_chosen"
_BP = "{:+.1f}"
_OF_ORDERS = {
    "symbol": Column("Symbol"),
    "side": Column("Side"),
    "status": Column("Status"),
    "filled": Column("Filled", SHARES),
    "qty": Column("Ordered", SHARES),
    "price": Column("Price", DOLLARS),
    "cost_bp": Column("Cost, bp", _BP),
    "at": Column("Planned (New York)", MOMENT),
    "reason": Column("Why"),
}
_ORDER_COLUMNS = (
    "id", "allocation_id", "symbol", "side", "status", "qty", "filled_qty", "filled_average_price",
    "reference_price", "broker_id", "reason", "planned_at",
)  # fmt: skip
_AROUND = dt.timedelta(hours=2)
_STORY_STYLE = """<style>
ol.astra-story { list-style: none; margin: 0; padding: 0; font-size: 0.95rem; }
.astra-story > li {
  border-left: 2px solid rgba(139, 149, 165, 0.45); margin-left: 0.4rem; position: relative;
  padding: 0 0 0.9rem 1.1rem;
}
.astra-story > li:last-child { padding-bottom: 0.2rem; }
.astra-story > li::before {
  content: ""; position: absolute; left: -0.4rem; top: 0.35rem; width: 0.7rem; height: 0.7rem;
  border-radius: 50%; background: #3b7ddd;
}
.astra-story > li.bad::before { background: #cf5a60; }
.astra-story time {
  display: block; opacity: 0.65; font-size: 0.82rem; font-variant-numeric: tabular-nums;
}
.astra-story ul { margin: 0.2rem 0 0; padding-left: 1.1rem; font-size: 0.9rem; }
.astra-story ul li { font-size: inherit; margin: 0 0 0.15rem; }
.astra-story span { overflow-wrap: anywhere; }
</style>"""


def show(page: Page, fees: Mapping[str, Decimal]) -> None:
    """Orders by allocation, symbol and status, and the story of the chosen one.

    Args:
        fees: USD by the broker's order id.
    """
    st.header("Orders", anchor=False)
    index = page.table(
        "orders", account=page.account,
        columns=("id", "allocation_id", "symbol", "status", "planned_at"),
    )  # fmt: skip
    if index.empty:
        st.caption("No order was planned yet: the first allocation in the bucket makes some.")
        return
    wanted = _filtered(page, index)
    if wanted.empty:
        st.caption("No order is like that: choose another allocation, symbol or status.")
        return
    newest = wanted.sort_values("planned_at").tail(_MOST)
    table = _rows(page, fees, newest)
    few = "" if len(newest) == len(wanted) else f"the newest {_MOST} of "
    st.caption(
        f"{few}{count(len(wanted), 'order')}. Cost: delay, execution and fees of the shares "
        "filled, in basis points of the last price before the decision; above 0 is a loss."
    )
    ids = list(table["id"])
    st.dataframe(
        styled(table, _OF_ORDERS), hide_index=True, height=height(len(table), 12),
        on_select=_choose, selection_mode="single-row", key=_ORDERS_KEY, placeholder="",
        alt="Orders, newest first",
    )  # fmt: skip
    st.session_state[_IDS_KEY] = ids
    labels = {row["id"]: orders.label(row) for row in table.to_dict("records")}
    chosen = st.selectbox(
        "Story of the order", ids, format_func=lambda i: labels.get(i, i), key=_ORDER_KEY,
        help="Choose here, or a row above.", persist_state="session",
    )  # fmt: skip
    order = table[table["id"] == chosen].iloc[0]
    _story(page, fees, order["allocation_id"], order["symbol"], Side(order["side"]))


def _choose() -> None:
    """A row of the table was chosen: its order is the one to tell of."""
    rows = st.session_state[_ORDERS_KEY].selection.rows
    ids = st.session_state.get(_IDS_KEY, [])
    if rows and rows[0] < len(ids):
        st.session_state[_ORDER_KEY] = ids[rows[0]]


def _filtered(page: Page, index: pd.DataFrame) -> pd.DataFrame:
    known = page.table(
        "allocations", account=page.account, columns=("id", "as_of", "received_at", "status")
    )
    known = known[known["id"].isin(index["allocation_id"].unique())].sort_values("received_at")
    newest = list(known["id"])[::-1]
    names = {
        row["id"]: f"{new_york(row['received_at'].to_pydatetime())}, {row['status']}"
        for row in known.to_dict("records")
    }
    with st.container(key="filters_orders"):
        first, second, third = st.columns([2, 1, 1])
    names |= {_LATEST: "The latest", "": "All"}
    allocation = first.selectbox(
        "Allocation", ["", _LATEST, *newest], index=1, key="orders_allocation",
        format_func=lambda i: names.get(i, i), persist_state="session",
    )  # fmt: skip
    if allocation == _LATEST:
        allocation = newest[0] if newest else ""
    symbol = second.selectbox(
        "Symbol", ["All", *sorted(index["symbol"].unique())], key="orders_symbol",
        persist_state="session",
    )  # fmt: skip
    status = third.selectbox(
        "Status", ["All", *sorted(index["status"].unique())], key="orders_status",
        persist_state="session",
        format_func=lambda s: str(s).replace("_", " ").capitalize(),
    )  # fmt: skip
    chosen = ((allocation, "allocation_id"), (symbol, "symbol"), (status, "status"))
    for value, column in chosen:
        if value not in ("", "All"):
            index = index[index[column] == value]
    return index


def _rows(page: Page, fees: Mapping[str, Decimal], newest: pd.DataFrame) -> pd.DataFrame:
    symbols = tuple(sorted(newest["symbol"].unique()))
    start = newest["planned_at"].min().to_pydatetime()
    end = newest["planned_at"].max().to_pydatetime() + dt.timedelta(days=1)
    scope = {"account": page.account, "tickers": symbols, "start": start, "end": end}
    rows = page.table("orders", columns=_ORDER_COLUMNS, **scope)
    lines = page.table("plan_lines", columns=("allocation_id", "symbol", "decision_price"), **scope)
    return orders.order_table(rows[rows["id"].isin(newest["id"])], lines, fees)


def dossier(store: Store, allocation: str) -> Dossier:
    return store.dossier(allocation)


def _story(
    page: Page, fees: Mapping[str, Decimal], allocation: str, symbol: str, side: Side
) -> None:
    of = page.reader.read(dossier, allocation)
    came, as_of = of.allocation.received_at, of.allocation.as_of
    scope = {"account": page.account, "start": came, "end": came + dt.timedelta(days=7)}
    lines = page.table("activities", tickers=(symbol,), **scope)
    log = page.table("audit_log", columns=("at", "kind", "subject"), **scope)
    start = as_of or came
    fan = page.table(
        "forecasts", tickers=(symbol,), start=start, end=start + dt.timedelta(seconds=1)
    )
    told = order_story.story(of, symbol, side, lines, log, fan, fees)
    st.subheader(f"{side.value.capitalize()} {symbol}: from bars to fill", anchor=False)
    left, right = st.columns([6, 5], gap="medium")
    with left:
        st.html(_STORY_STYLE + order_story.listed(told.steps))
        st.caption("Times of New York; point at one for UTC.")
    with right:
        ends = max([start, *(f.at for f in told.fills)]) + _AROUND / 2
        bars = page.table(
            "price_history", tickers=(symbol,), columns=("ticker", "ts", "close"),
            start=start - _AROUND, end=ends,
        )  # fmt: skip
        if bars.empty:
            st.caption(f"No bars of {plain(symbol)} are stored around this time.")
        else:
            figure = order_chart(bars, start, told.decision_price, told.fills, side)
            st.plotly_chart(
                figure, key="order_chart", config={"displayModeBar": False},
                alt=f"Closes of {symbol} around the order, its decision and its fills",
            )  # fmt: skip
            st.caption("Dotted: time and price of the decision.")
        _shortfall(told)


def _shortfall(told: order_story.Story) -> None:
    if told.ended is not None and told.ended.reason:
        st.markdown(plain(f"Not all was filled: {told.ended.reason}."))
    if told.cost is None:
        return
    rows = pd.DataFrame(order_story.priced(told.cost), columns=["Cost", "Basis points", "USD"])
    st.dataframe(rows, hide_index=True, key="order_cost", alt="Shortfall of the order in parts")
    st.caption(
        "Against the last price before the decision; above 0 is a loss. Delay: decision to plan. "
        "Execution: plan to fill. Opportunity: what was not filled."
    )

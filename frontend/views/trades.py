"""Trades: what was earned and on how much it stands, closed and open, and each order's story."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pandas as pd
import streamlit as st

from astra import cash
from astra.cash import Kind, Worth
from astra.records import Side
from astra.store import Store
from astra.store.dossiers import Dossier
from frontend import orders, trades
from frontend.charts.trades import order_chart
from frontend.page import Page
from frontend.tables import (
    DOLLARS,
    HELD,
    MOMENT,
    SHARES,
    SIGNED_DOLLARS,
    SIGNED_SHARE,
    Column,
    height,
    styled,
)
from frontend.trades import Record
from frontend.words import UNKNOWN, count, held, money, new_york, percent, plain

_SHOWN, _ORDERS, _NAMED = 10, 500, 5
_TIMES = "New York; the file has UTC."
_CLOSED = {
    "symbol": Column("Symbol"),
    "profit": Column("Profit", SIGNED_DOLLARS, tinted=True),
    "share": Column("Return", SIGNED_SHARE, tinted=True),
    "qty": Column("Shares", SHARES),
    "entry": Column("Bought at", DOLLARS),
    "exit": Column("Sold at", DOLLARS),
    "held": Column("Held", HELD),
    "closed_at": Column("Sold (New York)", MOMENT),
}
_LOTS = {
    "symbol": Column("Symbol"),
    "profit": Column("Unrealised", SIGNED_DOLLARS, tinted=True),
    "share": Column("Return", SIGNED_SHARE, tinted=True),
    "value": Column("Value", DOLLARS),
    "qty": Column("Shares", SHARES),
    "entry": Column("Bought at", DOLLARS),
    "price": Column("Price", DOLLARS),
    "held": Column("Held", HELD),
    "opened_at": Column("Bought (New York)", MOMENT),
}
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


def show(page: Page) -> None:
    found = page.reader.read(recorded, page.account, page.settings.database_url)
    summary = page.table("account_summary", account=page.account, start=page.recorded_at())
    last = summary.sort_values("at").iloc[-1]
    prices = trades.prices_of(str(last["positions"]))
    worth = cash.worth(found.totals, found.lots, prices)
    _results(page, found, worth)
    _closed(page, found)
    _lots(page, found, prices)
    _cash(found, worth, Decimal(str(last["equity"])))
    _all_orders(page, found)


def recorded(store: Store, account: str, url: str) -> Record:
    """What the account's activities come to, counted anew when there are more of them."""
    found: Record = _recorded(store, url, account, store.books.activity_count(account))
    return found


@st.cache_resource(max_entries=3, show_spinner="Matching sales with purchases ...")  # type: ignore[untyped-decorator]
def _recorded(_store: Store, url: str, account: str, lines: int) -> Record:
    return trades.record(_store.books.activities(account))


def _results(page: Page, found: Record, worth: Worth) -> None:
    st.header("Result", anchor=False)
    figures, totals = found.statistics, worth.totals
    income = sum((totals.get(k, Decimal(0)) for k in (Kind.DIVIDENDS, Kind.INTEREST)), Decimal(0))
    factor = figures.profit_factor
    lost = f"{_usd(figures.gains)} was won, {_usd(figures.losses)} lost."
    shown = (
        ("Realised profit", _usd(figures.profit, signed=True), "before fees", None),
        (
            "Unrealised profit", _usd(worth.unrealised, signed=True),
            count(len(found.lots), "open lot"), "At the prices of the last record.",
        ),
        ("Dividends and interest", _usd(income, signed=True), "taxes withheld taken off", None),
        ("Fees", _usd(totals.get(Kind.FEES, Decimal(0)), signed=True), "as booked", None),
        ("Closed trades", f"{figures.count:,}", "first in, first out", _TRADE),
        ("Win rate", percent(figures.win_rate, digits=1), trades.judged(figures), None),
        (
            "Profit factor", f"{factor:.2f}" if factor == factor else UNKNOWN,
            "won over lost" if figures.lost else "nothing lost yet", lost,
        ),
        (
            "Average holding time",
            UNKNOWN if figures.mean_held is None else held(figures.mean_held),
            "of a closed trade", None,
        ),
    )  # fmt: skip
    for row in (shown[:4], shown[4:]):
        with st.container(key=f"metrics_trades_{row[0][0].split()[0].lower()}"):
            for column, (label, value, below, said) in zip(st.columns(4), row, strict=True):
                column.metric(label, value, below, delta_color="off", delta_arrow="off", help=said)
    st.caption(f"Prices of {new_york(page.recorded_at())}.")
    if names := worth.without_price:
        few = ", ".join(names[:_NAMED]) + (" and others" if len(names) > _NAMED else "")
        held_of = f"{count(len(names), 'symbol')} held ({few})"
        st.caption(plain(f"No price is on record of {held_of}: not in the unrealised profit."))


_TRADE = "A trade: shares bought by one order and sold by one order."


def _closed(page: Page, found: Record) -> None:
    st.header("Closed trades", anchor=False)
    table = found.closed
    if table.empty:
        st.caption("Nothing has been sold yet: a trade is closed when its shares are sold.")
        return
    line = "Profit before fees; each sale is matched with the oldest purchase still open."
    if found.unmatched:
        names = ", ".join(found.unmatched)
        line += f" Shares sold without a purchase on record are not counted: {names}."
    st.caption(plain(line))
    choice = st.segmented_control(
        "Trades shown", ["Top ten", "Bottom ten", "All"], default="Top ten", required=True,
        key="trades_shown", persist_state="session", label_visibility="collapsed",
    )  # fmt: skip
    if choice == "All":
        _whole(table)
    else:
        top = table.head(_SHOWN) if choice == "Top ten" else table.tail(_SHOWN).iloc[::-1]
        st.dataframe(
            styled(top, _CLOSED), hide_index=True, height=height(len(top)),
            key=f"closed_{choice}", alt=f"Closed trades: {choice.lower()} by profit",
        )  # fmt: skip
    st.download_button(
        "All closed trades as CSV", lambda: trades.csv(table),
        file_name=f"trades-{page.account}-{page.recorded_at():%Y%m%d}.csv", mime="text/csv",
        key="trades_csv", on_click="ignore", icon=":material/download:",
    )  # fmt: skip


def _whole(table: pd.DataFrame) -> None:
    """Thousands of rows: formats of the browser's, as styles would take seconds."""
    dollars = {"format": "dollar"}
    when = st.column_config.DatetimeColumn(
        "Sold (New York)", format="DD MMM YYYY, HH:mm", timezone="America/New_York", help=_TIMES
    )
    st.dataframe(
        table, hide_index=True, height=height(len(table), 15), lazy=len(table) > 1000,
        column_order=list(_CLOSED), key="closed_all", alt="All closed trades",
        column_config={
            "symbol": "Symbol",
            "qty": st.column_config.NumberColumn("Shares", format="%.4f"),
            "entry": st.column_config.NumberColumn("Bought at", **dollars),
            "exit": st.column_config.NumberColumn("Sold at", **dollars),
            "profit": st.column_config.NumberColumn("Profit", **dollars),
            "share": st.column_config.NumberColumn("Return", format="percent"),
            "held": "Held",
            "closed_at": when,
        },
    )  # fmt: skip


def _lots(page: Page, found: Record, prices: dict[str, Decimal]) -> None:
    st.header("Open lots", anchor=False)
    table = trades.lots_table(found.lots, prices, page.now)
    if table.empty:
        st.caption("No shares are held.")
        return
    line = f"Bought by one order and still held; prices of {new_york(page.recorded_at())}."
    if table["cost"].isna().any():
        line += " Shares without a purchase on record have no cost and no profit."
    st.caption(plain(line))
    st.dataframe(
        styled(table, _LOTS), hide_index=True, height=height(len(table), 12), key="lots",
        alt="Open lots with unrealised profit",
    )  # fmt: skip


def _cash(found: Record, worth: Worth, recorded: Decimal) -> None:
    st.header("Where the value came from", anchor=False)
    st.markdown(plain(f"{trades.balance(worth, recorded)}"))
    months = trades.months_table(found.months)
    if len(months) < 2:
        st.caption("No activity of the account is on record yet: `astra monitor` asks for them.")
        return
    kinds = {name: Column(name, SIGNED_DOLLARS) for name in months.columns if name != "month"}
    st.dataframe(
        styled(months, {"month": Column("Month (New York)"), **kinds}), hide_index=True,
        height=height(len(months), 14), key="cash_months",
        alt="Profit, dividends, interest, fees and deposits by month",
    )  # fmt: skip


def _all_orders(page: Page, found: Record) -> None:
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
    newest = wanted.sort_values("planned_at").tail(_ORDERS)
    table = _order_rows(page, found, newest)
    few = "" if len(newest) == len(wanted) else f"the newest {_ORDERS} of "
    st.caption(
        f"{few}{count(len(wanted), 'order')}. Cost: delay, execution and fees of the shares "
        "filled, in basis points of the last price before the decision; above 0 is a loss."
    )
    ids = list(table["id"])
    st.dataframe(
        styled(table, _OF_ORDERS), hide_index=True, height=height(len(table), 12),
        on_select=_choose, selection_mode="single-row", key=_ORDERS_KEY, alt="Orders, newest first",
    )  # fmt: skip
    st.session_state[_IDS_KEY] = ids
    labels = {row["id"]: orders.label(row) for row in table.to_dict("records")}
    chosen = st.selectbox(
        "Story of the order", ids, format_func=lambda i: labels.get(i, i), key=_ORDER_KEY,
        help="Choose here, or a row above.", persist_state="session",
    )  # fmt: skip
    order = table[table["id"] == chosen].iloc[0]
    _story(page, found, order["allocation_id"], order["symbol"], Side(order["side"]))


_ORDERS_KEY, _IDS_KEY, _ORDER_KEY = "orders_table", "orders_ids", "order_chosen"


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
    allocation = first.selectbox(
        "Allocation", ["", *newest], index=1, format_func=lambda i: names.get(i, "All"),
        key="orders_allocation", persist_state="session",
    )  # fmt: skip
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


def _order_rows(page: Page, found: Record, newest: pd.DataFrame) -> pd.DataFrame:
    symbols = tuple(sorted(newest["symbol"].unique()))
    start = newest["planned_at"].min().to_pydatetime()
    end = newest["planned_at"].max().to_pydatetime() + dt.timedelta(days=1)
    scope = {"account": page.account, "tickers": symbols, "start": start, "end": end}
    rows = page.table("orders", columns=_ORDER_COLUMNS, **scope)
    lines = page.table("plan_lines", columns=("allocation_id", "symbol", "decision_price"), **scope)
    return orders.order_table(rows[rows["id"].isin(newest["id"])], lines, found.fees)


def dossier(store: Store, allocation: str) -> Dossier:
    return store.dossier(allocation)


def _story(page: Page, found: Record, allocation: str, symbol: str, side: Side) -> None:
    of = page.reader.read(dossier, allocation)
    came, as_of = of.allocation.received_at, of.allocation.as_of
    scope = {"account": page.account, "start": came, "end": came + dt.timedelta(days=7)}
    lines = page.table("activities", tickers=(symbol,), **scope)
    log = page.table("audit_log", columns=("at", "kind", "subject"), **scope)
    start = as_of or came
    fan = page.table(
        "forecasts", tickers=(symbol,), start=start, end=start + dt.timedelta(seconds=1)
    )
    told = orders.story(of, symbol, side, lines, log, fan, found.fees)
    st.subheader(f"{side.value.capitalize()} {symbol}: from bars to fill", anchor=False)
    left, right = st.columns([6, 5], gap="medium")
    with left:
        st.html(_STORY_STYLE + orders.listed(told.steps))
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
            st.plotly_chart(figure, key="order_chart", config={"displayModeBar": False})
            st.caption("Dotted: time and price of the decision.")
        _shortfall(told)


def _shortfall(told: orders.Story) -> None:
    if told.ended is not None and told.ended.reason:
        st.markdown(plain(f"Not all was filled: {told.ended.reason}."))
    if told.cost is None:
        return
    rows = pd.DataFrame(orders.priced(told.cost), columns=["Cost", "Basis points", "USD"])
    st.dataframe(rows, hide_index=True, key="order_cost", alt="Shortfall of the order in parts")
    st.caption(
        "Against the last price before the decision; above 0 is a loss. Delay: decision to plan. "
        "Execution: plan to fill. Opportunity: what was not filled."
    )


def _usd(value: Decimal, *, signed: bool = False) -> str:
    return money(float(value), signed=signed)

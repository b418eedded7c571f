"""Trades: what was earned and on how much it stands, closed and open, and each order's story."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import streamlit as st

from astra import cash
from astra.cash import Kind, Worth
from astra.store import Store
from frontend import trades
from frontend.page import Page
from frontend.sections import orders
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

_SHOWN, _NAMED = 10, 5
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
    orders.show(page, found.fees)


def recorded(store: Store, account: str, url: str) -> Record:
    """What the account's activities come to, counted anew when there are more of them or the newest
    are others, as in a database that was made anew."""
    books = store.books
    last = books.last_activity(account)
    newest = repr(() if last is None else books.activities(account, last))
    found: Record = _recorded(store, url, account, books.activity_count(account), newest)
    return found


@st.cache_resource(max_entries=3, show_spinner="Matching sales with purchases ...")  # type: ignore[untyped-decorator]
def _recorded(_store: Store, url: str, account: str, lines: int, newest: str) -> Record:
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
            key=f"closed_{choice}", placeholder="",
            alt=f"Closed trades: {choice.lower()} by profit",
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
        placeholder="", alt="Open lots with unrealised profit",
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
        height=height(len(months), 14), key="cash_months", placeholder="",
        alt="Profit, dividends, interest, fees and deposits by month",
    )  # fmt: skip


def _usd(value: Decimal, *, signed: bool = False) -> str:
    return money(float(value), signed=signed)

"""The league of policies: the one that is traded beside those that are booked only."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd
import streamlit as st

from astra.equity_curve import curve_of
from astra.risk import FLOWS
from astra.store import Query, Store
from frontend import league
from frontend.charts.decisions import interval_chart, league_chart
from frontend.league import League
from frontend.page import Page
from frontend.tables import SHARE, SIGNED_SHARE, Column, height, styled
from frontend.words import new_york, plain

_QUIET = {"displayModeBar": False}
_UNTRADED = ("refused", "superseded")


def show(page: Page) -> None:
    st.header("League of policies", anchor=False)
    found = page.reader.read(gathered, page.account)
    if found is None:
        st.caption(
            "Each decision books what every policy would have done beside the one that is traded. "
            "The league begins with the second decision that the monitor has recorded."
        )
        return
    st.markdown(plain(league.evidence(found)))
    st.caption(plain(f"{league.began(found)} As of the decision of {new_york(found.times[-1])}."))
    st.plotly_chart(league_chart(found), key="league", config=_QUIET, alt=_CURVES)
    if found.compared:
        st.markdown(plain(f"Return over {league.over(found)} less that of {found.against}"))
        st.plotly_chart(interval_chart(found), key="league_intervals", config=_QUIET, alt=_LESS)
    rows = league.table(found)
    columns = {
        "name": Column("Policy"),
        "total": Column("Return", SIGNED_SHARE),
        "less": Column(f"Less {found.against}, {league.over(found)}"),
        "interval": Column("95% interval"),
        "reads": Column("Reads as"),
        "sharpe": Column("Sharpe, a year"),
        "worst": Column("Drawdown", SHARE),
    }
    if not found.compared:
        del columns["interval"]
    st.dataframe(
        styled(rows, columns), hide_index=True, height=height(len(rows)), key="league_table",
        alt="Each policy's return and its difference from the traded one",
    )  # fmt: skip
    st.caption(_HOW)


_CURVES = "Return of each policy's book since they began"
_LESS = "Return of each policy less that of the traded one, with 95% intervals"
_HOW = (
    "Every book trades at the same prices and assumed costs, each from what it holds itself; no "
    "broker filled it. The account is what was really traded, as recorded at or before each "
    "decision: it differs from the book of its policy by what execution cost or missed (and, in a "
    "sandbox of stepped time, by the bar in which its orders were filled). Intervals: paired block "
    "bootstrap, each for itself. Past and simulated returns promise nothing."
)


def gathered(store: Store, account: str) -> League | None:
    """The league of an account, None before the second time of its books."""
    columns = ("policy", "at", "equity")
    books = _frame(store, Query("shadow_books", columns, account=account))
    if books.empty:
        return None
    since, note = _beginning(store, account, books["at"].max().to_pydatetime())
    values = _frame(store, Query("account_summary", ("at", "equity"), account=account))
    times = [at.to_pydatetime() for at in values["at"]]
    worth = list(zip(times, values["equity"].astype(float), strict=True))
    curve = curve_of([], worth, store.equity.flows(account, FLOWS))
    told = _frame(store, Query("allocations", ("as_of", "policy", "status"), account=account))
    own = told[~told["status"].isin(_UNTRADED) & (told["policy"] != "")].dropna(subset="as_of")
    own = own[own["as_of"] >= (books["at"].min() if since is None else pd.Timestamp(since))]
    policies = [str(policy) for policy in own.sort_values("as_of")["policy"]]
    return league.league_of(books, curve, policies, since, note)


def _beginning(store: Store, account: str, last: dt.datetime) -> tuple[dt.datetime | None, str]:
    """When the books of the decision at `last` began, and why; None where it does not say."""
    end = last + dt.timedelta(seconds=1)
    for text in _frame(store, Query("decisions", ("document",), start=last, end=end))["document"]:
        document = json.loads(str(text))
        of = document.get("books_of") or {}
        if of.get("account") == account and document.get("of_settings", True) and of.get("since"):
            return dt.datetime.fromisoformat(of["since"]), str(of.get("note") or "")
    return None, ""


def _frame(store: Store, query: Query) -> pd.DataFrame:
    found: pd.DataFrame = store.dump(query).read_all().to_pandas()
    return found

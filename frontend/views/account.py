"""The account: what it is worth, how that moved beside a benchmark, what it holds."""

from __future__ import annotations

import datetime as dt

from frontend import account
from frontend.account import Curve
from frontend.page import Page
from frontend.sections import performance, positions, worth

BENCHMARK = "SPY"
_REACH = dt.timedelta(days=6)  # back over a long weekend to a close before the account's start


def show(page: Page) -> None:
    curve = account_curve(page)
    made = page.latest_decision()
    latest = page.table("account_summary", account=page.account, start=page.recorded_at())
    held = account.holdings(latest, page.universe(), None if made is None else made.weights)
    worth.show(held, curve, BENCHMARK)
    performance.show(curve, BENCHMARK)
    positions.show(held, decided=made is not None)


def account_curve(page: Page) -> Curve | None:
    """The account's value beside the benchmark's."""
    number = page.account
    summary = page.table("account_summary", account=number, columns=("at", "equity"))
    history = page.table("history", account=number)
    flows = page.table("activities", account=number, columns=("type", "at", "net_amount"))
    start = min([*summary["at"], *history["at"]]).to_pydatetime() - _REACH
    prices = page.table(
        "price_history", tickers=(BENCHMARK,), columns=("ticker", "ts", "close"), start=start
    )
    return account.account_curve(summary, history, flows, prices)

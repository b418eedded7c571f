"""What every section is handed: the reader and what was found out once for all of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pandas as pd

from astra.settings import Settings
from frontend import account, decision
from frontend.account import Curve, Holdings
from frontend.decision import Decision
from frontend.feed import Pulse
from frontend.reader import Reader

BENCHMARK = "SPY"
_REACH = dt.timedelta(days=6)  # back over a long weekend to a close before the account's start


@dataclass(frozen=True, slots=True)
class Page:
    """One account at one version of the store.

    `now` is the market's time; `market` its identity, "" if not known yet.
    """

    reader: Reader
    paper: bool
    now: dt.datetime
    market: str
    holdings: Holdings
    curve: Curve | None
    decision: Decision | None
    universe: pd.DataFrame
    activities: pd.DataFrame

    def name(self, ticker: str) -> str:
        """The company's name, or ""."""
        found = self.universe.loc[self.universe["ticker"] == ticker, "name"]
        return "" if found.empty else str(found.iloc[0])


def gather(reader: Reader, settings: Settings, pulse: Pulse, number: str) -> Page:
    """Read what all sections need for the account `number`, which must have been recorded."""
    summary = reader.table("account_summary", account=number, columns="at,equity")
    latest = summary["at"].max().to_pydatetime()
    record = reader.table("account_summary", account=number, start=latest.isoformat())
    activities = reader.table("activities", account=number)
    history = reader.table("history", account=number)
    universe = reader.table("universe")
    universe = universe[universe["valid_to"].isna()]
    made = latest_decision(reader)
    start = min([*summary["at"], *history["at"]]).to_pydatetime() - _REACH
    prices = reader.table(
        "price_history", ticker=BENCHMARK, columns="ticker,ts,close", start=start.isoformat()
    )
    return Page(
        reader=reader,
        paper=settings.alpaca_paper,
        now=max(pulse.now or latest, latest),
        market=pulse.market or ("" if made is None else made.market),
        holdings=account.holdings(record, universe, None if made is None else made.weights),
        curve=account.account_curve(summary, history, activities, prices),
        decision=made,
        universe=universe,
        activities=activities,
    )


def latest_decision(reader: Reader) -> Decision | None:
    """The decision of the newest as_of, or None before the first."""
    known = reader.table("decisions", columns="object,as_of")
    if known.empty:
        return None
    newest = known["as_of"].max().to_pydatetime()
    documents = reader.table("decisions", columns="as_of,document", start=newest.isoformat())
    return decision.parse(str(documents["document"].iloc[-1]))

"""What the notebook of strategies calls: a backtest, and the portfolio that it decided last."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from astra.cli import backtest, findings, specifying
from astra.cli.notebook import console, display_png
from astra.errors import ConfigError, DataError
from astra.rebalance import BUYING_POWER_HEADROOM, Holdings, Rules, plan_orders
from astra.records import Asset
from astra.settings import Settings
from astra.universe import candidates
from model.panel import Panel
from model.portfolio.covariance import Covariance, ledoit_wolf

if TYPE_CHECKING:
    from model.backtest.spec import Spec


def specify(
    settings: Settings,
    *,
    bars: str,
    first: str,
    last: str,
    policy: str,
    tickers: int,
    seed: int,
) -> Spec:
    """What a backtest of one policy is made from; empty: the simulated market, all of its days.

    Raises:
        ConfigError: no such policy, or a day that is none.
    """
    try:
        days = [dt.date.fromisoformat(day) if day else None for day in (first, last)]
    except ValueError as error:
        raise ConfigError(f"a day is like 2026-03-02, found {first!r} and {last!r}") from error
    file = Path(bars) if bars else None
    asked = specifying.Asked(
        bars=file, first=days[0], last=days[1], policies=(policy,), tickers=tickers, seed=seed
    )
    return specifying.specify(asked, settings)


def tell(found: backtest.Found, settings: Settings, pictures: Sequence[str]) -> None:
    """The table of `astra backtest` and some of its report's pictures; all of the report is left in
    the folder `report`. Nothing is stored."""
    told = findings.study(found, settings, is_kept=False)
    findings.show(told, console())
    for path in findings.write(found, told, Path("report")):
        if path.stem in pictures and path.suffix == ".png":
            display_png(path.read_bytes())


@dataclass(frozen=True, slots=True)
class Held:
    """What a policy decided last.

    Attributes:
        weights: fractions of equity by ticker; `sectors` theirs.
        prices: last closes known at `as_of`, USD.
        risk: of these tickers, from the 20 sessions before.
    """

    as_of: dt.datetime
    weights: Mapping[str, float]
    sectors: Mapping[str, str]
    prices: Mapping[str, float]
    risk: Covariance


def last_decision(found: backtest.Found, panel: Panel) -> Held:
    """What the backtest's first policy decided last, and what was known of these tickers then.

    Args:
        panel: the bars that it was made on.

    Raises:
        DataError: every decision was refused, or the last one holds nothing but cash.
    """
    steps = found.backtest.curves[found.spec.policies[0]].steps
    if not steps or not steps[-1].weights:
        raise DataError("a portfolio of one name or more is required, the last decision has none")
    step = steps[-1]
    known = panel.known_at(step.as_of).only(tuple(step.weights))
    listings = {one.ticker: one.sector for one in candidates(found.spec.candidates)}
    return Held(
        as_of=step.as_of,
        weights=step.weights,
        sectors={ticker: listings[ticker] for ticker in step.weights},
        prices=dict(zip(known.tickers, known.last_close().tolist(), strict=True)),
        risk=ledoit_wolf(known),
    )


def purchase(
    weights: Mapping[str, float], prices: Mapping[str, float], amount: float
) -> pd.DataFrame:
    """The whole shares of `weights` that an account of `amount` USD in cash buys.

    Planned as any rebalance: rounded down, and 1 % stays cash at least.

    Returns: a row for each name of `weights`, the dearest first, then one of cash: `shares`,
        `price` and `value` in USD, `share` and `wanted` as fractions of the amount.
    """
    holdings = Holdings(
        positions=(),
        prices=prices,
        assets={name: Asset(name, name, tradable=True, fractionable=False) for name in weights},
        equity=amount,
        cash=amount,
        buying_power=amount * (1 + BUYING_POWER_HEADROOM),
    )
    plan = plan_orders(weights, holdings, Rules(0.0, 0.0))
    bought = {order.symbol: int(order.qty) for order in plan.buys}
    rows = [(n, bought.get(n, 0), prices.get(n, np.nan), wanted) for n, wanted in weights.items()]
    table = pd.DataFrame(rows, columns=["name", "shares", "price", "wanted"]).set_index("name")
    table.insert(2, "value", (table["shares"] * table["price"]).fillna(0.0))
    cash = amount - float(table["value"].sum())
    table = table.sort_values("value", ascending=False, kind="stable")
    table.loc["cash"] = [0, np.nan, cash, 1 - sum(weights.values())]
    table.insert(3, "share", table["value"] / amount)
    return table.astype({"shares": int})

"""`astra backtest`: finds the bars, walks the policies over them, shows the figures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from astra.cli.evaluating import SIMULATED_DAYS
from astra.errors import DataError
from astra.settings import Settings
from astra.universe import sp500

if TYPE_CHECKING:
    from model.backtest.records import Backtest
    from model.panel import Panel

CAPITAL = 100_000.0  # USD, if the settings name none
WARM_UP_SESSIONS = 20  # of history before the first decision, where no day is named
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was asked for; no bars = the simulated market, no policies = all."""

    bars: Path | None
    first: dt.date | None
    last: dt.date | None
    policies: tuple[str, ...]
    tickers: int
    edge: float
    seed: int


@dataclass(frozen=True, slots=True)
class Found:
    """A backtest and the market it was made on."""

    market: str
    planted_edge: float | None
    candidates: tuple[str, ...]
    not_members: int
    backtest: Backtest

    def as_json(self) -> dict[str, Any]:
        return {
            "market": self.market,
            "planted_edge": self.planted_edge,
            "tickers": len(self.candidates),
            **self.backtest.as_json(),
        }


def run(asked: Asked, settings: Settings) -> Found:
    """Walk the asked policies over the asked days.

    Raises:
        ConfigError: no such policy.
        DataError: the bars hold no members of the index or no decision times in those days.
    """
    from model.backtest.fills import Costs
    from model.backtest.walk import walk
    from model.decision import Terms
    from model.forecast.registry import open_registry
    from model.forecast.serving import Forecaster
    from model.own_policy import find
    from model.panel import build
    from model.portfolio.policies import POLICIES

    policies = {name: find(name) for name in asked.policies or tuple(POLICIES)}
    forecaster = Forecaster(open_registry(settings).load())
    frame, market = _bars(asked)
    panel, members = build(frame), sp500()
    candidates = tuple(t for t in members if t in panel.tickers)[: asked.tickers]
    if len(candidates) < 2:
        raise DataError(
            f"at least 2 members of the S&P 500 are required, found {len(candidates)} among the "
            f"{len(panel.tickers)} tickers of {asked.bars or market}"
        )
    backtest = walk(
        panel,
        candidates,
        {t: members[t].sector for t in candidates},
        Terms.from_settings(settings),
        policies,
        forecaster,
        _times(panel, asked),
        capital=settings.capital or CAPITAL,
        costs=Costs(settings.half_spread_bp, settings.fee_bp, settings.drift_band),
    )
    outside = sum(t not in members for t in panel.tickers)
    return Found(market, None if asked.bars else asked.edge, candidates, outside, backtest)


def show(found: Found, console: Console) -> None:
    """Print what the data is, a row for each policy beside SPY, and what was refused."""
    result = found.backtest
    for line in _headlines(found):
        console.print(line, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "return", "Sharpe", "deepest fall", "turnover", "cost bp",
                 "trades/holds"):  # fmt: skip
        table.add_column(name, justify="left" if name == "policy" else "right")
    for policy, curve in result.curves.items():
        p = result.performance(policy)
        table.add_row(
            policy,
            *_figures(p.total_return, p.sharpe, p.sharpe_error, p.max_drawdown),
            f"{curve.turnover:.1f}",
            f"{curve.cost_bp:.1f}",
            f"{curve.trades}/{curve.holds}",
        )
    if spy := result.benchmark_performance():
        table.add_row(
            "SPY, held",
            *_figures(spy.total_return, spy.sharpe, spy.sharpe_error, spy.max_drawdown),
        )
    console.print(table)
    for line in _notes(result):
        console.print(line, soft_wrap=True, style="dim")


def _headlines(found: Found) -> Sequence[str]:
    result, edge = found.backtest, found.planted_edge
    measured = f"IC {result.skill_ic:.3f} (t {result.skill_t:.1f})"
    first, last = result.times[0], result.times[-1]
    kind = (
        f"Recorded bars ({found.market}), forecast skill measured: {measured}."
        if edge is None
        else f"SIMULATED, edge planted: IC {edge:.3f}, measured: {measured} ({found.market})."
    )
    return (
        kind,
        f"{len(result.times) - 1} decisions from {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
        f"{len(found.candidates)} candidates: today's members of the S&P 500, whoever has left it "
        f"since is missing; {found.not_members} other tickers are data only.",
    )


def _notes(result: Backtest) -> Sequence[str]:
    notes = [
        "Sharpe: a year's, from hourly steps, +- its standard error. Turnover: buys and sales in "
        "units of equity. Each book starts in cash, at the first open after a decision.",
        "Past or simulated results promise nothing.",
    ]
    if result.refusals:
        first = result.refusals[0]
        notes.insert(
            0,
            f"{len(result.refusals)} decisions were refused and every book held, the first at "
            f"{first.as_of:%Y-%m-%d %H:%M} UTC: {first.reason}",
        )
    return notes


def _figures(total: float, sharpe: float, error: float, fall: float) -> tuple[str, str, str]:
    return f"{total:+.2%}", f"{sharpe:.1f} +- {error:.1f}", f"{fall:.2%}"


def _bars(asked: Asked) -> tuple[pd.DataFrame, str]:
    """The frame, benchmarks with it, and the market's identity."""
    from astra.bars import read_parquet
    from sandbox.market import default_tickers, replay_market, simulated_bars

    if asked.bars:
        return read_parquet(str(asked.bars)), replay_market(asked.bars, None).identity
    first, last = SIMULATED_DAYS["5m"]
    names = default_tickers(asked.tickers)
    frame = simulated_bars(names, seed=asked.seed, edge=asked.edge, first=first, last=last)
    return frame, f"simulated:{asked.seed}"


def _times(panel: Panel, asked: Asked) -> tuple[dt.datetime, ...]:
    """Decision times of the asked days, with their hour inside the panel."""
    from model.backtest.walk import HOUR

    warm = panel.sessions[min(WARM_UP_SESSIONS, len(panel.sessions) - 1)]
    start, end = warm.opens_at, panel.sessions[-1].closes_at
    if asked.first:
        start = max(panel.sessions[0].opens_at, _midnight(asked.first))
    if asked.last:
        end = min(end, _midnight(asked.last) + DAY)
    times = tuple(t for s in panel.sessions for t in s.decision_times() if start <= t <= end - HOUR)
    if not times:
        raise DataError(
            f"a backtest needs decision times, found none from {start:%Y-%m-%d} to {end:%Y-%m-%d}: "
            f"the bars reach from {panel.sessions[0].date} to {panel.sessions[-1].date}"
        )
    return times


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)

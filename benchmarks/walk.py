"""A backtest's walk: a decision among 500 simulated names, and a month of recorded bars.

One policy with its three books of costs, the network kept. What a walk does once, such as the
record of the forecasts before its first decision, is taken out of the figure of a decision: the
difference of a longer walk and a shorter one is divided by the decisions that it has more.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from astra.cli import backtest, specifying
from astra.errors import AstraError
from astra.settings import Settings
from benchmarks.results import Row
from benchmarks.timing import Timed, timed
from model.backtest.fills import Costs
from model.backtest.records import Backtest
from model.backtest.walk import walk
from model.decision import Terms
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.panel import build
from model.portfolio.policies import POLICIES
from sandbox.market import default_tickers
from sandbox.markets import simulated_bars

FIRST, LAST = dt.date(2026, 3, 2), dt.date(2026, 6, 5)
YEAR = 1512  # decisions
RECORDED = "us_5m_2025_81tickers.parquet"
MONTH = dt.date(2025, 11, 3), dt.date(2025, 11, 30)


def measure(names: int = 500, sessions: tuple[int, int] = (1, 5)) -> list[Row]:
    """Wall seconds; `sessions` are the lengths of the shorter and the longer walk."""
    decision = _a_decision(names, sessions)
    return [
        Row(
            "portfolio", f"backtest: a decision among {names} names, one policy, three books",
            decision, "s", 0.4, "lower", f"a year of {YEAR:,}: {YEAR * decision / 60:.1f} min",
        ),
        _a_month(),
    ]  # fmt: skip


def _a_decision(names: int, sessions: tuple[int, int]) -> float:
    tickers = default_tickers(names)
    panel = build(simulated_bars(tickers, seed=1, edge=0.04, first=FIRST, last=LAST))
    settings, forecaster = _defaults(), Forecaster(shipped().load())
    times = [t for s in panel.sessions for t in s.decision_times()]

    def walked(count: int) -> Timed:
        def work() -> Backtest:
            return walk(
                panel,
                tickers[:names],
                dict.fromkeys(tickers, ""),
                Terms.from_settings(settings),
                {"measured": POLICIES["measured"]},
                forecaster,
                times[-count:],
                capital=1e5,
                costs=Costs(settings.half_spread_bp, settings.fee_bp, settings.drift_band),
            )

        found = timed(work)
        if len(found.answer.skill) != count:
            raise AstraError(f"{count} decisions were to be made, {found.answer.refusals} not")
        return found

    walked(1)  # what is loaded or compiled at first use
    short, long = (6 * s for s in sessions)
    return (walked(long).seconds - walked(short).seconds) / (long - short)


def _defaults() -> Settings:
    """Whatever a .env file says."""
    return Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings 2 has it


def _a_month() -> Row:
    case = "backtest: a month of 81 recorded tickers, one policy, reading included"
    folder = os.environ.get("ASTRA_TEST_DATA", "")
    file = Path(folder) / RECORDED
    if not folder or not file.is_file():
        note = f"not measured: ASTRA_TEST_DATA names no folder with {RECORDED}"
        return Row("portfolio", case, None, "s", 20, "lower", note)
    settings = _defaults()
    asked = specifying.Asked(
        bars=file, first=MONTH[0], last=MONTH[1], policies=("measured",), tickers=503
    )
    spec = specifying.specify(asked, settings)
    found = timed(lambda: backtest.run(spec, settings))
    answer = found.answer
    note = f"{len(answer.backtest.skill)} decisions, {len(answer.candidates)} candidates"
    return Row("portfolio", case, found.seconds, "s", 20, "lower", note)

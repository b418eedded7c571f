"""The page Backtests on a seeded register: figures worked out apart, only equal hours together."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from seeded_books import seed_store
from shown_page import Runner, said

from astra.performance import moments, returns, summarize
from astra.sessions import decision_times_between
from astra.store import Store, open_store
from astra.store.backtests import Course, Trial, digest
from frontend import backtests
from frontend.charts.backtests import comparison_chart

START = dt.datetime(2026, 10, 5, tzinfo=dt.UTC)
SOURCE = {"source": {"kind": "simulated", "edge": 0.04}}


def course(
    policy: str, seed: int, *, days: int = 20, market: str = "simulated:1", edge: float = 0.04
) -> Course:
    """A random walk over the decision times of so many days."""
    times = tuple(decision_times_between(START, START + dt.timedelta(days=days)))
    steps = np.random.default_rng(seed).normal(2e-4, 3e-3, len(times) - 1)
    equity = 100_000 * np.cumprod(np.concatenate([[1.0], 1 + steps]))
    cents = tuple(round(100 * value) for value in equity.tolist())
    p, m = summarize(times, equity), moments(equity)
    source = {"source": {**SOURCE["source"], "edge": edge}}
    trial = Trial(
        id=f"{seed:012x}", made_at=START + dt.timedelta(days=30, minutes=seed), market=market,
        data_hash="d" * 16, hours=digest([int(t.timestamp()) for t in times]),
        outcome=digest(cents), first_at=times[0], last_at=times[-1], frequency="1h", policy=policy,
        parameters=json.dumps(source), total_return=p.total_return, return_0x=p.total_return + 0.01,
        return_2x=p.total_return - 0.01, max_drawdown=p.max_drawdown, turnover=3.25, cost_bp=7.5,
        winning_trades=4, losing_trades=3, sharpe=p.sharpe, sharpe_error=p.sharpe_error,
        steps=m.steps, step_sharpe=m.step_sharpe, skew=m.skew, kurtosis=m.kurtosis,
        model_id="nbeats-1", code_version="0.1.0+abcdef01",
    )  # fmt: skip
    return Course(trial, times, cents)


MADE = [course(policy, i) for i, policy in enumerate(("measured", "equal", "original"), start=1)]
OTHER_HOURS = course("short", 8, days=3)
OTHER_EDGE = course("lucky", 9, edge=0.2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = open_store(f"sqlite:///{tmp_path}/astra.db")
    seed_store(found, days=1)
    yield found
    found.close()


@pytest.fixture
def url(store: Store, tmp_path: Path) -> str:
    store.backtests.keep([*MADE, OTHER_HOURS, OTHER_EDGE])
    return f"sqlite:///{tmp_path}/astra.db"


def by_hand(trial: Trial, ratios: list[float]) -> float:
    """The deflated Sharpe ratio, by its formula."""
    n, g = len(ratios), 0.5772156649
    best = float(np.std(ratios, ddof=1)) * (
        (1 - g) * norm.ppf(1 - 1 / n) + g * norm.ppf(1 - 1 / (n * math.e))
    )
    wide = math.sqrt(
        1 - trial.skew * trial.step_sharpe + (trial.kurtosis - 1) / 4 * trial.step_sharpe**2
    )
    return float(norm.cdf((trial.step_sharpe - best) * math.sqrt(trial.steps - 1) / wide))


def test_a_stored_backtest_is_listed_with_its_figures_and_deflated_by_its_rivals(
    page: Runner, url: str
) -> None:
    table = page(url, "Backtests").dataframe[0].value.set_index("Policy")
    trial = MADE[0].trial
    row = table.loc["measured"]
    assert row["Return"] == pytest.approx(MADE[0].equity[-1] / MADE[0].equity[0] - 1, abs=1e-7)
    assert row["Trials"] == 3  # neither other hours nor another market count
    chance = by_hand(trial, [one.trial.step_sharpe for one in MADE])
    assert row["Deflated"] == f"{chance:.0%}"
    steps = returns(np.array(MADE[0].equity, np.float64))
    year = steps.mean() / steps.std(ddof=1) * math.sqrt(252 * 6)
    assert float(row["Sharpe, a year"].split(" ± ")[0]) == pytest.approx(year, abs=0.06)
    assert row["Market"] == "SIMULATED, seed 1, edge 0.04"


def test_a_figure_that_stands_on_too_little_is_not_told(page: Runner, url: str) -> None:
    row = page(url, "Backtests").dataframe[0].value.set_index("Policy").loc["short"]
    assert OTHER_HOURS.trial.steps < 20
    assert (row["Sharpe, a year"], row["Deflated"]) == ("n/a", "n/a")


def test_only_equal_hours_of_one_market_stand_beside_each_other(page: Runner, url: str) -> None:
    app = page(url, "Backtests")
    names = app.multiselect(key="backtests_chosen").options
    app.multiselect(key="backtests_chosen").set_value(
        [next(n for n in names if n.startswith(p)) for p in ("measured", "short", "lucky", "equal")]
    ).run()
    text = said(app)
    assert "short · 000000000008 is not drawn: it is over other hours (5 Oct 2026 to" in text
    assert (
        "lucky · 000000000009 is not drawn: it is of another market (SIMULATED, seed 1, edge 0.2"
        in text
    )
    assert "measured · 000000000001 is not drawn" not in text
    assert "equal · 000000000002 is not drawn" not in text


def test_the_comparison_draws_each_return_since_the_same_beginning() -> None:
    kept, _ = backtests.beside(backtests.judged([c.trial for c in MADE]))
    equity = {c.trial.policy: c.equity for c in MADE}
    figure = comparison_chart(MADE[0].times, {k.trial.policy: equity[k.trial.policy] for k in kept})
    assert [trace.name for trace in figure.data] == ["measured", "equal", "original"]
    for trace in figure.data:
        own = equity[trace.name]
        assert trace.y[0] == 0
        assert trace.y[-1] == pytest.approx(own[-1] / own[0] - 1)
    assert len({(t.line.color, t.line.dash) for t in figure.data}) == 3


def test_a_choice_of_policy_leaves_the_others_out_and_can_come_to_nothing(
    page: Runner, url: str
) -> None:
    app = page(url, "Backtests")
    app.selectbox(key="backtests_policy").select("equal").run()
    assert app.dataframe[0].value["Policy"].tolist() == ["equal"]
    app.selectbox(key="backtests_market").select("SIMULATED, seed 1, edge 0.2").run()
    assert "No stored backtest is of all these" in said(app)


def test_a_backtest_is_made_again_by_a_command_to_copy(page: Runner, url: str) -> None:
    app = page(url, "Backtests")
    again = app.selectbox(key="backtests_again")
    again.select(next(n for n in again.options if n.startswith("original"))).run()
    assert app.code[0].value == f"astra backtests rerun {MADE[2].trial.id}"
    assert "by the code 0.1.0+abcdef01" in said(app)


def test_without_a_backtest_the_page_says_how_to_make_one(
    page: Runner, store: Store, tmp_path: Path
) -> None:
    assert "`astra backtest` makes one" in said(page(f"sqlite:///{tmp_path}/astra.db", "Backtests"))


def test_a_new_backtest_is_listed_at_once_and_the_choice_stays(
    page: Runner, url: str, store: Store
) -> None:
    app = page(url, "Backtests")
    name = next(n for n in app.multiselect(key="backtests_chosen").options if "equal" in n)
    app.multiselect(key="backtests_chosen").set_value([name]).run()
    another = replace(course("newer", 12), trial=course("newer", 12).trial)
    store.backtests.keep([another])
    app.run()
    assert "newer" in app.dataframe[0].value["Policy"].tolist()
    assert app.multiselect(key="backtests_chosen").value == [name]


def test_recorded_bars_are_told_from_simulated_ones() -> None:
    names = {
        backtests.judged([replace(MADE[0].trial, market=market)])[0].market
        for market in ("replay:9f", "real")
    }
    assert names == {"recorded bars", "real market"}

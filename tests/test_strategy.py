"""What the notebook of strategies calls: whole shares, what was decided last, pictures of it."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.cli import backtest, portfolio_charts, strategy
from astra.errors import ConfigError, DataError
from astra.settings import Settings
from model.portfolio.covariance import Covariance

SECTORS = {"A": "Energy", "B": "Energy", "C": "Utilities"}
RISK = Covariance(
    tickers=("A", "B", "C"),
    per_bar=np.array([[4.0, 3.0, -1.0], [3.0, 9.0, 0.0], [-1.0, 0.0, 1.0]]),
    diagonal=np.full(3, 0.5),
    night_bars=np.ones(3),
    shrinkage=0.1,
    rows=100,
    missing=0.0,
)


def test_whole_shares_are_rounded_down_and_what_is_too_dear_stays_cash() -> None:
    weights = {"A": 0.5, "B": 0.3, "C": 0.1}
    found = strategy.purchase(weights, {"A": 333.0, "B": 10.0, "C": 1200.0}, 10_000)
    assert list(found.index) == ["A", "B", "C", "cash"]
    assert found["shares"].to_list() == [15, 300, 0, 0]
    assert found["value"].to_list() == [4995.0, 3000.0, 0.0, 2005.0]
    assert found["share"].to_list() == pytest.approx([0.4995, 0.3, 0.0, 0.2005])
    assert found["wanted"].to_list() == pytest.approx([0.5, 0.3, 0.1, 0.1])


def test_a_name_without_a_price_is_left_out() -> None:
    found = strategy.purchase({"A": 0.5, "B": 0.4}, {"A": 100.0}, 1000)
    assert found.loc["B", "shares"] == 0
    assert found.loc["cash", "value"] == 500.0


@given(
    st.dictionaries(
        st.sampled_from("ABCDEFGH"),
        st.tuples(st.floats(0.001, 1.0), st.floats(0.5, 5000.0)),
        min_size=1,
    ),
    st.floats(100.0, 1e6),
)
def test_no_more_is_spent_than_wanted_and_a_hundredth_stays_cash(
    names: dict[str, tuple[float, float]], amount: float
) -> None:
    total = max(1.0, sum(weight for weight, _ in names.values()))
    weights = {name: weight / total for name, (weight, _) in names.items()}
    found = strategy.purchase(weights, {name: price for name, (_, price) in names.items()}, amount)
    assert found["value"].sum() == pytest.approx(amount)
    bought = found.drop("cash")
    assert (bought["share"] <= bought["wanted"] + 1e-9).all()
    assert found.loc["cash", "value"] >= 0.01 * amount - 1e-6


def asked(**named: str) -> backtest.Found:
    """A day of the simulated market by one policy."""
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    chosen = {"bars": "", "first": "2026-04-06", "last": "2026-04-06", "policy": "equal"} | named
    spec = strategy.specify(settings, tickers=5, seed=1, **chosen)
    return backtest.run(spec, settings)


def test_the_last_decision_is_told_by_what_was_known_then() -> None:
    found = asked()
    panel, _ = backtest.bars_of(found.spec.source, Settings(_env_file=None))  # type: ignore[call-arg]
    held = strategy.last_decision(found, panel)
    step = found.backtest.curves["equal"].steps[-1]
    assert (held.as_of, held.weights) == (step.as_of, step.weights)
    assert held.as_of == dt.datetime(2026, 4, 6, 19, tzinfo=dt.UTC)
    assert set(held.sectors) == set(held.prices) == set(held.risk.tickers) == set(step.weights)
    row = panel.ts.tolist().index(int(held.as_of.timestamp()) - 300)
    name = panel.tickers[0]
    assert held.prices[name] == panel.close[row, 0]
    emptied = dataclasses.replace(
        found, backtest=dataclasses.replace(found.backtest, curves={"equal": no_steps(found)})
    )
    with pytest.raises(DataError, match="the last decision has none"):
        strategy.last_decision(emptied, panel)


def no_steps(found: backtest.Found) -> object:
    return dataclasses.replace(found.backtest.curves["equal"], steps=())


def test_a_day_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="a day is like 2026-03-02, found 'May'"):
        asked(first="May")


# --- pictures


def test_a_pie_has_a_slice_for_each_name_and_the_cash_and_a_colour_for_each_sector() -> None:
    figure = portfolio_charts.allocation({"A": 0.3, "B": 0.5, "C": 0.1}, SECTORS, "Held")
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.texts]
    assert [label for label in labels if label] == ["B 50.0%", "A 30.0%", "C 10.0%", "cash 10.0%",
                                                    "3 names"]  # fmt: skip
    first, second, third, cash = (wedge.get_facecolor() for wedge in axes.patches)
    assert first == second
    assert len({first, third, cash}) == 3
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["Energy  80.0%", "Utilities  10.0%", "cash  10.0%"]


@pytest.mark.parametrize("weights", [{"A": 0.7, "B": 0.7}, {"A": -0.1}])
def test_a_pie_of_more_than_all_or_less_than_nothing_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(DataError, match="a pie needs weights of 0 or more, 1 together at most"):
        portfolio_charts.allocation(weights, SECTORS, "Held")


def test_correlations_stand_by_sector_in_percent() -> None:
    weights = {"A": 0.2, "B": 0.5, "C": 0.1}
    figure = portfolio_charts.correlation(weights, SECTORS, RISK, "Together")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["B", "A", "C"]
    said = [text.get_text() for text in axes.texts]
    assert said == ["50", "0", "50", "\N{MINUS SIGN}50", "0", "\N{MINUS SIGN}50"]


@pytest.mark.parametrize("weights", [{"A": 0.2}, {"A": 0.2, "Z": 0.1}])
def test_a_correlation_needs_two_known_names(weights: dict[str, float]) -> None:
    with pytest.raises(DataError, match="two names or more"):
        portfolio_charts.correlation(weights, SECTORS, RISK, "Together")

"""A walk over the past: blind to the future, equal to the service's decisions, paid to the cent."""

import dataclasses
import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from astra.bars import to_arrow
from astra.cli import backtest, findings
from astra.errors import DataError
from astra.ledger import Book
from astra.sessions import decision_times_between
from astra.settings import Settings
from astra.universe import sp500
from model.backtest.fills import Costs, Tape, held_weights, move
from model.backtest.records import Backtest
from model.backtest.shadow import shadow_equity
from model.backtest.walk import HOUR, check_times, since, walk, window
from model.decision import Terms, choose
from model.forecast.registry import shipped
from model.forecast.scorebook import Scorebook, empty
from model.forecast.serving import Forecaster
from model.outlook import (
    HISTORY,
    Outlook,
    assess,
    foresee,
    missing_scores,
    own_scores,
    past_scores,
    scorable,
)  # fmt: skip
from model.panel import Panel, build
from model.portfolio.limits import Limits
from model.portfolio.policies import POLICIES
from sandbox.market import simulated_bars

STOCKS = ("AAPL", "AMZN", "HD", "JPM", "KO", "META", "MSFT", "NVDA", "OXY", "PFE", "UNH", "XOM")
SECTORS = {ticker: "ABC"[i % 3] for i, ticker in enumerate(STOCKS)}
TERMS = Terms("measured", Limits(6, 0.25, 0.5, 0.02), 0.05, 2.3, 20.0, 6.0, 0.001)
COSTS = Costs(2.0, 0.3, 0.001)
FREE = Costs(0.0, 0.0)
T1 = dt.datetime(2026, 5, 12, 14, 0, tzinfo=dt.UTC)
T2 = dt.datetime(2026, 5, 12, 15, 0, tzinfo=dt.UTC)
D = Decimal


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster(shipped().load())


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    first, last = dt.date(2026, 3, 2), dt.date(2026, 5, 14)
    return simulated_bars((*STOCKS, "SPY"), seed=3, edge=0.1, first=first, last=last)


@pytest.fixture(scope="module")
def panel(bars: pd.DataFrame) -> Panel:
    return build(bars)


def times_of(first: str, last: str) -> tuple[dt.datetime, ...]:
    start, end = (dt.datetime.fromisoformat(f"{day}T00:00+00:00") for day in (first, last))
    return decision_times_between(start, end)


def walked(panel: Panel, forecaster: Forecaster, times: tuple[dt.datetime, ...]) -> Backtest:
    return walk(
        panel, STOCKS, SECTORS, TERMS, POLICIES, forecaster, times, capital=100_000.0, costs=COSTS
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(panel: Panel, forecaster: Forecaster) -> Backtest:
    return walked(panel, forecaster, times_of("2026-05-12", "2026-05-14"))


def outlook_of(panel: Panel, t: dt.datetime, forecaster: Forecaster) -> Outlook:
    """As the service has it whose record is empty."""
    sight = foresee(t, panel, STOCKS, forecaster)
    times = scorable(sight.known, sight.spec, t)
    return assess(sight, past_scores(sight.known, STOCKS, forecaster, times))


def priced(prices: dict[str, dict[str, tuple[float, float]]]) -> pd.DataFrame:
    """Bars from (open, close) by ticker and UTC clock of 2026-05-12."""
    rows = []
    for ticker, at in prices.items():
        for clock, (opening, close) in at.items():
            ts = int(dt.datetime.fromisoformat(f"2026-05-12T{clock}+00:00").timestamp())
            rows.append((ticker, ts, opening, max(opening, close), min(opening, close), close, 1))
    return pd.DataFrame(rows, columns=["ticker", "ts", "open", "high", "low", "close", "volume"])


TWO_NAMES = {
    "A": {"13:55": (99.0, 100.0), "14:05": (100.0, 101.0), "14:55": (109.0, 110.0),
          "15:05": (110.0, 110.0), "15:55": (112.0, 121.0)},
    "B": {"13:55": (50.0, 50.0), "14:05": (50.0, 50.0), "14:55": (40.0, 40.0),
          "15:05": (40.0, 40.0), "15:55": (40.0, 44.0)},
}  # fmt: skip
TWO_DECISIONS = (
    {"as_of": T1.isoformat(), "targets": {"mine": {"A": 0.6, "B": 0.3}, "cash": {}}},
    {"as_of": T2.isoformat(), "targets": {"mine": {"A": 0.2, "B": 0.5}, "cash": {}}},
)


def test_a_book_by_hand() -> None:
    # 14:05: 6 A at 100 and 6 B at 50 for 900, half a spread of 20 bp on top: 1.80.
    # 15:05: worth 98.20 + 660 + 240 = 998.20. Wanted 199.64 of A, 499.10 of B: 460.36 of A sold
    # for 0.998 * 0.999 of it, 259.10 of B bought at 0.2 % more.
    cash = D("98.20") + D("460.36") * D("0.998") * D("0.999") - D("259.10") * D("1.002")
    worth = cash + D("199.64") / 110 * 121 + D("499.10") / 40 * 44
    found = shadow_equity(TWO_DECISIONS, priced(TWO_NAMES), 1000.0, Costs(20.0, 10.0))
    assert found == {"mine": float(round(worth, 2)), "cash": 1000.0}
    assert found["mine"] == 1066.18


def test_what_was_traded_and_paid_is_told() -> None:
    tape = Tape(build(priced(TWO_NAMES)))
    start = Book(D(1000), {})
    moved = move(start, {"A": 0.6, "B": 0.3}, tape.opens(T1), tape.marks(T1), Costs(20.0, 10.0))
    assert moved.book == Book(D("98.2"), {"A": D(6), "B": D(6)})
    assert (moved.traded, moved.cost) == pytest.approx((900.0, 1.8))


def test_without_decisions_there_are_no_shadow_books() -> None:
    assert shadow_equity((), priced(TWO_NAMES), 1000.0, FREE) == {}


def test_a_name_without_a_price_keeps_its_shares_and_its_room() -> None:
    book, marks = Book(D(500), {"A": D(1), "GONE": D(4)}), {"A": 100.0, "B": 10.0, "GONE": 100.0}
    moved = move(book, {"A": 0.5, "B": 0.4}, {"A": 100.0, "B": 10.0}, marks, FREE)
    weights = held_weights(moved.book, marks)
    assert moved.book.shares["GONE"] == D(4)
    assert weights["GONE"] == pytest.approx(0.4)
    # 0.9 may be invested, 0.4 of it is stuck: 0.5 is left for names that asked for 0.9.
    assert weights["A"] == pytest.approx(0.5 * 5 / 9) and weights["B"] == pytest.approx(0.5 * 4 / 9)


def test_a_missing_bar_of_one_name_makes_no_trade_in_the_others() -> None:
    book = Book(D(20), {"A": D(5), "B": D(48)})
    marks = {"A": 100.0, "B": 10.0}
    held = held_weights(book, marks)
    moved = move(book, held | {"C": 0.0}, {"A": 100.0, "C": 5.0}, marks, COSTS)
    assert moved.book == book and moved.traded == 0.0


def test_a_small_drift_is_left_alone_and_a_name_that_is_not_wanted_is_sold_out() -> None:
    book, prices = Book(D(0), {"A": D(999), "B": D(1)}), {"A": 1.0, "B": 1.0}
    moved = move(book, {"A": 0.9985}, prices, prices, COSTS)
    assert moved.book.shares == {"A": D(999)}
    assert moved.cost == pytest.approx(1.0 * (2.3e-4 - 2e-4 * 3e-5))


def test_changed_bars_after_a_decision_change_no_decision_up_to_it(
    panel: Panel, forecaster: Forecaster, result: Backtest
) -> None:
    times = times_of("2026-05-12", "2026-05-14")
    t = times[7]
    future = panel.ts + 300 > int(t.timestamp())
    noise = np.exp(np.random.default_rng(5).normal(0.0, 0.02, panel.close.shape))
    changed = dataclasses.replace(
        panel,
        open=np.where(future[:, None], panel.open * noise, panel.open),
        close=np.where(future[:, None], panel.close * noise, panel.close),
    )
    other = walked(changed, forecaster, times)
    for policy, curve in result.curves.items():
        theirs = other.curves[policy]
        assert [s.as_of for s in curve.steps] == list(times)
        then = [(s.weights, s.tau, s.reason) for s in curve.steps]
        assert then[:8] == [(s.weights, s.tau, s.reason) for s in theirs.steps[:8]]
        assert curve.equity[:8].tolist() == theirs.equity[:8].tolist()
        assert curve.equity[8] != theirs.equity[8]
    later = [s.weights for c in result.curves.values() for s in c.steps[8:]]
    assert later != [s.weights for c in other.curves.values() for s in c.steps[8:]]


@pytest.mark.parametrize("policy", ["measured", "original"])
def test_a_decision_of_the_walk_is_the_services_decision(
    bars: pd.DataFrame, panel: Panel, forecaster: Forecaster, policy: str
) -> None:
    t = dt.datetime(2026, 5, 12, 15, 0, tzinfo=dt.UTC)
    asked = (bars["ts"] >= (t - dt.timedelta(days=60)).timestamp()) & (bars["ts"] < t.timestamp())
    outlook = outlook_of(build(bars[asked]), t, forecaster)
    assert outlook.sight.coverage.usable == STOCKS and outlook.skill.on
    terms = dataclasses.replace(TERMS, policy=policy)
    answer = choose(outlook, SECTORS, {}, terms, POLICIES[policy])
    found = walk(
        panel, STOCKS, SECTORS, TERMS, {policy: POLICIES[policy]}, forecaster, (t,),
        capital=1000.0, costs=COSTS,
    )  # fmt: skip
    (step,) = found.curves[policy].steps
    assert step.weights == answer.weights and step.weights
    assert step.reason == answer.document["reason"]
    assert (found.skill_ic, found.skill_t) == (outlook.skill.ic, outlook.skill.t)


def test_a_walk_measures_skill_as_the_service_that_decided_each_day(
    panel: Panel, forecaster: Forecaster
) -> None:
    times = times_of("2026-05-08", "2026-05-14")[::6]
    book = empty(forecaster.bundle.id)
    for t in times:
        sight = foresee(t, window(panel, t), STOCKS, forecaster)
        made = missing_scores(sight, book, forecaster)
        assert made is not None, "the hours between are holes"
        for record in (made, own_scores(sight)):
            book = book.joined(Scorebook.of(record, t))
    theirs = assess(sight, book.of_tickers(STOCKS, 0)).skill
    found = walk(
        panel, STOCKS, SECTORS, TERMS, {"equal": POLICIES["equal"]}, forecaster, times,
        capital=1000.0, costs=COSTS,
    )  # fmt: skip
    assert found.skill_ic == pytest.approx(theirs.ic, abs=0.0005)


def test_the_bars_of_a_decision_are_the_ones_the_service_asks_for(
    bars: pd.DataFrame, panel: Panel
) -> None:
    t = dt.datetime(2026, 5, 12, 17, 0, tzinfo=dt.UTC)
    asked = (bars["ts"] >= (t - HISTORY).timestamp()) & (bars["ts"] < t.timestamp())
    ours, theirs = window(panel, t), build(bars[asked]).known_at(t)
    assert np.isnan(ours.close[0]).all() and len(ours.ts) < len(panel.known_at(t).ts)
    assert ours.tickers == theirs.tickers and ours.sessions == theirs.sessions
    for name in ("ts", "session", "slot", "open", "close"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_nothing_is_left_of_a_panel_after_its_end(panel: Panel) -> None:
    assert len(since(panel, dt.datetime(2027, 1, 1, tzinfo=dt.UTC)).ts) == 0


def test_books_follow_from_the_steps(panel: Panel, result: Backtest) -> None:
    """Each book's curve is what its decided weights make of the recorded prices."""
    tape = Tape(panel)
    for curve in result.curves.values():
        book = Book(D(100_000), {})
        for k, step in enumerate(curve.steps):
            opens, marks = tape.opens(step.as_of), tape.marks(step.as_of)
            book = move(book, step.weights, opens, marks, COSTS).book
            assert curve.equity[k + 1] == book.value(tape.marks(step.as_of + HOUR))
            assert float(book.cash) > 0
        assert curve.trades + curve.holds == len(curve.steps) == 12
        assert curve.equity[0] == 100_000.0


def test_costs_and_turnover_add_up(result: Backtest) -> None:
    hourly, patient = result.curves["original"], result.curves["min_variance"]
    assert hourly.trades > patient.trades and hourly.turnover > 2 * patient.turnover > 1.8
    for curve in (hourly, patient):
        assert 1.999 < curve.cost_bp / curve.turnover < 2.3  # 2 on buys, about 2.3 on sales


def test_the_benchmark_is_bought_at_the_first_price_that_could_be_traded(
    panel: Panel, result: Backtest
) -> None:
    spy = panel.tickers.index("SPY")
    row = int(np.searchsorted(panel.ts, int(result.times[0].timestamp()) + 300))
    last = int(np.searchsorted(panel.ts, int(result.times[-1].timestamp()) - 300))
    assert result.benchmark is not None
    growth = panel.close[last, spy] / panel.open[row, spy]
    assert result.benchmark[0] == 100_000.0
    assert result.performance("measured").benchmark_return == pytest.approx(growth - 1.0)


def test_a_refused_decision_holds_and_is_counted_with_its_reason(
    panel: Panel, forecaster: Forecaster
) -> None:
    t = dt.datetime(2026, 5, 12, 15, 0, tzinfo=dt.UTC)
    hour = (panel.ts >= int(t.timestamp()) - 3600) & (panel.ts < int(t.timestamp()))
    quiet = dataclasses.replace(
        panel,
        open=np.where(hour[:, None], np.nan, panel.open),
        close=np.where(hour[:, None], np.nan, panel.close),
    )
    times = (t - dt.timedelta(hours=1), t, t + dt.timedelta(hours=3))
    found = walked(quiet, forecaster, times)
    (refusal,) = found.refusals
    assert refusal.as_of == t and "no bar in the last hour" in refusal.reason
    for curve in found.curves.values():
        assert [s.as_of for s in curve.steps] == [times[0], times[2]]
        assert len(curve.equity) == 4


def test_a_walk_over_what_the_bundle_was_trained_on_is_refused(
    panel: Panel, forecaster: Forecaster
) -> None:
    bundle, times = forecaster.bundle, times_of("2026-05-12", "2026-05-13")
    training = dataclasses.replace(bundle.spec.training, end=times[0])
    spec = dataclasses.replace(bundle.spec, training=training)
    overlapping = Forecaster(dataclasses.replace(bundle, spec=spec))
    with pytest.raises(DataError, match=r"1 of 6 decisions do not: start later"):
        walked(panel, overlapping, times)
    check_times(times[1:], overlapping.bundle)


@pytest.mark.parametrize("order", [(), (1, 0), (0, 0)])
def test_times_must_be_ascending(forecaster: Forecaster, order: tuple[int, ...]) -> None:
    times = times_of("2026-05-12", "2026-05-13")
    with pytest.raises(DataError, match="ascending decision times"):
        check_times([times[i] for i in order], forecaster.bundle)


def test_a_walk_beyond_the_bars_is_refused(panel: Panel, forecaster: Forecaster) -> None:
    with pytest.raises(DataError, match="end earlier or load more bars"):
        walked(panel, forecaster, times_of("2026-05-14", "2026-05-16"))


def test_the_answer_is_plain_json(result: Backtest) -> None:
    found = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert set(found["policies"]) == set(POLICIES)
    assert len(found["times"]) == len(found["policies"]["equal"]["equity"]) == 13
    assert found["benchmark"]["benchmark_return"] is None


def shown(found: backtest.Found) -> str:
    console = Console(record=True, width=100, file=io.StringIO())
    told = findings.study(found, Settings(_env_file=None), is_kept=False)
    findings.show(told, console)
    return console.export_text()


def test_the_command_walks_the_simulated_market_and_says_so() -> None:
    day = dt.date(2026, 5, 29)
    asked = backtest.Asked(None, day, day, ("min_variance", "equal"), 12, 0.04, 1)
    found = backtest.run(asked, Settings(_env_file=None))
    text = shown(found)
    assert text.startswith("SIMULATED, edge planted: IC 0.040, measured: IC ")
    assert "6 decisions from 2026-05-29" in text and "12 candidates" in text
    assert "promise nothing" in text
    rows = [line.split()[0] for line in text.splitlines() if "%" in line]
    assert rows == ["min_variance", "equal", "SPY,"]
    assert found.as_json()["planted_edge"] == 0.04


def test_the_command_walks_recorded_bars_from_the_21st_session_on(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    sessions = build(bars).sessions
    end = sessions[21].closes_at.timestamp()
    file = tmp_path / "recorded.parquet"
    pq.write_table(to_arrow(bars[bars["ts"] < end]), file)
    asked = backtest.Asked(file, None, None, ("equal",), 60, 0.04, 1)
    found = backtest.run(asked, Settings(_env_file=None))
    assert found.candidates == tuple(t for t in sp500() if t in STOCKS)
    assert found.backtest.times[0] == sessions[20].decision_times()[0]
    assert found.backtest.times[-1] == sessions[21].closes_at
    assert shown(found).startswith(f"Recorded bars ({found.market}), forecast skill measured: IC")
    early = dataclasses.replace(asked, first=dt.date(2025, 1, 1), last=dt.date(2025, 2, 1))
    with pytest.raises(DataError, match="the bars reach from 2026-03-02 to 2026-03-31"):
        backtest.run(early, Settings(_env_file=None))

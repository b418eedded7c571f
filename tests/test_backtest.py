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
from astra.cli import backtest, findings, specifying
from astra.errors import ConfigError, DataError
from astra.sessions import decision_times_between
from astra.settings import Settings
from astra.store import open_store
from astra.universe import sp500
from model.backtest.benchmarks import benchmarks
from model.backtest.fills import Costs, Tape
from model.backtest.records import BENCHMARKS, COSTS, HOUR, SPY, SPY_TOTAL, Backtest
from model.backtest.spec import Source, Spec, from_json
from model.backtest.walk import Days, Plan, check_times, walk, walk_together
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
from sandbox.markets import simulated_bars

STOCKS = ("AAPL", "AMZN", "HD", "JPM", "KO", "META", "MSFT", "NVDA", "OXY", "PFE", "UNH", "XOM")
SECTORS = {ticker: "ABC"[i % 3] for i, ticker in enumerate(STOCKS)}
TERMS = Terms("measured", Limits(6, 0.25, 0.5, 0.02), 0.05, 2.3, 20.0, 6.0, 0.001)
ASSUMED = Costs(2.0, 0.3, 0.001, max_order_weight=1.0)
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
        panel, STOCKS, SECTORS, TERMS, POLICIES, forecaster, times, capital=100_000.0, costs=ASSUMED
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(panel: Panel, forecaster: Forecaster) -> Backtest:
    return walked(panel, forecaster, times_of("2026-05-12", "2026-05-14"))


def outlook_of(panel: Panel, t: dt.datetime, forecaster: Forecaster) -> Outlook:
    """As the service has it whose record is empty."""
    sight = foresee(t, panel, STOCKS, forecaster)
    times = scorable(sight.known, sight.spec, t)
    return assess(sight, past_scores(sight.known, STOCKS, forecaster, times))


def test_changed_bars_after_a_decision_change_no_decision_up_to_it(
    panel: Panel, forecaster: Forecaster, result: Backtest
) -> None:
    times = times_of("2026-05-12", "2026-05-14")
    t, random = times[7], np.random.default_rng(5)
    future = (panel.ts + 300 > int(t.timestamp()))[:, None]
    noise = np.exp(random.normal(0.0, 0.02, panel.close.shape))
    noise[random.random(panel.close.shape) < 0.2] = np.nan  # bars that are not there
    changed = dataclasses.replace(
        panel,
        open=np.where(future, panel.open * noise, panel.open),
        close=np.where(future, panel.close * noise, panel.close),
    )
    other = walked(changed, forecaster, times)
    assert [s.as_of for s in result.skill] == list(times)
    assert other.skill[:8] == result.skill[:8]
    for policy, curve in result.curves.items():
        theirs = other.curves[policy]
        then = [(s.as_of, s.weights, s.tau, s.reason) for s in curve.steps]
        assert then[:8] == [(s.as_of, s.weights, s.tau, s.reason) for s in theirs.steps[:8]]
        done, theirs_done = ([x for x in c.trades if x.at < t] for c in (curve, theirs))
        assert done == theirs_done and done
        for multiple in COSTS:
            ours, changed_ones = (c.by_cost[multiple] for c in (curve, theirs))
            assert ours[:8].tolist() == changed_ones[:8].tolist()
            assert ours[8] != changed_ones[8]
    later = [s.weights for c in result.curves.values() for s in c.steps[8:]]
    assert later != [s.weights for c in other.curves.values() for s in c.steps[8:]]


def test_a_ticker_that_will_be_listed_is_not_there_before(
    panel: Panel, forecaster: Forecaster
) -> None:
    times = times_of("2026-05-12", "2026-05-13")
    new = np.where(np.arange(len(panel.ts)) < len(panel.ts) - 30, np.nan, 10.0)[:, None]
    listed = dataclasses.replace(
        panel,
        tickers=(*panel.tickers, "ZTS"),
        open=np.hstack([panel.open, new]),
        close=np.hstack([panel.close, new]),
    )
    with_it, without = (
        walk(
            p, (*STOCKS, "ZTS"), {**SECTORS, "ZTS": "A"}, TERMS, {"measured": POLICIES["measured"]},
            forecaster, times, capital=1e5, costs=ASSUMED,
        )
        for p in (listed, panel)
    )  # fmt: skip
    assert with_it.skill == without.skill
    assert with_it.curves["measured"].steps == without.curves["measured"].steps


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
        capital=1000.0, costs=ASSUMED,
    )  # fmt: skip
    (step,) = found.curves[policy].steps
    assert step.weights == answer.weights and step.weights
    assert step.reason == answer.document["reason"]
    assert (found.skill_ic, found.skill_t) == (outlook.skill.ic, outlook.skill.t)


def test_a_walk_measures_skill_as_the_service_that_decided_each_time(
    panel: Panel, forecaster: Forecaster
) -> None:
    times = times_of("2026-05-08", "2026-05-14")[::6]
    book, theirs = empty(forecaster.bundle.id), []
    for t in times:
        sight = foresee(t, panel.known_at(t), STOCKS, forecaster)
        made = missing_scores(sight, book, forecaster)
        assert made is not None, "the hours between are holes"
        book = book.joined(Scorebook.of(made, t))
        theirs.append(assess(sight, book.of_tickers(STOCKS, int(sight.known.ts[0]))).skill)
        book = book.joined(Scorebook.of(own_scores(sight), t))
    found = walk(
        panel, STOCKS, SECTORS, TERMS, {"equal": POLICIES["equal"]}, forecaster, times,
        capital=1000.0, costs=ASSUMED,
    )  # fmt: skip
    assert [(s.ic, s.t, s.used, s.on) for s in found.skill] == [
        (s.ic, s.t, s.used, s.on) for s in theirs
    ]


@pytest.mark.parametrize("hour", ["14:00", "19:00"])
def test_a_decision_of_a_prepared_day_is_one_of_the_bars_that_the_service_asks_for(
    bars: pd.DataFrame, panel: Panel, forecaster: Forecaster, hour: str
) -> None:
    t = dt.datetime.fromisoformat(f"2026-05-12T{hour}+00:00")
    asked = (bars["ts"] >= (t - HISTORY).timestamp()) & (bars["ts"] < t.timestamp())
    theirs = foresee(t, build(bars[asked]), STOCKS, forecaster)
    ours = foresee(t, panel.known_at(t), STOCKS, forecaster, Days(panel))
    assert ours.known.sessions == theirs.known.sessions
    assert ours.known.sessions[0].opens_at >= t - HISTORY > panel.sessions[0].opens_at
    for one, other in ((ours.known, theirs.known), (ours.panel, theirs.panel)):
        assert one.tickers == other.tickers
        for name in ("ts", "session", "slot", "open", "close"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("feature", "residual", "sigma", "total_sigma", "profile"):
        one, other = (getattr(s.normalised, name) for s in (ours, theirs))
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(ours.forecast.closes, theirs.forecast.closes)


def test_nothing_is_left_of_a_panel_after_its_end(panel: Panel) -> None:
    left = panel.since(dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    assert len(left.ts) == 0 and left.sessions == ()


def test_a_panel_since_then_begins_with_a_whole_session(panel: Panel) -> None:
    third = panel.sessions[2]
    for start in (panel.sessions[1].opens_at + dt.timedelta(seconds=1), third.opens_at):
        left = panel.since(start)
        assert left.sessions == panel.sessions[2:] and left.ts[0] == third.opens_at.timestamp()
        assert (left.session[0], left.slot[0]) == (0, 0)
        np.testing.assert_array_equal(left.close, panel.close[-len(left.ts) :])


def test_books_follow_from_the_orders(panel: Panel, result: Backtest) -> None:
    """Cash and shares by hand, from what was traded; sales are worth what they brought."""
    tape = Tape(panel)
    for curve in result.curves.values():
        cash, shares, paid, equity = D(100_000), dict[str, D](), dict[str, D](), [1e5]
        for t in result.times[1:]:
            for x in [x for x in curve.trades if t - HOUR < x.at <= t]:
                sign = 1 if x.side == "buy" else -1
                cash -= sign * x.qty * x.price + x.fee
                before, cost = shares.get(x.symbol, D(0)), paid.get(x.symbol, D(0))
                if x.gain is None:
                    paid[x.symbol] = cost + x.qty * x.price
                else:
                    assert abs(x.gain - (x.qty * (x.price - cost / before) - x.fee)) < D("1e-9")
                    paid[x.symbol] = cost * (before - x.qty) / before
                shares[x.symbol] = before + sign * x.qty
            assert cash > 0 and all(q >= 0 for q in shares.values())
            marks = tape.marks(t)
            equity.append(float(cash) + sum(float(q) * marks[s] for s, q in shares.items()))
        assert curve.equity == pytest.approx(equity, abs=1e-6)
        assert curve.moves + curve.holds == len(curve.steps) == 12
        assert curve.winning + curve.losing == sum(x.side == "sell" for x in curve.trades)


def test_costs_and_turnover_add_up(result: Backtest) -> None:
    hourly, patient = result.curves["original"], result.curves["min_variance"]
    assert hourly.moves > patient.moves and hourly.turnover > 2 * patient.turnover > 1.8
    for curve in (hourly, patient):
        assert 1.999 < curve.cost_bp / curve.turnover < 2.4  # 2 on buys, about 2.3 on sales
        assert curve.by_cost[1.0] is curve.equity
        free, once, twice = (float(curve.by_cost[m][-1]) for m in COSTS)
        assert free > once > twice
        assert (once - twice) / (free - once) == pytest.approx(1.0, abs=0.25)


def test_what_trades_no_more_is_closed_and_listed(panel: Panel, forecaster: Forecaster) -> None:
    times = times_of("2026-05-04", "2026-05-14")[::6]
    gone = (panel.ts >= int(times[1].timestamp()))[:, None] & (np.array(panel.tickers) == "KO")
    halted = dataclasses.replace(
        panel, open=np.where(gone, np.nan, panel.open), close=np.where(gone, np.nan, panel.close)
    )
    terms = dataclasses.replace(TERMS, limits=Limits(12, 0.25, 0.5, 0.02))
    found = walk(
        halted, STOCKS, SECTORS, terms, {"equal": POLICIES["equal"]}, forecaster, times,
        capital=1e5, costs=ASSUMED,
    )  # fmt: skip
    (closed,) = [x for x in found.curves["equal"].trades if x.reason]
    assert (closed.symbol, closed.side, closed.at) == ("KO", "sell", times[7])
    assert "no bar for 5 sessions" in closed.reason and closed.gain is not None
    last = panel.close[np.flatnonzero(gone.any(axis=1))[0] - 1, panel.tickers.index("KO")]
    assert float(closed.price) == pytest.approx(last * (1 - 2e-4), abs=1e-6)
    curve = found.curves["equal"]
    assert curve.moves == sum(s.turnover > 0 for s in curve.steps), "no decision closed it"
    value = float(closed.qty) * last
    traded = curve.turnover - sum(s.turnover for s in curve.steps)
    assert traded == pytest.approx(value / curve.equity[7], rel=0.02)
    cost = 1e4 * (2e-4 + float(closed.fee) / value) * traded
    assert curve.cost_bp - sum(s.cost_bp for s in curve.steps) == pytest.approx(cost, rel=1e-4)
    held = [("KO" in s.weights) for s in found.curves["equal"].steps]
    assert held == [True] * 7 + [False], "until then no news is no reason to sell"


def test_spy_is_bought_at_the_first_price_that_could_be_traded(
    panel: Panel, result: Backtest
) -> None:
    spy = panel.tickers.index("SPY")
    row = int(np.searchsorted(panel.ts, int(result.times[0].timestamp()) + 300))
    last = int(np.searchsorted(panel.ts, int(result.times[-1].timestamp()) - 300))
    growth = panel.close[last, spy] / panel.open[row, spy]
    price, total = (result.benchmarks[name] for name in (SPY, SPY_TOTAL))
    assert price[0] == total[0] == 100_000.0
    assert result.performance("measured").benchmark_return == pytest.approx(growth - 1.0)
    days = (result.times[-1] - result.times[0]) / dt.timedelta(days=365.25)
    assert total[-1] / price[-1] == pytest.approx(1.012**days)


def test_benchmarks_without_a_choice_pay_for_what_they_trade(
    panel: Panel, forecaster: Forecaster, result: Backtest
) -> None:
    assert tuple(result.benchmarks) == BENCHMARKS
    tape, times = Tape(panel), result.times
    opens, marks = tape.opens(times[0]), tape.marks(times[-1])
    # All in: each name gets a twelfth of what is left once the half spread is paid.
    paid = 1e5 / 12 / 1.0002
    held = sum(paid / opens[t] * marks[t] for t in STOCKS)
    assert result.benchmarks["hold"][-1] == pytest.approx(held)
    assert result.benchmarks["equal weight"][6] == result.benchmarks["hold"][6]
    assert result.benchmarks["equal weight"][-1] != result.benchmarks["hold"][-1]
    stocks = panel.only(STOCKS)
    alone = walk(
        stocks, STOCKS, SECTORS, TERMS, {"equal": POLICIES["equal"]}, forecaster,
        times_of("2026-05-12", "2026-05-13")[:1], capital=1e5, costs=ASSUMED,
    )  # fmt: skip
    assert tuple(alone.benchmarks) == ("equal weight", "hold")


def test_benchmarks_buy_what_could_be_bought_then_and_not_what_was_listed_later(
    panel: Panel,
) -> None:
    times = times_of("2026-05-12", "2026-05-14")
    early = panel.ts < int(times[6].timestamp()) - 3600
    hidden = early[:, None] & (np.array(panel.tickers) == "KO")
    listed = dataclasses.replace(
        panel,
        open=np.where(hidden, np.nan, panel.open),
        close=np.where(hidden, np.nan, panel.close),
    )
    tape = Tape(listed)
    found = benchmarks(tape, ("KO", "MSFT", "XOM"), times, 1e5, Costs(0.0, 0.0))
    first, then, last = tape.opens(times[0]), tape.opens(times[6]), tape.marks(times[-1] + HOUR)
    assert "KO" not in first
    assert found["hold"][-1] == pytest.approx(
        sum(5e4 / first[name] * last[name] for name in ("MSFT", "XOM"))
    )
    worth = sum(5e4 / first[name] * then[name] for name in ("MSFT", "XOM"))
    assert found["equal weight"][-1] == pytest.approx(
        sum(worth / 3 / then[name] * last[name] for name in ("KO", "MSFT", "XOM"))
    )
    assert list(benchmarks(tape, ("KO",), times, 1e5, Costs(0.0, 0.0))) == [
        "SPY", "SPY, dividends assumed", "equal weight",
    ], "nothing could be bought and held from the first decision on"  # fmt: skip


def test_plans_that_are_walked_together_know_nothing_of_each_other(
    panel: Panel, forecaster: Forecaster
) -> None:
    times, equal = times_of("2026-05-12", "2026-05-14"), {"equal": POLICIES["equal"]}
    narrow = dataclasses.replace(TERMS, limits=Limits(3, 0.25, 0.5, 0.02), exclude=("KO",))
    nothing = dataclasses.replace(TERMS, exclude=STOCKS)
    plans = [
        Plan(TERMS, POLICIES, ASSUMED),
        Plan(narrow, equal, ASSUMED.times(3)),
        Plan(nothing, equal, ASSUMED),
    ]
    together = walk_together(panel, STOCKS, SECTORS, plans, forecaster, times, capital=1e5)
    for plan, found in zip(plans, together, strict=True):
        alone = walk(
            panel, STOCKS, SECTORS, plan.terms, plan.policies, forecaster, times,
            capital=1e5, costs=plan.costs,
        )  # fmt: skip
        assert alone.as_json() == found.as_json()
    refused = together[2]
    assert len(refused.refusals) == len(times) and refused.curves["equal"].equity[-1] == 1e5


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
    assert tuple(found["benchmarks"]) == BENCHMARKS
    assert found["benchmarks"][SPY]["benchmark_return"] is None
    assert set(found["policies"]["equal"]["by_cost"]) == {"0", "1", "2"}
    order = found["policies"]["equal"]["orders"][0]
    assert order["side"] == "buy" and float(order["price"]) > 0 and order["gain"] is None


def shown(found: backtest.Found) -> str:
    console = Console(record=True, width=100, file=io.StringIO())
    told = findings.study(found, Settings(_env_file=None), is_kept=False)
    findings.show(told, console)
    return console.export_text()


def run_of(asked: specifying.Asked, settings: Settings | None = None) -> backtest.Found:
    settings = settings or Settings(_env_file=None)
    return backtest.run(specifying.specify(asked, settings), settings)


def test_the_command_walks_the_simulated_market_and_says_so() -> None:
    day = dt.date(2026, 5, 29)
    asked = specifying.Asked(first=day, last=day, policies=("min_variance", "equal"), tickers=12)
    found = run_of(asked)
    text = " ".join(shown(found).split())
    assert text.startswith("SIMULATED, edge planted: IC 0.040, measured: IC ")
    assert "6 hourly decisions from 2026-05-29" in text and "12 candidates" in text
    assert "promise nothing" in text
    assert found.as_json()["planted_edge"] == 0.04
    again = run_of(asked)
    assert again.as_json() == found.as_json(), "the same question has the same answer, to the cent"
    other = run_of(dataclasses.replace(asked, slippage_bp=5.0, whole_shares=True))
    assert other.data_hash == found.data_hash and other.spec.identity != found.spec.identity
    one, dear = (f.backtest.curves["equal"] for f in (found, other))
    assert dear.cost_bp > 3 * one.cost_bp and one.steps[0].weights == dear.steps[0].weights
    assert all(x.qty % 1 == 0 for x in dear.trades)


def test_the_command_walks_recorded_bars_from_the_21st_session_on(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    sessions = build(bars).sessions
    end = sessions[21].closes_at.timestamp()
    file = tmp_path / "recorded.parquet"
    pq.write_table(to_arrow(bars[bars["ts"] < end]), file)
    asked = specifying.Asked(bars=file, policies=("equal",))
    found = run_of(asked)
    assert found.candidates == tuple(t for t in sp500() if t in STOCKS)
    assert found.market.startswith("replay:") and found.planted_edge is None
    assert found.backtest.times[0] == sessions[20].decision_times()[0]
    assert found.backtest.times[-1] == sessions[21].closes_at
    assert shown(found).startswith(f"Recorded bars ({found.market}), forecast skill measured: IC")
    early = dataclasses.replace(asked, first=dt.date(2025, 1, 1), last=dt.date(2025, 2, 1))
    with pytest.raises(DataError, match="the bars reach from 2026-03-02 to 2026-03-31"):
        run_of(early)
    own = Settings(_env_file=None, tickers="KO|XOM|MSFT|SPY")
    fewer = run_of(dataclasses.replace(asked, tickers=3), own)
    assert fewer.candidates == ("KO", "XOM", "MSFT")
    assert (found.cut_off, fewer.cut_off) == (0, 1)


def test_the_command_walks_stored_bars_as_they_were_known(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/astra.db")
    end, day = dt.datetime(2026, 4, 10, tzinfo=dt.UTC), dt.date(2026, 4, 9)
    known = bars[bars["ts"] < end.timestamp()]
    store = open_store(settings.database_url)
    store.claim_market("replay:000000000001")
    store.prices.upsert(known, end)
    corrected = known[known["ticker"] == "KO"].assign(
        **{name: known[name] * 1.1 for name in ("open", "high", "low", "close")}
    )
    store.prices.upsert(corrected, end + dt.timedelta(days=1))
    store.close()
    asked = specifying.Asked(first=day, last=day, policies=("equal",), known_at=end)
    then, now = (
        run_of(a, settings) for a in (asked, dataclasses.replace(asked, known_at=None, store=True))
    )
    assert (then.market, then.spec.source.kind) == ("replay:000000000001", "store")
    assert then.data_hash != now.data_hash
    price = {f.data_hash: x.price for f in (then, now) for x in f.backtest.curves["equal"].trades
             if x.symbol == "KO" and x.side == "buy"}  # fmt: skip
    ratio = price[now.data_hash] / price[then.data_hash]
    assert float(ratio) == pytest.approx(1.1, abs=1e-3)


def test_the_simulated_market_is_made_for_the_days_that_are_asked_for() -> None:
    first, last = dt.date(2025, 12, 24), dt.date(2025, 12, 26)
    asked = specifying.Asked(first=first, last=last, policies=("equal",), tickers=6)
    found = run_of(asked)
    assert found.spec.source.first == dt.date(2025, 10, 25)
    assert [t.isoformat()[:16] for t in found.backtest.times[:4]] == [
        "2025-12-24T15:00", "2025-12-24T16:00", "2025-12-24T17:00", "2025-12-24T18:00",
    ], "a half day has three decisions"  # fmt: skip
    assert len(found.backtest.times) == 1 + 3 + 6


def test_stored_bars_are_those_known_by_now(bars: pd.DataFrame, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/astra.db")
    store, now = open_store(settings.database_url), dt.datetime(2026, 5, 15, tzinfo=dt.UTC)
    store.claim_market("simulated:3")
    store.record_now(now)
    store.close()
    spec = specifying.specify(specifying.Asked(store=True), settings)
    assert spec.source.known_at == now, "a load later on changes nothing of it"


def test_bars_come_from_one_place(tmp_path: Path) -> None:
    asked = specifying.Asked(bars=tmp_path / "bars.parquet", store=True)
    with pytest.raises(ConfigError, match="from one place"):
        run_of(asked)


def test_a_specification_is_written_and_read_back() -> None:
    terms = dataclasses.replace(TERMS, exclude=("KO", "XOM"))
    known_at = dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)
    first = dt.date(2026, 1, 2)
    spec = Spec(
        Source("store", tickers=40, known_at=known_at), first, None, ("measured", "equal"), terms,
        1e5, 2.0, 0.0, 0.3, 1.0, False, "nbeats-5m-00000000",
    )  # fmt: skip
    read = from_json(json.loads(json.dumps(spec.as_json())))
    assert read == spec and read.identity == spec.identity and len(spec.identity) == 16
    for other in (
        dataclasses.replace(spec, first=None),
        dataclasses.replace(spec, terms=dataclasses.replace(terms, exclude=("KO",))),
        dataclasses.replace(spec, source=dataclasses.replace(spec.source, known_at=None)),
    ):
        assert other.identity != spec.identity


@pytest.mark.parametrize("written", [{}, {"source": {}}, {"source": {"kind": "file"}, "terms": 1}])
def test_what_is_no_specification_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(DataError, match="specification of a backtest is required"):
        from_json(written)

"""The sandbox's market: what is planted can be found, what has not happened can not be seen."""

import datetime as dt
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from astra.bars import from_arrow, to_arrow, validate
from astra.errors import DataError
from astra.sessions import BAR, BAR_SECONDS, sessions_between
from astra.universe import sp500
from model.panel import build
from sandbox.clock import Clock
from sandbox.market import Bars, Market, default_tickers
from sandbox.market_events import take
from sandbox.markets import replay_market, simulated_bars, simulated_market
from sandbox.simulation import Simulation

SMALL = ("AAPL", "MSFT", "BRK.B", "XOM", "SPY", "QQQ")
MONDAY = dt.date(2026, 9, 14)
OPEN = dt.datetime(2026, 9, 14, 13, 30, tzinfo=dt.UTC)
CLOSE = OPEN.replace(hour=20, minute=0)
DECISION_SLOTS = (6, 18, 30, 42, 54, 66)


def a_market(tickers: tuple[str, ...] = SMALL, **options: object) -> Market:
    return simulated_market(tickers, start=MONDAY, **{"seed": 7, "edge": 0.04, **options})


def all_bars(market: Market, ticker: str) -> Bars:
    return market.history(ticker, market.first_ts, int(market.clock.now().timestamp()))


def assert_same(a: Bars, b: Bars) -> None:
    for name in Bars.__slots__:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def oracle_ics(tape: Simulation, sessions: int) -> np.ndarray:
    """Rank IC of the oracle at every hour of a full day, to the close of the 12th bar."""
    count, found = len(tape.stocks), []
    for i in range(1, sessions):
        block = tape.block(i)
        if block.session.bars < 78:
            continue
        for slot in DECISION_SLOTS:
            realised = np.log(block.close[:count, slot + 11] / block.open[:count, slot + 1])
            score = tape.oracle_score(i, slot)
            found.append(np.corrcoef(rankdata(score), rankdata(realised))[0, 1])
    return np.array(found)


# The planted edge


@pytest.mark.parametrize(("edge", "seed"), [(0.04, 7), (0.12, 11)])
def test_the_oracle_earns_the_planted_rank_ic(edge: float, seed: int) -> None:
    tape = Simulation(default_tickers(), seed=seed, edge=edge, start=dt.date(2026, 1, 2))
    ics = oracle_ics(tape, 100)
    error = ics.std() / np.sqrt(len(ics))
    assert error < 0.003
    assert ics.mean() == pytest.approx(edge, abs=2.5 * error)


def test_without_an_edge_past_returns_say_nothing() -> None:
    tape = Simulation(default_tickers(), seed=7, edge=0, start=dt.date(2026, 1, 2))
    with_edge = Simulation(default_tickers(), seed=7, edge=0.04, start=dt.date(2026, 1, 2))
    assert not tape.oracle_score(5, 30).any()
    ics, count = [], len(tape.stocks)
    for i in range(1, 60):
        block = tape.block(i)
        for slot in DECISION_SLOTS if block.session.bars == 78 else ():
            realised = np.log(block.close[:count, slot + 11] / block.open[:count, slot + 1])
            score = with_edge.oracle_score(i, slot)  # the same shocks, weighted as a drift would
            ics.append(np.corrcoef(rankdata(score), rankdata(realised))[0, 1])
    assert abs(np.mean(ics)) < 2.5 * np.std(ics) / np.sqrt(len(ics))


def test_the_drift_is_known_from_past_shocks_alone() -> None:
    """Two markets that part after a session have the same scores until then."""
    a, b = (Simulation(("AAPL", "XOM"), seed=3, edge=0.1, start=MONDAY) for _ in range(2))
    a.block(0), b.block(0)
    for generator in b._paths:
        generator.random(1000)
    np.testing.assert_array_equal(a.oracle_score(1, 0), b.oracle_score(1, 0))
    assert (a.oracle_score(1, 40) != b.oracle_score(1, 40)).all()


@pytest.mark.parametrize("edge", [-0.01, 0.3, float("nan")])
def test_an_impossible_edge_is_refused(edge: float) -> None:
    with pytest.raises(DataError, match="an edge is a rank IC"):
        a_market(edge=edge)


# The bars


def test_simulated_bars_are_valid_and_sorted() -> None:
    frame = simulated_bars(SMALL, seed=7, edge=0.04, first=MONDAY, last=dt.date(2026, 9, 25))
    kept, rejected = validate(frame, dt.datetime(2026, 9, 26, tzinfo=dt.UTC))
    assert rejected.total == 0
    pd.testing.assert_frame_equal(kept, frame)


def test_bars_for_training_are_the_markets_own() -> None:
    frame = simulated_bars(SMALL, seed=7, edge=0.04, first=MONDAY, last=dt.date(2026, 9, 25))
    market = a_market(end=dt.date(2026, 9, 25))
    for ticker, rows in frame.groupby("ticker"):
        bars = all_bars(market, str(ticker))
        for name in Bars.__slots__:
            np.testing.assert_array_equal(rows[name], getattr(bars, name))


def test_extending_lazily_gives_the_same_bars_as_making_all_at_once() -> None:
    lazy, eager = a_market(), a_market(end=dt.date(2026, 9, 18))
    for session in sessions_between(OPEN, eager.clock.now()):
        lazy.clock.step_to(session.closes_at)
        all_bars(lazy, "AAPL")
    for ticker in SMALL:
        assert_same(all_bars(lazy, ticker), all_bars(eager, ticker))


def test_a_stocks_bars_do_not_depend_on_the_others_served() -> None:
    few, many = (a_market(t, end=dt.date(2026, 9, 16)) for t in (("AMZN",), default_tickers(30)))
    assert_same(all_bars(few, "AMZN"), all_bars(many, "AMZN"))


def test_another_seed_is_another_market() -> None:
    one, other = a_market(end=MONDAY), a_market(end=MONDAY, seed=8)
    assert one.identity == "simulated:7"
    assert other.identity == "simulated:8"
    assert not np.isin(all_bars(one, "AAPL").close, all_bars(other, "AAPL").close).any()


def test_returns_look_like_a_stock_market() -> None:
    first, last = dt.date(2026, 1, 2), dt.date(2026, 6, 30)
    frame = simulated_bars(default_tickers(60), seed=7, edge=0.04, first=first, last=last)
    panel = build(frame)
    stocks = [i for i, t in enumerate(panel.tickers) if t not in ("SPY", "QQQ")]
    returns = panel.log_returns()[:, stocks]
    by_slot = np.array([np.nanmean(returns[panel.slot == k] ** 2) for k in range(78)]) ** 0.5
    assert 1.8 < by_slot[:2].mean() / by_slot[30:50].mean() < 3
    standard = returns / np.nanstd(returns, axis=0)
    assert 5 < np.nanmean(standard**4) < 40  # 3 is normal
    inside = np.nanvar(returns, axis=0) * 78
    nights = np.nanvar(panel.overnight_log_returns()[:, stocks], axis=0)
    assert 2.2 < np.median(nights / inside) * 6.5 < 3.7  # trading hours
    annual = np.sqrt((inside + nights) * 252)
    assert 0.14 < annual.min() < 0.24
    assert 0.36 < annual.max() < 0.56
    with_market = [np.corrcoef(*_both(returns[:, 0], returns[:, j]))[0, 1] for j in range(1, 40)]
    assert 0.15 < np.mean(with_market) < 0.6
    missing = np.isnan(panel.close[:, stocks]).mean(axis=0)
    assert missing.max() > 0.01
    assert missing.max() < 0.2
    assert not np.isnan(panel.close[:, panel.tickers.index("SPY")]).any()


def _both(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = np.isfinite(a) & np.isfinite(b)
    return a[kept], b[kept]


def test_an_open_is_close_to_the_close_before_it() -> None:
    bars = all_bars(a_market(("SPY", "AAPL"), end=MONDAY), "SPY")
    bounce = np.log(bars.open[1:] / bars.close[:-1])
    assert 0.2e-4 < bounce.std() < 2e-4


def test_spy_is_the_portfolio_of_the_stocks() -> None:
    tape = Simulation(("AAPL", "XOM", "SPY"), seed=7, edge=0, start=MONDAY, splits=0)
    block = tape.block(0)
    shares, *_ = np.linalg.lstsq(block.close[:2].T, block.close[2], rcond=None)
    assert (shares > 0).all()
    np.testing.assert_allclose(shares @ block.close[:2], block.close[2], atol=2e-3)


def test_a_half_day_has_42_bars() -> None:
    market = simulated_market(
        ("MSFT", "SPY"), start=dt.date(2026, 11, 27), end=dt.date(2026, 11, 27)
    )
    assert len(all_bars(market, "SPY")) == 42


def test_household_names_come_first_and_etfs_last() -> None:
    assert len(sp500()) == 503
    names = default_tickers(20)
    assert names[-2:] == ("SPY", "QQQ")
    assert {"AAPL", "AMZN", "BRK.B"} <= set(names)
    assert set(default_tickers()) == {*sp500(), "SPY", "QQQ"}
    with pytest.raises(DataError, match="1 to 503"):
        default_tickers(0)


# Nothing of the future


@settings(max_examples=30, deadline=None)
@given(seconds=st.integers(0, 5 * 86_400), before=st.integers(0, 86_400))
def test_history_holds_closed_bars_only(seconds: int, before: int) -> None:
    now = OPEN + dt.timedelta(seconds=seconds)
    market = a_market(("AAPL",), at=now)
    end = int(now.timestamp()) + 86_400
    bars = market.history("AAPL", market.first_ts + before, end)
    assert (bars.ts + BAR_SECONDS <= now.timestamp()).all()
    assert (bars.ts >= market.first_ts + before).all()
    whole = a_market(("AAPL",), at=now + dt.timedelta(days=5))
    assert_same(bars, whole.history("AAPL", market.first_ts + before, end - 86_400 - 299))


def test_the_forming_bar_opens_at_its_open_and_stays_inside_its_range() -> None:
    market = a_market(("SPY", "AAPL"))
    whole = all_bars(a_market(("SPY", "AAPL"), end=MONDAY), "SPY")
    path = []
    for second in (0, 1, 60, 150, 299):
        market.clock.step_to(OPEN + 3 * BAR + dt.timedelta(seconds=second))
        forming = market.forming("SPY")
        assert forming is not None
        assert forming.ts == whole.ts[3]
        assert forming.open == whole.open[3]
        assert whole.low[3] <= forming.low <= forming.close <= forming.high <= whole.high[3]
        path.append(forming)
    assert path[0].close == path[0].open
    assert [p.high for p in path] == sorted(p.high for p in path)
    assert len({p.close for p in path}) > 3
    assert market.last_price("SPY") == (OPEN + 3 * BAR, whole.open[3])
    market.clock.step_to(CLOSE)
    assert market.forming("SPY") is None
    assert market.last_price("SPY") == (CLOSE, whole.close[-1])


def test_before_the_first_bar_there_is_no_price() -> None:
    market = Market(
        Simulation(("AAPL",), seed=7, edge=0, start=MONDAY), Clock(OPEN - dt.timedelta(hours=1))
    )
    assert market.last_price("AAPL") is None
    assert market.actions("AAPL") == ()


def test_the_next_open_is_strictly_after_and_the_first_that_printed() -> None:
    market = a_market(default_tickers(100), at=CLOSE)
    for ticker in market.tickers:
        bars = all_bars(market, ticker)
        after = dt.datetime.fromtimestamp(int(bars.ts[7]), dt.UTC)
        expected = (after + (int(bars.ts[8] - bars.ts[7])) * dt.timedelta(seconds=1), bars.open[8])
        assert market.next_open(ticker, after) == expected
        assert market.next_open(ticker, after - dt.timedelta(seconds=1)) == (after, bars.open[7])
    assert any(len(all_bars(market, t)) < 78 for t in market.tickers)


def test_an_order_at_the_close_fills_at_the_next_sessions_open() -> None:
    market = a_market(("SPY", "XOM"), at=CLOSE)
    found = market.next_open("SPY", CLOSE - BAR)
    assert found is not None
    assert found[0] == dt.datetime(2026, 9, 15, 13, 30, tzinfo=dt.UTC)
    market.clock.step_to(found[0])
    last = market.last_price("SPY")
    assert last is not None and last[0] == CLOSE, "of a bar that begins now nothing was traded"
    market.clock.step_to(found[0] + dt.timedelta(seconds=1))
    assert market.last_price("SPY") == found


def test_an_unknown_ticker_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="'TSLAQ' is not one"):
        a_market().history("TSLAQ", 0, 1)


# Corporate actions


def test_a_split_rewrites_history_and_multiplies_the_shares() -> None:
    market = a_market(("AAPL",), splits=60.0, edge=0)  # one every few sessions
    before: dict[int, float] = {}
    for day in range(14, 26):
        closes = dt.datetime(2026, 9, day, 20, tzinfo=dt.UTC)
        market.clock.step_to(closes)
        shares = market.shares("AAPL")
        worth = {int(t): c * shares for t, c in zip(*_closes(market), strict=True)}
        assert {t: worth[t] for t in before} == pytest.approx(before, rel=1e-12)
        before = worth
    splits = [a for a in market.actions("AAPL") if a.kind == "split"]
    assert splits
    assert market.shares("AAPL") == np.prod([s.value for s in splits])
    at = splits[0].at
    assert market.shares("AAPL", at) == splits[0].value
    assert market.shares("AAPL", at - BAR) == 1


def _closes(market: Market) -> tuple[np.ndarray, np.ndarray]:
    bars = all_bars(market, "AAPL")
    return bars.ts, bars.close


def test_a_dividend_takes_its_amount_off_the_price() -> None:
    tickers = default_tickers(40)[:-2]
    paying, plain = (Simulation(tickers, seed=7, edge=0, start=MONDAY, splits=0) for _ in "ab")
    plain._traits = replace(plain._traits, dividend_yield=np.zeros(len(tickers)))
    checked = 0
    for i in range(1, 20):
        with_it, without, before = paying.block(i), plain.block(i), plain.block(i - 1)
        for row, ticker in enumerate(tickers):
            actions = paying.actions(ticker)
            if len(actions) != 1 or actions[0].at != with_it.session.opens_at:
                continue
            drop = 1 - actions[0].value / before.close[row, -1]
            assert with_it.open[row, 0] == pytest.approx(without.open[row, 0] * drop, rel=1e-4)
            assert 0.0005 < 1 - drop < 0.012
            checked += 1
    assert checked > 3


def test_an_action_is_not_announced_before_its_session_opens() -> None:
    market = a_market(default_tickers(40), at=OPEN)
    market.tape.extended_to(OPEN + dt.timedelta(days=30))
    coming = [a for t in market.tickers for a in market.tape.actions(t) if a.at > OPEN]
    assert coming
    first = min(coming, key=lambda a: a.at)
    market.clock.step_to(first.at - dt.timedelta(seconds=1))
    assert first not in market.actions(first.ticker)
    market.clock.step_to(first.at)
    assert first in market.actions(first.ticker)


# Recorded bars


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    frame = simulated_bars(("AAPL", "XOM"), seed=5, edge=0, first=MONDAY, last=dt.date(2026, 9, 16))
    path = tmp_path / "bars.parquet"
    pq.write_table(to_arrow(frame), path)
    return path


def test_a_recording_is_replayed_bar_for_bar(recording: Path) -> None:
    market = replay_market(recording)
    assert market.tickers == ("AAPL", "XOM")
    assert market.planted_edge is None
    assert market.identity.startswith("replay:")
    assert len(market.identity) == len("replay:") + 12
    assert market.clock.now() == OPEN
    frame = from_arrow(pq.read_table(recording))
    market.clock.step_to(dt.datetime(2026, 9, 16, 20, tzinfo=dt.UTC))
    for ticker in market.tickers:
        bars = all_bars(market, ticker)
        rows = frame[frame["ticker"] == ticker]
        np.testing.assert_array_equal(bars.ts, rows["ts"])
        np.testing.assert_array_equal(bars.close, rows["close"])
        np.testing.assert_array_equal(bars.volume, rows["volume"])


def test_a_recording_takes_events_but_no_new_ticker(recording: Path) -> None:
    market = replay_market(recording)
    with pytest.raises(DataError, match="'NEWCO' can be listed in a simulated market only"):
        take(market, {"list": {"ticker": "NEWCO"}})
    take(market, {"split": {"ticker": "XOM", "ratio": 2}})
    market.clock.step_to(OPEN + dt.timedelta(days=1))
    assert market.shares("XOM") == 2
    assert market.history("XOM", 0, market.first_ts + 1).close[0] == pytest.approx(
        market.tape.block(0).close[1, 0] / 2
    )


def test_the_clock_cannot_pass_the_end_of_a_recording(recording: Path) -> None:
    market = replay_market(recording, ("XOM",))
    end = dt.datetime(2026, 9, 16, 20, tzinfo=dt.UTC)
    with pytest.raises(DataError, match="the recording ends at 2026-09-16T20:00"):
        market.clock.step_to(end + BAR)
    market.clock.run(1e9)
    threading.Event().wait(0.01)
    assert market.clock.now() == end
    assert market.next_open("XOM", end - BAR) is None


def test_a_recording_without_the_tickers_asked_for_is_refused(recording: Path) -> None:
    with pytest.raises(DataError, match="no valid 5-minute bar"):
        replay_market(recording, ("NVDA",))


# The clock


def test_the_clock_moves_forwards_only() -> None:
    clock = Clock(OPEN)
    clock.step_to(OPEN + BAR)
    with pytest.raises(DataError, match="only moves forwards"):
        clock.step_to(OPEN)
    with pytest.raises(DataError, match="needs a zone"):
        clock.step_to(dt.datetime(2026, 9, 15))  # noqa: DTZ001  the mistake under test
    assert clock.now() == OPEN + BAR


def test_a_running_clock_runs_at_its_speed_and_can_be_halted() -> None:
    clock = Clock(OPEN)
    assert clock.stepped
    clock.run(3600)
    assert not clock.stepped
    threading.Event().wait(0.05)
    passed = (clock.now() - OPEN).total_seconds()
    assert 0.05 * 3600 <= passed < 10 * 3600
    clock.halt()
    assert clock.now() == clock.now() >= OPEN + dt.timedelta(seconds=passed)
    with pytest.raises(DataError, match="positive number"):
        clock.run(0)

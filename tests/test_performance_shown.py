"""The account beside a benchmark on the page: what is compared, until when, what is said of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from seeded_books import NOW, NUMBER, bars_of, seed_store
from shown_page import House, Runner, house, metrics, said

from astra.equity_curve import curve_of
from astra.records import Account, Activity
from astra.sessions import last_sessions
from astra.store import Store
from frontend.league import began, league_of

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        seed_store(found.store, benchmark=False)
        yield found


def test_a_benchmark_whose_bars_ended_is_compared_until_then_and_the_page_says_so(
    page: Runner, seeded: House
) -> None:
    bars = bars_of(last_sessions(10, NOW), seed=7)
    last = dt.datetime(2026, 11, 17, 20, tzinfo=dt.UTC)  # 15:00 in New York, three days before now
    bars = bars[(bars["ticker"] == "SPY") & (bars["ts"] < last.timestamp())]
    seeded.store.prices.upsert(bars, NOW)
    app = page(seeded.url)

    saved = seeded.store.books.read("account_summary").to_pandas().sort_values("at")
    until = saved[saved["at"] < pd.Timestamp(last + HOUR)]
    equity = until["equity"].astype(float)
    closes = bars.set_index("ts")["close"]
    first, end = (
        closes[closes.index + 300 <= at.timestamp()].iloc[-1] for at in until["at"].iloc[[0, -1]]
    )
    ahead = equity.iloc[-1] / equity.iloc[0] - end / first
    assert metrics(app)["SPY, price return"] == f"{end / first - 1:+.2%}"
    (tile,) = [m for m in app.metric if m.label == "SPY, price return"]
    assert tile.delta == f"account {ahead * 100:+.2f} points then"
    assert "SPY is known until Tue 17 Nov 2026, 15:02 New York" in said(app)
    assert metrics(app)["Days ahead of SPY"].endswith(" of 5")


def test_a_benchmark_that_is_known_throughout_needs_no_such_word(
    page: Runner, seeded: House
) -> None:
    bars = bars_of(last_sessions(10, NOW), seed=7)
    seeded.store.prices.upsert(bars[bars["ticker"] == "SPY"], NOW)
    app = page(seeded.url)
    assert "known until" not in said(app)
    assert metrics(app)["Days ahead of SPY"].endswith(" of 8")


def record(store: Store, values: list[int], *lines: Activity) -> list[dt.datetime]:
    """The account's values at the last closes, opened by a deposit."""
    times = [session.closes_at for session in last_sessions(len(values) + 1, NOW)[:-1]]
    for at, usd in zip(times, values, strict=True):
        account = Account(NUMBER, Decimal(usd), Decimal(usd), Decimal(usd))
        store.books.record_account_summary(account, [], at)
    opened = Activity("open", "CSD", times[0], Decimal(values[0]))
    store.books.record_activities(NUMBER, [opened, *lines])
    return times


def test_a_total_loss_is_shown_and_not_left_out(page: Runner, empty: House) -> None:
    record(empty.store, [1000, 1100, 0, 0])
    app = page(empty.url)
    shown = metrics(app)
    assert shown["Since the start"] == shown["Return"] == "-100.00%"
    assert shown["Money-weighted return"] == shown["Maximum drawdown"] == "-100.00%"
    assert not app.error


def test_an_emptied_account_has_lost_nothing(page: Runner, empty: House) -> None:
    closes = [session.closes_at for session in last_sessions(5, NOW)[:-1]]
    out = Activity("out", "CSW", closes[2] - HOUR, Decimal(-1100))
    record(empty.store, [1000, 1100, 0, 0], out)
    app = page(empty.url)
    assert metrics(app)["Return"] == "+10.00%" and metrics(app)["Maximum drawdown"] == "0.00%"
    assert not app.error


def test_the_league_goes_on_without_an_account_that_lost_all() -> None:
    times = [session.closes_at for session in last_sessions(4, NOW)]
    books = pd.DataFrame({"policy": "equal", "at": times, "equity": [100.0, 101, 102, 103]})
    curve = curve_of([], list(zip(times, [100.0, 50, 0, 0], strict=True)), [])
    found = league_of(books.assign(at=pd.to_datetime(books["at"])), curve, ["equal"], None, "")
    assert found is not None and set(found.curves) == {"equal"}
    assert "or lost all it had" in began(found)

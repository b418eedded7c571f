"""The account beside a benchmark on the page: what is compared, until when, what is said of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from seeded_books import NOW, bars_of, seed_store
from shown_page import House, Runner, house, metrics, said

from astra.sessions import last_sessions

HOUR = dt.timedelta(hours=1)


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

"""Forecasts held against the closes that came, counted in every database."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from astra.predictions import QUANTILE_COLUMNS
from astra.store import Store

NOON = dt.datetime(2026, 3, 20, 16, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(hours=1)
BAR = 300
NAMES = ("A", "BRK.B", "C")
MODEL = "nbeats-5m-01234567"


def bars(tickers: tuple[str, ...] = NAMES) -> pd.DataFrame:
    """Two hours and a half of bars around NOON."""
    grid = int(NOON.timestamp()) + BAR * np.arange(-6, 24)
    rng = np.random.default_rng(1)
    frames = []
    for ticker in tickers:
        close = 50 * np.exp(np.cumsum(rng.normal(0, 2e-3, len(grid))))
        prices = dict.fromkeys(("open", "high", "low", "close"), close)
        frames.append(pd.DataFrame({"ticker": ticker, "ts": grid, **prices, "volume": 100}))
    return pd.concat(frames, ignore_index=True)


def forecasts(prices: pd.DataFrame, model: str = MODEL) -> pd.DataFrame:
    """Twelve steps of each name at both times, bands of all widths around the last close."""
    rng, rows = np.random.default_rng(2), []
    closes = prices.set_index(["ticker", "ts"])["close"]
    for as_of in (int(NOON.timestamp()), int(LATER.timestamp())):
        for ticker in NAMES:
            last = closes[ticker, as_of - BAR]
            for step in range(1, 13):
                around = np.sort(rng.normal(0, 4e-3, len(QUANTILE_COLUMNS)))
                quantiles = dict(
                    zip(QUANTILE_COLUMNS, (last * np.exp(around)).tolist(), strict=True)
                )
                rows.append(
                    {"model_id": model, "as_of": as_of, "ticker": ticker, "step": step,
                     "ts": as_of + BAR * (step - 1), "close": quantiles["q50"], **quantiles}
                )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def seeded(store: Store) -> Store:
    prices = bars()
    store.prices.upsert(prices, NOON + dt.timedelta(hours=3))
    store.books.record_forecasts(forecasts(prices))
    store.books.record_forecasts(forecasts(prices, "another-5m-00000000"))
    return store


def counted(prices: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """The same sums from frames."""
    close = prices.set_index(["ticker", "ts"])["close"]
    made = made[made["ts"] > made["as_of"]].copy()
    made["came"] = [close.get((t, ts)) for t, ts in zip(made["ticker"], made["ts"], strict=True)]
    made["last"] = [
        close.get((t, at - BAR)) for t, at in zip(made["ticker"], made["as_of"], strict=True)
    ]
    made = made.dropna(subset=["came", "last"])
    made["error"] = (made["came"] - made["close"]).abs() / made["last"]
    made["naive"] = (made["came"] - made["last"]).abs() / made["last"]
    for name in QUANTILE_COLUMNS:
        made[name] = made["came"] <= made[name]
    made["cases"] = 1
    return made.groupby(["as_of", "step"])[["cases", "error", "naive", *QUANTILE_COLUMNS]].sum()


def test_the_counts_are_those_of_the_frames(seeded: Store) -> None:
    found = seeded.forecasts.tallies(MODEL, [NOON, LATER], NAMES)
    expected = counted(bars(), forecasts(bars()))
    assert [(int(t.as_of.timestamp()), t.step) for t in found] == expected.index.tolist()
    assert min(t.step for t in found) == 2, "the bar that begins at the decision is not traded"
    assert [t.cases for t in found] == expected["cases"].tolist()
    assert [list(t.below) for t in found] == expected[list(QUANTILE_COLUMNS)].to_numpy().tolist()
    for name in ("error", "naive"):
        assert [getattr(t, name) for t in found] == pytest.approx(expected[name].tolist())


def test_only_the_times_and_names_that_are_asked_for_count(seeded: Store) -> None:
    found = seeded.forecasts.tallies(MODEL, [LATER], ["BRK.B"])
    assert {t.as_of for t in found} == {LATER} and {t.cases for t in found} == {1}
    assert seeded.forecasts.tallies("unknown", [NOON], NAMES) == []


def test_bars_that_have_not_come_and_names_that_were_silent_do_not_count(store: Store) -> None:
    prices = bars()
    made = forecasts(prices)
    silent = (prices["ticker"] == "A") & (prices["ts"] == int(NOON.timestamp()) - BAR)
    ended = prices["ts"] >= int(NOON.timestamp()) + 6 * BAR
    store.prices.upsert(prices[~silent & ~ended], NOON + dt.timedelta(hours=3))
    store.books.record_forecasts(made)
    found = store.forecasts.tallies(MODEL, [NOON, LATER], NAMES)
    assert [(t.as_of, t.step, t.cases) for t in found] == [(NOON, s, 2) for s in range(2, 7)]


def test_a_price_that_was_split_since_is_left_out(store: Store) -> None:
    prices = bars()
    store.books.record_forecasts(forecasts(prices))
    split = prices["ticker"] == "C"
    names = ["open", "high", "low", "close"]
    prices.loc[split, names] = prices.loc[split, names] / 4
    store.prices.upsert(prices, NOON + dt.timedelta(hours=3))
    assert {t.cases for t in store.forecasts.tallies(MODEL, [NOON], NAMES)} == {2}


def test_one_decisions_forecasts_come_back_as_they_were_made(seeded: Store) -> None:
    frame = seeded.forecasts.made(MODEL, NOON)
    wanted = forecasts(bars())
    wanted = wanted[wanted["as_of"] == int(NOON.timestamp())].sort_values(["ticker", "step"])
    names = ["close", *QUANTILE_COLUMNS]
    np.testing.assert_array_equal(frame[names].to_numpy(), wanted[names].to_numpy())
    assert frame["ticker"].tolist() == wanted["ticker"].tolist()
    assert [t.timestamp() for t in frame["ts"]] == wanted["ts"].tolist()
    assert seeded.forecasts.made(MODEL, NOON - dt.timedelta(hours=1)).empty

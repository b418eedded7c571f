"""The page of forecasts on a store with weeks of them: what a person reads is what came."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from seeded_books import MEMBERS, NOW, NUMBER, decision_of, forecasts_of
from seeded_forecasts import MODEL, RIVAL, seed_forecasts
from shown_page import Runner, metrics, said

from astra.records import Account
from astra.sessions import NEW_YORK
from astra.store import Store, open_store

DAYS = 11


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    """Shared: tests read it only."""
    url = f"sqlite:///{tmp_path_factory.mktemp('forecasts')}/astra.db"
    store = open_store(url)
    seed_forecasts(store, DAYS)
    yield store, url
    store.close()


def outcomes(store: Store) -> pd.DataFrame:
    """Every forecast of a bar that begins after its decision, beside what came."""
    made = store.books.read("forecasts").to_pandas()
    made = made[(made["model_id"] == MODEL) & (made["ts"] > made["as_of"])]
    bars = store.prices.read(list(MEMBERS), columns=("ticker", "ts", "close")).to_pandas()
    both = made.merge(bars, on=["ticker", "ts"], suffixes=("", "_came"))
    last = bars.assign(as_of=bars["ts"] + pd.Timedelta(minutes=5)).drop(columns="ts")
    return both.merge(last, on=["ticker", "as_of"], suffixes=("", "_last"))


def test_the_figures_of_trust_are_those_of_the_tables(
    page: Runner, seeded: tuple[Store, str]
) -> None:
    store, url = seeded
    app = page(url, "Forecasts")
    came, shown, text = outcomes(store), metrics(app), said(app)
    inside = came["close_came"].between(came["q05"], came["q95"]).mean()
    assert shown["Inside the 90% band"] == f"{inside:.1%}"
    assert f"inside the 90% band: as promised, as far as {DAYS} sessions can tell" in text
    error, naive = (
        ((came["close_came"] - came[name]).abs() / came["close_last"]).sum()
        for name in ("close", "close_last")
    )
    assert shown["Error / last price's"] == f"{error / naive:.3f}"
    assert f"mean error is {error / naive:.4f} times that of the last price" in text
    assert f"{len(came):,} closes after" in text and "all 16 names" in text
    assert "SIMULATED" in "".join(h.proto.body for h in app.get("html"))


def test_skill_and_its_state_are_those_of_the_last_decision(
    page: Runner, seeded: tuple[Store, str]
) -> None:
    store, url = seeded
    newest = store.books.read("decisions").to_pandas().sort_values("as_of")["object"].iloc[-1]
    told = store.books.decision(newest)
    assert told is not None
    app = page(url, "Forecasts")
    assert metrics(app)["Skill (IC)"] == f"{told['skill']['ic']:.3f}"
    state = "on" if told["skill"]["on"] else "off"
    assert f"t = {told['skill']['t']:.1f}, {state}" in [m.delta for m in app.metric]
    assert "does not move the weights" in said(app)


def test_any_past_decision_can_be_looked_at(page: Runner, seeded: tuple[Store, str]) -> None:
    store, url = seeded
    came = outcomes(store)
    app = page(url, "Forecasts")
    sessions = app.selectbox(key="forecast_session").options
    assert len(sessions) == 1 + DAYS and sessions[0] == "The latest"
    day = came["as_of"].min().tz_convert(str(NEW_YORK)).date().isoformat()
    app.selectbox(key="forecast_session").select(day).run()
    app.selectbox(key="forecast_ticker").select("OXY").run()
    at = app.selectbox(key=f"forecast_time_{day}").value
    own = came[(came["as_of"] == pd.Timestamp(at)) & (came["ticker"] == "OXY")]
    end = own.sort_values("step").iloc[-1]
    assert f"The last was ${end['close_came']:,.2f}" in said(app)
    assert f"the forecast was ${end['close']:,.2f}" in said(app)
    assert re.search(r"All 12 closes forecast came, \d+ inside", said(app))
    assert app.selectbox(key="forecast_session").value == day, "a choice survives the refresh"


def test_the_ranking_is_that_of_the_last_forecasts(page: Runner, seeded: tuple[Store, str]) -> None:
    store, url = seeded
    made = store.books.read("forecasts").to_pandas()
    newest = made[(made["as_of"] == made["as_of"].max()) & (made["step"] == 12)]
    bars = store.prices.read(list(MEMBERS), end=newest["as_of"].iloc[0].to_pydatetime())
    price = bars.to_pandas().sort_values("ts").groupby("ticker")["close"].last()
    moves = newest.set_index("ticker")["close"] / price - 1
    highest, lowest = (t.value for t in page(url, "Forecasts").dataframe[:2])
    assert highest["Ticker"].tolist() == moves.sort_values(ascending=False).index[:10].tolist()
    assert lowest["Ticker"].tolist() == moves.sort_values().index[:10].tolist()
    assert highest["Forecast, bp"].iloc[0] == pytest.approx(1e4 * moves.max())


def test_a_name_that_printed_three_quarters_of_an_hour_before_is_ranked_too(
    page: Runner, empty: tuple[Store, str]
) -> None:
    """A decision takes names whose last bar is of the hour before it."""
    store, url = empty
    as_of = dt.datetime(2026, 11, 20, 19, tzinfo=dt.UTC)
    fan = forecasts_of(dict.fromkeys(MEMBERS, 100.0), as_of, seed=1)
    store.books.record_forecasts(fan)
    store.books.record_decision("decision_1.json", decision_of({"KO": 0.1}, as_of))
    ages = {"KO": 5, "XOM": 45, "V": 60, "SO": 65}
    bars = [
        {"ticker": t, "ts": int((as_of - dt.timedelta(minutes=age)).timestamp())}
        | dict.fromkeys(("open", "high", "low", "close"), 100.0) | {"volume": 1}
        for t, age in ages.items()
    ]  # fmt: skip
    store.prices.upsert(pd.DataFrame(bars), NOW)
    highest = page(url, "Forecasts").dataframe[0].value
    assert set(highest["Ticker"]) == {"KO", "XOM", "V"}


def test_the_network_and_those_beside_it_are_shown(page: Runner, seeded: tuple[Store, str]) -> None:
    app = page(seeded[1], "Forecasts")
    card = app.table[0].value["Said"].str.replace("\\", "")
    assert card["Model"] == MODEL and card["Network"].startswith("N-BEATS")
    assert card["Inputs (PSI)"] == "0.031, alarm above 0.25"
    assert "IC 0.021 (t 2.6)" in card["On days held out"]
    assert card["Until"] == "30 Sep 2026, 50 days before this decision"
    bundles = app.dataframe[-1].value.set_index("Network")
    assert bundles["Role"].to_dict() == {
        MODEL: "champion", "nbeats-5m-00000001": "was champion", RIVAL: "challenger",
    }  # fmt: skip


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[tuple[Store, str]]:
    url = f"sqlite:///{tmp_path}/astra.db"
    store = open_store(url)
    cash = Decimal(5000)
    store.books.record_account_summary(Account(NUMBER, cash, cash, cash), [], NOW)
    yield store, url
    store.close()


def test_before_the_first_decision_the_page_says_what_makes_one(
    page: Runner, empty: tuple[Store, str]
) -> None:
    text = said(page(empty[1], "Forecasts"))
    assert "No forecast yet: the first decision (`astra allocate`) records one." in text


def test_a_decision_of_an_older_release_without_outcomes_is_told_as_far_as_it_goes(
    page: Runner, empty: tuple[Store, str]
) -> None:
    store, url = empty
    as_of = dt.datetime(2026, 11, 20, 19, tzinfo=dt.UTC)
    document = decision_of({"KO": 0.1}, as_of, skill={"ic": 0, "t": 0, "days": 0, "on": False})
    store.books.record_decision("decision_1.json", document)
    app = page(url, "Forecasts")
    text, shown = said(app), metrics(app)
    assert "are not in the store: the monitor records them" in text
    assert "No skill has been measured yet" in text and "No outcome yet" in text
    assert shown["Skill (IC)"] == shown["Inside the 90% band"] == shown["Health"] == "n/a"
    assert "Not recorded by that release" in text

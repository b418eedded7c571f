"""The page on a real store: seeded, empty, failing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from seeded_books import NOW, NUMBER, bars_of, decision_of, seed_store
from shown_page import House, Runner, house, metrics, said
from sqlalchemy import create_engine
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.local_script_runner import LocalScriptRunner
from streamlit.util import calc_hash

from astra.records import Account, Activity
from astra.sessions import last_sessions
from astra.settings import Settings
from frontend import decided
from frontend.feed import Feed


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Shared: tests read it only."""
    with house(tmp_path_factory.mktemp("page")) as found:
        seed_store(found.store)
        yield found


def feed_of(url: str) -> Feed:
    """The feed of a database, with settings that no file of this machine takes part in."""
    return Feed(Settings(_env_file=None, database_url=url))  # type: ignore[call-arg]


def test_a_seeded_account_is_shown_with_its_value_and_its_market(
    page: Runner, seeded: House
) -> None:
    app = page(seeded.url)
    summary = seeded.store.books.read("account_summary").to_pandas()
    worth = float(summary.sort_values("at")["equity"].iloc[-1])
    assert metrics(app)["Account value"] == f"${worth:,.2f}"
    text = said(app)
    assert "Paper trading · as of Fri 20 Nov 2026, 14:02 New York · 3 minutes old" in text
    assert "SIMULATED market (seed 1)" in "".join(h.proto.body for h in app.get("html"))
    assert not app.error and not app.warning


def test_the_return_agrees_with_the_books(page: Runner, seeded: House) -> None:
    equity = seeded.store.books.read("account_summary").to_pandas()["equity"].astype(float)
    shown = metrics(page(seeded.url))["Since the start"]
    assert float(shown.rstrip("%")) / 100 == pytest.approx(
        equity.iloc[-1] / equity.iloc[0] - 1, abs=5e-5
    )


def daily(frame: pd.DataFrame) -> pd.Series[float]:
    """The first value and the last of each day in New York."""
    day = frame["at"].dt.tz_convert("America/New_York").dt.date
    values = frame["equity"].astype(float)
    return pd.concat([values.head(1), values[~day.duplicated(keep="last")]])


def test_ratios_of_few_days_are_not_told_and_those_of_many_are_the_textbooks(
    page: Runner, seeded: House, empty: House
) -> None:
    few = metrics(page(seeded.url))
    assert [few[f"{name} ratio, a year"] for name in ("Sharpe", "Sortino")] == ["n/a", "n/a"]
    assert few["Days ahead of SPY"].endswith(" of 8")
    seed_store(empty.store, days=24)
    shown = metrics(page(empty.url))
    steps = daily(empty.store.books.read("account_summary").to_pandas()).pct_change().dropna()
    assert len(steps) == 24
    sharpe = steps.mean() / steps.std() * 252**0.5
    error = ((1 + sharpe**2 / 252 / 2) / 24) ** 0.5 * 252**0.5
    assert shown["Sharpe ratio, a year"] == f"{sharpe:.2f} ± {error:.2f}"
    downside = (steps.clip(upper=0) ** 2).mean() ** 0.5
    assert shown["Sortino ratio, a year"] == f"{steps.mean() / downside * 252**0.5:.2f}"
    assert shown["Volatility, a year"] == f"{steps.std() * 252**0.5:.2%}"


def test_a_week_and_another_benchmark_are_kept_while_other_pages_are_looked_at(
    page: Runner, empty: House
) -> None:
    seed_store(empty.store)
    bars = bars_of(last_sessions(10, NOW), seed=8)
    bars = bars[bars["ticker"] == "SPY"].assign(ticker="QQQ")
    empty.store.prices.upsert(bars, NOW)
    app = page(empty.url)
    app.button_group(key="account_since").set_value("1W").run()
    app.selectbox(key="account_benchmark").select("QQQ").run()
    frame = empty.store.books.read("account_summary").to_pandas()
    before = frame[frame["at"] < pd.Timestamp("2026-11-14 05:00", tz="UTC")]
    equity = frame["equity"].astype(float)
    week = equity.iloc[-1] / float(before["equity"].iloc[-1]) - 1
    for name in ("", "trades", ""):
        app._page_hash = calc_hash(name or "account")
        app.run()
    shown = metrics(app)
    assert shown["Return"] == shown["Money-weighted return"] == f"{week:+.2%}"
    closes = bars.set_index("ts")["close"]
    start = closes[closes.index + 300 <= before["at"].iloc[-1].timestamp()].iloc[-1]
    end = closes[closes.index + 300 <= frame["at"].iloc[-1].timestamp()].iloc[-1]
    assert float(shown["QQQ, price return"].rstrip("%")) / 100 == pytest.approx(
        end / start - 1, abs=6e-5
    )


def test_a_deposit_is_said_and_no_profit(page: Runner, empty: House) -> None:
    opened = NOW - dt.timedelta(days=2)
    for at, usd in ((opened, 1000), (NOW, 1650)):
        account = Account(NUMBER, Decimal(usd), Decimal(usd), Decimal(usd))
        empty.store.books.record_account_summary(account, [], at)
    lines = [Activity(f"c{i}", "CSD", at, Decimal(usd)) for i, (at, usd) in
             enumerate(((opened, 1000), (NOW - dt.timedelta(days=1), 500)))]  # fmt: skip
    empty.store.books.record_activities(NUMBER, lines)
    app = page(empty.url)
    assert metrics(app)["Since the start"] == "+10.00%"  # 150 on 1500 that were there
    growth = ((-500 + (500**2 + 4 * 1000 * 1650) ** 0.5) / 2000) ** 2  # 1000 x + 500 x^.5 = 1650
    assert metrics(app)["Money-weighted return"] == f"{growth - 1:+.2%}"
    assert "1 deposit or withdrawal taken out, together +$500.00" in said(app)


def test_a_day_after_the_last_value_is_answered_with_what_to_do(
    page: Runner, seeded: House
) -> None:
    app = page(seeded.url)
    app.button_group(key="account_since").set_value("Date").run()
    app.date_input(key="account_first_day").set_value(dt.date(2027, 3, 1)).run()
    assert "No value of the account was recorded since that day" in said(app)


def test_positions_stand_beside_their_targets(page: Runner, seeded: House) -> None:
    table = page(seeded.url).dataframe[0].value
    assert len(table) == 10
    assert (table["Drift"] - (table["Weight"] - table["Target"])).abs().max() < 1e-12
    assert table["Value"].is_monotonic_decreasing


def test_the_decision_says_what_was_done_and_on_which_skill(page: Runner, seeded: House) -> None:
    app = page(seeded.url, "Decisions")
    text = said(app)
    assert "Traded 62% of the way to the target" in text
    assert "has shown skill (t = 2.4 over 24 days)" in text
    assert metrics(app)["Certificate"] == "≤ 0.21%"
    orders = len(seeded.store.journal.orders("00112233aabbccdd"))
    assert f"Allocation done: {orders} of {orders} orders filled." in text
    assert "2 tickers left out" in [e.label for e in app.expander]


def test_another_ticker_can_be_chosen(page: Runner, seeded: House) -> None:
    app = page(seeded.url, "Forecasts")
    app.selectbox(key="forecast_ticker").select("OXY").run()
    assert said(app)
    assert app.selectbox(key="forecast_ticker").value == "OXY"


def test_without_spy_the_account_stands_alone_and_the_page_says_so(
    page: Runner, empty: House
) -> None:
    seed_store(empty.store, days=2, benchmark=False)
    app = page(empty.url)
    assert "SPY is not in the store for this time" in said(app)
    assert metrics(app)["SPY, price return"] == "n/a"


def test_an_empty_store_is_met_with_the_remedy(page: Runner, empty: House) -> None:
    assert "No account has been recorded yet: `astra monitor`" in said(page(empty.url))


def test_an_account_without_decision_says_where_decisions_come_from(
    page: Runner, empty: House
) -> None:
    account = Account(NUMBER, Decimal(5000), Decimal(5000), Decimal(5000))
    empty.store.books.record_account_summary(account, [], NOW)
    app = page(empty.url)
    assert metrics(app)["Account value"] == "$5,000.00"
    assert "Everything is in cash ($5,000.00)" in said(app)
    assert "One value of the account is recorded so far" in said(app)
    assert "market not known before the first load" in said(app)
    assert "No decision yet" in said(page(empty.url, "Decisions"))
    assert "No forecast yet" in said(page(empty.url, "Forecasts"))
    assert "Nothing has been sold yet" in said(page(empty.url, "Trades"))


def test_a_made_up_market_is_named_before_the_first_decision(page: Runner, empty: House) -> None:
    account = Account(NUMBER, Decimal(5000), Decimal(5000), Decimal(5000))
    empty.store.books.record_account_summary(account, [], NOW)
    empty.store.claim_market("simulated:4")
    bodies = [h.proto.body for h in page(empty.url).get("html")]
    assert any("SIMULATED market (seed 4)" in body for body in bodies)


def test_new_records_show_at_once_although_tables_are_kept(page: Runner, empty: House) -> None:
    app = page(empty.url)
    account = Account(NUMBER, Decimal(7), Decimal(7), Decimal(7))
    empty.store.books.record_account_summary(account, [], NOW)
    assert metrics(app.run())["Account value"] == "$7.00"


def test_of_several_accounts_the_newest_is_shown_and_the_others_can_be_chosen(
    page: Runner, empty: House
) -> None:
    for number, worth, at in (("PA1OLD", 5, NOW - dt.timedelta(days=9)), ("PA2NEW", 8, NOW)):
        account = Account(number, Decimal(worth), Decimal(worth), Decimal(worth))
        empty.store.books.record_account_summary(account, [], at)
    app = page(empty.url)
    assert metrics(app)["Account value"] == "$8.00"
    app.selectbox(key="account_number").select("PA1OLD").run()
    assert metrics(app)["Account value"] == "$5.00"


RESET = "PA9RESET"


def test_each_account_has_the_targets_and_decisions_that_are_its_own(
    page: Runner, empty: House
) -> None:
    """The paper account was reset: a new number, all in cash, and later its first decision."""
    seed_store(empty.store)
    books, later = empty.store.books, NOW + dt.timedelta(hours=1)
    books.record_account_summary(
        Account(RESET, Decimal(50_000), Decimal(50_000), Decimal(50_000)), [], later
    )
    assert not page(empty.url).dataframe, "nothing is held, and no target is another's"
    assert "No decision yet" in said(page(empty.url, "Decisions"))
    weights = {"AAPL": 0.5, "KO": 0.4}
    books.record_decision(
        "decision_2.json",
        decision_of(weights, later, gain_bp=44.4, held_weights={}, books_of={"account": RESET}),
    )
    targets = page(empty.url).dataframe[0].value.set_index("Symbol")["Target"]
    assert targets.to_dict() == weights
    seen = page(empty.url)
    seen.selectbox(key="account_number").set_value(NUMBER).run()
    table = seen.dataframe[0].value.set_index("Symbol")
    of_first = empty.store.journal.allocation("00112233aabbccdd")
    assert of_first is not None
    for symbol, row in table.iterrows():
        assert row["Target"] == of_first.weights.get(str(symbol), 0.0)
    seen = page(empty.url, "Decisions")
    assert metrics(seen)["Expected gain"] == "44.4 bp"
    seen.selectbox(key="account_number").set_value(NUMBER).run()
    assert metrics(seen)["Expected gain"] == "6.8 bp"
    assert "decision_2.json" not in seen.selectbox(key="decision_chosen").options
    (decided,) = [d.value for d in seen.dataframe if "Decided" in d.value]
    assert decided["Drift"].abs().max() < 0.02, "beside its own holdings, not the other's"


def test_a_decision_that_names_nobody_is_of_the_account_that_received_its_file(
    page: Runner, empty: House
) -> None:
    seed_store(empty.store)
    account = Account(RESET, Decimal(50_000), Decimal(50_000), Decimal(50_000))
    empty.store.books.record_account_summary(account, [], NOW + dt.timedelta(hours=1))
    other = decision_of({"V": 1.0}, NOW - dt.timedelta(minutes=5), object="target_1.csv")
    stray = decision_of({"KO": 1.0}, NOW, object="target_2.csv", books_of={"account": ""})
    empty.store.books.record_decision("decision_o.json", other)
    empty.store.books.record_decision("decision_s.json", stray)
    assert decided.own(empty.store, NUMBER) == {"decision_1.json", "decision_o.json"}
    assert decided.own(empty.store, RESET) == frozenset()
    worth, hour = Decimal(50_000), dt.timedelta(hours=1)
    for n, names in ((1, [RESET]), (2, [NUMBER]), (3, [NUMBER, RESET])):
        of = {"account": names[0]}
        empty.store.books.record_decision(
            f"decision_of_{n}.json", decision_of({}, NOW + n * hour, books_of=of)
        )
        for number in names:  # the books say the same, but where both accounts have some
            at = NOW + n * hour
            empty.store.books.record_shadow_book(number, "equal", at, worth, worth, {})
    assert decided.own(empty.store, RESET) == {"decision_of_1.json"}
    assert decided.own(empty.store, NUMBER) >= {"decision_of_2.json", "decision_of_3.json"}


def test_weights_stand_beside_targets_of_the_same_equity(
    page: Runner, seeded: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_CAPITAL", "20000")
    app = page(seeded.url)
    table = app.dataframe[0].value
    assert list(table["Weight"]) == pytest.approx(list(table["Value"] / 20_000))
    worth = float(seeded.store.books.read("account_summary").to_pandas()["equity"].iloc[-1])
    assert list(table["Of account"]) == pytest.approx(list(table["Value"] / worth))
    assert "of the $20,000.00 that are managed" in said(app)
    monkeypatch.delenv("ASTRA_CAPITAL")
    assert "Of account" not in page(seeded.url).dataframe[0].value


def test_holding_is_said_with_what_was_weighed(page: Runner, empty: House) -> None:
    seed_store(empty.store, days=1, market="real")
    held = {"tau": 0.0, "gain_bp": 0.4, "cost_bp": 3.5, "bound_gap": None, "market": "real",
            "skill": {"ic": 0.004, "t": 0.6, "days": 24, "on": False}}  # fmt: skip
    later = NOW + dt.timedelta(minutes=1)
    empty.store.books.record_decision("decision_2.json", decision_of({}, later, **held))
    app = page(empty.url, "Decisions")
    text = said(app)
    assert "Held: no trade was worth its cost" in text
    assert "expected to gain 0.4 bp of equity and to cost 3.5 bp" in text
    assert "has not proven itself (t = 0.6 over 24 days)" in text
    assert metrics(app)["Certificate"] == "n/a"
    assert not [h for h in app.get("html") if "SIMULATED" in h.proto.body]


def test_a_decision_that_cannot_be_read_is_one_sentence(page: Runner, empty: House) -> None:
    account = Account(NUMBER, Decimal(7), Decimal(7), Decimal(7))
    empty.store.books.record_account_summary(account, [], NOW)
    broken = decision_of({}, NOW) | {"weights": None}
    empty.store.books.record_decision("decision_2.json", broken)
    assert "A decision needs as_of and weights" in said(page(empty.url))


@pytest.mark.parametrize("table", ["alerts", "history"], ids=["at the top", "below it"])
def test_a_page_that_failed_is_tried_again_at_the_next_refresh_without_news(
    page: Runner, empty: House, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    seed_store(empty.store, days=1)
    rename(empty.url, table, "away")
    app = page(empty.url)
    assert len(app.error) == 1 and not app.exception and "Since the start" not in metrics(app)
    assert len(refreshed(app, monkeypatch).error) == 1
    rename(empty.url, "away", table)
    refreshed(app, monkeypatch)
    assert not app.error and "Since the start" in metrics(app)


def rename(url: str, table: str, name: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")
    engine.dispose()


def refreshed(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page after its own refresh, a run of its fragments alone; streamlit 1.67 has no call for
    it in its tests."""
    ask, fragments = LocalScriptRunner.request_rerun, list(app._fragment_storage._fragments)

    def of_fragments(runner: LocalScriptRunner, asked: RerunData) -> bool:
        runner._requests = ScriptRequests()  # it begins with one for all of the page
        return ask(runner, replace(asked, fragment_id_queue=fragments, is_auto_rerun=True))

    with monkeypatch.context() as patch:
        patch.setattr(LocalScriptRunner, "request_rerun", of_fragments)
        return app.run()


def test_before_there_is_a_database_the_page_says_how_to_get_one(page: Runner) -> None:
    text = said(page("sqlite:///nothing.db"))
    assert "there is none at nothing.db yet: start the services with `astra up`" in text
    assert not Path("nothing.db").exists()


def test_a_database_of_another_release_is_one_sentence_with_the_remedy(
    page: Runner, tmp_path: Path
) -> None:
    (tmp_path / "old.db").touch()
    assert "run `astra db upgrade`" in said(page("sqlite:///old.db"))


def test_a_file_that_is_no_database_is_one_sentence(page: Runner, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("this is a letter to my grandmother, not a database")
    assert "cannot be used" in said(page("sqlite:///broken.db"))


def test_the_version_changes_with_the_books_and_only_then(empty: House) -> None:
    feed = feed_of(empty.url)
    before = feed.pulse()
    assert feed.pulse() == before
    empty.store.books.record_decision("decision_3.json", decision_of({}, NOW))
    assert feed.pulse().books != before.books

"""The page of decisions on a seeded store: what a person reads against figures of our own."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from seeded_books import MEMBERS, NOW, NUMBER, decision_of, seed_store
from shown_page import House, Runner, house, metrics, said

from astra.attribution import DECIDED, Attribution
from astra.equity_curve import curve_of
from astra.records import Account, OrderStatus, PlanLine, Position, Side
from astra.sessions import decision_times_between
from astra.store import Store
from astra.store.journal import AllocationRow, OrderRow
from frontend import league, weights
from frontend.charts.decisions import interval_chart, league_chart, parts_chart, sectors_chart
from frontend.decision import certificate, forecast_sentence, parse, why

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

POLICIES = ("equal", "measured", "min_variance", "original", "risk_parity", "trust")
DECIDED_AT = dt.datetime(2026, 11, 20, 18, tzinfo=dt.UTC)  # an hour before the seeded one
HELD = {"AAPL": 0.30, "KO": 0.20, "XOM": 0.05}
TARGET = {"AAPL": 0.10, "KO": 0.25, "MSFT": 0.20}
WORTH = 0.6
WEIGHTS = {"AAPL": 0.18, "KO": 0.23, "MSFT": 0.12, "XOM": 0.02}


def whole(as_of: dt.datetime = DECIDED_AT, **changes: object) -> dict[str, object]:
    """A decision with all that today's release writes down."""
    names = sorted(HELD.keys() | TARGET.keys())
    parts = {}
    for name in names:
        had, wanted, got = (w.get(name, 0.0) for w in (HELD, TARGET, WEIGHTS))
        cost = (WORTH - 1) * (wanted - had)
        forecast = wanted / 4
        risk = wanted - forecast - had
        parts[name] = {
            "forecast": forecast, "risk": risk, "cost": cost,
            "limit": got - had - forecast - risk - cost,
        }  # fmt: skip
    return decision_of(
        WEIGHTS, as_of,
        tau=0.6, reason="trade: gain 9.1 bp, cost 4.4 bp", gain_bp=9.1, cost_bp=4.4,
        target=TARGET, held_weights=HELD, why=parts, why_reads="forecast is half of it",
        target_reason="all names: 3 of 14 names, at most 0.21% below the best possible",
        object="target_20261120-180000_0a1b2c3d.csv", coverage=0.9,
    ) | changes  # fmt: skip


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        seed_store(found.store)
        yield found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With an earlier decision, traded in part; shared, so tests read it only."""
    with house(tmp_path_factory.mktemp("decisions")) as found:
        seed_store(found.store)
        found.store.books.record_decision("decision_20261120-180000_0a1b2c3d.json", whole())
        traded(found.store)
        yield found


KEY = "aa00bb11cc22dd33"


def traded(store: Store) -> None:
    """The earlier decision's allocation: KO bought in full, MSFT refused."""
    store.journal.receive(
        AllocationRow(
            KEY, NUMBER, "astra", "target_20261120-180000_0a1b2c3d.csv", 1, DECIDED_AT,
            DECIDED_AT + dt.timedelta(minutes=30), "measured", "nbeats-3f2a9c", WEIGHTS,
            DECIDED_AT,
        )
    )  # fmt: skip
    fence = store.journal.take_lease(KEY, 60.0) or 0

    def order(symbol: str, qty: int, price: float) -> OrderRow:
        return OrderRow(
            f"{KEY}-{symbol}-buy-1", KEY, NUMBER, symbol, Side.BUY, 1, Decimal(qty), price,
            "to target", DECIDED_AT, DECIDED_AT,
        )  # fmt: skip

    lines = [
        PlanLine("KO", 50.0, 0.20, 0.23, 0.22, {"limit": -0.01, "rounding": 0.0}, "", 49.9),
        PlanLine("MSFT", 400.0, 0.0, 0.12, 0.12, {"limit": 0.0, "rounding": 0.0}, "", 400.0),
    ]
    orders = [order("KO", 60, 50.0), order("MSFT", 30, 400.0)]
    store.journal.plan_orders(KEY, fence, orders, "buying", lines)
    store.journal.mark(
        f"{KEY}-KO-buy-1", fence, OrderStatus.FILLED, DECIDED_AT, filled_qty=Decimal(60),
        filled_average_price=50.2,
    )  # fmt: skip
    store.journal.mark(
        f"{KEY}-MSFT-buy-1", fence, OrderStatus.REJECTED, DECIDED_AT, reason="no such asset"
    )
    store.journal.set_status(KEY, fence, "done", "1 of 2 orders filled", finished_at=DECIDED_AT)


def choose(app: AppTest, name: str) -> AppTest:
    return app.selectbox(key="decision_chosen").set_value(name).run()


EARLIER = "decision_20261120-180000_0a1b2c3d.json"


def frame(app: AppTest, *columns: str) -> pd.DataFrame:
    """The table that has these columns."""
    (found,) = (d.value for d in app.dataframe if set(columns) <= set(d.value.columns))
    return found


def test_the_latest_decision_is_shown_first_and_an_earlier_one_when_chosen(
    page: Runner, told: House
) -> None:
    app = page(told.url, "Decisions")
    assert "Fri 20 Nov 2026, 14:00 New York" in said(app)
    assert metrics(app)["Expected gain"] == "6.8 bp"
    choose(app, EARLIER)
    text = said(app)
    assert "Traded 60% of the way to the target" in text
    assert "Fri 20 Nov 2026, 13:00 New York" in text and 'title="2026-11-20 18:00:00 UTC"' in text
    assert (metrics(app)["Expected gain"], metrics(app)["Expected cost"]) == ("9.1 bp", "4.4 bp")
    assert metrics(app)["Certificate"] == "≤ 0.21%"
    assert "at most 0.21% below the best possible" in text


def test_the_choice_stays_when_a_newer_decision_comes_and_the_latest_follows(
    page: Runner, seeded: House
) -> None:
    seeded.store.books.record_decision(EARLIER, whole())
    latest, chosen = page(seeded.url, "Decisions"), page(seeded.url, "Decisions")
    choose(chosen, EARLIER)
    newer = decision_of({"AAPL": 0.1}, NOW, gain_bp=77.7)
    seeded.store.books.record_decision("decision_2.json", newer)
    assert metrics(latest.run())["Expected gain"] == "77.7 bp"
    assert metrics(chosen.run())["Expected gain"] == "9.1 bp"


def test_drift_is_what_the_account_holds_less_what_was_decided(page: Runner, told: House) -> None:
    app = page(told.url, "Decisions")
    last = told.store.books.read("account_summary").to_pandas().sort_values("at").iloc[-1]
    held = {p["symbol"]: p["value"] / float(last["equity"]) for p in json.loads(last["positions"])}
    decided = json.loads(
        told.store.books.read("decisions").to_pandas().sort_values("as_of")["document"].iloc[-1]
    )["weights"]
    table = frame(app, "Decided", "Drift").set_index("Symbol")
    assert set(table.index) == held.keys() | decided.keys()
    for symbol, row in table.iterrows():
        own, wanted = held.get(str(symbol), 0.0), decided.get(str(symbol), 0.0)
        assert row["Drift"] == pytest.approx(own - wanted, abs=1e-12)
        assert row["Sector"] == MEMBERS[str(symbol)][1]
    assert "Held before" not in table.columns, "this decision does not say what was held"


def test_what_was_held_before_a_decision_is_not_told_as_what_came_after_it(
    page: Runner, seeded: House
) -> None:
    """The account was saved at 14:02; the decision is of 14:05, its file in the bucket traded from
    14:06 to 14:08."""
    minute, store = dt.timedelta(minutes=1), seeded.store
    store.books.record_decision(
        "decision_2.json", decision_of(WEIGHTS, NOW, object="target_2.csv", held_weights=HELD)
    )
    assert not later_of(page(seeded.url, "Decisions"))
    row = AllocationRow(
        KEY, NUMBER, "astra", "target_2.csv", 1, NOW, NOW + dt.timedelta(hours=1), "measured",
        "nbeats-3f2a9c", WEIGHTS, NOW + minute,
    )  # fmt: skip
    store.journal.receive(row)
    save(store, NOW + 2 * minute)
    app = page(seeded.url, "Decisions")
    assert not later_of(app), "it is still being traded"
    assert "What was held after it is not on record yet." in said(app)
    fence = store.journal.take_lease(KEY, 60.0) or 0
    store.journal.set_status(KEY, fence, "done", "0 of 0 orders", finished_at=NOW + 3 * minute)
    assert not later_of(page(seeded.url, "Decisions"))
    save(store, NOW + 3 * minute)
    assert later_of(page(seeded.url, "Decisions")) == ["Held 14:08"]


def later_of(app: AppTest) -> list[str]:
    """Columns of the weights that say what was held after the decision."""
    columns = frame(app, "Decided").columns
    return [name for name in columns if name.startswith("Held") and name != "Held before"]


def save(store: Store, at: dt.datetime) -> None:
    account = Account(NUMBER, Decimal(600), Decimal(1_000), Decimal(600))
    store.books.record_account_summary(account, [Position("KO", Decimal(4), 100.0, 90.0)], at)


def test_an_earlier_decision_is_held_against_what_the_next_one_found(
    page: Runner, seeded: House
) -> None:
    found = {"AAPL": 0.17, "KO": 0.24, "MSFT": 0.11}
    seeded.store.books.record_decision(EARLIER, whole())
    later = whole(DECIDED_AT + dt.timedelta(minutes=30), held_weights=found)
    seeded.store.books.record_decision("decision_next.json", later)
    table = frame(choose(page(seeded.url, "Decisions"), EARLIER), "Drift").set_index("Symbol")
    assert list(table["Held before"]) == [HELD.get(s, 0.0) for s in table.index]
    assert list(table["Target"]) == [TARGET.get(s, 0.0) for s in table.index]
    for symbol in WEIGHTS:
        assert table["Drift"][symbol] == pytest.approx(found.get(symbol, 0) - WEIGHTS[symbol])


def test_why_a_weight_changed_sums_to_the_change_of_the_plan(page: Runner, told: House) -> None:
    table = frame(choose(page(told.url, "Decisions"), EARLIER), "Change", "Forecast")
    assert sorted(table["Symbol"]) == ["KO", "MSFT"], "the lines of the plan"
    table = table.set_index("Symbol")
    parts = table[["Forecast", "Risk", "Cost", "Limit", "Drift", "Rounding"]].fillna(0.0)
    for symbol, change in {"KO": 0.22 - 0.20, "MSFT": 0.12}.items():
        assert table["Change"][symbol] == pytest.approx(change)
        assert parts.loc[symbol].sum() == pytest.approx(change, abs=2e-4)
    assert table["Forecast"]["MSFT"] == pytest.approx(0.05)
    assert table["Cost"]["MSFT"] == pytest.approx(-0.4 * 0.20)


def test_without_a_plan_the_decisions_own_parts_are_shown(page: Runner, seeded: House) -> None:
    seeded.store.books.record_decision(EARLIER, whole())
    app = choose(page(seeded.url, "Decisions"), EARLIER)
    assert "No allocation of this decision has reached the rebalance function." in said(app)
    table = frame(app, "Change", "Forecast").set_index("Symbol")
    assert table["Change"]["AAPL"] == pytest.approx(0.18 - 0.30)
    parts = table[[name.capitalize() for name in DECIDED]].fillna(0.0).sum(axis=1)
    assert list(parts) == pytest.approx(list(table["Change"]), abs=2e-4)


def test_what_came_of_a_decision_is_told_with_its_cost(page: Runner, told: House) -> None:
    app = choose(page(told.url, "Decisions"), EARLIER)
    assert "Allocation done: 1 of 2 orders filled." in said(app)
    table = frame(app, "Ordered", "Filled").set_index("Symbol")
    assert list(table["Filled"]) == [60.0, 0.0]
    assert "no such asset" in table["Why not all"]["MSFT"]
    # KO: delay 60 x 0.10, execution 60 x 0.20. MSFT: 30 not bought, by the last close before 14:00,
    # when the next allocation came.
    closes = told.store.prices.read(["MSFT"]).to_pandas().sort_values("ts")
    ends = closes["ts"] + pd.Timedelta(minutes=5)
    last = closes[ends <= pd.Timestamp(DECIDED_AT + dt.timedelta(hours=1))]["close"].iloc[-1]
    usd = 60 * 0.10 + 60 * 0.20 + 30 * (last - 400.0)
    bp = 1e4 * usd / (60 * 49.9 + 30 * 400.0)
    assert metrics(app)["Shortfall"].replace(" bp", "") == f"{bp:+.1f}"
    assert table["Cost, bp"]["KO"] == pytest.approx(1e4 * 60 * 0.30 / (60 * 49.9))


def test_what_was_left_out_is_listed_with_its_reason(page: Runner, told: House) -> None:
    table = frame(page(told.url, "Decisions"), "Ticker", "Why")
    assert dict(zip(table["Ticker"], table["Why"], strict=True)) == {
        "GIS": "11 of 60 bars",
        "PARA": "its last bar is 75 minutes old",
    }


def test_a_decision_of_an_earlier_release_is_shown_as_far_as_it_goes(
    page: Runner, seeded: House
) -> None:
    bare = {
        "as_of": NOW.isoformat(), "policy": "measured", "model_id": "m", "method": "x",
        "reason": "hold: nothing to do", "weights": {},
    }  # fmt: skip
    seeded.store.books.record_decision("decision_9.json", bare)
    app = page(seeded.url, "Decisions")
    text = said(app)
    assert "did not write down its reasons" in text
    assert "The league begins with the second decision" in text
    assert metrics(app)["Skill (IC)"] == "n/a"
    assert not app.error


# The league.


def books_of(
    store: Store, times: list[dt.datetime], seed: int = 3, better: float = 0.0
) -> dict[str, np.ndarray]:
    """Shadow books at `times`, begun together; `better` is what `equal` earns more, a step."""
    rng = np.random.default_rng(seed)
    market = rng.normal(0, 2e-3, len(times) - 1)
    curves = {}
    for policy in POLICIES:
        steps = market + rng.normal(0, 4e-4, len(market)) + better * (policy == "equal")
        curve = np.round(1e5 * np.cumprod(np.append(1.0, 1 + steps)), 2)
        curves[policy] = curve
        for at, equity in zip(times, curve, strict=True):
            worth = Decimal(f"{equity:.2f}")
            store.books.record_shadow_book(NUMBER, policy, at, worth, worth, {})
    return curves


def begun(store: Store, since: dt.datetime, last: dt.datetime, note: str) -> None:
    """The decision that says when the books of `last` began."""
    of = {"account": NUMBER, "since": since.isoformat(), "note": note, "closes": {}}
    store.books.record_decision(
        f"decision_of_{last:%Y%m%d%H%M}.json", decision_of({}, last, books_of=of)
    )


def decision_times(days: int) -> list[dt.datetime]:
    first = dt.datetime(2026, 11, 20, tzinfo=dt.UTC) - dt.timedelta(days=days)
    return list(decision_times_between(first, NOW))


def test_a_league_of_a_day_ranks_nobody(page: Runner, seeded: House) -> None:
    times = decision_times(0)
    curves = books_of(seeded.store, times)
    app = page(seeded.url, "Decisions")
    assert "too few to compare policies, so none of them ranks above another yet" in said(app)
    table = frame(app, "Policy", "Return").set_index("Policy")
    for policy, curve in curves.items():
        name = f"{policy} (traded now)" if policy == "measured" else policy
        assert table["Return"][name] == pytest.approx(curve[-1] / curve[0] - 1)
    assert set(table["Sharpe, a year"]) == {"n/a"}
    assert set(table["Reads as"]) == {"compared with", "too few steps"}
    assert "95% interval" not in table.columns


def test_an_account_on_record_since_later_is_said_to_be_left_out(
    page: Runner, seeded: House
) -> None:
    books_of(seeded.store, decision_times(40))
    app = page(seeded.url, "Decisions")
    assert "The account itself is on record since a later time" in said(app)
    assert "Account, as traded" not in set(frame(app, "Policy", "Return")["Policy"])


def test_the_account_stands_among_the_books_as_it_was_recorded(page: Runner, seeded: House) -> None:
    summary = seeded.store.books.read("account_summary").to_pandas()
    times = [t for t in decision_times(3) if pd.Timestamp(t) > summary["at"].min()]
    books_of(seeded.store, times)
    table = frame(page(seeded.url, "Decisions"), "Policy", "Return").set_index("Policy")
    first, last = (
        float(summary[summary["at"] <= pd.Timestamp(t)].sort_values("at")["equity"].iloc[-1])
        for t in (times[0], times[-1])
    )
    assert table["Return"]["Account, as traded"] == pytest.approx(last / first - 1)


def test_a_league_of_weeks_tells_only_what_chance_does_not_explain(
    page: Runner, seeded: House
) -> None:
    times = decision_times(40)
    curves = books_of(seeded.store, times, seed=5, better=5e-4)
    app = page(seeded.url, "Decisions")
    text = said(app)
    assert "Policy equal differs from measured by more than chance explains" in text
    assert "of 5 such intervals one in twenty does by chance alone" in text
    table = frame(app, "Policy", "95% interval").set_index("Policy")
    assert table["Reads as"]["equal"] == "better"
    assert set(table["Reads as"].drop(["equal", "measured (traded now)"])) <= {
        "not told apart", "worse",
    }  # fmt: skip
    steps = {name: np.diff(curve) / curve[:-1] for name, curve in curves.items()}
    less = (steps["equal"] - steps["measured"]).sum()
    (column,) = (name for name in table.columns if name.startswith("Less measured"))
    assert float(table[column]["equal"].rstrip("%")) / 100 == pytest.approx(less, abs=6e-5)


def test_books_that_began_anew_are_said_and_not_joined(page: Runner, seeded: House) -> None:
    times = decision_times(3)
    books_of(seeded.store, times[:7])
    since = times[7]
    fresh = books_of(seeded.store, times[7:], seed=9)
    begun(seeded.store, since, times[-1], "new books: other terms")
    app = page(seeded.url, "Decisions")
    text = said(app)
    assert "(new books: other terms)" in text
    assert "Earlier books ended on" in text and "not counted here" in text
    table = frame(app, "Policy", "Return").set_index("Policy")
    curve = fresh["trust"]
    assert table["Return"]["trust"] == pytest.approx(curve[-1] / curve[0] - 1)


def test_a_change_of_the_traded_policy_is_said_and_a_policy_without_a_book_is_no_measure() -> None:
    times = decision_times(30)
    rng = np.random.default_rng(0)
    rows = [
        {"policy": policy, "at": at, "equity": f"{equity:.2f}"}
        for policy in ("equal", "trust")
        for at, equity in zip(
            times, 1e5 * np.cumprod(1 + rng.normal(0, 1e-3, len(times))), strict=True
        )
    ]
    late = {"policy": "late", "at": times[-1], "equity": "100000"}
    books = pd.DataFrame([*rows, late])
    books["at"] = pd.to_datetime(books["at"], utc=True)
    values = [(t, 5e4 + 10 * i) for i, t in enumerate(times)]
    traded_by = ["equal", "mine.py:own", "equal", "mine.py:own"]
    found = league.league_of(books, curve_of([], values, []), traded_by, None, "")
    assert found is not None
    assert found.against == league.ACCOUNT
    assert found.curves[league.ACCOUNT][0] == found.curves["equal"][0], "from a common start"
    grown = found.curves[league.ACCOUNT][-1] / found.curves[league.ACCOUNT][0]
    assert grown == pytest.approx(values[-1][1] / values[0][1])
    told = league.began(found)
    assert "traded by equal, then by mine.py:own, then by equal, then by mine.py:own" in told
    assert "Left out, as their books began later: late" in told
    assert [row.name for row in found.rows] == ["account", "equal", "trust"], "no ranking"
    assert len(league_chart(found).data) == 3
    (dots,) = interval_chart(found).data
    assert list(dots.y) == ["trust", "equal"]
    for (_, interval), low in zip(found.compared[::-1], dots.error_x["array"], strict=True):
        assert low == pytest.approx(interval.high - interval.difference)


def test_a_book_of_one_moment_is_no_league() -> None:
    books = pd.DataFrame({"policy": ["equal"], "at": [pd.Timestamp(NOW)], "equity": ["1"]})
    assert league.league_of(books, None, [], None, "") is None


# Rules of their own.


def answer(**changes: object) -> str:
    return json.dumps(whole(**changes))


@pytest.mark.parametrize(
    ("policy", "skill", "told"),
    [
        ("measured", {"ic": 0.0, "t": 0.2, "days": 9, "on": False}, "does not move the weights"),
        ("original", {"ic": 0.0, "t": 0.2, "days": 9, "on": False}, "whatever its skill, which "
         "has not proven itself (t = 0.2 over 9 days)"),
        ("trust", {}, "there is no record of it yet"),
        ("min_variance", {"ic": 0.1, "t": 3.0, "days": 9, "on": True}, "uses no forecast"),
        ("mine.py:own", {"ic": 0.1, "t": 3.0, "days": 9, "on": True}, "as it chooses, which has "
         "shown skill"),
        ("equal", {"ic": 0.1, "t": 9.0, "days": 9, "on": True, "suspect": True}, "too good"),
    ],
)  # fmt: skip
def test_what_the_forecast_does_depends_on_the_policy(
    policy: str, skill: Mapping[str, object], told: str
) -> None:
    assert told in forecast_sentence(parse(answer(policy=policy, skill=skill)))


def test_a_trade_that_costs_more_than_it_gains_is_not_called_worth_it() -> None:
    assert "trades whatever it costs" in why(parse(answer(gain_bp=-2.2, cost_bp=3.7)))
    assert "whatever" not in why(parse(answer()))


def test_a_rule_has_no_certificate() -> None:
    assert "nothing is proven" in certificate(parse(answer(bound_gap=None)))
    assert "nothing is proven" not in certificate(parse(answer()))


def test_the_weights_held_are_of_the_equity_that_is_managed() -> None:
    own = {"KO": 3_000.0, "V": 1_000.0}
    assert weights.held_after(6_000, 10_000, own, 0) == pytest.approx({"KO": 0.3, "V": 0.1})
    assert weights.held_after(6_000, 10_000, own, 5_000) == pytest.approx({"KO": 0.6, "V": 0.2})
    assert weights.held_after(0, 0, {}, 0) == {}


def test_sectors_sum_their_names() -> None:
    universe = pd.DataFrame(
        [(t, name, sector) for t, (name, sector) in MEMBERS.items()],
        columns=["ticker", "name", "sector"],
    )
    table = weights.weights_table(parse(answer()), universe, {"AAPL": 0.2, "NEW": 0.1})
    sums = weights.by_sector(table).set_index("sector")
    assert sums["decided"]["Information Technology"] == pytest.approx(0.18 + 0.12)
    assert sums["after"]["Unknown"] == pytest.approx(0.1)
    bars, marks = sectors_chart(weights.by_sector(table), "Held 14:00").data
    assert list(bars.x) == list(sums["decided"]) and list(marks.x) == list(sums["after"])


def test_the_chart_of_a_change_goes_from_what_was_held_to_what_was_planned() -> None:
    change = Attribution("KO", 0.2, 0.22, {"forecast": 0.05, "risk": -0.03, "cost": 1e-9})
    (drawn,) = parts_chart(change, "planned").data
    assert list(drawn.measure) == ["absolute", "relative", "relative", "total"]
    assert math.fsum(drawn.x[:-1]) == pytest.approx(drawn.x[-1])
    assert list(drawn.y) == ["Held  20.00%", "Forecast  +5.00%", "Risk  -3.00%", "Planned  22.00%"]

"""The page's pure parts: curves, holdings, decisions, rankings and words, by hand-worked cases."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math

import numpy as np
import pandas as pd
import pytest

from astra.equity_curve import Figures, curve_of
from astra.errors import DataError
from astra.performance import HitRate
from astra.sessions import sessions_between
from frontend import account, decision, words
from frontend.sections.risk import basis, hits, ratio

MONDAY = pd.Timestamp("2026-11-16 15:00", tz="UTC")


def closes_from(first: dt.date, *values: float) -> list[tuple[dt.datetime, float]]:
    """A value at the close of each session."""
    start = dt.datetime.combine(first, dt.time(), dt.UTC)
    sessions = sessions_between(start, start + dt.timedelta(days=2 * len(values) + 9))
    return [(s.closes_at, v) for s, v in zip(sessions, values, strict=False)]


@pytest.mark.parametrize(
    ("preset", "first"),
    [
        ("1D", dt.date(2026, 3, 31)),
        ("1W", dt.date(2026, 3, 25)),
        ("1M", dt.date(2026, 3, 1)),  # from the end of February
        ("3M", dt.date(2026, 1, 1)),
        ("YTD", dt.date(2026, 1, 1)),
        ("1Y", dt.date(2025, 4, 1)),
        ("All", None),
    ],
)
def test_a_span_begins_with_the_day_after_the_same_day_before(
    preset: str, first: dt.date | None
) -> None:
    assert account.first_day(preset, dt.date(2026, 3, 31)) == first


def books(*values: float, first: dt.date) -> account.Books:
    """On its nth day an account trades n USD at a hundredth of it; half of it is invested."""
    days = closes_from(first, *values)
    traded = [(at.date(), float(i)) for i, (at, _) in enumerate(days)]
    return account.Books(
        curve=curve_of([], days, []),
        invested=tuple((at, 0.5 + 0.1 * (i == 0)) for i, (at, _) in enumerate(days)),
        traded=tuple(traded),
        cost=tuple((day, usd / 100) for day, usd in traded),
    )


def test_a_span_counts_what_was_traded_after_its_first_value() -> None:
    whole = books(100, 110, 99, 121, first=dt.date(2026, 11, 16))
    assert whole.curve is not None
    found = account.span(whole, whole.curve, dt.date(2026, 11, 18))
    assert found.curve.values.tolist() == [110, 99, 121]
    assert found.figures.time_weighted == pytest.approx(121 / 110 - 1)
    assert (found.trading.traded, found.trading.cost) == (5.0, pytest.approx(0.05))
    assert found.exposure == 0.5
    assert found.trading.turnover == pytest.approx(5 / 110 / (2 / 252))  # 110 is their mean


def test_all_of_an_account_counts_its_first_day_too() -> None:
    whole = books(100, 110, first=dt.date(2026, 11, 16))
    assert whole.curve is not None
    for first in (None, dt.date(2020, 1, 1)):
        found = account.span(whole, whole.curve, first)
        assert (found.trading.traded, found.exposure) == (1.0, pytest.approx(0.55))


def test_months_stand_under_their_year_the_newest_first() -> None:
    days = closes_from(dt.date(2025, 12, 30), 100, 110, 121, 121, 99)
    days += closes_from(dt.date(2026, 2, 2), 110)
    curve = curve_of([], days, [])
    assert curve is not None
    alone = account.months(curve)
    assert alone["period"].tolist() == [
        "Year 2026",
        "February 2026",
        "January 2026",
        "December 2025",
    ]
    assert alone["account"].tolist() == pytest.approx([0, 1 / 9, -0.1, 0.1])
    assert alone[["benchmark", "ahead"]].isna().all(axis=None)
    starts = np.array([int(at.timestamp()) - 300 for at, _ in days], np.int64)
    beside = account.months(curve.beside(starts, np.array([50.0, 50, 50, 50, 60, 66])))
    assert beside["benchmark"].tolist() == pytest.approx([0.32, 0.1, 0.2, 0])
    assert beside["ahead"].tolist() == pytest.approx([-0.32, 1 / 9 - 0.1, -0.3, 0.1])


UNIVERSE = pd.DataFrame(
    {
        "ticker": ["OXY", "KO"],
        "name": ["Occidental Petroleum", "Coca-Cola"],
        "sector": ["Energy", "Consumer Staples"],
    }
)


def record(positions: object) -> pd.DataFrame:
    return pd.DataFrame(
        {"at": [MONDAY], "equity": ["1000"], "cash": ["400"], "positions": [json.dumps(positions)]}
    )


OXY = {"symbol": "OXY", "qty": "12", "price": 50.0, "value": 600.0, "average_entry_price": 45.0}


def test_holdings_name_weight_drift_and_open_profit_of_each_position() -> None:
    row = account.holdings(record([OXY]), UNIVERSE, {"OXY": 0.55}, 0.0).table.iloc[0]
    assert (row["name"], row["sector"], row["qty"]) == ("Occidental Petroleum", "Energy", 12.0)
    assert row["weight"] == pytest.approx(0.60)
    assert row["drift"] == pytest.approx(0.05)
    assert row["gain"] == pytest.approx(12 * 5.0)


def test_a_target_that_is_not_held_and_a_holding_without_a_target_both_show_their_drift() -> None:
    table = account.holdings(record([OXY]), UNIVERSE, {"KO": 0.3}, 0.0).table.set_index("symbol")
    assert table["drift"].to_dict() == pytest.approx({"OXY": 0.6, "KO": -0.3})


def test_weights_are_of_what_is_managed_and_a_persons_own_shares_have_none() -> None:
    """400 USD in cash, 12 OXY of which 3 are ours, and KO that a person bought: at most 400 are
    managed."""
    oxy = {**OXY, "own_qty": "3"}
    ko = {"symbol": "KO", "qty": "2", "price": 60.0, "value": 120.0, "own_qty": "0"}
    found = account.holdings(record([oxy, ko]), UNIVERSE, {"OXY": 0.5}, 400.0)
    assert (found.managed, found.is_apart) == (400.0, True)
    table = found.table.set_index("symbol")
    own = table.loc["OXY", ["weight", "target", "drift", "share"]]
    assert own.tolist() == pytest.approx([150 / 400, 0.5, -0.125, 0.6])
    assert table.loc["KO", ["weight", "target", "drift"]].isna().all()
    assert table["share"]["KO"] == pytest.approx(0.12)
    assert account.by_sector(found.table)["sector"].tolist() == ["Energy"]
    assert not account.holdings(record([OXY]), UNIVERSE, {}, 0.0).is_apart


def test_without_a_decision_there_is_no_target() -> None:
    table = account.holdings(record([OXY]), UNIVERSE, None, 0.0).table
    assert table["target"].isna().all() and table["drift"].isna().all()
    assert account.by_sector(table)["target"].isna().all()


def test_a_position_outside_the_universe_is_shown_under_an_unknown_sector() -> None:
    stranger = {**OXY, "symbol": "ZZZ"}
    sectors = account.by_sector(account.holdings(record([stranger]), UNIVERSE, {}, 0.0).table)
    assert sectors["sector"].tolist() == ["Unknown"]


def test_positions_that_are_no_json_are_refused() -> None:
    broken = record([]).assign(positions="[{")
    with pytest.raises(DataError, match="positions"):
        account.holdings(broken, UNIVERSE, None, 0.0)


def document(**changes: object) -> str:
    return json.dumps(
        {"as_of": "2026-11-16T15:00:00+00:00", "weights": {"OXY": 0.1}, "tau": 0.0,
         "gain_bp": 0.4, "cost_bp": 3.5, **changes}
    )  # fmt: skip


def test_a_decision_that_moved_nothing_was_held_and_says_what_was_weighed() -> None:
    held = decision.parse(document())
    assert decision.verdict(held) == "Held: no trade was worth its cost"
    assert "0.4 bp" in decision.why(held) and "3.5 bp" in decision.why(held)


@pytest.mark.parametrize(
    ("tau", "said"),
    [(0.62, "Traded 62% of the way to the target"), (1.0, "Traded all the way to the target")],
)
def test_a_decision_says_how_far_it_went(tau: float, said: str) -> None:
    assert decision.verdict(decision.parse(document(tau=tau))) == said


def test_what_a_decision_does_not_know_is_nan_and_never_0() -> None:
    found = decision.parse(document(bound_gap=None, gain_bp=None))
    assert math.isnan(found.bound_gap) and math.isnan(found.skill.t)
    assert decision.why(found) == ""


@pytest.mark.parametrize(
    ("skill", "said"),
    [
        (None, "no record yet"),
        ({"ic": 0.04, "t": 2.4, "days": 22, "on": True}, "has shown skill (t = 2.4 over 22 days)"),
        ({"ic": 0.0, "t": 0.6, "days": 22, "on": False}, "does not move the weights"),
        ({"ic": 0.5, "t": 9.0, "days": 22, "on": True, "suspect": True}, "too good to be true"),
    ],
)
def test_skill_is_said_in_words(skill: object, said: str) -> None:
    assert said in decision.skill_sentence(decision.parse(document(skill=skill)).skill)


def test_an_alarm_says_why_the_forecast_is_not_used() -> None:
    health = {"psi": 0.4, "alarms": ["inputs have drifted (PSI 0.40, limit 0.25): retrain"]}
    found = decision.parse(document(health=health)).skill
    assert decision.skill_sentence(found) == (
        "The forecast is not used: inputs have drifted (PSI 0.40, limit 0.25): retrain."
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"as_of": "yesterday", "weights": {}}'])
def test_a_document_without_time_and_weights_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="as_of"):
        decision.parse(text)


def test_only_the_real_market_goes_without_a_warning() -> None:
    assert decision.market_line("real") is None
    assert "SIMULATED market (seed 12)" in str(decision.market_line("simulated:12"))
    assert "REPLAYED" in str(decision.market_line("replay:9f3c"))


@pytest.mark.parametrize(
    ("usd", "signed", "said"),
    [
        (1234.5, False, "$1,234.50"),
        (-0.5, False, "-$0.50"),
        (431.119, True, "+$431.12"),
        (-0.001, True, "$0.00"),
        (math.nan, True, "n/a"),
    ],
)
def test_money_is_rounded_to_cents_and_keeps_its_sign(usd: float, signed: bool, said: str) -> None:
    assert words.money(usd, signed=signed) == said


def test_percentages_are_of_fractions() -> None:
    assert words.percent(0.12345) == "12.35%"
    assert words.percent(-0.00001, signed=True) == "0.00%"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute old"), (7300, "2 hours old"),
     (90_000, "1 day old")],
)  # fmt: skip
def test_ages_are_said_in_the_largest_unit(seconds: int, said: str) -> None:
    assert words.age(dt.timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(25, "25 min"), (190, "3 h 10 min"), (300, "5 h"), (3 * 1440 + 61, "3 d 1 h")],
)
def test_holding_times_are_short(minutes: int, said: str) -> None:
    assert words.held(dt.timedelta(minutes=minutes)) == said


def test_text_from_the_store_cannot_become_markup() -> None:
    assert words.plain("<b>$1 *x* [a](b)") == r"\<b\>\$1 \*x\* \[a\]\(b\)"


def test_times_are_new_yorks() -> None:
    summer = dt.datetime(2026, 7, 15, 18, 35, tzinfo=dt.UTC)
    assert words.new_york(summer) == "Wed 15 Jul 2026, 14:35 New York"


@pytest.mark.parametrize(
    ("sharpe", "error", "said"),
    [
        (1.8, 0.5, ("1.80 ± 0.50", "over 400 days")),
        (1.8, 0.95, ("1.80 ± 0.95", "400 days: too few")),
        (-2.0, 0.9, ("-2.00 ± 0.90", "over 400 days")),
        (math.nan, math.nan, ("n/a", "400 days: too few")),
    ],
)
def test_a_sharpe_ratio_never_stands_without_its_error(
    sharpe: float, error: float, said: tuple[str, str]
) -> None:
    figures = figures_of(sharpe=sharpe, sharpe_error=error)
    assert (ratio(figures), basis(figures)) == said


def figures_of(**known: object) -> Figures:
    """Figures of 400 days of which only these are known."""
    unknown = dict.fromkeys((f.name for f in dataclasses.fields(Figures)), math.nan)
    return Figures(**{**unknown, "days": 400, "hit": None, **known})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hit", "said"),
    [
        (None, ("n/a", None)),
        (HitRate(5, 3), ("3 of 5", "too few")),
        (HitRate(100, 55), ("55% ± 5%", "55 of 100: too few")),
        (HitRate(400, 240), ("60% ± 2%", "240 of 400 days")),
    ],
)
def test_days_ahead_say_what_chance_explains(
    hit: HitRate | None, said: tuple[str, str | None]
) -> None:
    assert hits(figures_of(hit=hit)) == said

"""The page's pure parts: curves, holdings, decisions, rankings and words, by hand-worked cases."""

from __future__ import annotations

import datetime as dt
import json
import math

import numpy as np
import pandas as pd
import pytest

from astra.errors import DataError
from astra.performance import Performance
from frontend import account, decision, outlook, words
from frontend.sections.performance import basis, ratio

MONDAY = pd.Timestamp("2026-11-16 15:00", tz="UTC")
NOTHING = pd.DataFrame({"type": [], "at": pd.DatetimeIndex([], tz="UTC"), "net_amount": []})


def values(*equity: str, start: pd.Timestamp = MONDAY) -> pd.DataFrame:
    """Hourly values of an account, decimal strings as they come from the store."""
    times = [start + pd.Timedelta(hours=i) for i in range(len(equity))]
    return pd.DataFrame({"at": pd.DatetimeIndex(times, tz="UTC"), "equity": equity})


def closes(*prices: float, start: pd.Timestamp) -> pd.DataFrame:
    """A benchmark's hourly bars."""
    times = [start + pd.Timedelta(hours=i) for i in range(len(prices))]
    return pd.DataFrame({"ts": pd.DatetimeIndex(times, tz="UTC"), "close": prices})


NONE = values()
UNPRICED = closes(start=MONDAY)


def test_the_benchmark_starts_at_the_accounts_value_and_uses_only_bars_that_had_ended() -> None:
    # The bar that starts at 15:00 ends at 15:05: at 15:00 the one of 14:00 is the last.
    prices = closes(50.0, 60.0, 55.0, start=MONDAY - pd.Timedelta(hours=1))
    curve = account.account_curve(values("1000", "1010"), NONE, NOTHING, prices)
    assert curve is not None and curve.benchmark is not None
    assert curve.benchmark.tolist() == [1000.0, 1200.0]
    assert curve.performance().benchmark_return == pytest.approx(0.2)
    assert curve.performance().total_return == pytest.approx(0.01)


def test_a_benchmark_that_begins_after_the_account_is_left_out() -> None:
    curve = account.account_curve(values("1000", "1010"), NONE, NOTHING, closes(5.0, start=MONDAY))
    assert curve is not None
    assert curve.benchmark is None
    assert math.isnan(curve.performance().benchmark_return)


def test_a_deposit_is_no_profit() -> None:
    came = pd.DataFrame(
        {"type": ["CSD"], "at": [MONDAY + pd.Timedelta(minutes=70)], "net_amount": ["500"]}
    )
    curve = account.account_curve(values("1000", "1100", "1655"), NONE, came, UNPRICED)
    assert curve is not None
    assert curve.flows == 1
    np.testing.assert_allclose(curve.equity, [1000, 1100, 1100 * 1155 / 1100])


def test_the_deposit_that_opened_the_account_and_a_dividend_change_nothing() -> None:
    came = pd.DataFrame(
        {
            "type": ["CSD", "DIV"],
            "at": [MONDAY - pd.Timedelta(hours=1), MONDAY + pd.Timedelta(minutes=70)],
            "net_amount": ["1000", "55"],
        }
    )
    curve = account.account_curve(values("1000", "1100", "1155"), NONE, came, UNPRICED)
    assert curve is not None
    assert (curve.flows, curve.equity.tolist()) == (0, [1000, 1100, 1155])


def test_the_brokers_history_is_followed_by_what_the_summary_knows_after_it() -> None:
    history = values("0", "1000", "1001")  # before its first deposit an account is worth 0
    summary = values("990", "1005", start=MONDAY + pd.Timedelta(minutes=90))
    curve = account.account_curve(summary, history, NOTHING, UNPRICED)
    assert curve is not None
    assert curve.equity.tolist() == [1000, 1001, 1005]


def test_what_the_summary_knew_before_the_brokers_first_window_ended_begins_the_curve() -> None:
    history = values("1003", "1004", start=MONDAY + pd.Timedelta(hours=1))
    summary = values("1000", "1002", start=MONDAY)
    curve = account.account_curve(summary, history, NOTHING, UNPRICED)
    assert curve is not None
    assert curve.equity[0] == 1000
    assert curve.equity[-1] == 1004


def test_an_account_that_was_never_worth_anything_has_no_curve() -> None:
    assert account.account_curve(values("0", "0"), NONE, NOTHING, UNPRICED) is None


def test_a_day_begins_at_the_last_value_of_the_day_before_in_new_york() -> None:
    evening = pd.Timestamp("2026-11-17 02:30", tz="UTC")  # still Monday in New York
    points = pd.concat([values("100"), values("101", start=evening),
                        values("102", "103", start=MONDAY + pd.Timedelta(days=1))])  # fmt: skip
    curve = account.account_curve(points, NONE, NOTHING, UNPRICED)
    assert curve is not None
    assert curve.day_start == 1
    assert curve.performance(curve.day_start).total_return == pytest.approx(103 / 101 - 1)


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
    row = account.holdings(record([OXY]), UNIVERSE, {"OXY": 0.55}).table.iloc[0]
    assert (row["name"], row["sector"], row["qty"]) == ("Occidental Petroleum", "Energy", 12.0)
    assert row["weight"] == pytest.approx(0.60)
    assert row["drift"] == pytest.approx(0.05)
    assert row["gain"] == pytest.approx(12 * 5.0)


def test_a_target_that_is_not_held_and_a_holding_without_a_target_both_show_their_drift() -> None:
    table = account.holdings(record([OXY]), UNIVERSE, {"KO": 0.3}).table.set_index("symbol")
    assert table["drift"].to_dict() == pytest.approx({"OXY": 0.6, "KO": -0.3})


def test_without_a_decision_there_is_no_target() -> None:
    table = account.holdings(record([OXY]), UNIVERSE, None).table
    assert table["target"].isna().all() and table["drift"].isna().all()
    assert account.by_sector(table)["target"].isna().all()


def test_a_position_outside_the_universe_is_shown_under_an_unknown_sector() -> None:
    stranger = {**OXY, "symbol": "ZZZ"}
    sectors = account.by_sector(account.holdings(record([stranger]), UNIVERSE, {}).table)
    assert sectors["sector"].tolist() == ["Unknown"]


def test_positions_that_are_no_json_are_refused() -> None:
    broken = record([]).assign(positions="[{")
    with pytest.raises(DataError, match="positions"):
        account.holdings(broken, UNIVERSE, None)


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


def test_the_ranking_compares_the_last_step_with_the_last_close_before() -> None:
    fans = pd.DataFrame(
        {"ticker": ["KO", "KO", "OXY", "OXY", "NEW"], "step": [2, 1, 1, 2, 2],
         "close": [99.0, 150.0, 50.0, 51.0, 7.0], "q05": 48.0, "q95": 105.0}
    )  # fmt: skip
    prices = pd.DataFrame(
        {"ticker": ["KO", "OXY", "OXY"], "ts": [1, 2, 1], "close": [100.0, 50.0, 1.0]}
    )
    ranked = outlook.ranking(fans, prices)
    assert ranked["ticker"].tolist() == ["OXY", "KO"]
    assert ranked["move"].tolist() == pytest.approx([0.02, -0.01])
    assert ranked["low"].tolist() == pytest.approx([-0.04, -0.52])


def test_only_the_newest_forecast_is_shown() -> None:
    frame = pd.DataFrame({"model_id": "m", "as_of": [1, 2, 2], "ticker": ["A", "B", "C"]})
    assert outlook.latest(frame)["ticker"].tolist() == ["B", "C"]
    assert outlook.latest(frame.head(0)).empty


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
        (1.8, 0.5, ("1.80 ± 0.50", "over 400 steps")),
        (1.8, 0.95, ("1.80 ± 0.95", "400 steps: too few")),
        (-2.0, 0.9, ("-2.00 ± 0.90", "over 400 steps")),
        (math.nan, math.nan, ("n/a", "400 steps: too few")),
    ],
)
def test_a_sharpe_ratio_never_stands_without_its_error(
    sharpe: float, error: float, said: tuple[str, str]
) -> None:
    figures = Performance(400, 0.1, 0.1, sharpe, error, -0.1, math.nan)
    assert (ratio(figures), basis(figures)) == said

"""What the user forbids or limits holds for every policy, whatever is held."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from astra.errors import ConfigError, InsufficientDataError
from astra.rebalance import Holdings, Rules, plan_orders
from astra.records import Asset, Position
from astra.settings import Settings
from model.decision import Terms, choose, gather, settle, settle_all
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.holdings import Settled
from model.outlook import Outlook, assess, foresee, past_scores, scorable
from model.panel import build
from model.portfolio.limits import Limits
from model.portfolio.policies import POLICIES, from_function
from model.portfolio.records import Inputs, Target
from sandbox.markets import simulated_bars

NOW = dt.datetime(2026, 5, 12, 15, 0, tzinfo=dt.UTC)
STOCKS = ("AAPL", "AMZN", "HD", "JPM", "KO", "META", "MSFT", "NVDA", "OXY", "PFE", "UNH", "XOM")
SECTORS = {ticker: "ABC"[i % 3] for i, ticker in enumerate(STOCKS)}
TERMS = Terms("measured", Limits(6, 0.25, 0.5, 0.02), 0.05, 2.3, 20.0, 6.0, 0.001)
EPSILON = 2e-6  # of equity: weights below 1e-6 are left out of an answer


def some_bars() -> pd.DataFrame:
    first, last = dt.date(2026, 3, 2), dt.date(2026, 5, 12)
    return simulated_bars((*STOCKS, "SPY"), seed=3, edge=0.1, first=first, last=last)


def look(bars: pd.DataFrame) -> Outlook:
    forecaster, panel = Forecaster(shipped().load()), build(bars)
    sight = foresee(NOW, panel, STOCKS, forecaster)
    times = scorable(sight.known, sight.spec, NOW)
    return assess(sight, past_scores(sight.known, STOCKS, forecaster, times))


@pytest.fixture(scope="module")
def outlook() -> Outlook:
    return look(some_bars())


def under(
    outlook: Outlook, held: Mapping[str, float], terms: Terms = TERMS, **changes: Any
) -> dict[str, Settled]:
    """What every policy does from `held` under terms with these changes."""
    own = replace(terms, **changes)
    inputs = gather(outlook, SECTORS, own)
    made = settle_all(outlook, inputs, {name: [held] for name in POLICIES}, own)
    return {name: found for name, (found,) in made.items()}


def test_what_is_excluded_is_never_bought_and_what_is_held_of_it_is_sold(outlook: Outlook) -> None:
    free = under(outlook, {})
    wanted = {t for made in free.values() for t in made.weights}
    exclude = tuple(sorted(wanted)[:4])
    held = {exclude[0]: 0.2, exclude[1]: 0.1, "GONE": 0.05}
    for made in under(outlook, held, exclude=exclude).values():
        assert made.weights and not set(exclude) & set(made.weights)
        assert made.decision.trade.reason.endswith(
            f"sold because excluded or no candidate: {exclude[0]}, {exclude[1]}, GONE"
        )


def test_what_is_on_hold_keeps_its_weight_and_takes_its_place(outlook: Outlook) -> None:
    held = {"KO": 0.31, "OXY": 0.02}
    for made in under(outlook, held, hold=("KO", "XOM")).values():
        weights = made.weights
        assert weights["KO"] == 0.31 and "XOM" not in weights
        assert len(weights) <= 6 and sum(weights.values()) <= 0.98 + 1e-9
        assert "KO" not in made.inputs.tickers


@pytest.mark.parametrize("kept", [0.3, 0.4, 0.5, 0.6])
def test_a_sector_is_full_with_what_is_on_hold_in_it_and_others_are_held_instead(
    outlook: Outlook, kept: float
) -> None:
    held = {"KO": kept, "NVDA": 0.05}  # both of sector B
    assert SECTORS["KO"] == SECTORS["NVDA"] == "B"
    for name, made in under(outlook, held, hold=("KO",)).items():
        sector = sum(w for t, w in made.weights.items() if SECTORS[t] == "B")
        assert sector <= max(kept, 0.5) + 1e-9
        target = made.decision.target
        if name != "original":  # which looks at six names only
            assert target.weights.sum() + kept == pytest.approx(0.98, abs=0.001)
        assert (target.bound_gap is not None) == (name in ("measured", "trust", "min_variance"))


def test_the_target_of_a_users_own_policy_is_cut_where_a_sector_is_full(outlook: Outlook) -> None:
    def greedy(inputs: Inputs) -> NDArray[np.float64]:
        return np.where([t in ("NVDA", "XOM") for t in inputs.tickers], 0.25, 0.0)

    own = replace(TERMS, policy="greedy", hold=("KO",))
    inputs = gather(outlook, SECTORS, own)
    made = settle(outlook, inputs, {"KO": 0.4}, own, from_function(greedy, "greedy"))
    target = dict(zip(made.inputs.tickers, made.decision.target.weights, strict=True))
    assert SECTORS["NVDA"] != SECTORS["XOM"]
    assert target["NVDA"] + target["XOM"] == pytest.approx(0.35)
    assert made.decision.target.reason.endswith("cut where a sector is filled by what is kept")


def test_what_is_kept_may_take_all_the_room(outlook: Outlook) -> None:
    on_hold = STOCKS[:6]
    held = dict.fromkeys(on_hold, 0.1) | {"XOM": 0.2}
    for made in under(outlook, held, hold=on_hold).values():
        assert made.weights == dict.fromkeys(on_hold, 0.1)
        assert made.decision.trade.reason == (
            "hold: what is kept takes all the room there is; 20.00% of equity sold to keep the "
            "limits"
        )


def test_room_for_less_than_the_least_weight_is_none(outlook: Outlook) -> None:
    limits, held = Limits(20, 0.1, 0.3, 0.02, 0.05), {"KO": 0.5, "XOM": 0.45}
    for made in under(outlook, held, limits=limits, hold=("KO", "XOM")).values():
        assert made.weights == held
        assert made.decision.trade.reason == "hold: what is kept takes all the room there is"


def test_a_document_says_what_was_left_out_and_what_each_policy_wants(outlook: Outlook) -> None:
    terms = replace(TERMS, hold=("KO",), exclude=("XOM", "NOT.IN"))
    books: dict[str, dict[str, float]] = {name: {} for name in POLICIES}
    found = choose(outlook, SECTORS, {"KO": 0.1}, terms, POLICIES["measured"], books)
    assert found.document["left_out"] == {"XOM": "excluded", "KO": "on hold: kept at 10.00%"}
    assert set(found.document["targets"]) == set(found.books) == set(POLICIES)


def test_the_turnover_limit_is_kept_by_every_policy_and_said(outlook: Outlook) -> None:
    for made in under(outlook, {}, max_turnover=0.3).values():
        assert sum(made.weights.values()) == pytest.approx(0.3)
        assert "at most 30.0% of equity may be bought and sold at once" in (
            made.decision.trade.reason
        )


def test_selling_what_is_excluded_counts_against_the_turnover_but_is_not_held_back(
    outlook: Outlook,
) -> None:
    for made in under(outlook, {"KO": 0.25}, exclude=("KO",), max_turnover=0.3).values():
        assert sum(made.weights.values()) == pytest.approx(0.05)
    for made in under(outlook, {"KO": 0.25}, exclude=("KO",), max_turnover=0.2).values():
        assert made.weights == {}


def test_cutting_down_to_the_limits_is_not_held_back_by_the_turnover(outlook: Outlook) -> None:
    for made in under(outlook, {"KO": 0.6}, max_turnover=0.1).values():
        assert made.weights == {"KO": 0.25}
        assert "35.00% of equity sold to keep the limits" in made.decision.trade.reason


@pytest.mark.parametrize("least", [0.0, 0.05])
def test_a_portfolio_of_other_names_is_reached_within_the_turnover_limit_step_by_step(
    outlook: Outlook, least: float
) -> None:
    limits = replace(TERMS.limits, min_weight=least)
    target = under(outlook, {}, limits=limits)["original"].decision.target.weights
    inputs = gather(outlook, SECTORS, replace(TERMS, limits=limits))
    others = [t for t, w in zip(inputs.tickers, target, strict=True) if w == 0][:6]
    held = dict.fromkeys(others, 0.16)
    for _ in range(12):
        made = under(outlook, held, limits=limits, max_turnover=0.4)["original"]
        names = held.keys() | made.weights.keys()
        moved = sum(abs(made.weights.get(t, 0.0) - held.get(t, 0.0)) for t in names)
        assert moved <= 0.4 + EPSILON
        held = made.weights
    wanted = dict(zip(inputs.tickers, target, strict=True))
    assert held == pytest.approx({t: w for t, w in wanted.items() if w > 0}, abs=0.002)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 9999), st.integers(1, 8), st.floats(0.0, 0.12), st.floats(0.02, 2.0),
    st.floats(0.0, 0.1), st.sets(st.sampled_from(STOCKS), max_size=3),
    st.sets(st.sampled_from(STOCKS), max_size=3), st.floats(0.0, 1.0),
)  # fmt: skip
@example(  # what is on hold leaves 4 %, less than the least weight
    seed=20, k=8, least=0.05, most=2.0, floor=0.05, exclude=set(), hold={"NVDA", "UNH", "KO"},
    invested=1.0,
)  # fmt: skip
def test_whatever_is_held_and_asked_for_the_limits_hold(
    outlook: Outlook, seed: int, k: int, least: float, most: float, floor: float,
    exclude: set[str], hold: set[str], invested: float,
) -> None:  # fmt: skip
    limits = Limits(k, 0.25, 0.5, floor, least)
    rng = np.random.default_rng(seed)
    held = dict(zip(STOCKS, invested * rng.dirichlet(np.full(12, 0.3)), strict=True))
    held = {t: float(w) for t, w in held.items() if w > 1e-4}
    terms = replace(
        TERMS, limits=limits, max_turnover=most, exclude=tuple(sorted(exclude - hold)),
        hold=tuple(sorted(hold)),
    )  # fmt: skip
    for made in under(outlook, held, terms).values():
        weights, trade = made.weights, made.decision.trade
        assert made.kept == {t: held[t] for t in hold if t in held}
        free = {t: w for t, w in weights.items() if t not in made.kept}
        assert not set(free) & (exclude | hold)
        assert len(weights) <= max(k, len(made.kept))
        assert max(free.values(), default=0.0) <= 0.25 + 1e-9
        if free:
            assert sum(weights.values()) <= 1 - floor + 1e-9
            for sector in "ABC":
                kept = sum(w for t, w in made.kept.items() if SECTORS[t] == sector)
                own = sum(w for t, w in free.items() if SECTORS[t] == sector)
                assert own <= max(0.0, 0.5 - kept) + 1e-9
        if "sold to keep the limits" not in trade.reason:
            for ticker, weight in free.items():
                as_before = abs(weight - held.get(ticker, 0.0)) <= EPSILON
                assert as_before or weight >= least - 1e-9
            sold = sum(held.get(t, 0.0) for t in terms.exclude)
            moved = sum(abs(free.get(t, 0) - held.get(t, 0)) for t in STOCKS if t not in hold)
            assert moved <= max(most, sold) + 12 * EPSILON


def test_a_target_that_was_not_found_holds_what_is_there(outlook: Outlook) -> None:
    def lost(inputs: Inputs) -> Target:
        nothing = np.zeros(len(inputs.tickers))
        return Target(nothing, "none", "no solver", 0.0, None, nothing, unsolved=True)

    own = replace(TERMS, policy="lost")
    inputs = gather(outlook, SECTORS, own)
    made = settle(outlook, inputs, {"KO": 0.2, "XOM": 0.3}, own, lost)
    assert made.weights == {"KO": 0.2, "XOM": 0.25}  # cut to its cap all the same
    assert (made.decision.trade.tau, made.decision.trade.reason) == (0.0, "hold: no solver")


def test_books_with_the_same_room_share_a_target(outlook: Outlook) -> None:
    own = replace(TERMS, hold=("KO",))
    inputs = gather(outlook, SECTORS, own)
    held = [{}, {"XOM": 0.1}, {"KO": 0.1}, {"KO": 0.0999}, {"KO": 0.2}]
    found = settle_all(outlook, inputs, {"measured": held}, own)["measured"]
    targets = [made.decision.target for made in found]
    assert targets[0] is targets[1] and targets[2] is targets[3]
    assert len({id(target) for target in targets}) == 3
    assert settle(outlook, inputs, {}, own, POLICIES["measured"]).decision.target is targets[0]


def test_a_name_cannot_be_excluded_and_on_hold() -> None:
    given = Settings(_env_file=None, exclude="KO|XOM", hold="XOM | AAPL")
    with pytest.raises(ConfigError, match=r"XOM is both: take it out of ASTRA_EXCLUDE"):
        Terms.from_settings(given)


def test_with_every_candidate_excluded_no_decision_is_made(outlook: Outlook) -> None:
    with pytest.raises(InsufficientDataError, match="all 12 usable ones are excluded or on hold"):
        gather(outlook, SECTORS, replace(TERMS, exclude=STOCKS))


def test_no_order_touches_what_is_on_hold() -> None:
    positions = [Position(t, Decimal(50), 100.0, 90.0) for t in ("KO", "XOM")]
    prices = dict.fromkeys(("KO", "XOM", "PFE"), 100.0)
    assets = {t: Asset(t, t, True, True) for t in prices}
    holdings = Holdings(positions, prices, assets, 20_000.0, 9_000.0, 9_000.0)
    rules = Rules(0.001, 1.0, hold=frozenset({"KO", "PFE"}))
    plan = plan_orders({"KO": 0.4, "PFE": 0.1}, holdings, rules)
    assert [o.symbol for o in (*plan.sells, *plan.buys)] == ["XOM"]
    assert {line.symbol: line.reason for line in plan.lines if line.reason} == {
        "KO": "on hold: its shares stay", "PFE": "on hold: its shares stay",
    }  # fmt: skip


@pytest.mark.parametrize("model", ["ledoit_wolf", "ewma", "single_factor", "sample"])
def test_a_frozen_price_leaves_its_name_out_and_what_is_held_of_it_stays(model: str) -> None:
    bars = some_bars()
    since = dt.datetime(2026, 4, 10, tzinfo=dt.UTC).timestamp()
    frozen = (bars.ticker == "KO") & (bars.ts > since)
    bars.loc[frozen, ["open", "high", "low", "close"]] = 60.0
    seen, terms = look(bars), replace(TERMS, risk_model=model)
    for made in under(seen, {"KO": 0.1, "XOM": 0.1}, terms).values():
        assert made.weights["KO"] == 0.1 and len(made.inputs.tickers) == 11
    found = choose(seen, SECTORS, {"KO": 0.1}, terms, POLICIES["measured"])
    assert found.document["left_out"] == {
        "KO": "its price never moved in 20 sessions: kept at 10.00%"
    }
    without = look(bars[bars.ticker != "KO"])
    assert under(without, {}, terms)["min_variance"].weights == pytest.approx(
        under(seen, {}, terms)["min_variance"].weights,
        abs=1e-3,  # the time of day is that of all names
    )


def test_what_is_no_candidate_any_more_is_sold_and_counts_against_the_turnover(
    outlook: Outlook,
) -> None:
    for made in under(outlook, {"GONE": 0.2}, max_turnover=0.25).values():
        assert sum(made.weights.values()) == pytest.approx(0.05)
        assert made.decision.trade.reason.endswith("sold because excluded or no candidate: GONE")


def test_a_name_that_is_sold_out_is_an_order_however_small(outlook: Outlook) -> None:
    inputs = gather(outlook, SECTORS, TERMS)
    reached = POLICIES["equal"](inputs).weights.copy()
    held = {t: float(w) for t, w in zip(inputs.tickers, reached, strict=True) if w > 0}
    (out,) = set(sorted(set(STOCKS) - held.keys())[:1])

    def stay(told: Inputs) -> Target:
        return Target(reached, "none", "as it is", 0.0, None, None, always_trades=True)

    terms = replace(TERMS, policy="stay", drift_band=0.01, limits=replace(TERMS.limits, k=12))
    made = settle(outlook, gather(outlook, SECTORS, terms), {**held, out: 0.005}, terms, stay)
    assert out not in made.weights and made.decision.trade.tau == 1.0
    more = {**held, out: 0.0}
    more[next(iter(held))] -= 0.005
    made = settle(outlook, gather(outlook, SECTORS, terms), more, terms, stay)
    assert made.decision.trade.tau == 0.0
    assert made.decision.trade.reason == "hold: no weight would change by 1.00% of equity"

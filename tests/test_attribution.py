"""Why an order was made: parts that sum to each change of a weight, and what each of them says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.attribution import DECIDED, PARTS, of_decision, of_plan
from astra.rebalance import Holdings, Rules, plan_orders
from astra.records import Asset, PlanLine, Position
from model.decision import choose
from model.holdings import DUST, Settled
from model.outlook import Outlook
from model.portfolio.policies import POLICIES
from model.why import FORECAST, VIEWLESS, reads, why
from tests.test_constraints import SECTORS, STOCKS, TERMS, outlook, under

__all__ = ["outlook"]
HELD = {"AAPL": 0.30, "KO": 0.20, "PFE": 0.004, "OLD": 0.05}
weights = st.floats(0, 1)


def exact(settled: Settled, held: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The parts, after a look at their sums."""
    found, decided = why(settled, held), settled.weights
    for ticker, parts in found.items():
        change = decided.get(ticker, 0.0) - held.get(ticker, 0.0)
        assert tuple(parts) == DECIDED
        assert math.fsum(parts.values()) == pytest.approx(change, abs=1e-12)
    above = {t for t, w in held.items() if w > DUST}
    assert above | decided.keys() <= found.keys()
    return found


@given(weights, weights, weights, weights, weights)
def test_the_parts_of_a_decision_sum_to_the_change(
    held: float, neutral: float, target: float, worth: float, decided: float
) -> None:
    parts = of_decision(held, neutral, target, worth, decided)
    assert math.fsum(parts.values()) == pytest.approx(decided - held, abs=1e-15)


def test_a_decision_half_of_the_way_is_forecast_risk_and_cost_only() -> None:
    parts = of_decision(held=0.02, neutral=0.05, target=0.08, worth=0.5, decided=0.05)
    expected = {"forecast": 0.03, "risk": 0.03, "cost": -0.03, "limit": 0.0}
    assert parts == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("skill", [0.0, 0.03])
def test_every_policy_explains_all_of_its_changes(
    outlook: Outlook, name: str, skill: float
) -> None:
    seen = replace(outlook, skill=replace(outlook.skill, used=skill))
    for changes in ({}, {"hold": ("KO",)}, {"exclude": ("AAPL",)}, {"max_turnover": 0.1}):
        parts = exact(under(seen, HELD, **changes)[name], HELD)
        assert parts["OLD"]["limit"] == -0.05  # no candidate: sold
        if "hold" in changes:
            assert set(parts["KO"].values()) == {0.0}
        if name in VIEWLESS or (name == "measured" and skill == 0):
            assert all(p["forecast"] == 0 for p in parts.values())


def test_what_costs_hold_back_is_cost_and_what_a_limit_forces_is_limit(outlook: Outlook) -> None:
    dear = under(outlook, HELD, cost_bp=500.0)["measured"]
    parts = exact(dear, HELD)
    assert dear.decision.trade.tau == 0
    assert parts["AAPL"]["limit"] == pytest.approx(0.25 - 0.30)  # cut down to the cap
    way = parts["KO"]["forecast"] + parts["KO"]["risk"]
    assert parts["KO"]["cost"] == pytest.approx(-way) and parts["KO"]["limit"] == pytest.approx(0)
    held = dict.fromkeys(STOCKS[:6], 0.15)
    slow = under(outlook, held, max_turnover=0.02, cost_bp=0.0)["measured"]
    assert slow.decision.trade.tau < slow.decision.trade.worth == 1.0
    parts = exact(slow, held)
    assert all(p["cost"] == 0 for p in parts.values())
    assert max(abs(p["limit"]) for p in parts.values()) > 0.05


def test_a_move_that_is_not_worth_an_order_is_held_back_by_a_limit(outlook: Outlook) -> None:
    wanted = under(outlook, {})["min_variance"]
    target = dict(zip(STOCKS, wanted.decision.target.weights.tolist(), strict=True))
    held = {t: 0.9 * w for t, w in target.items() if w > 0}
    still = under(outlook, held, drift_band=0.09, cost_bp=0.0)["min_variance"]
    assert (still.decision.trade.tau, still.decision.trade.worth) == (0.0, 1.0)
    for ticker, parts in exact(still, held).items():
        assert parts["limit"] == pytest.approx(-0.1 * target[ticker]) and parts["cost"] == 0


def test_without_a_target_all_is_limit(outlook: Outlook) -> None:
    made = under(outlook, HELD)["measured"]
    target = replace(made.decision.target, weights=np.zeros(len(STOCKS)), unsolved=True)
    lost = replace(made, decision=replace(made.decision, target=target))
    assert all(set(list(p.values())[:3]) == {0.0} for p in why(lost, HELD).values())


@pytest.mark.parametrize("name", POLICIES)
def test_the_document_of_a_decision_explains_every_weight(outlook: Outlook, name: str) -> None:
    terms = replace(TERMS, policy=name)
    document = choose(outlook, SECTORS, HELD, terms, POLICIES[name], {name: {}}).document
    told = json.loads(json.dumps(document)) | {"held_weights": HELD}
    assert told["why_reads"] == reads(name)
    for ticker in HELD.keys() | told["weights"].keys():
        wanted = told["weights"].get(ticker, 0.0)
        line = PlanLine(ticker, 1.0, HELD.get(ticker, 0.0), wanted, wanted, {}, "")
        found = of_plan(line, told)
        assert math.fsum(found.parts.values()) == pytest.approx(found.change, abs=1e-9)
        assert found.parts["drift"] == found.parts["rounding"] == 0


def test_each_policy_says_how_its_parts_read() -> None:
    assert FORECAST.keys() | VIEWLESS == POLICIES.keys()
    assert not FORECAST.keys() & VIEWLESS
    assert reads("risk_parity").startswith("this policy uses no forecast")
    assert "the target of own.py:mine, whatever it rests on" in reads("own.py:mine")


LINE = PlanLine("AAPL", 101.0, 0.031, 0.05, 0.0497, {"limit": -0.0002, "rounding": -0.0001})
DOCUMENT = {
    "held_weights": {"AAPL": 0.03, "KO": 0.2},
    "weights": {"AAPL": 0.05000000001, "KO": 0.2},
    "why": {"AAPL": {"forecast": 0.03, "risk": 0.01, "cost": -0.02, "limit": 0.00000000001}},
}


def test_a_plan_adds_its_limits_its_rounding_and_what_prices_moved() -> None:
    found = of_plan(LINE, json.loads(json.dumps(DOCUMENT)))
    assert tuple(found.parts) == tuple(name for name in PARTS if name != "file")
    assert found.parts["drift"] == pytest.approx(-0.001)
    assert found.parts["limit"] == pytest.approx(-0.0002)
    assert math.fsum(found.parts.values()) == pytest.approx(found.change, abs=1e-9)


def test_a_name_that_the_decision_left_as_it_is_has_no_parts_of_it() -> None:
    kept = PlanLine("KO", 60.0, 0.201, 0.2, 0.201, {"limit": 0.001, "rounding": 0.0}, "on hold")
    found = of_plan(kept, DOCUMENT)
    assert math.fsum(found.parts.values()) == pytest.approx(found.change, abs=1e-12)
    assert found.parts["forecast"] == 0 and found.parts["drift"] == pytest.approx(-0.001)


@pytest.mark.parametrize("document", [None, {}, {"why": None}, {**DOCUMENT, "why": "text"}])
def test_a_file_without_a_decision_is_all_that_is_known(document: dict[str, object] | None) -> None:
    found = of_plan(LINE, document)
    assert tuple(found.parts) == ("file", "limit", "rounding")
    assert found.parts["file"] == pytest.approx(0.019)
    assert math.fsum(found.parts.values()) == pytest.approx(found.change, abs=1e-12)


@given(
    st.dictionaries(st.sampled_from("ABCD"), st.floats(0, 0.25), max_size=4),
    st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 300), max_size=4),
    st.dictionaries(st.sampled_from("ABCD"), st.floats(0, 0.25), max_size=4),
    st.floats(0, 40_000),
    st.booleans(),
)
def test_the_parts_of_any_plan_sum_to_what_is_planned(
    wanted: dict[str, float], shares: dict[str, int], held: dict[str, float], cash: float,
    fractionable: bool,
) -> None:  # fmt: skip
    prices = dict(zip("ABCD", (17.0, 93.5, 250.25, 1200.0), strict=True))
    positions = [Position(s, Decimal(q), prices[s], prices[s]) for s, q in shares.items()]
    equity = cash + sum(q * prices[s] for s, q in shares.items())
    assets = {s: Asset(s, s, s != "D", fractionable) for s in prices}
    holdings = Holdings(positions, prices, assets, equity, cash, cash)
    plan = plan_orders(wanted, holdings, Rules(0.001, 1.0))
    told = {s: of_decision(held.get(s, 0.0), 0.1, 0.2, 0.7, w) for s, w in wanted.items()}
    document = {"why": told, "weights": wanted, "held_weights": held}
    assert {line.symbol for line in plan.lines} == shares.keys() | wanted.keys()
    for line in plan.lines:
        for known in (document, None):
            found = of_plan(line, known)
            assert math.fsum(found.parts.values()) == pytest.approx(found.change, abs=1e-9)

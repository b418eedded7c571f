"""The ledger in arrays against a slow one in Decimal, and its rules one by one."""

from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.errors import DataError
from model.backtest.simulate import Floats, simulate

NAN = float("nan")


def slow(
    prices: Floats,
    weights: Floats,
    rows: list[int],
    capital: float,
    half_spread_bp: float = 0.0,
    fee_bp: float = 0.0,
    whole_shares: bool = False,
) -> tuple[list[Decimal], list[Decimal]]:
    """Equity and cash of each row: one name after another, in Decimal, as the rules read."""

    def floor(quantity: Decimal) -> Decimal:
        if not whole_shares:
            return quantity
        return (quantity * (1 + Decimal("1e-10"))).to_integral_value(ROUND_FLOOR)

    spread, fee = Decimal(half_spread_bp) / 10_000, Decimal(fee_bp) / 10_000
    cash, last = Decimal(capital), dict[int, Decimal]()
    shares = {name: Decimal(0) for name in range(prices.shape[1])}
    equities, cashes = [], []
    for row in range(len(prices)):
        today = {n: Decimal(float(p)) for n, p in enumerate(prices[row]) if p == p}
        last |= today
        if row in rows:
            equity = cash + sum(q * last.get(n, Decimal(0)) for n, q in shares.items())
            wanted = {
                n: floor(Decimal(float(weights[rows.index(row)][n])) * equity / p)
                for n, p in today.items()
            }
            for n, want in wanted.items():
                if want < shares[n]:
                    cash += (shares[n] - want) * today[n] * (1 - spread) * (1 - fee)
                    shares[n] = want
            buys = {n: want - shares[n] for n, want in wanted.items() if want > shares[n]}
            due = sum(q * today[n] * (1 + spread) for n, q in buys.items())
            if due > cash:
                buys = {n: floor(q * cash / due) for n, q in buys.items()}
            for n, q in buys.items():
                cash -= q * today[n] * (1 + spread)
                shares[n] += q
        equities.append(cash + sum(q * last.get(n, Decimal(0)) for n, q in shares.items()))
        cashes.append(cash)
    return equities, cashes


@st.composite
def walks(draw: st.DrawFn) -> dict[str, Any]:
    size, names = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    price = st.one_of(st.just(NAN), st.floats(0.01, 5000), st.sampled_from([10.0, 12.5, 40.0]))
    share = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.3, 1.0]))
    rows = sorted(draw(st.sets(st.integers(0, size - 1))))
    weights = np.array(
        [draw(st.lists(share, min_size=names, max_size=names)) for _ in rows]
    ).reshape(len(rows), names)
    invested = draw(st.sampled_from([0.5, 0.98, 1.0]))
    totals = weights.sum(axis=1, keepdims=True)
    return {
        "prices": np.array(
            [draw(st.lists(price, min_size=names, max_size=names)) for _ in range(size)]
        ),
        "weights": weights * np.minimum(1.0, invested / np.maximum(totals, 1e-9)),
        "rows": rows,
        "capital": draw(st.sampled_from([1000.0, 25_000.0, 1e6])),
        "half_spread_bp": draw(st.sampled_from([0.0, 2.0, 75.0])),
        "fee_bp": draw(st.sampled_from([0.0, 0.3, 40.0])),
        "whole_shares": draw(st.booleans()),
    }


@settings(max_examples=400, deadline=None)
@given(walks())
def test_it_is_equal_to_the_cent_to_a_slow_ledger_in_decimal(walk: dict[str, Any]) -> None:
    found = simulate(**walk | {"rows": np.array(walk["rows"], dtype=np.int64)})
    equity, cash = slow(**walk)
    # A cent is 0.01; names that gain a millionfold make more than float64 has digits for.
    tolerance = 0.001 + 1e-12 * float(max(equity))
    assert np.abs(found.equity - np.array(equity, dtype=np.float64)).max() < tolerance
    assert np.abs(found.cash - np.array(cash, dtype=np.float64)).max() < tolerance
    assert found.cash.min() >= 0
    assert (found.shares >= 0).all()
    if walk["whole_shares"]:
        assert (found.shares == np.floor(found.shares)).all()


def test_sixty_rebalancings_of_forty_names_with_gaps_are_equal_to_the_slow_ledger() -> None:
    rng = np.random.default_rng(5)
    prices = 60 * np.exp(np.cumsum(rng.normal(0.0002, 0.02, (300, 40)), axis=0))
    prices[rng.random(prices.shape) < 0.03] = NAN
    rows = np.arange(0, 300, 5)
    weights = 0.98 * rng.dirichlet(np.ones(40), len(rows))
    for whole in (False, True):
        found = simulate(
            prices, weights, rows, 1e5, half_spread_bp=2, fee_bp=0.3, whole_shares=whole
        )
        equity, cash = slow(prices, weights, rows.tolist(), 1e5, 2, 0.3, whole)
        assert np.abs(found.equity - np.array(equity, dtype=np.float64)).max() < 1e-6
        assert np.abs(found.cash - np.array(cash, dtype=np.float64)).max() < 1e-6


def test_a_year_by_hand() -> None:
    prices = np.array([[10.0, 20.0], [12.0, 18.0], [11.0, 22.0]])
    found = simulate(
        prices, np.array([[0.5, 0.4], [0.0, 0.5]]), np.array([0, 1]), 1000.0,
        half_spread_bp=100, fee_bp=50,
    )  # fmt: skip
    # Row 0: 50 and 20 shares for 505 + 404 USD. Row 1: worth 91 + 600 + 360 = 1051; 50 are sold at
    # 11.88 less 0.5 %, 591.03; 525.5 / 18 shares are wanted, 9.1944 more at 18.18.
    assert found.shares.tolist() == [[50, 20], [0, pytest.approx(29.194444444)]]
    assert found.cash.tolist() == pytest.approx([91.0, 514.875, 514.875])
    assert found.equity.tolist() == pytest.approx([991.0, 1040.375, 514.875 + 22 * 29.1944444444])
    assert found.cost.tolist() == pytest.approx([9.0, 600 - 591.03 + 1.655])


def test_equity_before_and_after_a_rebalancing_differ_by_its_cost() -> None:
    rng = np.random.default_rng(1)
    prices = rng.uniform(5, 50, (6, 4))
    weights = rng.dirichlet(np.ones(4), 6)
    found = simulate(prices, weights, np.arange(6), 1e4, half_spread_bp=30, fee_bp=10)
    before = found.cash[:-1] + (found.shares[:-1] * prices[1:]).sum(axis=1)
    assert before - found.equity[1:] == pytest.approx(found.cost[1:])


def test_a_name_without_a_price_is_neither_bought_nor_sold_and_keeps_its_last_worth() -> None:
    prices = np.array([[10.0, 5.0, NAN], [NAN, 6.0, NAN], [8.0, 6.0, 2.0]])
    weights = np.array([[0.5, 0.0, 0.5], [0.0, 0.5, 0.0]])
    found = simulate(prices, weights, np.array([0, 1]), 1000.0)
    assert found.shares.tolist() == [[50, 0, 0], [50, pytest.approx(500 / 6), 0]]
    assert found.equity.tolist() == pytest.approx([1000.0, 1000.0, 900.0])


def test_where_cash_does_not_suffice_all_buys_shrink_alike() -> None:
    prices = np.array([[10.0, 10.0, 10.0], [10.0, 10.0, NAN]])
    weights = np.array([[0.0, 0.0, 0.8], [0.6, 0.2, 0.0]])
    found = simulate(prices, weights, np.array([0, 1]), 1000.0)
    assert found.shares[1].tolist() == pytest.approx([15, 5, 80])
    assert found.cash[1] == 0
    whole = simulate(prices, weights, np.array([0, 1]), 1000.0, whole_shares=True, fee_bp=1)
    assert whole.shares[1].tolist() == [15, 5, 80]
    short = simulate(prices, weights, np.array([0, 1]), 990.0, whole_shares=True)
    assert short.shares[1].tolist() == [15, 4, 79]  # of 59 and 19 asked, 200 / 780 of each
    assert short.cash[1] == pytest.approx(10)


def test_whole_shares_are_rounded_towards_zero_as_targets_not_as_orders() -> None:
    prices = np.array([[10.0], [7.0]])
    found = simulate(prices, np.array([[0.5], [0.5]]), np.array([0, 1]), 999.0, whole_shares=True)
    assert found.shares.ravel().tolist() == [49, 60]  # 858 / 2 / 7 is 60.86: 11 more, 11.86 down


def test_a_target_that_is_whole_but_for_rounding_is_bought_in_full() -> None:
    found = simulate(np.array([[1.0]]), np.array([[0.29]]), np.array([0]), 100.0, whole_shares=True)
    assert found.shares.item() == 29  # 0.29 * 100 is 28.999999999999996


def test_without_a_rebalancing_the_capital_stays() -> None:
    found = simulate(np.ones((3, 2)), np.ones((0, 2)), np.array([], dtype=np.int64), 7.0)
    assert found.equity.tolist() == found.cash.tolist() == [7, 7, 7]
    assert found.shares.shape == (0, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prices": np.ones(3)}, "shape"),
        ({"prices": np.array([[1.0, 0.0]])}, "above 0"),
        ({"prices": np.array([[1.0, np.inf]])}, "above 0"),
        ({"weights": np.ones((2, 2)) / 2}, "a row for each of 1"),
        ({"weights": np.array([[NAN, 0.5]])}, "at least 0"),
        ({"weights": np.array([[-0.1, 0.5]])}, "at least 0"),
        ({"weights": np.array([[0.6, 0.5]])}, "at most 1"),
        ({"rows": np.array([1])}, "ascending rows"),
        ({"rows": np.array([-1])}, "ascending rows"),
        ({"capital": 0.0}, "capital"),
        ({"fee_bp": -1.0}, "costs"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {
        "prices": np.ones((1, 2)),
        "weights": np.array([[0.5, 0.5]]),
        "rows": np.array([0]),
        "capital": 1.0,
    }
    simulate(**right)
    with pytest.raises(DataError, match=message):
        simulate(**right | wrong)

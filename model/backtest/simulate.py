"""A ledger in arrays: shares and cash of a portfolio that moves to given weights on given rows.

For benchmarks beside a backtest and for studies of many portfolios: plain float64, no orders, no
decision. What policies trade is booked by the ledger of the account itself, in Decimal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.errors import DataError

Floats = NDArray[np.float64]
_WHOLE = 1e-10  # relative; what is closer below a whole number of shares is that number


@dataclass(frozen=True, slots=True)
class Simulated:
    """T rows of prices, R of them rebalancings.

    Attributes:
        equity: cash and shares at the row's prices, after its rebalancing, USD, shape (T,).
        cash: USD, shape (T,), at least 0.
        shares: held after each rebalancing, shape (R, N).
        cost: lost to spread and fees at each rebalancing, USD, shape (R,).
    """

    equity: Floats
    cash: Floats
    shares: Floats
    cost: Floats


def simulate(
    prices: Floats,
    weights: Floats,
    rows: NDArray[np.int64],
    capital: float,
    *,
    half_spread_bp: float = 0.0,
    fee_bp: float = 0.0,
    whole_shares: bool = False,
) -> Simulated:
    """Start with cash and move to `weights` at the prices of `rows`.

    At such a row equity, before costs, is cash + shares x price, at its last known price where a
    name has none. Each name with a price moves to weight x equity / price shares, towards zero to
    a whole number if `whole_shares` (the target is rounded, not the order). All sales come first:
    they bring price x (1 - half spread), less the fee on that. Buys pay price x (1 + half spread).
    Where cash does not suffice for all buys, the quantity of each is multiplied by cash / their
    whole price, then rounded towards zero again if `whole_shares`.

    Args:
        prices: USD, shape (T, N); NaN: the name is not traded on that row and is worth its last
            price, nothing before its first.
        weights: fractions of equity, shape (R, N), not negative, at most 1 in sum.
        rows: of the rebalancings, shape (R,), ascending.
        capital: USD.

    Raises:
        DataError: shapes that do not fit; a price, weight, row or cost outside of what is said
            here.
    """
    _check(prices, weights, rows, capital, half_spread_bp, fee_bp)
    last = _filled(prices)
    paid, kept = 1 + half_spread_bp / 1e4, (1 - half_spread_bp / 1e4) * (1 - fee_bp / 1e4)
    size, names = prices.shape
    equity, cash = np.full(size, float(capital)), np.full(size, float(capital))
    shares, cost = np.zeros((len(rows), names)), np.zeros(len(rows))
    held, money = np.zeros(names), float(capital)
    for i, (row, end) in enumerate(zip(rows, np.append(rows, size)[1:], strict=True)):
        price, worth = last[row], money + held @ last[row]
        traded = ~np.isnan(prices[row])
        wanted = np.divide(weights[i] * worth, price, out=held.copy(), where=traded)
        if whole_shares:
            wanted = np.where(traded, _whole(wanted), held)
        buys, sales = np.maximum(wanted - held, 0.0), np.maximum(held - wanted, 0.0)
        money += kept * (sales @ price)
        due = paid * (buys @ price)
        if due > money:
            buys *= money / due
            buys = _whole(buys) if whole_shares else buys
            due = paid * (buys @ price)
        money = max(0.0, money - due)  # what is below 0 is the rounding of the line above
        held = held - sales + buys
        shares[i], cost[i] = held, (paid - 1) * (buys @ price) + (1 - kept) * (sales @ price)
        cash[row:end] = money
        equity[row:end] = money + last[row:end] @ held
    return Simulated(equity, cash, shares, cost)


def _filled(prices: Floats) -> Floats:
    """Each name's last known price, 0 before its first."""
    last = prices.copy()
    unknown = np.isnan(last)
    last[0, unknown[0]] = 0.0
    for row in np.flatnonzero(unknown[1:].any(axis=1)) + 1:
        np.copyto(last[row], last[row - 1], where=unknown[row])
    return last


def _whole(shares: Floats) -> Floats:
    whole: Floats = np.floor(shares * (1 + _WHOLE))
    return whole


def _check(
    prices: Floats,
    weights: Floats,
    rows: NDArray[np.int64],
    capital: float,
    half_spread_bp: float,
    fee_bp: float,
) -> None:
    size, names = prices.shape if prices.ndim == 2 else (0, 0)
    steps = np.diff(rows, prepend=-1, append=max(size, 1))
    costs = (half_spread_bp, fee_bp)
    rules = (
        (size == 0 or names == 0, f"prices need shape (T, N), found {prices.shape}"),
        (
            weights.shape != (len(rows), names),
            f"weights need a row for each of {len(rows)} rebalancings and a column for each of "
            f"{names} names, found shape {weights.shape}",
        ),
        (
            bool((steps <= 0).any()),
            f"rebalancings need ascending rows from 0 to {size - 1}, found {rows.tolist()[:5]} ...",
        ),
        (bool((prices <= 0).any() or np.isinf(prices).any()), "prices must be above 0 or NaN"),
        (not bool((weights >= 0).all()), "weights must be numbers of at least 0"),
        (
            bool((weights.sum(axis=-1) > 1 + 1e-9).any()),
            "weights must sum to at most 1, the rest is cash",
        ),
        (not 0 < capital < np.inf, f"the capital must be above 0, found {capital}"),
        (
            not all(0 <= bp < 1e4 for bp in costs),
            f"costs must be from 0 to below 10,000 bp, found {costs}",
        ),
    )
    for broken, message in rules:
        if broken:
            raise DataError(message)

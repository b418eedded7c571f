"""What the network sees and what it predicts: market-free, volatility-normalised log returns.

One function prepares a panel for training and for serving alike. Every number of row t is made of
bars up to t only, so a panel and its cut `known_at(t)` agree on all rows they share.

A ticker's volatility is an EWMA times a time-of-day factor, as RiskMetrics (1996) with the
intraday pattern of Andersen and Bollerslev (1997) taken out first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astra.sessions import FULL_DAY_BARS
from model.panel import Panel

Floats = NDArray[np.float64]
_BLOCK = 64  # rows at a time, so that they stay in the processor's cache; at most 255


@dataclass(frozen=True, slots=True)
class Scaler:
    """Constants of the normalisation; a bundle records the ones it was trained with.

    The defaults are for 5-minute bars.

    Attributes:
        sigma_half_life: bars of a ticker's own EWMA variance.
        beta_half_life: bars of its EWMA exposure to the market.
        profile_half_life: sessions of the time-of-day profile.
        profile_prior: how many sessions a flat profile counts for.
        warm_up: printed bars needed before a volatility is believed.
        min_names: names needed in a bar to tell the market from a ticker.
        clip: bound of a normalised return.
    """

    sigma_half_life: int = 78
    beta_half_life: int = 780
    profile_half_life: int = 10
    profile_prior: float = 1.0
    warm_up: int = 39
    min_names: int = 5
    clip: float = 6.0


@dataclass(frozen=True, slots=True)
class Normalised:
    """A panel's returns, normalised; T bars x N tickers, NaN where not known.

    Attributes:
        feature: market-free return over its volatility known one bar before, clipped.
        residual: market-free log return, not scaled.
        sigma: volatility of `residual` per bar, known at the bar's close, time of day taken out.
        total_sigma: the same of the whole log return.
        profile: time-of-day factor by session and slot, shape (D, 78), mean square 1, made of
            earlier sessions only; of daily bars 1, shape (D, 1).
    """

    feature: Floats
    residual: Floats
    sigma: Floats
    total_sigma: Floats
    profile: Floats

    def only(self, names: NDArray[np.int64]) -> Normalised:
        """Of these columns, in this order."""
        return replace(
            self,
            feature=self.feature[:, names],
            residual=self.residual[:, names],
            sigma=self.sigma[:, names],
            total_sigma=self.total_sigma[:, names],
        )


def normalise(panel: Panel, scaler: Scaler) -> Normalised:
    """Take time of day, volatility and market out of the panel's log returns."""
    returns = panel.log_returns()
    profile = _profile(panel, returns, scaler)
    season = profile[panel.session, panel.slot][:, None]
    shape = returns.shape
    feature, residual = np.empty(shape), np.empty(shape)
    # One row more at the top: row t of these is what was known before bar t.
    total_sigma, sigma, beta = (np.full((shape[0] + 1, shape[1]), np.nan) for _ in range(3))
    of_all, of_own, of_market = (
        _DecayingSums(half_life, kinds, shape)
        for half_life, kinds in (
            (scaler.sigma_half_life, 1), (scaler.sigma_half_life, 1), (scaler.beta_half_life, 2)
        )
    )  # fmt: skip
    for start in range(0, shape[0], _BLOCK):
        rows = slice(start, min(start + _BLOCK, shape[0]))
        after = slice(rows.start + 1, rows.stop + 1)
        level = returns[rows] / season[rows]
        total_sigma[after] = _volatility(of_all, level, scaler.warm_up)
        scaled = level / total_sigma[rows]
        bounded = np.clip(scaled, -scaler.clip, scaler.clip)
        market = _row_mean(bounded, scaler.min_names)
        beta[after] = _beta(of_market, bounded, market, scaler.warm_up)
        own = (scaled - beta[rows] * market) * total_sigma[rows]
        residual[rows] = own * season[rows]
        sigma[after] = _volatility(of_own, own, scaler.warm_up)
        feature[rows] = np.clip(own / sigma[rows], -scaler.clip, scaler.clip)
    return Normalised(feature, residual, sigma[1:], total_sigma[1:], profile)


def look_backs(
    feature: Floats, rows: NDArray[np.int64], window: int, allowed_gaps: int = 0
) -> tuple[Floats, NDArray[np.int64]]:
    """The network's input at the close of each of `rows`, and the gaps in it.

    The input is the path of the summed feature over the look-back, measured from its last value
    and divided by the square root of its length: element k is minus the sum of bars k.. to the
    last. No price is filled in: an unknown return adds nothing to the path, as its expectation is
    0, and with more than `allowed_gaps` of them the whole path is NaN.

    Returns:
        paths of shape (len(rows), N, window) and counts of unknown returns, (len(rows), N); where
        the look-back starts before the panel, NaN and `window`.
    """
    tickers = feature.shape[1]
    paths = np.full((len(rows), tickers, window), np.nan)
    gaps = np.full((len(rows), tickers), window, np.int64)
    for k, row in enumerate(rows):
        if row >= window - 1:
            taken = feature[row - window + 1 : row + 1]
            known = np.isfinite(taken)
            gaps[k] = window - known.sum(axis=0)
            summed = np.cumsum(np.where(known, taken, 0.0)[::-1], axis=0)[::-1]
            paths[k] = (summed / -math.sqrt(window)).T
    paths[gaps > allowed_gaps] = np.nan
    return paths, gaps


def path(returns: Floats) -> Floats:
    """Normalised returns (..., window) as the path that ends at 0 after the last of them."""
    summed = np.cumsum(returns[..., ::-1], axis=-1)[..., ::-1]
    return -summed / math.sqrt(returns.shape[-1])


def outcomes(
    normalised: Normalised,
    panel: Panel,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    horizon: int,
) -> Floats:
    """What the network should have said of ticker `columns[k]` at the close of `rows[k]`.

    The residual return summed over the next 1..horizon bars, over its volatility as known at the
    row: about unit variance at every step; shape (len(rows), horizon). NaN from a missing bar on.
    The rows must have room for the horizon, see `Panel.room`.
    """
    steps = rows[:, None] + np.arange(1, horizon + 1)
    summed = np.cumsum(normalised.residual[steps, columns[:, None]], axis=1)
    scale = horizon_scale(normalised.profile, panel, rows, horizon)
    outcome: Floats = summed / (normalised.sigma[rows, columns][:, None] * scale)
    return outcome


def horizon_scale(profile: Floats, panel: Panel, rows: NDArray[np.int64], horizon: int) -> Floats:
    """Volatility of the next 1..horizon bars in units of one bar's, shape (len(rows), horizon)."""
    if panel.frequency == "1d":
        return np.tile(np.sqrt(np.arange(1.0, horizon + 1)), (len(rows), 1))
    slots = panel.slot[rows][:, None] + np.arange(1, horizon + 1)
    scale: Floats = np.sqrt(np.cumsum(profile[panel.session[rows][:, None], slots] ** 2, axis=1))
    return scale


def _profile(panel: Panel, returns: Floats, scaler: Scaler) -> Floats:
    """Time-of-day factor of each session from the full sessions before it, see `Normalised`."""
    if panel.frequency == "1d":
        return np.ones((len(panel.sessions), 1))
    decay = 0.5 ** (1.0 / scaler.profile_half_life)
    total = np.full(FULL_DAY_BARS, scaler.profile_prior)
    weight = scaler.profile_prior
    out = np.empty((len(panel.sessions), FULL_DAY_BARS))
    for d, rows in enumerate(np.split(returns**2, np.flatnonzero(panel.slot == 0)[1:])):
        out[d] = np.sqrt(total / total.mean())
        if len(rows) == FULL_DAY_BARS:  # a half day's afternoon is another day's noon
            shape = _row_mean(rows / _column_mean(rows), scaler.min_names)[:, 0]
            shape = np.where(np.isfinite(shape), shape, (total / weight))
            total, weight = decay * total + shape, decay * weight + 1.0
    return out


class _DecayingSums:
    """Sums of each column's past values that halve every `half_life` values, block after block.

    An unknown value adds nothing and makes nothing older. A row's sums depend on earlier rows only.
    """

    def __init__(self, half_life: float, kinds: int, shape: tuple[int, ...]) -> None:
        rows, columns = shape
        decay = 0.5 ** (1.0 / half_life)
        self._powers = decay ** np.arange(_BLOCK + 1)
        self._weights = (1.0 - decay ** np.arange(rows + 1)) / (1.0 - decay)
        self._sums = np.zeros((kinds, columns))
        self._count = np.zeros(columns, np.int64)

    def add(self, *values: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """The sums after each row of a block, (kinds, rows, N), and how many values they have.

        All kinds must be unknown in the same places.
        """
        present = np.isfinite(values[0])
        fresh = np.cumsum(present, axis=0, dtype=np.uint8).astype(np.intp)  # thrice as fast so
        powers = self._powers[fresh]
        known = np.where(present, np.stack(values), 0.0)
        sums = (self._sums[:, None] + np.cumsum(known / powers, axis=1)) * powers
        count = self._count + fresh
        self._sums, self._count = sums[:, -1], count[-1]
        return sums, count

    def weights(self, count: NDArray[np.int64]) -> Floats:
        """What the sums of `count` ones would be."""
        found: Floats = self._weights[count]
        return found


def _volatility(sums: _DecayingSums, returns: Floats, warm_up: int) -> Floats:
    """EWMA volatility down each column; NaN while too young, and where nothing ever moved."""
    (squares,), count = sums.add(returns**2)
    known = (squares > 0) & (count >= max(warm_up, 1))
    variance: Floats = np.full_like(squares, np.nan)
    np.divide(squares, sums.weights(count), out=variance, where=known)
    np.sqrt(variance, out=variance)
    return variance


def _beta(sums: _DecayingSums, bounded: Floats, market: Floats, warm_up: int) -> Floats:
    """EWMA regression of each ticker on the market, 1 until it is known, (rows, N)."""
    together = bounded * market
    (product, square), count = sums.add(together, np.where(np.isfinite(together), market**2, 0.0))
    known = (square > 0) & (count >= max(warm_up, 1))
    beta: Floats = np.ones_like(product)
    np.divide(product, square, out=beta, where=known)
    return beta


def _row_mean(values: Floats, least: int) -> Floats:
    """Mean across tickers, (T, 1); NaN where fewer than `least` are present."""
    present = np.isfinite(values)
    count = present.sum(axis=1, keepdims=True)
    total = np.where(present, values, 0.0).sum(axis=1, keepdims=True)
    return np.where(count >= least, total / np.maximum(count, 1), np.nan)


def _column_mean(values: Floats) -> Floats:
    """Mean down each column, (N,); NaN where nothing moved."""
    present = np.isfinite(values)
    total = np.where(present, values, 0.0).sum(axis=0)
    return np.where(total > 0, total / np.maximum(present.sum(axis=0), 1), np.nan)

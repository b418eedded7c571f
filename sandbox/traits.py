"""What each simulated stock is like, and how strong a planted drift makes the edge asked for.

The unit of time is one average 5-minute bar of a session: a year has `UNITS_PER_YEAR` of them, the
nights included. Volatilities are per square root of that unit unless `annual` is in the name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from astra.sessions import FULL_DAY_BARS, HORIZON_BARS
from astra.universe import SECTORS, sp500
from sandbox.listing import listing
from sandbox.tape import Floats

NIGHT_UNITS = 34.8  # 2.9 trading hours' worth of variance, the median US stock
UNITS_PER_YEAR = 252 * (FULL_DAY_BARS + NIGHT_UNITS)
DRIFT_DECAY = 2 ** (-1 / 72)  # half-life of the planted drift: 72 bars, 6 trading hours
FUND_VOL = 0.17 / UNITS_PER_YEAR**0.5  # about what a portfolio of all stocks comes to
PREMIUM_ANNUAL = 0.05
DEGREES = 5  # of Student's t, for all shocks
_OPEN_TO_DECISION = 6  # bars from 09:30 to the first decision time
MAX_EDGE = 0.25


@dataclass(frozen=True, slots=True)
class Traits:
    """Of N stocks; every array has shape (N,) and a row depends on (seed, ticker) alone.

    `beta` and `loading` multiply the market's and the sector's unit-variance shock, `idio` the
    stock's own; `adv` is USD a day; `dividend_yield` is 0 for those that pay none.
    """

    sector: np.ndarray[tuple[int], np.dtype[np.int64]]
    beta: Floats
    loading: Floats
    idio: Floats
    price: Floats
    adv: Floats
    weight: Floats
    missing: Floats
    dividend_yield: Floats
    dividend_phase: Floats

    @property
    def variance(self) -> Floats:
        return self.beta**2 + self.loading**2 + self.idio**2


def stream(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for each (seed, names): no ticker's bars depend on another's."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], np.uint32).tolist()])


def traits_of(stocks: tuple[str, ...], seed: int) -> Traits:
    """Draw the traits: annual volatility 18-45 %, of which 25-50 % of variance is the market's."""
    rows = np.array([_draw(ticker, seed) for ticker in stocks]).T
    vol, market, sector, price, adv, weight, missing, dividend_yield, phase = rows
    unit = np.sqrt(UNITS_PER_YEAR)
    return Traits(
        np.array([SECTORS.index(listing(t).sector) for t in stocks], np.int64),
        beta=vol * np.sqrt(market) / unit,
        loading=vol * np.sqrt(sector) / unit,
        idio=vol * np.sqrt(1 - market - sector) / unit,
        price=price,
        adv=adv,
        weight=weight,
        missing=missing,
        dividend_yield=dividend_yield,
        dividend_phase=phase,
    )


def _draw(ticker: str, seed: int) -> tuple[float, ...]:
    rng = stream(seed, "traits", ticker)
    vol = float(np.exp(rng.uniform(np.log(0.18), np.log(0.45))))
    market, sector = rng.uniform(0.25, 0.50), rng.uniform(0.05, 0.20)
    price = float(np.clip(90 * np.exp(0.8 * rng.standard_normal()), 12, 900))
    adv = float(3e8 * np.exp(1.0 * rng.standard_normal()))
    weight = float(np.exp(1.1 * rng.standard_normal()))
    is_thin = rng.random() < 0.03
    missing = rng.uniform(0.03, 0.15) if is_thin else 0.03 * rng.random() ** 2
    pays = rng.random() < 0.75
    dividend_yield = rng.uniform(0.005, 0.035) if pays else 0.0
    return vol, market, sector, price, adv, weight, missing, dividend_yield, float(rng.integers(91))


def shape(bars: int) -> Floats:
    """Volatility of a session's bars, mean square 1: the open about 2.4 times midday."""
    u = (np.arange(bars) + 0.5) / bars
    raw = 0.75 + 1.15 * np.exp(-u / 0.08) + 0.45 * np.exp(-(1 - u) / 0.08)
    return np.asarray(raw / np.sqrt(np.mean(raw**2)), np.float64)


def horizon_gain(slot: int, bars: int) -> float:
    """Expected sigma-scaled log return of one unit of drift, known at the start of bar `slot`.

    From the open of bar slot + 1, the first price that can be traded, to the close of the 12th
    bar: the sum of shape[slot + k] * decay^k for k = 1..11.
    """
    k = np.arange(1, HORIZON_BARS)
    return float(shape(bars)[slot + k] @ DRIFT_DECAY**k)


@lru_cache(maxsize=16)
def drift_gain(edge: float, seed: int) -> float:
    """The g of d' = decay * d + g * e with which the oracle's mean rank IC is `edge`.

    For scores x = A s sd(d) z and outcomes y ~ N(0, tau^2) that differ by stock, Spearman's rho is
    12 E[(F(x) - 1/2) E f(y) x] to first order in sd(d) (F the scores' distribution, f the
    outcomes' density), both nearly mixtures of normals over the stocks; for equal stocks it is the
    classical 3/pi of Pearson's. Averaged over the decision times of a full day; calibrated on all
    members, so that a ticker's bars do not depend on which others are served.
    """
    if edge == 0:
        return 0.0
    traits = traits_of(tuple(sp500()), seed)
    slots = range(_OPEN_TO_DECISION, FULL_DAY_BARS - HORIZON_BARS + 1, HORIZON_BARS)
    gain = edge * 0.05
    for _ in range(3):  # the drift adds to the outcomes' variance: three rounds settle it
        deviation = gain / np.sqrt(1 - DRIFT_DECAY**2)
        gain *= edge / float(np.mean([_rank_ic(traits, s, gain, deviation) for s in slots]))
    return float(gain)


def _rank_ic(traits: Traits, slot: int, gain: float, deviation: float) -> float:
    s, root = traits.idio, np.sqrt(2 * np.pi)
    a = horizon_gain(slot, FULL_DAY_BARS)
    tau, tails = _outcome(traits, slot, gain, deviation)
    ranks = np.mean(s[:, None] / np.hypot(s[:, None], s[None, :]), axis=1) / root
    density = np.mean(1 / np.hypot(tau[:, None], tau[None, :]), axis=1) / root
    return float(12 * np.mean(a * deviation * s * ranks * density * tails))


def _outcome(traits: Traits, slot: int, gain: float, deviation: float) -> tuple[Floats, Floats]:
    """Each stock's return from open slot + 1 to close slot + 11 against the cross-section's mean.

    Its standard deviation, and the factor 1 + kurtosis / 16 by which fat tails raise the density
    where outcomes meet (Gram-Charlier to the fourth moment, for the difference of two of them).
    """
    u = shape(FULL_DAY_BARS)[slot + 1 : slot + HORIZON_BARS]
    echo = np.array([u[j + 1 :] @ DRIFT_DECAY ** np.arange(len(u) - j - 1) for j in range(len(u))])
    own = np.sum((u + gain * echo) ** 2) + (horizon_gain(slot, FULL_DAY_BARS) * deviation) ** 2
    parts = np.array([own / np.sum(u**2) * traits.idio**2, traits.loading**2,
                      (traits.beta - traits.beta.mean()) ** 2])  # fmt: skip
    total = parts.sum(axis=0)
    kurtosis = 6 / (DEGREES - 4) * np.sum(u**4) / np.sum(u**2) ** 2
    kurtosis = kurtosis * np.sum(parts**2, axis=0) / total**2
    return np.sqrt(total * np.sum(u**2)), 1 + kurtosis / 16

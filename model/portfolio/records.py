"""What a decision may know, what a policy answers, and what is decided."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.covariance import Covariance, Horizon
from model.portfolio.factored import Factored
from model.portfolio.limits import Indices, Limits, sector_codes
from model.portfolio.trade import NO_LIMIT, Trade

T = TypeVar("T")
# What `Inputs.once` knows whatever the limits are.
_FREE = frozenset({"year", "covariance", "factored", "holding share"})


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a decision may know of n usable candidates.

    Attributes:
        tickers, sectors: n names and their sectors, "" for none.
        score: forecasts in units of their volatility, shape (n,).
        forecast: the same at face value, log returns over the horizon, shape (n,).
        sigma: volatility over the horizon, shape (n,).
        risk: the covariance per bar; `horizon`: the bars and nights until the next decision.
        ic: measured skill in use, 0 if there is none.
        current: weights held today, shape (n,); what else is held counts as cash.
        equity_premium: expected return over cash a year, of every name.
        cost_bp: half spread and fee of one side.
        holding_sessions: over which premium and risk count when a move is weighed.
        alpha_half_life_hours: of the forecast, trading hours.
        max_turnover: of one decision, buys and sales together, as a share of equity.
        kept: what is held of each sector beside these names, as a share of equity.
        others: sectors of names that are no candidates now and may be held.
        left_out: why candidates that have a forecast are none of these names, by ticker.
    """

    tickers: tuple[str, ...]
    sectors: tuple[str, ...]
    score: Floats
    forecast: Floats
    sigma: Floats
    risk: Covariance
    horizon: Horizon
    ic: float
    current: Floats
    limits: Limits = field(default_factory=Limits)
    equity_premium: float = 0.05
    cost_bp: float = 2.3
    holding_sessions: float = 20.0
    alpha_half_life_hours: float = 6.0
    max_turnover: float = NO_LIMIT
    kept: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    _known: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        n = len(self.tickers)
        arrays = {name: getattr(self, name) for name in ("score", "forecast", "sigma", "current")}
        for name, values in arrays.items():
            if values.shape != (n,) or not np.isfinite(values).all():
                raise DataError(f"a decision needs {n} finite values of {name}: leave out the rest")
        if not n or len(self.sectors) != n or self.risk.tickers != self.tickers:
            raise DataError("a decision needs names with a sector and a covariance each, in order")
        if (self.sigma <= 0).any() or (self.current < 0).any() or not np.isfinite(self.ic):
            raise DataError("a decision needs sigma > 0, weights held >= 0 and a finite skill")
        if not (np.isfinite(self.risk.per_bar).all() and np.isfinite(self.risk.night_bars).all()):
            raise DataError("a decision needs a finite covariance: leave out the names without one")

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` finds, found once for all policies that are told the same."""
        if name not in self._known:
            self._known[name] = make()
        found: T = self._known[name]
        return found

    @property
    def codes(self) -> Indices:
        return self.once("codes", lambda: sector_codes(self.sectors, self.limits))

    @property
    def taken(self) -> Floats | None:
        """What is held of each sector beside these names, by code; None = nothing."""
        return self.once("taken", self._taken) if self.kept else None

    @property
    def bars(self) -> float:
        """Bars of average variance until the next decision."""
        return self.risk.bars_in(self.horizon)

    @property
    def year_share(self) -> float:
        return self.once("year", lambda: self.risk.year_share(self.bars, self.horizon.nights))

    @property
    def premium(self) -> float:
        """mu0: what every name earns above cash until the next decision."""
        return self.equity_premium * self.year_share

    def covariance(self) -> tuple[Floats, Floats]:
        """Until the next decision, (n, n), and its diagonal part, (n,)."""
        return self.once("covariance", lambda: self.risk.over(self.bars, self.horizon.nights))

    def factored(self) -> Factored | None:
        """The same in factor form, None if the estimator has none."""
        return self.once("factored", lambda: self.risk.factored(self.bars, self.horizon.nights))

    def beside(self, limits: Limits, max_turnover: float, kept: Mapping[str, float]) -> Inputs:
        """The same names and forecasts in the room that other holdings leave."""
        other = replace(self, limits=limits.beside(kept), max_turnover=max_turnover, kept=kept)
        other._known.update({key: self._known[key] for key in _FREE & self._known.keys()})
        return other

    def _taken(self) -> Floats:
        taken = np.zeros(int(self.codes.max()) + 1)
        for code, sector in zip(self.codes, self.sectors, strict=True):
            taken[code] = self.kept.get(sector, 0.0) if sector else 0.0
        return taken


@dataclass(frozen=True, slots=True)
class Target:
    """What a policy would hold if trading were free.

    Attributes:
        weights: shape (n,), within the limits.
        method, reason: how it was found, and one sentence about it.
        sharpe: ex-ante, annualised, in excess of cash, under the policy's own expectations.
        bound_gap: how far below the best possible it can be, relatively; None if nothing is proven.
        alpha: what the policy expects beyond the premium until the next decision, shape (n,); None
            if it expects nothing in particular, so that a move is worth what it brings nearer.
        always_trades: go the whole way whatever it costs.
        unsolved: nothing was found: what is held stays.
    """

    weights: Floats
    method: str
    reason: str
    sharpe: float
    bound_gap: float | None
    alpha: Floats | None
    always_trades: bool = False
    unsolved: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A policy's target and the move that was decided: `trade.weights` are to be held."""

    policy: str
    target: Target
    trade: Trade


Policy = Callable[[Inputs], Target]

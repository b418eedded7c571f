"""The simulated market's record: factor-structured, fat-tailed 5-minute bars with a planted drift.

log return of stock i in bar t = vol * shape_t * (beta_i m_t + loading_i f_{sector(i),t}
                                                 + idio_i (d_{i,t} + e_{i,t})) + premium,
d_{i,t+1} = decay * d_{i,t} + g * e_{i,t}: an innovations form, so that whoever knows the past
shocks e knows the drift d. Sessions are made one after the other, each once; extending later
gives the same bars as making all at once.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass

import numpy as np

from astra.errors import DataError
from astra.sessions import Session, next_session
from astra.universe import SECTORS
from sandbox.listing import ETFS, listing
from sandbox.tape import Block, CorporateAction, Floats
from sandbox.traits import (
    DEGREES,
    DRIFT_DECAY,
    FUND_VOL,
    MAX_EDGE,
    NIGHT_UNITS,
    PREMIUM_ANNUAL,
    UNITS_PER_YEAR,
    drift_gain,
    horizon_gain,
    shape,
    stream,
    traits_of,
)

_BOUNCE = 0.8e-4  # an open against the close before it, log
_VOL_MEMORY, _VOL_SHOCK = 0.9, 0.10  # log volatility of a session: AR(1)
_SPLITS_PER_YEAR = 0.01
_ETF_PRICE = {"SPY": 560.0, "QQQ": 480.0}
_GROWTH = ("Information Technology", "Communication Services", "Consumer Discretionary")


@dataclass(frozen=True, slots=True)
class _Prints:
    """Noise of one session's prints: standard normals (N, T) and uniforms."""

    bounce: Floats
    above: Floats
    below: Floats
    volume: Floats
    missing: Floats
    split: Floats


class Simulation:
    """A `Tape` made from a seed.

    Args:
        tickers: canonical; stocks, and any of SPY (the capital-weighted portfolio of the stocks
            served) and QQQ (the same, tilted to growth sectors).
        seed: same seed, same start, same bars.
        edge: mean rank IC of the oracle over the next 12 bars, 0 = none.
        start: the first session is the first one on or after this day.
        splits: expected splits of a stock a year.

    Raises:
        DataError: no stock, a ticker twice, or an edge outside of [0, 0.25].
    """

    def __init__(
        self,
        tickers: tuple[str, ...],
        *,
        seed: int,
        edge: float,
        start: dt.date,
        splits: float = _SPLITS_PER_YEAR,
    ) -> None:
        self.stocks = tuple(t for t in tickers if t not in ETFS)
        etfs = tuple(t for t in tickers if t in ETFS)
        if not self.stocks or len(set(tickers)) < len(tickers):
            raise DataError("a simulated market needs at least one stock and no ticker twice")
        if not 0 <= edge <= MAX_EDGE:
            raise DataError(f"an edge is a rank IC from 0 to {MAX_EDGE}, found {edge}")
        self.tickers = (*self.stocks, *etfs)
        self.identity = f"simulated:{seed}"
        self.planted_edge: float | None = float(edge)
        self._seed, self._start = seed, start
        self._lock = threading.RLock()
        self._traits = traits_of(self.stocks, seed)
        self._gain, self._splits = drift_gain(float(edge), seed), splits
        self._factors = stream(seed, "factors")
        self._paths = [stream(seed, "path", t) for t in self.stocks]
        self._prints = [stream(seed, "prints", t) for t in self.tickers]
        self._funds = self._portfolios(etfs)
        self._next = next_session(dt.datetime.combine(start, dt.time(), dt.UTC))
        self._log_price = np.log(self._traits.price)
        self._drift = np.zeros(len(self.stocks))
        self._log_vol = 0.0
        self._shares = np.ones(len(self.stocks))  # for each share of the first session
        self._yesterday = self._next.date - dt.timedelta(days=1)
        self._blocks: list[Block] = []
        self._drifts: list[Floats] = []
        self._opens: tuple[dt.datetime, ...] = ()
        self._actions: dict[str, tuple[CorporateAction, ...]] = {}

    def name(self, ticker: str) -> str:
        return listing(ticker).name

    def block(self, index: int) -> Block | None:
        with self._lock:
            while len(self._blocks) <= index:
                self._append()
            return self._blocks[index]

    def extended_to(self, t: dt.datetime) -> tuple[dt.datetime, ...]:
        with self._lock:
            while not self._blocks or self._next.opens_at <= t:
                self._append()
            return self._opens

    def actions(self, ticker: str) -> tuple[CorporateAction, ...]:
        with self._lock:
            return self._actions.get(ticker, ())

    def newcomer(self, ticker: str) -> Simulation:
        """No stock's bars depend on which others are served: a record of its own will do."""
        if ticker in ETFS:
            raise DataError(f"a fund's price needs all stocks: {ticker} can't be listed by itself")
        edge = self.planted_edge or 0.0
        return Simulation(
            (ticker,), seed=self._seed, edge=edge, start=self._start, splits=self._splits
        )

    def oracle_score(self, index: int, slot: int) -> Floats:
        """Expected log return of each of `stocks`, known at the start of bar `slot`, shape (N,).

        From the open of bar slot + 1, the first that can be traded by then, to the close of bar
        slot + 11, the 12th; in session number `index`.
        """
        block = self.block(index)
        if block is None:  # a simulation has no end; said for the type's sake
            raise DataError(f"no session number {index}")
        expected = horizon_gain(slot, block.session.bars) * self._drifts[index][:, slot]
        return np.asarray(self._traits.idio * expected, np.float64)

    def _portfolios(self, etfs: tuple[str, ...]) -> Floats:
        """Shares of each stock in one share of each fund, shape (funds, N)."""
        growth = np.isin(self._traits.sector, [SECTORS.index(s) for s in _GROWTH])
        tilt = {"SPY": np.ones(len(growth)), "QQQ": np.where(growth, 1.0, 0.15)}
        rows = [self._traits.weight * tilt[t] for t in etfs]
        weights = np.array([_ETF_PRICE[t] * w / w.sum() for t, w in zip(etfs, rows, strict=True)])
        return weights.reshape(len(etfs), len(self.stocks)) / self._traits.price

    def _append(self) -> None:
        session = self._next
        log_vol = _VOL_MEMORY * self._log_vol + _VOL_SHOCK * self._factors.standard_normal()
        scale = np.exp(log_vol - _VOL_SHOCK**2 / (1 - _VOL_MEMORY**2))  # mean square 1
        prints = self._draw_prints(session.bars)
        dividends = self._act(session, prints)
        opening, closing, drift = self._walk(session.bars, scale, dividends)
        self._blocks.append(self._printed(session, scale, opening, closing, prints))
        self._drifts.append(drift)
        self._opens = (*self._opens, session.opens_at)
        self._log_vol, self._yesterday = log_vol, session.date
        self._next = next_session(session.closes_at)

    def _walk(self, bars: int, scale: float, dividends: Floats) -> tuple[Floats, Floats, Floats]:
        """Prices before and after each bar, and the drift before it, each (N, T); moves the state.

        Column 0 of the shocks is the night before, which neither shows nor changes the drift.
        """
        traits, count = self._traits, len(self.stocks)
        unit = np.sqrt((DEGREES - 2) / DEGREES)
        common = unit * self._factors.standard_t(DEGREES, (1 + len(SECTORS), bars + 1))
        own = unit * np.array([g.standard_t(DEGREES, bars + 1) for g in self._paths])
        drift = np.empty((count, bars))
        for t in range(bars):
            drift[:, t] = self._drift
            self._drift = DRIFT_DECAY * self._drift + self._gain * own[:, t + 1]
        own[:, 1:] += drift
        shocks = traits.beta[:, None] * common[0]
        shocks += traits.loading[:, None] * common[1 + traits.sector]
        shocks += traits.idio[:, None] * own
        units = np.concatenate([[np.sqrt(NIGHT_UNITS)], shape(bars)])
        premium = PREMIUM_ANNUAL / UNITS_PER_YEAR - traits.variance / 2
        returns = scale * units * shocks + premium[:, None] * units**2
        returns[:, 0] += np.log1p(-dividends / np.exp(self._log_price))
        path = np.exp(self._log_price[:, None] + np.cumsum(returns, axis=1))
        self._log_price = np.log(path[:, -1])
        return path[:, :-1], path[:, 1:], drift

    def _draw_prints(self, bars: int) -> _Prints:
        normal = np.array([g.standard_normal((4, bars)) for g in self._prints])
        uniform = np.array([g.random(bars + 2) for g in self._prints])
        bounce, above, below, volume = normal.transpose(1, 0, 2)
        return _Prints(bounce, above, below, volume, uniform[:, :bars], uniform[:, bars:])

    def _act(self, session: Session, prints: _Prints) -> Floats:
        """Note the session's splits and dividends; USD paid on a first-session share, (N,)."""
        chance, kind = prints.split[: len(self.stocks)].T
        for i in np.flatnonzero(chance < self._splits / 252):
            ratio = (2.0, 3.0, 4.0)[int(kind[i] * 3)]
            self._shares[i] *= ratio
            self._note(CorporateAction(self.stocks[i], "split", session.opens_at, ratio))
        traits, paid = self._traits, np.zeros(len(self.stocks))
        quarters = [(day.toordinal() - traits.dividend_phase) // 91 for day in
                    (self._yesterday, session.date)]  # fmt: skip
        for i in np.flatnonzero((quarters[0] < quarters[1]) & (traits.dividend_yield > 0)):
            price = np.exp(self._log_price[i]) / self._shares[i]
            value = max(0.01, round(float(price * traits.dividend_yield[i] / 4), 2))
            paid[i] = value * self._shares[i]
            self._note(CorporateAction(self.stocks[i], "dividend", session.opens_at, value))
        return paid

    def _note(self, action: CorporateAction) -> None:
        self._actions[action.ticker] = (*self._actions.get(action.ticker, ()), action)

    def _printed(
        self, session: Session, scale: float, opening: Floats, closing: Floats, prints: _Prints
    ) -> Block:
        """Bars around the path: a small bounce at the open, high and low outside of both."""
        opening = np.vstack([opening, self._funds @ opening])
        closing = np.vstack([closing, self._funds @ closing])
        noise = _padded(np.sqrt(self._traits.variance), len(self._funds), FUND_VOL)
        sigma = scale * noise[:, None] * shape(session.bars)
        opened = opening * np.exp(_BOUNCE * prints.bounce)
        high = np.maximum(opened, closing) * np.exp(0.4 * sigma * np.abs(prints.above))
        low = np.minimum(opened, closing) * np.exp(-0.4 * sigma * np.abs(prints.below))
        usd = _padded(self._traits.adv, len(self._funds), 2e10)[:, None] / session.bars
        traded = usd * shape(session.bars) ** 2 * np.exp(0.6 * prints.volume - 0.18) / closing
        missing = _padded(self._traits.missing, len(self._funds), 0.0)
        volume = np.maximum(traded, 1).astype(np.int64)
        printed = prints.missing >= missing[:, None]
        o, h, low, c = (np.round(p, 4) for p in (opened, high, low, closing))
        return Block(session, o, h, low, c, volume, printed)


def _padded(values: Floats, count: int, value: float) -> Floats:
    return np.concatenate([values, np.full(count, value)])

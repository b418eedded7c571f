"""`astra backtest`: finds the bars that a specification means and walks its policies over them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astra.cli.evaluating import SIMULATED_DAYS
from astra.errors import DataError
from astra.settings import Settings
from astra.universe import candidates as listed

if TYPE_CHECKING:
    from model.backtest.records import Backtest
    from model.backtest.spec import Source, Spec
    from model.panel import Panel

WARM_UP_SESSIONS = 20  # of history before the first decision, where no day is named
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Found:
    """A backtest, what it was asked for, and the bars it was made on.

    Attributes:
        market: identity of the bars' market.
        planted_edge: rank IC of the simulated market's forecasts at best; None of recorded bars.
        data_hash: 16 hex of the content of the bars that were used.
        not_members: tickers among the bars that are no candidates.
        cut_off: candidates among the bars beyond the number that was asked for.
    """

    spec: Spec
    market: str
    planted_edge: float | None
    data_hash: str
    candidates: tuple[str, ...]
    not_members: int
    backtest: Backtest
    cut_off: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "market": self.market,
            "planted_edge": self.planted_edge,
            "data_hash": self.data_hash,
            "tickers": len(self.candidates),
            "spec": self.spec.as_json(),
            **self.backtest.as_json(),
        }


def run(spec: Spec, settings: Settings) -> Found:
    """Walk the specified policies over the specified days.

    Of the settings only the places count: of the database, and of the networks.

    Raises:
        ConfigError: no such policy.
        BundleError: no such network.
        DataError: the bars hold too few candidates or no decision times in those days, or the
            network was trained on them.
    """
    panel, market = bars_of(spec.source, settings)
    (found,) = run_together((spec,), panel, market, settings)
    return found


def run_together(
    specs: Sequence[Spec], panel: Panel, market: str, settings: Settings
) -> tuple[Found, ...]:
    """As `run`, for specifications that differ in nothing but policies and terms, on bars that
    were read before. What the bars tell is found out once.

    Raises:
        ConfigError, BundleError, DataError: as `run`.
    """
    from model.backtest.fills import Costs
    from model.backtest.walk import Plan, walk_together
    from model.forecast.registry import open_registry
    from model.forecast.serving import Forecaster
    from model.own_policy import find

    spec = specs[0]
    plans = [
        Plan(
            one.terms,
            {name: find(name) for name in one.policies},
            Costs(
                one.half_spread_bp + one.slippage_bp,
                one.fee_bp,
                one.terms.drift_band,
                one.min_order_usd,
                one.max_order_weight,
                one.whole_shares,
                frozenset(one.terms.hold),
                one.terms.max_turnover,
                one.max_position_weight,
                one.cash_buffer,
            ),
        )
        for one in specs
    ]
    forecaster = Forecaster(open_registry(settings).load(spec.bundle))
    ground = ground_of(spec, panel, market)
    backtests = walk_together(
        ground.panel,
        tuple(ground.sectors),
        ground.sectors,
        plans,
        forecaster,
        ground.times,
        capital=spec.capital,
    )
    return tuple(
        Found(
            spec=one,
            market=market,
            planted_edge=spec.source.edge if spec.source.kind == "simulated" else None,
            data_hash=ground.data_hash,
            candidates=tuple(ground.sectors),
            not_members=ground.not_members,
            backtest=backtest,
            cut_off=ground.cut_off,
        )
        for one, backtest in zip(specs, backtests, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Ground:
    """What a specification is walked over.

    Attributes:
        panel: the bars that can tell anything: of candidates and SPY, from the first decision's
            history to the end of the last one's hour. Later bars and other tickers change nothing.
        sectors: by candidate.
        not_members, cut_off: as in `Found`.
    """

    panel: Panel
    sectors: Mapping[str, str]
    times: tuple[dt.datetime, ...]
    not_members: int
    cut_off: int

    @property
    def data_hash(self) -> str:
        """16 hex of the bars' content."""
        return str(self.panel.digest()["digest"])


def ground_of(spec: Spec, panel: Panel, market: str) -> Ground:
    """The candidates, times and bars that `spec` means of a panel.

    Raises:
        ConfigError: the list of candidates cannot be used.
        DataError: too few candidates, or no decision times in those days.
    """
    from model.backtest.records import HOUR, SPY
    from model.outlook import HISTORY

    members = {listing.ticker: listing for listing in listed(spec.candidates)}
    present = tuple(t for t in members if t in panel.tickers)
    candidates = present[: spec.source.tickers]
    if len(candidates) < 2:
        raise DataError(
            f"at least 2 candidates are required, found {len(candidates)} among the "
            f"{len(panel.tickers)} tickers of {spec.source.path or market}: name them in "
            "ASTRA_TICKERS"
        )
    times = _times(panel, spec)
    used = tuple({*candidates, SPY} & {*panel.tickers})
    return Ground(
        panel=panel.known_at(times[-1] + HOUR).since(times[0] - HISTORY).only(used),
        sectors={t: members[t].sector for t in candidates},
        times=times,
        not_members=sum(t not in members for t in panel.tickers),
        cut_off=len(present) - len(candidates),
    )


def bars_of(source: Source, settings: Settings) -> tuple[Panel, str]:
    """The panel, benchmarks with it, and the market's identity."""
    from astra.bars import from_arrow
    from astra.cli.panels import from_file
    from astra.store import open_store
    from model.panel import build
    from sandbox.market import default_tickers
    from sandbox.markets import simulated_bars

    if source.kind == "file":
        return from_file(Path(source.path or ""), "5m")
    if source.kind == "simulated":
        first, last = SIMULATED_DAYS["5m"]
        first, last = source.first or first, source.last or last
        names, seed = default_tickers(source.tickers), source.seed or 0
        frame = simulated_bars(names, seed=seed, edge=source.edge or 0.0, first=first, last=last)
        return build(frame), f"simulated:{seed}"
    store = open_store(settings.database_url)
    try:
        table = store.prices.read(known_at=source.known_at)
        return build(from_arrow(table)), store.market() or "unknown"
    finally:
        store.close()


def _times(panel: Panel, spec: Spec) -> tuple[dt.datetime, ...]:
    """Decision times of the asked days, with their hour inside the panel."""
    from model.backtest.records import HOUR

    warm = panel.sessions[min(WARM_UP_SESSIONS, len(panel.sessions) - 1)]
    start, end = warm.opens_at, panel.sessions[-1].closes_at
    if spec.first:
        start = max(panel.sessions[0].opens_at, _midnight(spec.first))
    if spec.last:
        end = min(end, _midnight(spec.last) + DAY)
    times = tuple(t for s in panel.sessions for t in s.decision_times() if start <= t <= end - HOUR)
    if not times:
        first, last = panel.sessions[0].date, panel.sessions[-1].date
        raise DataError(
            f"a backtest needs decision times, found none from {start:%Y-%m-%d} to "
            f"{spec.last or last}: the bars reach from {first} to {last}, and without --from the "
            f"first {WARM_UP_SESSIONS} sessions are history"
        )
    return times


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)

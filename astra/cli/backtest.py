"""`astra backtest`: finds the bars and walks the policies over them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astra.cli.evaluating import SIMULATED_DAYS
from astra.errors import ConfigError, DataError
from astra.settings import Settings
from astra.universe import candidates as listed

if TYPE_CHECKING:
    from model.backtest.records import Backtest
    from model.backtest.spec import Source, Spec
    from model.panel import Panel

CAPITAL = 100_000.0  # USD, if the settings name none
WARM_UP_SESSIONS = 20  # of history before the first decision, where no day is named
DAY = dt.timedelta(days=1)
_OWN = ".py:"  # between a policy's file and its function


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was asked for; what is None is as the settings say.

    Attributes:
        store, known_at: the database's bars, as known then or else now; without them those of the
            file `bars`, or else the simulated market's.
        policies: none = all built-in ones.
        half_spread_bp: what a fill is charged; decisions expect the settings' cost all the same.
        bundle: None = the champion.
    """

    bars: Path | None = None
    store: bool = False
    known_at: dt.datetime | None = None
    first: dt.date | None = None
    last: dt.date | None = None
    policies: tuple[str, ...] = ()
    tickers: int = 60
    edge: float = 0.04
    seed: int = 1
    half_spread_bp: float | None = None
    slippage_bp: float = 0.0
    whole_shares: bool = False
    bundle: str | None = None


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


def specify(asked: Asked, settings: Settings) -> Spec:
    """The specification of what was asked for, with the settings' terms.

    Raises:
        ConfigError: no such policy, days in the wrong order, or a file and the store at once.
        BundleError: there is no champion.
    """
    from model.backtest.spec import Spec
    from model.decision import Terms
    from model.forecast.registry import open_registry
    from model.own_policy import find
    from model.portfolio.policies import POLICIES

    if asked.first and asked.last and asked.first > asked.last:
        raise ConfigError(
            f"--from must not be after --to, found {asked.first} and {asked.last}: exchange them"
        )
    source = _source(asked, settings)
    policies = tuple(placed(name) for name in asked.policies or POLICIES)
    for name in policies:
        find(name)
    names = settings.tickers
    if names.endswith(".csv"):
        names = str(Path(names).expanduser().resolve())
        listed(names)
    spread = settings.half_spread_bp if asked.half_spread_bp is None else asked.half_spread_bp
    return Spec(
        source=source,
        first=asked.first,
        last=asked.last,
        policies=policies,
        terms=Terms.from_settings(settings),
        capital=settings.capital or CAPITAL,
        half_spread_bp=spread,
        slippage_bp=asked.slippage_bp,
        fee_bp=settings.fee_bp,
        min_order_usd=settings.min_order_usd,
        whole_shares=asked.whole_shares,
        bundle=asked.bundle or open_registry(settings).champion_id(),
        max_order_weight=settings.max_order_weight,
        candidates=names,
        files=tuple((str(path), _hash_of(path)) for path in files_of(policies, names)),
    )


def placed(policy: str) -> str:
    """A policy's name, a file's with its whole path: it is repeated from other folders too."""
    path, mark, function = policy.partition(_OWN)
    return f"{Path(path).resolve()}{mark}{function}" if mark else policy


def files_of(policies: Sequence[str], candidates: str) -> tuple[Path, ...]:
    """The files that these choices name, each once."""
    parts = [policy.partition(_OWN) for policy in policies]
    found = [Path(f"{path}.py") for path, mark, _ in parts if mark]
    found += [Path(candidates)] if candidates.endswith(".csv") else []
    return tuple(dict.fromkeys(found))


def changed_files(spec: Spec) -> tuple[str, ...]:
    """Those of its files that are no longer what they were when it was asked for."""
    return tuple(
        path for path, told in spec.files if not Path(path).is_file() or _hash_of(path) != told
    )


def _hash_of(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def _source(asked: Asked, settings: Settings) -> Source:
    """Said so exactly that it gives the same bars when asked again: of the store what it knows by
    now, of the simulated market the days that it is made for."""
    from astra.store import open_store
    from model.backtest.spec import Source
    from model.outlook import HISTORY

    is_stored = asked.store or asked.known_at is not None
    if asked.bars and is_stored:
        raise ConfigError(
            "bars come from one place, a file and the store were both asked for: leave out "
            "--bars, or --store and --known-at"
        )
    if asked.bars:
        return Source("file", path=str(asked.bars.resolve()), tickers=asked.tickers)
    if not is_stored:
        first, last = SIMULATED_DAYS["5m"]
        if asked.first and asked.first < first:
            first = asked.first - HISTORY
        if asked.last and asked.last > last:
            last = asked.last
        return Source(
            "simulated", None, asked.seed, asked.edge, asked.tickers, first=first, last=last
        )
    known_at = asked.known_at
    if known_at is None:
        store = open_store(settings.database_url)
        try:
            known_at = store.now()
        finally:
            store.close()
    return Source("store", tickers=asked.tickers, known_at=known_at)


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
    from model.backtest.records import SPY
    from model.backtest.walk import HOUR
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
    from sandbox.market import default_tickers, simulated_bars

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
    from model.backtest.walk import HOUR

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

"""What a backtest is asked for, and that said so exactly that it can be made again."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astra.cli.evaluating import SIMULATED_DAYS
from astra.errors import ConfigError
from astra.settings import Settings
from astra.universe import candidates as listed

if TYPE_CHECKING:
    from model.backtest.spec import Source, Spec

CAPITAL = 100_000.0  # USD, if the settings name none
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
        max_position_weight=settings.max_position_weight,
        cash_buffer=settings.cash_buffer,
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

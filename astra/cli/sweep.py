"""`astra backtest --sweep`: many sets of choices on the same bars, side by side and resumable.

What the bars tell is the same for all sets, so a process walks several of them together. A finished
chunk is stored at once: a second start makes only what is not there yet. On a cluster the workers
need this package and the bars in the same place; they get no key and no token.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import joblib
from joblib.externals.loky import BrokenProcessPool, get_reusable_executor
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from astra.cli import backtest as walking
from astra.cli import grid, specifying
from astra.cli.backtests import code_version, courses, overfitting_among, rivals, trial_id
from astra.cli.swept import Made, Row, Swept
from astra.errors import ConfigError, DataError, TemporaryError
from astra.settings import Settings
from astra.store import open_store
from astra.trials import deflate

if TYPE_CHECKING:
    from astra.store.backtests import Trial
    from model.backtest.spec import Source, Spec
    from model.panel import Panel

SETS_A_CHUNK = 8  # more share more, and lose more when they are killed
_FIELDS = {  # options that are called otherwise where they are kept
    "from": "first", "to": "last", "costs_bps": "half_spread_bp", "slippage_bps": "slippage_bp",
}  # fmt: skip
_CLUSTER_SECONDS = 10
_SCHEMES = ("tcp", "tls", "ws", "wss")  # of a cluster's address
_REMEMBERED = 24 * 3600.0  # seconds of finished chunks that the time left is told from


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was asked for; no jobs = as many as the machine has cores."""

    path: Path
    jobs: int | None = None
    cluster: str | None = None
    is_kept: bool = True


def specify(sweep: grid.Grid, settings: Settings) -> tuple[Spec, ...]:
    """One specification of one policy for each set, all of them checked.

    Raises:
        ConfigError: a set that cannot be run.
        BundleError: there is no champion, and no network is named.
    """
    fixed = dict(sweep.fixed)
    if "capital" in fixed:
        settings = settings.model_copy(update={"capital": fixed.pop("capital")})
    if "bars" in fixed:
        fixed["bars"] = Path(fixed["bars"])
    if "known_at" in fixed:
        fixed["known_at"] = grid.in_utc(fixed["known_at"])
    asked = specifying.Asked(**{_FIELDS.get(name, name): value for name, value in fixed.items()})
    found: list[Spec] = []
    for choices in sweep.sets:
        chosen = grid.settings_of(choices, settings)
        bundle = found[0].bundle if found else asked.bundle
        one = replace(asked, policies=(chosen.policy,), bundle=bundle)
        found.append(specifying.specify(one, chosen))
    return tuple(found)


def run(asked: Asked, settings: Settings, console: Console) -> Swept:
    """Walk the sets that are not stored yet, store them chunk by chunk, and judge all of them.

    Args:
        console: where the progress is shown.

    Raises:
        ConfigError: a file that is no sweep, a set that cannot be run, or no package for a cluster.
        TemporaryError: no cluster answers, or a worker was killed.
        DataError: as `backtest.run`; a worker has other bars or another release.
    """
    sweep = grid.read(asked.path)
    specs = specify(sweep, settings)
    panel, market = walking.bars_of(specs[0].source, settings)
    data_hash = walking.ground_of(specs[0], panel, market).data_hash
    ids = [trial_id(spec, spec.policies[0], data_hash) for spec in specs]
    made = _stored(ids, settings) if asked.is_kept else {}
    left = {name: spec for name, spec in zip(ids, specs, strict=True) if name not in made}
    if made:
        console.print(f"{len(ids) - len(left)} of {len(ids)} sets are stored already")
    for walked in _walked(tuple(left.values()), asked, settings, console):
        for one in walked:
            require_alike(one.course.trial, data_hash)
        made |= {one.course.trial.id: one for one in walked}
        if asked.is_kept:
            _keep(walked, settings)
    rows = [Row(choices, made[name]) for choices, name in zip(sweep.sets, ids, strict=True)]
    rows.sort(key=lambda row: -row.trial.sharpe if math.isfinite(row.trial.sharpe) else math.inf)
    trials = rivals([row.made.course for row in rows], settings)
    source = specs[0].source
    return Swept(
        market=market,
        planted_edge=source.edge if source.kind == "simulated" else None,
        data_hash=data_hash,
        rows=tuple(rows),
        walked=len(left),
        deflated=deflate(rows[0].trial, trials),
        overfitting=overfitting_among([row.made.course for row in rows]),
    )


def chunks(specs: Sequence[Spec], jobs: int) -> tuple[tuple[Spec, ...], ...]:
    """What is walked together: neighbours, as many chunks for each job, none above the limit."""
    rounds = -(-len(specs) // (SETS_A_CHUNK * jobs))
    count = min(len(specs), rounds * jobs)
    ends = [round(i * len(specs) / count) for i in range(count + 1)] if count else []
    return tuple(tuple(specs[a:b]) for a, b in pairwise(ends))


def walk(
    specs: tuple[Spec, ...], settings: Settings, parent: int | None = None
) -> tuple[Made, ...]:
    """Walk specifications of one policy each together; a worker's task.

    Args:
        parent: the process without which nobody waits for the answer.
    """
    if parent is not None and parent != os.getpid():
        _end_with(parent)
    panel, market = _bars(specs[0].source, settings)
    made = []
    for found in walking.run_together(specs, panel, market, settings):
        (course,) = courses(found)
        made.append(Made(course, found.backtest.skill_ic, found.backtest.skill_t))
    return tuple(made)


@lru_cache(maxsize=1)
def _end_with(parent: int) -> None:
    """A worker whose parent is killed would go on with the tasks it was handed; this ends it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@lru_cache(maxsize=1)
def _bars(source: Source, settings: Settings) -> tuple[Panel, str]:
    """Read once in a process, however many chunks it walks."""
    return walking.bars_of(source, settings)


def _walked(
    specs: tuple[Spec, ...], asked: Asked, settings: Settings, console: Console
) -> Iterator[tuple[Made, ...]]:
    """Each chunk as soon as it is done, with a bar that says how many sets are left."""
    if not specs:
        return
    bar = Progress(
        TextColumn("sets"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=_REMEMBERED,
    )
    public = _without_secrets(settings)
    with _workers(asked, len(specs)) as jobs, bar:
        task = bar.add_task("", total=len(specs))
        bar.advance(task, 0)  # the first chunk's time counts too
        parallel = joblib.Parallel(
            batch_size=1, pre_dispatch="all", return_as="generator_unordered"
        )
        parent = None if asked.cluster else os.getpid()
        tasks = (joblib.delayed(walk)(chunk, public, parent) for chunk in chunks(specs, jobs))
        with warnings.catch_warnings(), closing(parallel(tasks)) as chunks_made:
            # After an error joblib warns of what it has cancelled; the error says enough.
            warnings.filterwarnings("ignore", r"\d+ tasks which were still", UserWarning)
            for made in chunks_made:
                bar.advance(task, len(made))
                yield made


@contextmanager
def _workers(asked: Asked, sets: int) -> Iterator[int]:
    """Where joblib runs its tasks, and how many at once: each on one thread of its own. None of our
    own processes is left at the end.

    Raises:
        ConfigError: the package for a cluster is not installed, or its address is none.
        TemporaryError: no cluster answers, it has no workers, or a worker was killed.
    """
    if asked.cluster is not None:
        with _cluster(asked.cluster) as jobs:
            yield jobs
        return
    jobs = min(asked.jobs or joblib.cpu_count(), sets)
    try:
        with joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
            yield jobs
    except BrokenProcessPool as error:
        raise TemporaryError(_killed("--jobs")) from error
    finally:
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)


@contextmanager
def _cluster(address: str) -> Iterator[int]:
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise ConfigError(
            "a sweep on a cluster needs the package distributed, which is not installed: "
            "pip install 'astra-portfolio[cluster]'"
        ) from error
    _require_scheduler(address)
    with Client(address, timeout=_CLUSTER_SECONDS, set_as_default=False) as client:
        jobs = sum(client.ncores().values())
        if not jobs:
            raise TemporaryError(
                f"the cluster at {address} needs workers, found none: start them with "
                f"`dask worker {address} --nthreads 1`"
            )
        try:
            with joblib.parallel_config(backend="dask", client=client):
                yield jobs
        except KilledWorker as error:
            raise TemporaryError(_killed("threads of each worker")) from error


def _killed(fewer: str) -> str:
    return (
        "the workers of a sweep must live to its end, one was killed, likely for memory: start it "
        f"again with fewer {fewer}; what was finished is not made again if it is stored"
    )


def _require_scheduler(address: str) -> None:
    """A client that meets nobody says so in a page of traceback, and late; one that meets something
    else waits for ever."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme not in _SCHEMES:
        raise ConfigError(f"a cluster's address is like tcp://10.0.0.5:8786, found {address!r}")
    try:
        socket.create_connection((host, port), timeout=_CLUSTER_SECONDS).close()
    except OSError as error:
        raise TemporaryError(
            f"a Dask scheduler is required at {address}, none answers ({error}): start it with "
            "`dask scheduler`, or leave out --cluster"
        ) from error
    try:
        found = asyncio.run(asyncio.wait_for(_identity(address), _CLUSTER_SECONDS))["type"]
    except Exception as error:  # whatever a stranger's bytes are taken for
        raise TemporaryError(
            f"a Dask scheduler is required at {address}, what listens there does not answer as one "
            f"within {_CLUSTER_SECONDS} s ({type(error).__name__}): check the port"
        ) from error
    if found != "Scheduler":
        raise ConfigError(
            f"a Dask scheduler is required at {address}, found a {found}: name the scheduler's port"
        )


async def _identity(address: str) -> dict[str, Any]:
    from distributed import rpc
    from distributed.security import Security

    known = Security().get_connection_args("client")
    async with rpc(address, timeout=_CLUSTER_SECONDS, connection_args=known) as scheduler:
        return dict(await scheduler.identity())


def _without_secrets(settings: Settings) -> Settings:
    """What a worker needs: where the bars and the networks are."""
    empty = SecretStr("")
    return settings.model_copy(update={"alpaca_key": "", "alpaca_secret": empty, "token": empty})


def require_alike(trial: Trial, data_hash: str) -> None:
    """Refuse what a worker of a cluster has made of other bars or by other code than ours.

    Raises:
        DataError: says which.
    """
    ours = (data_hash, code_version())
    if (trial.data_hash, trial.code_version) != ours:
        raise DataError(
            f"every worker needs our bars and release, {' and '.join(ours)}; found "
            f"{trial.data_hash} and {trial.code_version}: copy the bars, install the same release"
        )


def _stored(ids: Sequence[str], settings: Settings) -> dict[str, Made]:
    """Those of `ids` that this code has made before."""
    store = open_store(settings.database_url)
    try:
        found = store.backtests.courses(ids)
    finally:
        store.close()
    return {c.trial.id: Made(c) for c in found if c.trial.code_version == code_version()}


def _keep(made: Sequence[Made], settings: Settings) -> None:
    store = open_store(settings.database_url)
    try:
        store.backtests.keep([one.course for one in made])
    finally:
        store.close()

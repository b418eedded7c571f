"""What a run in the sandbox starts from: its options, its clock, its market, its environment."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from astra.errors import DataError
from astra.sessions import BAR, decision_times_between
from astra.settings import Settings
from astra.universe import sp500

HORIZON = dt.timedelta(hours=1)
Fault = Mapping[str, object]  # the body of POST /sandbox/faults


@dataclass(frozen=True, slots=True)
class Options:
    """What `astra run` was asked for; `bars` None means the simulated market."""

    bars: Path | None
    tickers: int
    hours: int
    edge: float
    seed: int
    faults: tuple[Fault, ...] = ()

    def sandbox_arguments(self, function_url: str) -> list[str]:
        simulated = ["--edge", self.edge, "--seed", self.seed, "--tickers", self.tickers]
        source = ["--bars", self.bars.resolve()] if self.bars else simulated
        return [str(word) for word in (*source, "--function-url", function_url)]


@dataclass(frozen=True, slots=True)
class Opening:
    """The market a run meets.

    Attributes:
        market: its identity.
        planted_edge: rank IC, None for recorded bars.
        candidates: members of the S&P 500 in it; `not_members` are data only.
        history_days: calendar days of bars before the first decision, 60 at most.
        times: the decision times to trade, ascending.
    """

    market: str
    planted_edge: float | None
    candidates: tuple[str, ...]
    not_members: tuple[str, ...]
    history_days: int
    times: tuple[dt.datetime, ...]


class Sandbox:
    """The sandbox's control port: its clock and its market."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._armed = 0  # requests that the armed faults are for

    def state(self) -> dict[str, Any]:
        answer = requests.get(f"{self._url}/sandbox/state", timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def step_to(self, t: dt.datetime) -> None:
        self._set_clock({"to": t.isoformat()})

    def open_account(self) -> None:
        """A new account that opens at the clock's time, with its first deposit."""
        requests.post(f"{self._url}/sandbox/account", timeout=60).raise_for_status()

    def arm(self, faults: Sequence[Fault]) -> int:
        """These faults and no others.

        Returns: how many requests met those armed before, without those armed for ever.

        Raises:
            DataError: the first fault that the sandbox does not understand.
        """
        url = f"{self._url}/sandbox/faults"
        left = self.state()["faults"] if self._armed else []
        met = self._armed - sum(fault["left"] or 0 for fault in left)
        requests.delete(url, timeout=60).raise_for_status()
        self._armed = 0
        for fault in faults:
            answer = requests.post(url, json=fault, timeout=60)
            if answer.status_code == HTTPStatus.BAD_REQUEST:
                raise DataError(f"{json.dumps(fault)}: {answer.json()['message']}")
            answer.raise_for_status()
            self._armed += answer.json()["faults"][-1]["left"] or 0
        return met

    def run(self, speed: float) -> None:
        """Let the clock run, `speed` market seconds for each second."""
        self._set_clock({"speed": speed})

    def _set_clock(self, body: Mapping[str, object]) -> None:
        requests.post(f"{self._url}/sandbox/clock", json=body, timeout=60).raise_for_status()


def read_faults(path: Path) -> tuple[Fault, ...]:
    """The faults of a fault plan: a JSON list of what POST /sandbox/faults takes.

    Raises:
        DataError: there is no such list in the file.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"a fault plan is a JSON list, {path} is none: {error}") from error
    if not isinstance(found, list) or not all(isinstance(fault, dict) for fault in found):
        raise DataError(f"a fault plan is a JSON list of objects, {path} holds something else")
    return tuple(found)


def run_id(options: Options) -> str:
    """Names the state of one run: when, on what, and four random digits."""
    name = options.bars.stem if options.bars else f"seed{options.seed}"
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{name[:24]}-{secrets.token_hex(2)}"


def environment(settings: Settings, folder: Path, urls: Mapping[str, str]) -> dict[str, str]:
    """What points the services at the sandbox, each run with a store and an account of its own."""
    return {
        "ASTRA_VAR": str(folder.resolve()),
        "ASTRA_DATABASE_URL": f"sqlite:///{(folder / 'astra.db').resolve()}",
        "ASTRA_YAHOO_URL": urls["yahoo"],
        "ASTRA_STORAGE_URL": urls["storage"],
        "ASTRA_ALPACA_URL": urls["alpaca"],
        "ASTRA_ALPACA_DATA_URL": urls["alpaca"],
        "ASTRA_ALPACA_KEY": "sandbox",
        "ASTRA_ALPACA_SECRET": "sandbox",
        "ASTRA_ALPACA_PAPER": "true",
        "ASTRA_ETL_URL": urls["etl"],
        "ASTRA_MODEL_URL": urls["model"],
        "ASTRA_MONITOR_URL": urls["monitor"],
        "ASTRA_BUCKET": settings.bucket,
        "ASTRA_POLICY": settings.policy,
        "ASTRA_BENCHMARKS": settings.benchmarks,
        **_bundles(settings, folder),
    }


def _bundles(settings: Settings, folder: Path) -> dict[str, str]:
    """Where the champion is: of one in a bucket a copy, as the sandbox's storage does not hold it.

    Raises:
        BundleError, ConfigError, TemporaryError: it cannot be had.
    """
    if isinstance(settings.bundles, Path):
        return {}
    from model.forecast.registry import open_registry

    place = (folder / "bundles").resolve()
    champion = open_registry(settings).load()
    copied = open_registry(settings.model_copy(update={"bundles": place}))
    copied.register(champion.spec, champion.onnx, champion.weights)
    copied.promote_if_first(champion.id, dt.datetime.now(dt.UTC))
    return {"ASTRA_BUNDLES": str(place)}


def open_market(sandbox: Sandbox, options: Options) -> Opening:
    """The market's candidates and the last `options.hours` decision times that can be traded.

    Raises:
        DataError: fewer than two candidates, or no such time.
    """
    state = sandbox.state()["market"]
    members = sp500()
    listed = [str(t) for t in state["tickers"]]
    candidates = tuple(t for t in listed if t in members)[: options.tickers]
    if len(candidates) < 2:
        raise DataError(
            f"at least 2 members of the S&P 500 are required, found {len(candidates)} among the "
            f"{len(listed)} tickers of {options.bars or 'the simulated market'}"
        )
    first = dt.datetime.fromisoformat(state["first"])
    end = dt.datetime.fromisoformat(state["last"]) + BAR
    times = tuple(t for t in decision_times_between(first, end) if t + HORIZON <= end)
    times = times[-options.hours :]
    if not times:
        raise DataError(
            f"a decision time with an hour of bars after it is required, {options.bars} has none "
            f"between {first:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC"
        )
    return Opening(
        market=state["identity"],
        planted_edge=state["planted_edge"],
        candidates=candidates,
        not_members=tuple(t for t in listed if t not in members),
        history_days=min(60, (times[0] - first).days),
        times=times,
    )


def headline(opening: Opening, hours: int | None = None) -> str:
    """One line for the start: which market, how wide, how long."""
    planted = opening.planted_edge
    kind = "Recorded bars" if planted is None else f"SIMULATED market, edge planted: IC {planted:g}"
    ahead = f"{hours} decision{'s' * (hours > 1)}, " if hours else ""
    return (
        f"{kind} ({opening.market}), {len(opening.candidates)} candidates, {ahead}"
        f"{opening.history_days} days of history"
    )

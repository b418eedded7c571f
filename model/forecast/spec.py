"""What a bundle says about itself: how its network is built and fed, and how it was trained.

Times in the JSON text are ISO 8601 with a zone, numbers are plain; unknown keys and versions are
refused, so that an old program never misreads a newer bundle.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from astra.errors import BundleError
from astra.predictions import QUANTILES
from astra.sessions import FULL_DAY_BARS
from model.forecast.target import Scaler

VERSION = 2
TARGET = "market-free log return over the horizon, in units of its volatility"
Kind = TypeVar("Kind")
_PLAIN: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str}
FREQUENCIES = ("5m", "1d")
TRAINED_ON = ("simulated", "real", "replay")
MOST_MEMBERS = 50


@dataclass(frozen=True, slots=True)
class Training:
    """How the weights came about; `start` and `end` bound every bar that had a say in them.

    Attributes:
        steps: taken until the weights of record; fewer than asked for where it stopped early.
    """

    trained_on: str
    market: str
    start: dt.datetime
    end: dt.datetime
    tickers: int
    windows: int
    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    seed: int


@dataclass(frozen=True, slots=True)
class Reference:
    """What was normal; drift is measured against it.

    Attributes:
        deciles: the nine of the network's normalised returns on the sessions learnt from.
        error: mean over the held-out days of the day's mean absolute error of the median over the
            whole horizon, in units of the ticker's total volatility over it.
        error_deviation: standard deviation of it over days.
    """

    deciles: tuple[float, ...]
    error: float
    error_deviation: float


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything but the weights.

    Attributes:
        frequency: of the bars, one of `FREQUENCIES`.
        network: darts' name of it in small letters, see `networks.py`.
        sizes: the arguments of darts' class.
        members: networks whose mean is the answer.
        window: bars of look-back.
        horizon: bars ahead; of 5-minute bars all in one session.
        allowed_gaps: unknown returns in a look-back that a forecast bears.
        quantiles: levels of the network's outputs, always `QUANTILES`.
        location: weight of each quantile in the expected value, adding up to 1.
        versions: of the libraries it was trained and exported with.
        metrics: of the held-out last part of the training window, against naive.
    """

    frequency: str
    network: str
    sizes: dict[str, float | str | bool]
    members: int
    scaler: Scaler
    window: int
    horizon: int
    allowed_gaps: int
    quantiles: tuple[float, ...]
    location: tuple[float, ...]
    training: Training
    reference: Reference
    versions: dict[str, str]
    metrics: dict[str, float]
    target: str = TARGET
    version: int = VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True, default=_iso) + "\n"

    @staticmethod
    def from_json(text: bytes) -> Spec:
        """The reverse of `to_json`.

        Raises:
            BundleError: not JSON, another version or target, a field missing, unknown or absurd.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            found = raw["version"], raw["target"]
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"spec.json is not a bundle's specification: {error!r}") from error
        if found != (VERSION, TARGET):
            raise BundleError(
                f"this program reads bundles of version {VERSION} ({TARGET}), found version "
                f"{found[0]!r} ({found[1]!r}): update the program or run make train"
            )
        try:
            spec = check(_spec(raw))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"spec.json has a wrong field: {error}: run make train") from error
        return spec


def check(spec: Spec) -> Spec:
    """The same specification, if its parts fit together.

    Raises:
        BundleError: they don't.
    """
    rules = (
        (spec.frequency in FREQUENCIES, f"frequency must be in {FREQUENCIES}"),
        (spec.network.isalnum() and spec.network.islower(), "network must be one small word"),
        (1 <= spec.members <= MOST_MEMBERS, f"members must be 1 to {MOST_MEMBERS}"),
        (min(spec.window, spec.horizon) >= 1, "window and horizon must be at least 1"),
        (spec.frequency == "1d" or spec.horizon < FULL_DAY_BARS, "horizon must fit in a session"),
        (_is_sane(spec.scaler), "the scaler's constants must be above 0"),
        (0 <= spec.allowed_gaps < spec.window, "allowed_gaps must be below the window"),
        (spec.quantiles == QUANTILES, f"quantiles must be {QUANTILES}, as the store keeps them"),
        (len(spec.location) == len(QUANTILES), "location must give each quantile a weight"),
        (abs(sum(spec.location) - 1) < 1e-9, "location must add up to 1"),
        (spec.training.end.tzinfo is not None, "training.end must have a zone"),
        (len(spec.reference.deciles) == 9, "reference.deciles must be nine"),
        (spec.training.trained_on in TRAINED_ON, f"trained_on must be in {TRAINED_ON}"),
    )
    for holds, message in rules:
        if not holds:
            raise BundleError(f"a bundle's specification is inconsistent: {message}")
    return spec


def _is_sane(scaler: Scaler) -> bool:
    return all(0 < value < math.inf for value in asdict(scaler).values())


def _spec(raw: dict[str, Any]) -> Spec:
    times = {k: dt.datetime.fromisoformat(raw["training"][k]) for k in ("start", "end")}
    nested = {
        "sizes": {str(k): v for k, v in raw["sizes"].items()},
        "scaler": _built(Scaler, raw["scaler"]),
        "training": _built(Training, raw["training"] | times),
        "reference": _built(
            Reference,
            raw["reference"] | {"deciles": tuple(float(d) for d in raw["reference"]["deciles"])},
        ),
        "quantiles": tuple(float(q) for q in raw["quantiles"]),
        "location": tuple(float(w) for w in raw["location"]),
        "versions": {str(k): str(v) for k, v in raw["versions"].items()},
        "metrics": {str(k): float(v) for k, v in raw["metrics"].items()},
    }
    return _built(Spec, raw | nested)


def _built(kind: type[Kind], raw: dict[str, Any]) -> Kind:
    """A dataclass from its fields' values, whose plain ones must be of the declared type."""
    for name, wanted in kind.__annotations__.items():
        if not isinstance(raw[name], _PLAIN.get(wanted, object)):
            raise TypeError(f"{name} must be {wanted}, found {raw[name]!r}")
    return kind(**raw)


def _iso(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a specification")

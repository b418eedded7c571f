"""The file of a sweep: choices that stay and lists of those that vary, read and checked.

Nothing is run here. `[backtest]` holds options of `astra backtest`, `[grid]` lists of settings; the
sets are all their combinations, in the order of the file.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from astra.errors import AstraError, ConfigError
from astra.settings import Settings, load
from model.decision import Terms

MOST_SETS = 10_000
_Cost = Annotated[float, Field(ge=0, le=1000)]
FIXED: Mapping[str, Any] = {  # the options of `astra backtest`, and the capital
    "bars": str,
    "store": bool,
    "known_at": dt.datetime,
    "tickers": Annotated[int, Field(ge=2, le=503)],
    "edge": Annotated[float, Field(ge=0, le=0.5)],
    "seed": int,
    "from": dt.date,
    "to": dt.date,
    "bundle": str,
    "capital": Annotated[float, Field(gt=0)],
    "costs_bps": _Cost,
    "slippage_bps": _Cost,
    "whole_shares": bool,
}
VARIED = (
    "policy", "k", "max_weight", "max_sector_weight", "min_weight", "cash_floor", "max_turnover",
    "exclude", "hold", "risk_model", "equity_premium", "holding_sessions", "alpha_half_life_hours",
    "drift_band", "model_max_age_days",
)  # fmt: skip
Choices = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Grid:
    """A sweep as its file says it.

    Attributes:
        fixed: options of `astra backtest` that hold for every set, by name.
        varied: the values of each setting that varies, by name.
    """

    fixed: Mapping[str, Any]
    varied: Mapping[str, tuple[str | int | float, ...]]

    @property
    def sets(self) -> tuple[Choices, ...]:
        """Every combination, the last name of the file varying fastest."""
        products = itertools.product(*self.varied.values())
        return tuple(dict(zip(self.varied, values, strict=True)) for values in products)


def read(path: Path) -> Grid:
    """The sweep in the TOML file `path`.

    Raises:
        ConfigError: no such file, not TOML, a name that is unknown, a value of the wrong type, an
            empty list, or more than `MOST_SETS` sets.
    """
    raw = _parsed(path)
    _require_known(raw, ("backtest", "grid"), f"{path} has the tables")
    fixed, lists = raw.get("backtest", {}), raw.get("grid", {})
    for name, table in (("backtest", fixed), ("grid", lists)):
        if not isinstance(table, dict):
            raise ConfigError(f"{path} needs a table [{name}], found {table!r}")
    _require_known(fixed, FIXED, f"[backtest] of {path} takes")
    _require_known(lists, VARIED, f"[grid] of {path} takes")
    if not lists:
        raise ConfigError(
            f"[grid] of {path} needs a list of values for at least one of {', '.join(VARIED)}, "
            "found none"
        )
    varied = {name: _values(path, name, values) for name, values in lists.items()}
    count = math.prod(len(values) for values in varied.values())
    if count > MOST_SETS:
        sizes = " x ".join(f"{len(values)} {name}" for name, values in varied.items())
        raise ConfigError(
            f"a sweep is of {MOST_SETS} sets at most, {path} asks for {count} ({sizes}): "
            "shorten a list"
        )
    return Grid(
        {name: _typed(f"[backtest] of {path}", name, FIXED[name], v) for name, v in fixed.items()},
        varied,
    )


def settings_of(choices: Choices, settings: Settings) -> Settings:
    """The settings with one set's choices in their place, which are checked together.

    Raises:
        ConfigError: a value is out of bounds, or two do not go together; says which set it is.
    """
    try:
        chosen = load(**(settings.model_dump() | dict(choices)))
        Terms.from_settings(chosen)
    except AstraError as error:
        raise ConfigError(f"the set {named(choices)} cannot be run: {error}") from error
    return chosen


def named(choices: Choices) -> str:
    """A set in a line, such as `policy measured, k 10`."""
    return ", ".join(f"{name} {value}" for name, value in choices.items())


def in_utc(moment: dt.datetime) -> dt.datetime:
    """The same moment in UTC; one without a zone is UTC."""
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"a sweep is a TOML file, {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the sweep {path} is not TOML: {error}") from error


def _require_known(found: Mapping[str, Any], known: Any, takes: str) -> None:
    if unknown := sorted(found.keys() - set(known)):
        raise ConfigError(f"{takes} {', '.join(known)}; found {', '.join(unknown)}")


def _values(path: Path, name: str, values: Any) -> tuple[str | int | float, ...]:
    where = f"[grid] of {path}"
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{where} needs a list of values for {name}, found {values!r}")
    expected = Settings.model_fields[name].annotation
    typed = tuple(_typed(where, name, expected, value) for value in values)
    if len(set(typed)) < len(typed):
        raise ConfigError(f"{where} needs each value of {name} once, found {values!r}")
    return typed


def _typed(where: str, name: str, expected: Any, value: Any) -> Any:
    try:
        typed = TypeAdapter(expected).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"]
        raise ConfigError(
            f"{where} has a wrong {name}, {value!r}: {message[0].lower()}{message[1:]}"
        ) from error
    if isinstance(typed, float) and not math.isfinite(typed):
        raise ConfigError(f"{where} has a wrong {name}, {value!r}: a finite number is required")
    return typed

"""What to train, read from a TOML file: the network, how long, and what it sees.

`presets/` holds those that have a name. Imports no torch: a wrong file is refused at once.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from astra.errors import ConfigError
from astra.predictions import QUANTILES
from astra.sessions import FULL_DAY_BARS
from model.forecast.target import Scaler

FOLDER = Path(__file__).resolve().parent / "presets"
BY_FREQUENCY = {"5m": "small", "1d": "daily"}
LEAST_STEPS = 3  # up and down again
Sizes = Mapping[str, int | float | str | bool]  # arguments of darts' class

# darts' networks as small as that of the preset `small`, for those who name one and no sizes.
SIZES: dict[str, Sizes] = {
    "nbeats": {
        "num_stacks": 4, "num_blocks": 1, "num_layers": 2, "layer_widths": 128,
        "expansion_coefficient_dim": 8,
    },
    "nhits": {"num_stacks": 3, "num_blocks": 1, "num_layers": 2, "layer_widths": 128},
    "nlinear": {},
    "tide": {
        "num_encoder_layers": 1, "num_decoder_layers": 1, "decoder_output_dim": 8,
        "hidden_size": 128, "temporal_decoder_hidden": 32, "dropout": 0.1,
    },
    "tsmixer": {"hidden_size": 32, "ff_size": 32, "num_blocks": 2, "dropout": 0.1},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        steps: at most, 3 or more; one batch each.
        learning_rate: the highest of a one-cycle schedule (Smith and Topin, 2017).
        weight_decay: of AdamW. Strong for returns, as what can be learned of them is a thousandth
            of the variance: on the same bars 1.0 found a drift in half the steps of 0.01, 3.0 lost
            some of it.
        check_every: steps between two looks at the validation windows.
        patience: looks without a better one before training stops.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    check_every: int
    patience: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What the network sees and foretells, in bars of `frequency`; see `spec.Spec`."""

    frequency: str
    window: int
    horizon: int
    allowed_gaps: int
    scaler: Scaler = field(default_factory=Scaler)


@dataclass(frozen=True, slots=True)
class Preset:
    """A training, but for its bars and its seed.

    Attributes:
        members: networks trained apart, each from its own seed; their mean is the answer.
        location: weight of each quantile in the expected value; the middle three, as the tails are
            estimated with the most noise.
    """

    network: str
    sizes: Sizes
    plan: Plan
    sight: Sight
    members: int = 1
    location: tuple[float, ...] = (0.0, 0.0, 0.25, 0.5, 0.25, 0.0, 0.0)

    __pydantic_config__ = ConfigDict(extra="forbid")


def read(name_or_path: str | Path) -> Preset:
    """The preset of that name, or the one in that file.

    Raises:
        ConfigError: no such file, not TOML, or a key is missing, unknown, of the wrong type or
            out of bounds.
    """
    named = FOLDER / f"{name_or_path}.toml"
    path = named if named.is_file() else Path(name_or_path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"a preset is {', '.join(names())} or a TOML file, {name_or_path} cannot be read: "
            f"{error}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the preset {path} is not TOML: {error}") from error
    try:
        preset = TypeAdapter(Preset).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"the preset {path} has a wrong {key}: {first['msg']}") from error
    return _checked(preset, path)


def names() -> list[str]:
    """The presets that need no path."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def of_network(preset: Preset, network: str) -> Preset:
    """The preset with another network, as small as that of `small`.

    Raises:
        ConfigError: there is no such network.
    """
    if preset.network == network:
        return preset
    return replace(preset, network=_known(network), sizes=SIZES[network])


def seen_at(preset: Preset, frequency: str) -> Preset:
    """The preset for bars of `frequency`: where it was made for others, with our windows of them.

    Raises:
        ConfigError: there is no such frequency.
    """
    if frequency not in BY_FREQUENCY:
        raise ConfigError(f"a frequency is one of {', '.join(BY_FREQUENCY)}, found {frequency!r}")
    if preset.sight.frequency == frequency:
        return preset
    return replace(preset, sight=read(BY_FREQUENCY[frequency]).sight)


def _known(network: str, called: str = "a network") -> str:
    if network not in SIZES:
        raise ConfigError(
            f"{called} is one of {', '.join(SIZES)}, found {network!r}; LightGBM is no network, "
            "astra evaluate holds it against one"
        )
    return network


def _checked(preset: Preset, path: Path) -> Preset:
    """The same preset, if its numbers can be trained with."""
    plan, sight = preset.plan, preset.sight
    least = {
        "plan.steps": (plan.steps, LEAST_STEPS), "plan.batch": (plan.batch, 1),
        "plan.check_every": (plan.check_every, 1), "plan.patience": (plan.patience, 1),
        "sight.window": (sight.window, 1), "sight.horizon": (sight.horizon, 1),
        "members": (preset.members, 1),
    }  # fmt: skip
    rate, decay, gaps = plan.learning_rate, plan.weight_decay, sight.allowed_gaps
    fits = sight.frequency != "5m" or 2 <= sight.horizon < FULL_DAY_BARS
    adds_up = len(preset.location) == len(QUANTILES) and abs(sum(preset.location) - 1) < 1e-9
    weights = ", ".join(f"{w:g}" for w in preset.location)
    rules = (
        *(
            (value >= lowest, f"a {key} of {lowest} or more", value)
            for key, (value, lowest) in least.items()
        ),
        (0 < rate < math.inf, "a plan.learning_rate above 0", rate),
        (0 <= decay < math.inf, "a plan.weight_decay of 0 or more", decay),
        (
            sight.frequency in BY_FREQUENCY,
            f"a sight.frequency of {', '.join(BY_FREQUENCY)}",
            repr(sight.frequency),
        ),
        (
            fits,
            f"a sight.horizon of 2 to {FULL_DAY_BARS - 1} bars of 5 minutes",
            sight.horizon,
        ),
        (
            0 <= gaps < sight.window,
            f"a sight.allowed_gaps of 0 to {sight.window - 1}, below the window",
            gaps,
        ),
        *(
            (0 < value < math.inf, f"a finite sight.scaler.{key} above 0", value)
            for key, value in asdict(sight.scaler).items()
        ),
        (adds_up, f"a location of {len(QUANTILES)} weights that add up to 1", weights or "none"),
    )
    for holds, needed, found in rules:
        if not holds:
            shown = f"{found:g}" if isinstance(found, float) else found
            raise ConfigError(f"the preset {path} needs {needed}, found {shown}")
    _known(preset.network, f"the network of the preset {path}")
    return preset

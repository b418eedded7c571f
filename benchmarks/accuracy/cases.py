"""What is trained on which data set. Every choice was made on `data.held_out`, none on a test part.

The N-BEATS paper (Oreshkin et al. 2020) trains 180 networks of 30 stacks for each frequency; these
are single, smaller ones, made to fit ten minutes of two cores in all.
"""

from __future__ import annotations

from dataclasses import dataclass

SEEDS = (1, 2, 3)
BATCH = 256


@dataclass(frozen=True, slots=True)
class Case:
    """One network for all series of a data set.

    Attributes:
        window: look-back, in horizons.
        history: training origins lie within the last so many horizons of a series.
        anchored: the network says the change from the last value, not the value.
        width, rank: of the layers, and of what a block can say (darts' expansion coefficients).
    """

    name: str
    steps: int
    learning_rate: float
    window: int = 4
    history: int = 20
    width: int = 256
    rank: int = 32
    anchored: bool = False


CASES = (
    Case("m4_hourly", 1900, 2e-3, window=5, history=10, rank=64),
    Case("m4_weekly", 500, 1e-3, history=40, rank=8, anchored=True),
    Case("m3_monthly", 600, 1e-3),
    Case("m3_quarterly", 500, 1e-3, window=2),
    Case("m3_yearly", 300, 1e-3, window=3),
    Case("m3_other", 300, 1e-3, window=3),
    Case("tourism_monthly", 600, 1e-3),
    Case("tourism_quarterly", 400, 1e-3),
    Case("tourism_yearly", 300, 1e-3, window=2),
)


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table: a measure over some data sets, by points where they are several.

    Attributes:
        measure: "sMAPE", "OWA" or "MAPE".
        most: what the median over seeds must not exceed; None if the figure is only stated.
        published: the best published figure we know, and whose it is.
        before: what this design reached before it was built, in trials on two slow cores.
    """

    title: str
    names: tuple[str, ...]
    measure: str
    most: float | None
    published: str
    before: str = ""


GOALS = (
    Goal("M4 Hourly", ("m4_hourly",), "sMAPE", 11.0, "9.33 M4's winner", "10.8 to 11.0"),
    Goal("M4 Hourly", ("m4_hourly",), "OWA", 0.56, "0.440 M4's winner", "0.51 by darts alone"),
    Goal("M4 Weekly", ("m4_weekly",), "sMAPE", 8.2, "7.82 M4's winner", "7.7 to 8.2"),
    Goal(
        "M3", ("m3_yearly", "m3_quarterly", "m3_monthly", "m3_other"), "sMAPE", 13.1,
        "12.37 N-BEATS, 180 networks", "13.0",
    ),
    Goal(
        "Tourism", ("tourism_yearly", "tourism_quarterly", "tourism_monthly"), "MAPE", None,
        "18.52 N-BEATS, 180 networks",
    ),
)  # fmt: skip

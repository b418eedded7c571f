"""What all seeds came to, added up: the invariants, and how hard they were tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos.plans import Case
from benchmarks.chaos.work import Result

SHOWN = 20  # violations in the text


@dataclass(slots=True)
class Report:
    """Sums of all batches.

    Attributes:
        seeds: by the way in which workers died, and fuzz inputs.
        kinds: cases by kind. `faults`: armed, by what they do. `deaths`: by point.
        spoiled: requests that a fault has met.
        mutants: the seed under which each was caught, None where it was not.
        wrong: (way, seed, sentence) of each violation.
        slowest: (seconds, seed) of the slowest case.
    """

    seeds: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)
    fuzzed: Counter[str] = field(default_factory=Counter)
    deliveries: int = 0
    spoiled: int = 0
    wrong: list[tuple[str, int, str]] = field(default_factory=list)
    mutants: Mapping[str, int | None] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return not self.wrong and None not in self.mutants.values()

    @property
    def duplicates(self) -> int:
        """Seeds under which more was traded than in the calm run."""
        return len({(how, seed) for how, seed, text in self.wrong if " has traded " in text})

    @property
    def unequal_books(self) -> int:
        """Seeds under which our books differ from the broker's in the end."""
        said = ("in our books", "our books", "reconciled")
        return len({(how, seed) for how, seed, text in self.wrong if any(s in text for s in said)})

    def add(self, result: Result) -> None:
        """Count a batch in."""
        self.seeds[result.how] += len(result.verdicts) + result.fuzzed.total()
        self.fuzzed += result.fuzzed
        self.wrong += [(result.how, seed, sentence) for seed, sentence in result.wrong]
        for verdict in result.verdicts:
            self.kinds[verdict.case.kind] += 1
            self.faults.update(_named(verdict.case))
            self.deaths.update(verdict.deaths)
            self.deliveries += verdict.deliveries
            self.spoiled += verdict.spoiled
            self.slowest = max(self.slowest, (verdict.seconds, verdict.case.seed))

    def text(self) -> str:
        """As people read it."""
        cases = self.seeds["aborted"] + self.seeds["killed"]
        caught = sum(seed is not None for seed in self.mutants.values())
        books = "all" if not self.unequal_books else f"all but {self.unequal_books}"
        lines = [
            f"seeds            {self.seeds['aborted']:,} aborted in process, "
            f"{self.seeds['killed']:,} by SIGKILL, {self.seeds['fuzzed']:,} fuzz inputs",
            f"deliveries       {self.deliveries:,} in {cases:,} cases",
            f"deaths           {self.deaths.total():,} at {len(self.deaths)} kinds of points",
            *_table(self.deaths),
            f"faults           {self.faults.total():,} armed, {self.spoiled:,} requests spoiled",
            *_table(self.faults),
            "cases            by kind",
            *_table(self.kinds),
            "fuzz             what became of it",
            *_table(self.fuzzed),
            f"mutants caught   {caught} of {len(self.mutants)} "
            + ", ".join(f"({name}: seed {seed})" for name, seed in self.mutants.items()),
            f"duplicates       {self.duplicates}",
            f"books equal      {books}",
            f"slowest          seed {self.slowest[1]}, {self.slowest[0]:.1f} s",
            f"wall time        {self.seconds / 60:.1f} minutes",
            f"violations       {len(self.wrong)}",
        ]
        for how, seed, sentence in self.wrong[:SHOWN]:
            lines.append(f"  repeat: python -m benchmarks.chaos --how {how} --seed {seed}")
            lines.append(f"          {sentence}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """As the result file has it."""
        return {
            "seeds": dict(self.seeds),
            "deliveries": self.deliveries,
            "deaths": dict(self.deaths.most_common()),
            "faults_armed": dict(self.faults.most_common()),
            "requests_spoiled": self.spoiled,
            "cases": dict(self.kinds.most_common()),
            "fuzz": dict(self.fuzzed.most_common()),
            "mutants_caught": dict(self.mutants),
            "duplicates": self.duplicates,
            "unequal_books": self.unequal_books,
            "violations": [list(each) for each in self.wrong],
            "slowest": {"seed": self.slowest[1], "seconds": round(self.slowest[0], 2)},
            "minutes": round(self.seconds / 60, 1),
            "holds": self.holds,
        }


def _named(case: Case) -> list[str]:
    """What each fault of a case does, in two or three words; a changed world is one too."""
    found = []
    for fault in case.faults:
        effect = next(
            name for name in ("status", "lag_s", "lag_power_s", "delay_s", "partial_fill", "reject",
                              "duplicate", "reorder", "drop_fields") if name in fault
        )  # fmt: skip
        what = f"{fault['status']}" if effect == "status" else effect
        after = " after acceptance" if fault.get("after") else ""
        found.append(f"{fault['method']} {what}{after}")
    changed = ("time passes", "newer file", "session closes", "account reset")
    return [*found, case.kind] if case.kind in changed else found


def _table(counts: Counter[str]) -> list[str]:
    return [f"  {count:>7,}  {name}" for name, count in counts.most_common()]

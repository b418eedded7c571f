"""What a run in the sandbox found: the object that `astra run --json` prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astra.cli.sandboxed import Opening


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decision time at which the model service refused to decide, and why."""

    as_of: str
    reason: str


@dataclass(slots=True)
class RunReport:
    """What a run found, in the shape of `--json`, and what only a person reads."""

    opening: Opening
    folder: Path
    bars: int = 0
    decisions: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    positions: dict[str, str] = field(default_factory=dict)
    start_equity: float = 0.0
    equity: float = 0.0
    books: dict[str, Any] = field(default_factory=dict)
    benchmark: dict[str, Any] | None = None
    shadow: dict[str, float] = field(default_factory=dict)
    faults_met: int | None = None  # None = no faults were asked for
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "market": self.opening.market,
            "bars": self.bars,
            "tickers": len(self.opening.candidates),
            "decisions": self.decisions,
            "refusals": [{"as_of": r.as_of, "reason": r.reason} for r in self.refusals],
            "positions": self.positions,
            "equity": self.equity,
            "books": {k: self.books[k] for k in ("cash_diff", "share_diffs")},
            "duplicate_orders": self.books["duplicate_orders"],
            "benchmark": self.benchmark,
            "shadow": self.shadow,
            **({} if self.faults_met is None else {"faults_met": self.faults_met}),
        }

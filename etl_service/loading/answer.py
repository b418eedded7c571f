"""What a load did: by ticker, together, and as the answer of `/load_price_history`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from astra.measured import Quality, TickerQuality
from astra.store import Counts
from etl_service.sources.source import Status


@dataclass(frozen=True, slots=True)
class TickerLoad:
    """What a load did for one ticker.

    Attributes:
        passes: a failure that may be gone when asked again.
        last_bar: start of its last stored bar, epoch seconds.
        quarantined: offered bars that were refused.
        split: shares for one of a split that was found and settled.
    """

    status: Status
    counts: Counts = field(default_factory=Counts)
    message: str = ""
    passes: bool = False
    last_bar: int | None = None
    quarantined: int = 0
    split: float | None = None

    @property
    def has_failed(self) -> bool:
        return self.status in ("error", "rate_limited")

    def document(self) -> dict[str, Any]:
        last = None if self.last_bar is None else dt.datetime.fromtimestamp(self.last_bar, dt.UTC)
        return {
            "status": self.status,
            **asdict(self.counts),
            "message": self.message,
            "last_bar": last and last.isoformat(),
            "quarantined": self.quarantined,
            "split": self.split,
        }


@dataclass(frozen=True, slots=True)
class Load:
    """What a load did.

    Attributes:
        seconds: on the wall.
        retry_after: seconds until what failed may be asked for again.
        source: state of the chosen vendor.
        stand_in: of the other one, if it was asked.
        quality: figures of the session's bars after the load; None if no vendor told the time.
    """

    tickers: Mapping[str, TickerLoad]
    seconds: float
    retry_after: float
    source: Mapping[str, Any]
    stand_in: Mapping[str, Any] | None = None
    quality: Quality | None = None

    @property
    def failed(self) -> list[TickerLoad]:
        return [t for t in self.tickers.values() if t.has_failed]

    @property
    def status(self) -> int:
        """200: all are there; 503: none, for reasons that pass; 207: some, or none for good."""
        if not self.failed:
            return 200
        all_pass = all(t.passes for t in self.failed)
        return 503 if all_pass and len(self.failed) == len(self.tickers) else 207

    def failure(self) -> str:
        """Why nothing came, as a sentence."""
        reasons = dict.fromkeys(one.message for one in self.failed)
        return f"every ticker failed: {'; '.join(reasons)}"

    def document(self) -> dict[str, Any]:
        """The answer of `/load_price_history`."""
        total = sum((t.counts for t in self.tickers.values()), Counts())
        found = self.quality.tickers if self.quality else {}
        return {
            "tickers": {
                ticker: t.document() | {"quality": _figures(found.get(ticker))}
                for ticker, t in self.tickers.items()
            },
            **asdict(total),
            "seconds": round(self.seconds, 3),
            "source": dict(self.source),
            "stand_in": self.stand_in and dict(self.stand_in),
            "quality": self.quality and _together(self.quality),
        }


def _figures(one: TickerQuality | None) -> dict[str, Any] | None:
    return {**asdict(one.figures), "verdict": one.verdict} if one else None


def _together(found: Quality) -> dict[str, Any]:
    coverage = None if found.coverage is None else round(found.coverage, 4)
    return {
        "date": found.session.date.isoformat(),
        "closed": found.closed,
        "coverage": coverage,
        **asdict(found.total),
    }

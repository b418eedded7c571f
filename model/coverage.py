"""Which tickers can be decided on: those whose bars are as complete as usual, and fresh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astra.errors import InsufficientDataError
from astra.quality import USUAL_SESSIONS, falls_short, is_fresh, usual_shares
from model.panel import Panel

LEAST_SESSIONS = 6  # enough for a covariance of 5-minute returns to mean something
LOOK_BACK_BARS = 60
LEAST_SHARE, LEAST_NAMES = 0.5, 2


@dataclass(frozen=True, slots=True)
class Coverage:
    """The usable tickers (ascending), the share of candidates they are, and why others are not."""

    usable: tuple[str, ...]
    share: float
    left_out: dict[str, str]


def judge(panel: Panel, candidates: tuple[str, ...]) -> Coverage:
    """Coverage of `candidates` at the end of `panel`.

    A ticker is usable if it has bars in at least 6 of the last 20 full sessions, printed one in
    this session within its last hour, and its last 60 bars hold at least 80 % of the share of bars
    it usually prints, see `astra.quality`.

    Raises:
        InsufficientDataError: fewer than half of the candidates, or fewer than 2, are usable.
    """
    printed = np.isfinite(panel.close)
    starts = np.flatnonzero(panel.slot == 0)
    counts = np.add.reduceat(printed.astype(np.int64), starts, axis=0)[:-1]
    lengths = np.diff(starts)
    known = (counts[-USUAL_SESSIONS:] > 0).sum(axis=0)
    fresh, usual = is_fresh(printed[starts[-1] :]), usual_shares(counts, lengths)
    recent = printed[-LOOK_BACK_BARS:].mean(axis=0)
    left_out: dict[str, str] = {}
    usable = []
    for ticker in candidates:
        reason: str | None = "no bars"
        if ticker in panel.tickers:
            i = panel.tickers.index(ticker)
            reason = _reason(int(known[i]), bool(fresh[i]), float(recent[i]), float(usual[i]))
        if reason is None:
            usable.append(ticker)
        else:
            left_out[ticker] = reason
    share = len(usable) / len(candidates) if candidates else 0.0
    if share < LEAST_SHARE or len(usable) < LEAST_NAMES:
        example = ", ".join(f"{t}: {why}" for t, why in list(left_out.items())[:3])
        raise InsufficientDataError(
            f"at least {LEAST_SHARE:.0%} of the candidates and {LEAST_NAMES} names must be usable, "
            f"found {len(usable)} of {len(candidates)} ({example}): load their bars"
        )
    return Coverage(tuple(sorted(usable)), share, left_out)


def _reason(known: int, fresh: bool, recent: float, usual: float) -> str | None:
    if known < LEAST_SESSIONS:
        return f"bars in {known} full sessions, {LEAST_SESSIONS} needed"
    if not fresh:
        return "no bar in the last hour"
    if falls_short(recent, usual):
        return f"{recent:.0%} of the last {LOOK_BACK_BARS} bars printed, {usual:.0%} is usual"
    return None

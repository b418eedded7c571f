"""Which tickers can be decided on: those whose bars are as complete as usual, and fresh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astra.errors import InsufficientDataError
from model.panel import Floats, Panel

USUAL_SESSIONS = 20
LEAST_SESSIONS = 6  # enough for a covariance of 5-minute returns to mean something
LOOK_BACK_BARS = 60
FRESH_BARS = 12
# A thin name's share varies by chance: 60 bars that usually print at 50 % print under 40 % once in
# twenty times.
TOLERATED_SHORTFALL = 0.2
LEAST_SHARE, LEAST_NAMES = 0.5, 2


@dataclass(frozen=True, slots=True)
class Coverage:
    """The usable tickers (ascending), the share of candidates they are, and why others are not."""

    usable: tuple[str, ...]
    share: float
    left_out: dict[str, str]


def judge(panel: Panel, candidates: tuple[str, ...]) -> Coverage:
    """Coverage of `candidates` at the end of `panel`.

    A ticker is usable if it has bars in at least 6 of the last 20 sessions, printed one within the
    last hour of the session grid, and its last 60 bars hold at least 80 % of the share of bars it
    usually prints (the median of its last 20 full sessions).

    Raises:
        InsufficientDataError: fewer than half of the candidates, or fewer than 2, are usable.
    """
    printed = np.isfinite(panel.close)
    shares = _session_shares(panel, printed)[-USUAL_SESSIONS - 1 : -1]
    left_out: dict[str, str] = {}
    usable = []
    for ticker in candidates:
        column = panel.tickers.index(ticker) if ticker in panel.tickers else None
        reason = "no bars" if column is None else _reason(printed[:, column], shares[:, column])
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


def _session_shares(panel: Panel, printed: np.ndarray) -> Floats:
    """Share of its bars that each ticker printed in each session, shape (D, N)."""
    starts = np.flatnonzero(panel.slot == 0)
    counts = np.add.reduceat(printed.astype(np.float64), starts, axis=0)
    lengths = np.diff(np.append(starts, len(panel.ts)))
    shares: Floats = counts / lengths[:, None]
    return shares


def _reason(printed: np.ndarray, shares: Floats) -> str | None:
    known = shares[shares > 0]
    if len(known) < LEAST_SESSIONS:
        return f"bars in {len(known)} full sessions, {LEAST_SESSIONS} needed"
    if not printed[-FRESH_BARS:].any():
        return "no bar in the last hour"
    usual, recent = float(np.median(known)), float(printed[-LOOK_BACK_BARS:].mean())
    if recent < (1 - TOLERATED_SHORTFALL) * usual:
        return f"{recent:.0%} of the last {LOOK_BACK_BARS} bars printed, {usual:.0%} is usual"
    return None

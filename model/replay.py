"""A decision made again beside the one that stands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

SAME = 1e-9  # of equity: two weights that differ by less make the same orders


def compare(
    decided: Mapping[str, Any],
    weights: Mapping[str, float],
    skill: Mapping[str, Any],
    bars: Mapping[str, Any],
    known_at: dt.datetime,
) -> dict[str, Any]:
    """The answer of /replay.

    Args:
        decided: the decision's document, with its `weights` and the digest of its `bars`.
        weights, skill, bars: of the replay, which saw what was known at `known_at`.
    """
    names = sorted({*decided["weights"], *weights})
    moves = {t: weights.get(t, 0.0) - decided["weights"].get(t, 0.0) for t in names}
    differing = {t: move for t, move in moves.items() if abs(move) > SAME}
    same_bars = dict(decided["bars"]) == dict(bars)
    return {
        "as_of": decided["as_of"],
        "object": decided["object"],
        "policy": decided["policy"],
        "decided_at": decided["known_at"],
        "known_at": known_at.isoformat(),
        "same_weights": not differing,
        "same_bars": same_bars,
        "same_skill": dict(decided["skill"]) == dict(skill),
        "message": _message(differing, same_bars),
        "decided": decided["weights"],
        "weights": dict(weights),
    }


def _message(differing: Mapping[str, float], same_bars: bool) -> str:
    seen = "the same bars" if same_bars else "bars that were corrected, came or were pruned since"
    if not differing:
        return f"the same weights, from {seen}"
    largest = max(differing, key=lambda t: abs(differing[t]))
    return (
        f"{len(differing)} weights differ, from {seen}; "
        f"most of all {largest} by {differing[largest]:+.4f} of equity"
    )

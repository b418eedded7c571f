"""What a decision made of each name: weights beside what is held, why they changed. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from astra import attribution
from astra.attribution import DECIDED, Attribution
from astra.owned import managed_equity
from astra.records import PlanLine
from frontend.decision import Decision

_DUST = 1e-9  # a weight below it is none
_LEAST = 5e-5  # a part of a change that would read 0.00%


def weights_table(
    decision: Decision, universe: pd.DataFrame, after: Mapping[str, float] | None
) -> pd.DataFrame:
    """Each name that was held, wanted, decided or is held after it, by what was decided.

    symbol, name, sector (str); held, target, decided, after, drift (fractions of equity; drift is
    after less decided; NaN where it is not known, or neither held nor decided).

    Args:
        universe: ticker, name, sector.
        after: weights held later, None if not known.
    """
    columns = {
        "held": decision.held, "target": decision.target, "decided": decision.weights,
        "after": after,
    }  # fmt: skip
    known = [weights for weights in columns.values() if weights is not None]
    symbols = sorted({s for weights in known for s, w in weights.items() if abs(w) > _DUST})
    table = pd.DataFrame({"symbol": pd.Series(symbols, dtype="str")})
    for column, missing in (("name", ""), ("sector", "Unknown")):
        of = dict(zip(universe["ticker"], universe[column], strict=True))
        table[column] = pd.Series([of.get(s, missing) for s in symbols], dtype="str")
    for column, weights in columns.items():
        table[column] = [math.nan if weights is None else weights.get(s, 0.0) for s in symbols]
    drift = table["after"] - table["decided"]
    table["drift"] = drift.where(table[["after", "decided"]].max(axis=1) > _DUST)
    return table.sort_values(["decided", "after", "held"], ascending=False, ignore_index=True)


def changes(decision: Decision, lines: Sequence[PlanLine]) -> tuple[Attribution, ...]:
    """Why each weight changed, the largest change first; empty where nobody wrote it down.

    Args:
        lines: of the plan that was made of it; without one it is what was decided.
    """
    if lines:
        found = [attribution.of_plan(line, decision.document) for line in lines]
    else:
        found = list(_decided(decision))
    return tuple(sorted(found, key=lambda c: (-abs(c.change), c.symbol)))


def _decided(decision: Decision) -> Iterable[Attribution]:
    told = decision.document.get("why")
    if decision.held is None or not isinstance(told, Mapping):
        return
    for symbol, parts in told.items():
        before, after = decision.held.get(symbol, 0.0), decision.weights.get(symbol, 0.0)
        yield Attribution(
            symbol, before, after, {name: float(parts.get(name, 0.0)) for name in DECIDED}
        )


def changes_table(found: Sequence[Attribution]) -> pd.DataFrame:
    """symbol, before, planned, change and each part, fractions of equity; parts that would read 0
    are NaN."""
    rows = [
        {
            "symbol": c.symbol,
            "before": c.before,
            "planned": c.planned,
            "change": c.change,
            **_told(c.parts),
        }
        for c in found
    ]
    return pd.DataFrame(rows)


def _told(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: part if abs(part) >= _LEAST else math.nan for name, part in parts.items()}


def held_after(
    cash: float, equity: float, own: Mapping[str, float], capital: float
) -> dict[str, float]:
    """Weights of what is held and ours, of the equity that is managed; empty of none.

    Args:
        own: value of our positions by symbol, USD.
        capital: USD managed at most, 0 = all.
    """
    managed = managed_equity(cash, math.fsum(own.values()), capital, equity)
    return {symbol: value / managed for symbol, value in own.items()} if managed > 0 else {}


def by_sector(table: pd.DataFrame) -> pd.DataFrame:
    """sector, decided, after of `weights_table`, the smallest first; NaN where not known."""
    sums = table.groupby("sector")[["decided", "after"]].sum(min_count=1)
    return sums.sort_values(["decided", "after"]).reset_index()

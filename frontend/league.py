"""The league of policies: what each would have made of the account, and how sure that is. Pure."""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from astra.equity_curve import Curve
from astra.league import Floats, Interval, LeagueRow, league
from astra.performance import FEWEST_STEPS, sessions_spanned
from frontend.words import UNKNOWN, count, new_york, percent

ACCOUNT = "account"  # what was really traded, beside the books


@dataclass(frozen=True, slots=True)
class League:
    """Books of the policies that began together, at the times of the decisions.

    Attributes:
        times: at least two.
        curves: equity in USD at `times` by policy, and of the account where that is known; each
            begins at what the books began with.
        against: the one the others are compared with: the policy traded now, or the account if
            that policy has no book.
        traded: the policies that were traded in this time, each change of them, oldest first.
        rows: `against` first, then the account, then by name: no ranking.
        note: why the books began then.
        before: the last time of books that ended before these; None if there were none.
        late: policies without a book at some of the times, which are left out.
    """

    times: tuple[dt.datetime, ...]
    curves: dict[str, Floats]
    against: str
    traded: tuple[str, ...]
    rows: tuple[LeagueRow, ...]
    note: str
    before: dt.datetime | None
    late: tuple[str, ...]

    @property
    def compared(self) -> tuple[tuple[str, Interval], ...]:
        """The others that have an interval."""
        found = ((row.name, row.against) for row in self.rows)
        return tuple((n, i) for n, i in found if i is not None and math.isfinite(i.low))


def league_of(
    books: pd.DataFrame,
    account: Curve | None,
    traded: Sequence[str],
    since: dt.datetime | None,
    note: str,
) -> League | None:
    """The league since the newest books began; None before their second time.

    Args:
        books: policy, at, equity of one account's shadow books.
        account: its value without deposits and withdrawals.
        traded: the policies of its allocations, oldest first.
        since: when the newest books began, None if nobody wrote it down.
    """
    start = books["at"].min() if since is None else pd.Timestamp(since)
    own, earlier = books[books["at"] >= start], books[books["at"] < start]
    table = own.assign(equity=own["equity"].astype(float)).pivot(
        index="at", columns="policy", values="equity"
    )
    late = tuple(str(policy) for policy in table.columns[table.isna().any()])
    table = table.dropna(axis=1)
    if len(table) < 2 or table.empty:
        return None
    times = tuple(t.to_pydatetime() for t in table.index)
    curves = {str(policy): table[policy].to_numpy(np.float64) for policy in table.columns}
    begun = float(next(iter(curves.values()))[0])
    if account is not None and account.times[0] <= times[0]:
        last = [bisect_right(account.times, t) - 1 for t in times]
        own_equity = account.equity[last]
        if (own_equity > 0).all():
            curves[ACCOUNT] = own_equity / own_equity[0] * begun
    now = traded[-1] if traded else ""
    against = now if now in curves else ACCOUNT if ACCOUNT in curves else min(curves)
    rows = league(curves, times, against)
    return League(
        times=times,
        curves=curves,
        against=against,
        traded=tuple(policy for policy, _ in groupby(traded)),
        rows=tuple(sorted(rows, key=lambda r: (r.name != against, r.name != ACCOUNT, r.name))),
        note=note,
        before=None if earlier.empty else earlier["at"].max().to_pydatetime(),
        late=late,
    )


def table(found: League) -> pd.DataFrame:
    """name, total (fraction), less, interval, reads, sharpe (texts), worst (fraction)."""
    rows = []
    for row in found.rows:
        beside = row.against
        known = beside is not None and math.isfinite(beside.low)
        rows.append(
            {
                "name": label(found, row.name),
                "total": row.total_return,
                "less": "" if beside is None else percent(beside.difference, signed=True),
                "interval": _interval(beside) if beside is not None and known else "",
                "reads": _reads(beside),
                "sharpe": _sharpe(row, len(found.times) - 1),
                "worst": row.max_drawdown,
            }
        )
    return pd.DataFrame(rows)


def label(found: League, name: str) -> str:
    """A policy as tables and charts call it."""
    if name == ACCOUNT:
        return "Account, as traded"
    return f"{name} (traded now)" if found.traded and name == found.traded[-1] else name


def over(found: League) -> str:
    """Of what time the differences are: `a year` or `these 12 sessions`."""
    return next((row.against.over for row in found.rows if row.against is not None), "")


def began(found: League) -> str:
    """When the books began, why then, and what is not counted."""
    why = f" ({found.note})" if found.note else ""
    said = f"All books began with the same cash on {new_york(found.times[0])}{why}."
    if found.before is not None:
        said += (
            f" Earlier books ended on {new_york(found.before)}; they are a series of their own and "
            "not counted here."
        )
    if found.late:
        said += f" Left out, as their books began later: {', '.join(found.late)}."
    if ACCOUNT not in found.curves:
        said += (
            " The account itself is on record since a later time, or lost all it had, and not "
            "among them."
        )
    if len(found.traded) > 1:
        said += f" The account was traded by {', then by '.join(found.traded)}."
    return said


def evidence(found: League) -> str:
    """What the steps so far can say about which policy is better."""
    steps, sessions = len(found.times) - 1, sessions_spanned(found.times)
    basis = f"{count(steps, 'step')} between decisions in {count(sessions, 'session')}"
    if not found.compared:
        return f"{basis}: too few to compare policies, so none of them ranks above another yet."
    error = found.rows[0].sharpe_error
    if steps >= FEWEST_STEPS and math.isfinite(error):
        basis += f" give an annual Sharpe ratio a standard error of {error:.1f}"
    apart = [name for name, interval in found.compared if interval.excludes_zero]
    if not apart:
        return (
            f"{basis}. No policy differs from {found.against} by more than chance explains: the "
            "order of the lines is no ranking."
        )
    several = len(apart) > 1
    names = f"{'Policies' if several else 'Policy'} {', '.join(apart)}"
    return (
        f"{basis}. {names} differ{'' if several else 's'} from {found.against} by more than chance "
        f"explains; of {len(found.compared)} such intervals one in twenty does by chance alone."
    )


def _interval(beside: Interval) -> str:
    return f"{percent(beside.low, signed=True)} to {percent(beside.high, signed=True)}"


def _reads(beside: Interval | None) -> str:
    if beside is None:
        return "compared with"
    if not math.isfinite(beside.low):
        return "too few steps"
    if not beside.excludes_zero:
        return "not told apart"
    return "better" if beside.low > 0 else "worse"


def _sharpe(row: LeagueRow, steps: int) -> str:
    if steps < FEWEST_STEPS:
        return UNKNOWN
    return f"{row.sharpe:.2f} ± {row.sharpe_error:.2f}" if math.isfinite(row.sharpe) else UNKNOWN

"""`make null-test`: how often skill is on where nothing was planted, and where something was.

Many small simulated markets, each walked day by day as the service sees it: the champion's scores
at every decision time, the day's mean rank IC from the first tradable price, and the gate over the
sessions that a decision's bars reach back to.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from astra.sessions import sessions_between
from astra.settings import HOUSE
from benchmarks.results import commit, machine, versions
from model.forecast.record import Floats
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.forecast.skill import LEAST_DAYS, by_day, judge, rank_ic, realised_returns
from model.outlook import HISTORY, WARM_UP_SESSIONS, past_scores
from model.panel import build
from sandbox.market import default_tickers
from sandbox.markets import simulated_bars

TICKERS = 60
EDGE = 0.04
START = dt.date(2026, 1, 2)
DAYS = 40  # after which a planted edge should have been found
NULL_DAYS = 80  # the second half looks at full windows only
NULL_SEEDS, EDGE_SEEDS = 2_000, 3_000  # the first of each kind
MOST_FALSE, LEAST_FOUND = 0.05, 0.8
RESULTS = HOUSE / "benchmarks" / "results" / "null_test.json"


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of `of` markets with its 95 % interval."""

    share: float
    low: float
    high: float
    of: int


def daily_ics(seed: int, edge: float, days: int) -> Floats:
    """The day's mean rank IC of the champion on `days` sessions of one market, warm-up left out."""
    end = START + dt.timedelta(days=2 * (days + WARM_UP_SESSIONS))
    whole = sessions_between(_midnight(START), _midnight(end))[: days + WARM_UP_SESSIONS]
    names = default_tickers(TICKERS)[:TICKERS]
    panel = build(simulated_bars(names, seed=seed, edge=edge, first=START, last=whole[-1].date))
    times = [t for s in panel.sessions[WARM_UP_SESSIONS:] for t in s.decision_times()]
    record = past_scores(panel, names, _forecaster(), times)
    ics = rank_ic(record.score, realised_returns(panel, record.as_of))
    return by_day(ics, panel.session[np.searchsorted(panel.ts, record.as_of)])


def states(daily: Floats) -> list[bool]:
    """Whether skill is on after each day, from the ICs that a decision's bars still tell of."""
    ends = _midnight(START) + HISTORY
    reach = len(sessions_between(_midnight(START), ends))
    return [judge(daily[max(0, d - reach) : d], 0).on for d in range(1, len(daily) + 1)]


def share_of_days(markets: Sequence[Sequence[bool]]) -> Rate:
    """Days on, of those from the 30th on; the interval takes whole markets as the draws."""
    means = np.array([np.mean(days[LEAST_DAYS - 1 :]) for days in markets])
    error = 1.96 * float(means.std(ddof=1)) / math.sqrt(len(means))
    share = float(means.mean())
    return _rate(share, max(0.0, share - error), share + error, len(means))


def share_of_markets(markets: Sequence[Sequence[bool]], day: int) -> Rate:
    """Markets on after that day, with the exact binomial interval (Clopper and Pearson 1934)."""
    on = sum(days[day - 1] for days in markets)
    interval = binomtest(on, len(markets)).proportion_ci()
    return _rate(on / len(markets), float(interval.low), float(interval.high), len(markets))


def measured(edge: float, first_seed: int, seeds: int, days: int) -> list[Floats]:
    """Daily ICs of each market, on all cores."""
    one = partial(daily_ics, edge=edge, days=days)
    with get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        return pool.map(one, range(first_seed, first_seed + seeds), chunksize=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, show; exit code 1 if a rate misses its target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.null_test", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="markets of each kind")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    chosen = parser.parse_args(arguments)
    null = measured(0.0, NULL_SEEDS, chosen.seeds, NULL_DAYS)
    planted = measured(EDGE, EDGE_SEEDS, chosen.seeds, DAYS)
    found = summary(null, planted)
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    chosen.results.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write("\n".join(sentences(found)) + "\n")
    return 0 if found["holds"] else 1


def summary(null: Sequence[Floats], planted: Sequence[Floats]) -> dict[str, Any]:
    """Both rates with their intervals, from the daily ICs of markets of both kinds."""
    quiet, told = [states(d) for d in null], [states(d) for d in planted]
    false_days, found = share_of_days(quiet), share_of_markets(told, DAYS)
    return {
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "model_id": _forecaster().bundle.id,
        "tickers": TICKERS,
        "least_days": LEAST_DAYS,
        "holds": false_days.share <= MOST_FALSE and found.share >= LEAST_FOUND,
        "nothing_planted": {
            "first_seed": NULL_SEEDS,
            "days": NULL_DAYS,
            "mean_ic": round(float(np.concatenate(null).mean()), 6),
            "days_on": asdict(false_days),
            "days_on_target": MOST_FALSE,
            "on_after_40_days": asdict(share_of_markets(quiet, DAYS)),
        },
        "planted": {
            "first_seed": EDGE_SEEDS,
            "edge": EDGE,
            "days": DAYS,
            "mean_ic": round(float(np.concatenate(planted).mean()), 6),
            "on_after_40_days": asdict(found),
            "on_after_40_days_target": LEAST_FOUND,
        },
    }


def sentences(found: dict[str, Any]) -> tuple[str, str]:
    """The two rates for a person."""
    quiet, planted = found["nothing_planted"], found["planted"]
    days, end, seen = (
        Rate(**rate)
        for rate in (quiet["days_on"], quiet["on_after_40_days"], planted["on_after_40_days"])
    )
    return (
        f"Nothing planted: skill is on in {_told(days)} of days (at most {MOST_FALSE:.0%}), "
        f"and after {DAYS} sessions in {_told(end)} of {end.of} markets.",
        f"IC {EDGE} planted: skill is on after {DAYS} sessions in {_told(seen)} of {seen.of} "
        f"markets (at least {LEAST_FOUND:.0%}).",
    )


def _rate(share: float, low: float, high: float, of: int) -> Rate:
    return Rate(round(share, 6), round(low, 6), round(high, 6), of)


def _told(rate: Rate) -> str:
    return f"{rate.share:.1%} ({rate.low:.1%} to {rate.high:.1%})"


@lru_cache(maxsize=1)
def _forecaster() -> Forecaster:
    return Forecaster(shipped().load())


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


if __name__ == "__main__":
    sys.exit(main())

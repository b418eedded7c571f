"""What a backtest found, told: with the trials that were made before it, in the terminal or as a
report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from astra.cli.backtests import (
    code_version,
    courses,
    drawn,
    overfitting_among,
    rivals,
)
from astra.settings import Settings
from astra.store.backtests import Course
from astra.trials import alike, deflate
from astra.universe import SP500

if TYPE_CHECKING:
    from astra.cli.backtest import Found
    from model.backtest.report import Study
    from model.backtest.spec import Source, Spec

FEWEST_COMPARED = 10  # different trials over the same hours, before overfitting is judged
_WIDE = 100  # characters of a terminal that has room for these columns too
_WIDE_ONLY = ("cost bp", "moves/holds", "won/lost")


def study(found: Found, settings: Settings, is_kept: bool) -> Study:
    """A backtest among the stored trials over the same hours, whether it was kept among them or
    not."""
    from model.backtest.report import Study, standing

    made = courses(found)
    league, against = standing(found.backtest)
    trials = rivals(made, settings)
    different = alike(made[0].trial, trials).values()
    compared: Sequence[Course] = ()
    if len(different) >= FEWEST_COMPARED:
        compared = drawn(different, made, settings)
    return Study(
        backtest=found.backtest,
        market=found.market,
        planted_edge=found.planted_edge,
        data_hash=found.data_hash,
        candidates=len(found.candidates),
        of_index=found.spec.candidates == SP500,
        not_members=found.not_members,
        cut_off=found.cut_off,
        asked=asked(found.spec),
        code_version=code_version(),
        ids=_by_policy(found, [c.trial.id for c in made]) if is_kept else {},
        deflated=_by_policy(found, [deflate(c.trial, trials) for c in made]),
        league=league,
        against=against,
        overfitting=overfitting_among(compared, FEWEST_COMPARED),
        compared=len(compared),
    )


def asked(spec: Spec) -> dict[str, str]:
    """The choices of a specification by name, in words."""
    terms, limits = spec.terms, spec.terms.limits
    first, last = spec.first or "the 21st session of the bars", spec.last or "their last session"
    said = {
        "bars": _bars(spec.source),
        "days": f"from {first} to {last}",
        "capital": f"{spec.capital:,.0f} USD in each book",
        "costs": f"{spec.half_spread_bp:g} bp of half a spread, {spec.slippage_bp:g} bp of "
        f"slippage, {spec.fee_bp:g} bp of fee on sales; decisions expect {terms.cost_bp:g} bp",
        "orders": f"{'whole' if spec.whole_shares else 'fractional'} shares, at least "
        f"{spec.min_order_usd:g} USD, at most {spec.max_order_weight:.0%} of equity, "
        f"{spec.max_position_weight:.0%} in one position; {spec.cash_buffer:.0%} is never spent",
        "limits": f"{limits.k} names at most, {limits.min_weight:.1%} to {limits.max_weight:.1%} "
        f"of equity in one, {limits.max_sector_weight:.0%} in a sector, {limits.cash_floor:.1%} "
        f"cash at least, turnover {terms.max_turnover:g} of equity at most",
        "risk": terms.risk_model,
        "horizons": f"{terms.holding_sessions:g} sessions of holding, "
        f"{terms.alpha_half_life_hours:g} hours of a forecast's half-life",
        "equity premium": f"{terms.equity_premium:.1%} a year",
    }
    for name, tickers in (("excluded", terms.exclude), ("left as held", terms.hold)):
        if tickers:
            said[name] = ", ".join(tickers)
    if spec.candidates != SP500:
        said["candidates"] = spec.candidates.replace("|", ", ")
    return said


def show(told: Study, console: Console) -> None:
    """Print whose bars they are, a row for each policy and benchmark, and what that is worth."""
    from model.backtest import report

    for line in (report.headline(told), report.scope(told)):
        console.print(escape(line), soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown = [
        place for place, name in enumerate(report.COLUMNS)
        if console.width >= _WIDE or name not in _WIDE_ONLY
    ]  # fmt: skip
    for place in shown:
        table.add_column(
            report.COLUMNS[place], justify="right" if place else "left", no_wrap=place > 0
        )
    for row in report.table(told):
        style = None if row[0] in told.backtest.curves else "dim"
        table.add_row(*(escape(row[place]) for place in shown), style=style)
    console.print(table)
    names = [report.COLUMNS[place] for place in shown]
    for line in (*report.luck(told), *report.notes(told, names)):
        console.print(escape(line), soft_wrap=True, style="dim")
    if told.ids:
        listed = ", ".join(f"{policy} {name}" for policy, name in told.ids.items())
        console.print(f"Stored for astra backtests: {escape(listed)}", soft_wrap=True)


def document(found: Found, told: Study) -> dict[str, Any]:
    """The backtest as JSON, with the ids under which it is stored and what it is worth."""
    return {
        **found.as_json(),
        "ids": dict(told.ids),
        "trials": told.trials,
        "deflated": {
            name: one.probability if np.isfinite(one.probability) else None
            for name, one in told.deflated.items()
        },
        "overfitting": told.overfitting and told.overfitting.probability,
        "against": {
            "benchmark": told.against,
            "a_year": {row.name: asdict(row.against) for row in told.league if row.against},
        },
    }


def write(found: Found, told: Study, folder: Path) -> tuple[Path, ...]:
    """The report: HTML, JSON and pictures; what was written."""
    from model.backtest import report

    return report.write(told, document(found, told), folder)


def _by_policy(found: Found, values: Sequence[Any]) -> Mapping[str, Any]:
    return dict(zip(found.backtest.curves, values, strict=True))


def _bars(source: Source) -> str:
    if source.kind == "file":
        return f"file {Path(source.path or '').name}, {source.tickers} candidates at most"
    if source.kind == "store":
        known = source.known_at
        when = f"as known at {known:%Y-%m-%d %H:%M} UTC" if known else "as known when it was made"
        return f"the database's, {when}, {source.tickers} candidates at most"
    return f"simulated market, seed {source.seed}, edge {source.edge}, {source.tickers} stocks"

"""`astra evaluate --risk`: finds the bars, scores the covariance estimators, shows the figures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from astra.cli.evaluating import SIMULATED_DAYS
from astra.errors import ConfigError, DataError
from astra.settings import Settings
from astra.universe import sp500

if TYPE_CHECKING:
    from model.evaluation.metrics import Tested
    from model.evaluation.risk import Figures, RiskEvaluation
    from model.panel import Panel

CLEAR = 2.0  # a t below this tells nothing apart
_NOTE = (
    "Volatility: root mean square return of the long-only portfolio of least predicted variance "
    "within the limits. t: of its squares and of the Gaussian log likelihood (per name and "
    "decision) against ledoit_wolf's, over days. Calibration: mean of r squared over the predicted "
    "variance; 1 is right, more was riskier than predicted."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options."""

    bars: Path | None
    last_sessions: int | None
    tickers: int
    edge: float
    seed: int


@dataclass(frozen=True, slots=True)
class Found:
    """The evaluation and whose market it was on; `stride` n: of every n-th session only."""

    evaluation: RiskEvaluation
    market: str
    simulated: bool
    candidates: int
    not_members: int
    stride: int

    def as_json(self) -> dict[str, Any]:
        return {
            "market": self.market,
            "simulated": self.simulated,
            "candidates": self.candidates,
            "not_members": self.not_members,
            "every_nth_session": self.stride,
            **self.evaluation.document(),
        }


def refuse(
    *, bundle: str | None, frequency: str, charts: Path | None, foundation: Path | None
) -> None:
    """Refuse the options that are about a network.

    Raises:
        ConfigError: one of them was given.
    """
    given = {
        "--bundle": bundle is not None,
        "--frequency 1d": frequency != "5m",
        "--charts": charts is not None,
        "--foundation": foundation is not None,
    }
    wrong = [option for option, is_given in given.items() if is_given]
    if wrong:
        raise ConfigError(
            f"--risk is about 5-minute bars and no network, found {', '.join(wrong)}: leave it out"
        )


def run(asked: Asked, settings: Settings) -> Found:
    """Score every estimator on a file's bars or on the simulated market, members of the index only.

    Raises:
        DataError: the bars cannot be used, or hold too few members or sessions.
    """
    from model.decision import Terms
    from model.evaluation.risk import WARM_UP_SESSIONS, evaluate_risk, risk_times, thinned

    panel, market = _panel(asked)
    members = sp500()
    candidates = tuple(t for t in panel.tickers if t in members)
    if len(candidates) < 2:
        raise DataError(
            f"at least 2 members of the S&P 500 are required, found {len(candidates)} among the "
            f"{len(panel.tickers)} tickers of {asked.bars or market}"
        )
    times = risk_times(panel)
    if asked.last_sessions is not None:
        first = panel.sessions[-min(asked.last_sessions, len(panel.sessions))].opens_at
        times = [t for t in times if t >= first]
    if not times:
        raise DataError(
            f"more than {WARM_UP_SESSIONS} sessions of bars are required, {asked.bars or market} "
            f"has {len(panel.sessions)}: take a longer file or more --last-sessions"
        )
    times, stride = thinned(times, len(candidates))
    sectors = {t: members[t].sector for t in candidates}
    limits = Terms.from_settings(settings).limits
    return Found(
        evaluate_risk(panel.only(candidates), times, sectors, limits),
        market,
        asked.bars is None,
        len(candidates),
        len(panel.tickers) - len(candidates),
        stride,
    )


def show(found: Found, console: Console) -> None:
    """Print it: which bars, how many decisions, a table for hours and one for nights, findings."""
    for line in _headlines(found):
        console.print(line, soft_wrap=True)
    e = found.evaluation
    kinds = (
        ("The hour after a decision, within a session", e.hours, e.decisions["hours"]),
        ("From a session's last decision over the night to the next", e.nights,
         e.decisions["nights"]),
    )  # fmt: skip
    for title, figures, decisions in kinds:
        if figures:
            console.print()
            console.print(_table(f"{title}: {decisions:,} decisions", figures))
    console.print(_NOTE, style="dim")
    console.print()
    for line in _findings(found):
        console.print(line, soft_wrap=True)


def _panel(asked: Asked) -> tuple[Panel, str]:
    from astra.cli import panels

    if asked.bars:
        return panels.from_file(asked.bars, "5m")
    days: tuple[dt.date, dt.date] = SIMULATED_DAYS["5m"]
    return panels.simulated(
        "5m", seed=asked.seed, edge=asked.edge, tickers=asked.tickers, days=days
    )


def _headlines(found: Found) -> Iterator[str]:
    e = found.evaluation
    if found.simulated:
        yield "[bold]SIMULATED[/]: it says nothing about real markets."
    first, last = e.dates
    yield (
        f"{sum(e.decisions.values()):,} decisions on {_days(e.days)} of {found.market}, {first} to "
        f"{last}: {e.names} names of {found.candidates} candidates, 20 days of 5-minute bars before"
        " each decision."
    )
    if found.not_members:
        yield f"{found.not_members} tickers are not in the S&P 500 and left out, as by decisions."
    if found.stride > 1:
        yield f"Of every {found.stride}th session only, so that it takes about two minutes."
    for reason, count in e.left_out.items():
        yield f"[yellow]{count} decisions are left out: {reason}[/]"


def _table(title: str, figures: Mapping[str, Figures]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("")
    for name in ("volatility\nbp (t)", "log likelihood\n(t)", "calibration:\nnames",
                 "equal\nweight", "least\nvariance"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for name, f in figures.items():
        gain = f"{f.likelihood.mean:+.3f}" if f.likelihood else f"{f.log_likelihood:.3f}"
        table.add_row(
            name,
            f"{f.volatility_bp:.2f} {_t(f.squared)}",
            f"{gain} {_t(f.likelihood)}",
            f"{f.names:.2f}",
            f"{f.equal_weight:.2f}",
            f"{f.minimum_variance:.2f}",
        )
    return table


def _t(test: Tested | None) -> str:
    if test is None:
        return "       "
    return f"({test.t:+.1f})" if test.error > 0 else "(-)"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _findings(found: Found) -> Iterator[str]:
    from model.evaluation.risk import AGAINST

    for kind, figures in (
        ("an hour", found.evaluation.hours),
        ("a night", found.evaluation.nights),
    ):
        if not figures:
            continue
        best = min(figures, key=lambda name: figures[name].volatility_bp)
        least, base, test = figures[best], figures[AGAINST], figures[best].squared
        if test is None:
            yield f"{AGAINST} gave the least volatility of {kind}, {least.volatility_bp:.2f} bp."
        else:
            apart = f"{'' if abs(test.t) >= CLEAR else 'not '}told apart, t {test.t:+.1f}"
            if not test.error > 0:
                apart = "not told apart, no t is known"
            yield (
                f"{best} gave the least volatility of {kind}, {least.volatility_bp:.2f} bp against "
                f"{AGAINST}'s {base.volatility_bp:.2f} bp: {apart} over {_days(test.days)}."
            )
    yield "These are figures of the past; they promise nothing."

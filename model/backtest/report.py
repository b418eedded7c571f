"""What a backtest says to a person: its first line, its table, and one HTML file with charts.

The file stands for itself: no script, no request, readable in light and dark, on paper and on a
phone. Words and figures are made here, for the terminal too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from astra.deflated import Deflated
from astra.errors import ConfigError
from astra.league import LeagueRow, league
from astra.performance import Performance, summarize
from model.backtest.charts import Scene, charts
from model.backtest.drawing import VARIABLES, colours, variable
from model.backtest.records import EQUAL, HOLD, SPY, SPY_TOTAL, Backtest
from model.backtest.statistics import Overfitting

PROMISE = "Past or simulated results promise nothing."
COLUMNS = (
    "policy", "return", "0x costs", "2x costs", "Sharpe", "deflated", "drawdown", "turnover",
    "cost bp", "moves/holds", "won/lost",
)  # fmt: skip
_TEMPLATE = "report.html.jinja"


@dataclass(frozen=True, slots=True)
class Study:
    """A backtest with what is known around it.

    Attributes:
        planted_edge: rank IC that the simulated market lets a forecast reach; None of recorded
            bars.
        candidates: how many there are, `of_index` whether they are today's members of the S&P 500.
        not_members: tickers among the bars that are data only.
        cut_off: candidates among the bars beyond the number that was asked for.
        asked: the choices by name, in words.
        ids: under which each policy is stored; empty if it isn't.
        deflated: by policy.
        league: each curve beside the benchmark `against`, see `standing`.
        overfitting: of `compared` trials over the same hours, None where there are too few.
    """

    backtest: Backtest
    market: str
    planted_edge: float | None
    data_hash: str
    candidates: int
    of_index: bool
    not_members: int
    asked: Mapping[str, str]
    code_version: str
    ids: Mapping[str, str]
    deflated: Mapping[str, Deflated]
    league: tuple[LeagueRow, ...]
    against: str
    overfitting: Overfitting | None = None
    compared: int = 0
    cut_off: int = 0

    @property
    def trials(self) -> int:
        """Different ones over the same hours, counted in the deflated Sharpe ratios."""
        return max((found.trials for found in self.deflated.values()), default=0)


def headline(study: Study) -> str:
    """Whose bars, what skill was planted and measured, and what none of it promises."""
    result, edge = study.backtest, study.planted_edge
    measured = f"IC {result.skill_ic:.3f} (t {result.skill_t:.1f})"
    if edge is None:
        return f"Recorded bars ({study.market}), forecast skill measured: {measured}. {PROMISE}"
    return (
        f"SIMULATED, edge planted: IC {edge:.3f}, measured: {measured} ({study.market}). {PROMISE}"
    )


def scope(study: Study) -> str:
    """The decisions, the days, the candidates and who is missing among them."""
    times = study.backtest.times
    if study.planted_edge is not None:
        who = "names of today with made-up prices"
    elif study.of_index:
        who = (
            "today's members of the S&P 500; whoever has left it since is missing, which flatters "
            "every figure"
        )
    else:
        who = "a list of one's own, chosen with today's knowledge"
    cut = f"; {study.cut_off} more were cut off by --tickers" if study.cut_off else ""
    return (
        f"{len(times) - 1} hourly decisions from {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}, "
        f"{study.candidates} candidates: {who}{cut}; {study.not_members} other tickers are data "
        "only."
    )


def table(study: Study) -> tuple[tuple[str, ...], ...]:
    """A row of texts for each policy and benchmark, in the order of `COLUMNS`."""
    result = study.backtest
    rows = []
    for name, curve in result.curves.items():
        p = result.performance(name)
        chance = study.deflated[name].probability if name in study.deflated else math.nan
        rows.append(
            (
                name,
                _percent(p.total_return),
                *(_percent(result.performance(name, m).total_return) for m in (0.0, 2.0)),
                _sharpe(p),
                f"{chance:.0%}" if math.isfinite(chance) else "-",
                _percent(p.max_drawdown),
                f"{curve.turnover:.1f}",
                f"{curve.cost_bp:.1f}",
                f"{curve.moves}/{curve.holds}",
                f"{curve.winning}/{curve.losing}",
            )
        )
    for name, equity in result.benchmarks.items():
        p = summarize(result.times, equity)
        fall = _percent(p.max_drawdown)
        rows.append((name, _percent(p.total_return), "", "", _sharpe(p), "", fall, *4 * ("",)))
    return tuple(rows)


def standing(result: Backtest) -> tuple[tuple[LeagueRow, ...], str]:
    """Each curve beside a benchmark, the highest return first, and that benchmark's name; no rows
    without a benchmark or with too few steps to know."""
    against = next((name for name in (SPY, EQUAL, HOLD) if name in result.benchmarks), "")
    if not against:
        return (), ""
    curves = {name: curve.equity for name, curve in result.curves.items()}
    others = {n: e for n, e in result.benchmarks.items() if n != SPY_TOTAL or against != SPY}
    rows = league(curves | others, result.times, against)
    known = [row for row in rows if row.against is None or math.isfinite(row.against.low)]
    return (tuple(known) if len(known) > 1 else ()), against


def luck(study: Study) -> tuple[str, ...]:
    """How far luck and choosing explain the best figure, in sentences."""
    said = []
    if study.trials:
        said.append(
            "Deflated Sharpe: the probability that a policy's true Sharpe ratio is above what the "
            f"best of {study.trials} trials without any skill would show by luck; so many "
            "different ones were made over these hours of such a market. Under 95 % it is no "
            "finding, and above it says nothing about SPY: a market that rose lifts them all."
        )
    if study.overfitting:
        found = study.overfitting
        said.append(
            f"Probability of overfitting: {found.probability:.0%}. Of the {study.compared} trials "
            "over these hours the best in one half of the time falls that often below the middle "
            "of them in the other half."
        )
    return tuple(said)


def notes(study: Study, shown: Sequence[str] = COLUMNS) -> tuple[str, ...]:
    """What the figures in the columns `shown` mean, and what was refused or closed on the way."""
    result = study.backtest
    said = []
    if result.refusals:
        first = result.refusals[0]
        said.append(
            f"Refused decisions, at which every book held: {len(result.refusals)}, the first at "
            f"{first.as_of:%Y-%m-%d %H:%M} UTC: {first.reason}"
        )
    for same in _alike(result):
        said.append(f"The same at every hour to the cent: {', '.join(same)}.")
    closed = {t.symbol: t.reason for c in result.curves.values() for t in c.trades if t.reason}
    said += [f"{symbol}: {reason}" for symbol, reason in sorted(closed.items())]
    if closed:
        said.append(
            "A closing at the last close flatters: what stops trading is seldom sold at that price."
        )
    won = "Won/lost: sales above and below the average cost, after costs. "
    said.append(
        "Sharpe: a year's, from hourly steps, over cash at 0 %, +- its standard error. 0x and 2x "
        "costs: the return at no costs and at twice the assumed ones, in books of their own "
        "decisions, which part ways by chance as well: less cost may end with less. Turnover: buys "
        f"and sales in units of equity. {won if 'won/lost' in shown else ''}Each book starts in "
        "cash and fills at the next bar's open."
    )
    if lacking := [name for name in COLUMNS if name not in shown]:
        said.append(f"Too narrow for {', '.join(lacking)}; --json and --report have them.")
    if "equal" in result.curves and EQUAL in result.benchmarks:
        said.append(
            f"The policy equal holds a few names, those with the highest forecasts; the benchmark "
            f"{EQUAL!r} holds all candidates and goes by no forecast."
        )
    said.append(
        "Prices are without dividends, for the policies as for SPY; 'dividends assumed' adds "
        "1.2 % a year to SPY."
    )
    return tuple(said)


def write(study: Study, document: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """`report.html`, `backtest.json` and a PNG of each chart in `folder`, made if need be.

    Args:
        document: the backtest as JSON.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    open_folder(folder)
    times, result = study.backtest.times, study.backtest
    kind = "Recorded bars" if study.planted_edge is None else "SIMULATED"
    said = f"{kind} ({study.market}), {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}. {PROMISE}"
    differences = tuple((row.name, row.against) for row in study.league if row.against)
    drawn = charts(Scene(result, differences, study.against), said)
    own = colours(tuple(result.curves))
    house = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    house.filters["signs"] = _signs
    page = house.get_template(_TEMPLATE).render(
        headline=headline(study),
        scope=scope(study),
        title=f"Backtest, {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}",
        columns=COLUMNS,
        rows=table(study),
        colours={name: variable(colour) for name, colour in own.items()},
        charts={c.name: c for c in drawn},
        svg=Markup,  # drawn here, from figures: no text of others is in it unescaped
        league=[_compared(row) for row in study.league],
        against=study.against,
        over=next((row.against.over for row in study.league if row.against), ""),
        notes=notes(study),
        luck=luck(study),
        study=study,
        asked=study.asked,
        light=VARIABLES,
    )
    files = {
        "report.html": page.encode(),
        "backtest.json": json.dumps(document).encode(),
        **{f"{chart.name}.png": chart.png for chart in drawn},
    }
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise ConfigError(f"a report could not be written into {folder}: {error}") from error
    return tuple(folder / name for name in files)


def open_folder(folder: Path) -> None:
    """Make the folder of a report if need be and try a file in it, before anything is backtested.

    Raises:
        ConfigError: it cannot be one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"a report needs a folder to write to, {folder} is none: {error}"
        ) from error


def _alike(result: Backtest) -> list[tuple[str, ...]]:
    """Policies whose books never differed, together."""
    found: dict[tuple[float, ...], tuple[str, ...]] = {}
    for name, curve in result.curves.items():
        cents = tuple(curve.equity.round(2).tolist())
        found[cents] = (*found.get(cents, ()), name)
    return [names for names in found.values() if len(names) > 1]


def _compared(row: LeagueRow) -> tuple[str, ...]:
    if row.against is None:
        return (row.name, "", "the others are compared with it", "")
    a = row.against
    reach = f"{a.low:+.1%} to {a.high:+.1%}"
    return (row.name, f"{a.difference:+.1%}", reach, "yes" if a.excludes_zero else "no")


def _sharpe(found: Performance) -> str:
    known = math.isfinite(found.sharpe)
    return f"{found.sharpe:.1f} +- {found.sharpe_error:.1f}" if known else "-"


def _percent(value: float) -> str:
    return f"{value:+.2%}"


def _signs(text: str) -> str:
    """A figure as it is printed: a real minus, a real plus-minus."""
    return text.replace("+-", "\N{PLUS-MINUS SIGN}").replace("-", "\N{MINUS SIGN}")

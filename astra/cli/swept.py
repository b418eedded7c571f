"""What a sweep found, told: all sets, the best first, and what the best of so many is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from astra.cli.grid import Choices, named

if TYPE_CHECKING:
    from astra.deflated import Deflated
    from astra.store.backtests import Course, Trial
    from model.backtest.statistics import Overfitting

MOST_SHOWN = 50  # rows of the printed table
# Columns that a narrow terminal does without.
_SPARED = ("cost bp", "turnover", "id", "0x costs", "2x costs")


@dataclass(frozen=True, slots=True)
class Made:
    """What came of one set.

    Attributes:
        ic, t: what the forecasts had been worth at the last decision; NaN of one made earlier.
    """

    course: Course
    ic: float = math.nan
    t: float = math.nan


@dataclass(frozen=True, slots=True)
class Row:
    """A set and what came of it."""

    choices: Choices
    made: Made

    @property
    def trial(self) -> Trial:
        return self.made.course.trial


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep, the highest Sharpe ratio first.

    Attributes:
        planted_edge: of the simulated market; None of recorded bars.
        walked: how many sets were walked now; the others were stored already.
        deflated: the best set's, against all trials known over the same hours.
        overfitting: by choosing among these sets; None if fewer than two differ or steps are few.
    """

    market: str
    planted_edge: float | None
    data_hash: str
    rows: tuple[Row, ...]
    walked: int
    deflated: Deflated
    overfitting: Overfitting | None

    @property
    def best(self) -> Row:
        return self.rows[0]

    @property
    def different(self) -> int:
        """How many courses there are that are no other set's too."""
        return len({row.made.course.equity for row in self.rows})

    def as_json(self) -> dict[str, Any]:
        """Plain numbers; what is not known is null."""
        splits = self.overfitting
        return {
            "market": self.market,
            "planted_edge": self.planted_edge,
            "data_hash": self.data_hash,
            "decisions": self.best.trial.steps,
            "walked": self.walked,
            "different": self.different,
            "sets": [_plain(row) for row in self.rows],
            "best": {
                **_plain(self.best),
                "deflated_sharpe": _known(self.deflated.probability),
                "expected_maximum": _known(_a_year(self.deflated.expected_maximum, self.best)),
                "trials": self.deflated.trials,
            },
            "overfitting": splits
            and {"probability": splits.probability, "loss": splits.loss,
                 "splits": len(splits.logits)},
        }  # fmt: skip


def show(swept: Swept, console: Console) -> None:
    """Print whose bars they are, the sets with the best first, and what the best is worth."""
    for line in _headlines(swept):
        console.print(escape(line), soft_wrap=True)
    columns = _columns(swept)
    spared = []
    for name in _SPARED:
        if sum(max(map(len, (n, *texts))) + 1 for n, texts in columns.items()) > console.width:
            spared.append(name)
            del columns[name]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        is_choice = name in swept.best.choices or name == "id"
        table.add_column(name, justify="left" if is_choice else "right", no_wrap=True)
    for texts in zip(*columns.values(), strict=True):
        table.add_row(*map(escape, texts))
    console.print(table)
    for line in _verdict(swept):
        console.print(escape(line), soft_wrap=True)
    for line in _notes(swept, spared):
        console.print(line, soft_wrap=True, style="dim")


def _columns(swept: Swept) -> dict[str, list[str]]:
    """The text of each column by its name, the best set first."""
    rows = swept.rows[:MOST_SHOWN]
    return {
        **{name: [str(row.choices[name]) for row in rows] for name in swept.best.choices},
        "Sharpe": [_sharpe(row.trial) for row in rows],
        "return": [f"{row.trial.total_return:+.2%}" for row in rows],
        "0x costs": [_percent(row.trial.return_0x) for row in rows],
        "2x costs": [_percent(row.trial.return_2x) for row in rows],
        "drawdown": [f"{row.trial.max_drawdown:.2%}" for row in rows],
        "turnover": [_figure(row.trial.turnover) for row in rows],
        "cost bp": [_figure(row.trial.cost_bp) for row in rows],
        "id": [row.trial.id for row in rows],
    }


def _headlines(swept: Swept) -> Iterator[str]:
    known = [row.made for row in swept.rows if math.isfinite(row.made.ic)]
    skill = f", measured: IC {known[0].ic:.3f} (t {known[0].t:.1f})" if known else ""
    if swept.planted_edge is None:
        yield f"Recorded bars ({swept.market}){skill.replace('measured', 'forecast skill')}."
    else:
        planted = f"IC {swept.planted_edge:.3f}"
        yield f"SIMULATED, edge planted: {planted}{skill} ({swept.market})."
    trial = swept.best.trial
    earlier = len(swept.rows) - swept.walked
    yield (
        f"{len(swept.rows)} sets of choices over the same {trial.steps} decisions from "
        f"{trial.first_at:%Y-%m-%d} to {trial.last_at:%Y-%m-%d}"
        f"{f', {earlier} of them made earlier' if earlier else ''}."
    )


def _verdict(swept: Swept) -> Iterator[str]:
    best, luck = swept.best, swept.deflated
    count = len(swept.rows)
    if not math.isfinite(best.trial.sharpe):
        yield "No set has moved: there is no best."
        return
    yield (
        f"The best of {count}: {named(best.choices)}, with a Sharpe ratio of {_sharpe(best.trial)} "
        "a year."
    )
    if math.isfinite(luck.probability):
        yield (
            f"The best of {luck.trials} trials without any skill, as many different ones as are "
            f"known over these hours, would show {_a_year(luck.expected_maximum, best):.1f}; that "
            f"the true ratio of this one is above that has a probability of {luck.probability:.0%} "
            "(deflated Sharpe)."
        )
    if found := swept.overfitting:
        yield (
            f"Chosen by one half of the hours, the best set was below the median of all in the "
            f"other half in {found.probability:.0%} of {len(found.logits)} splits (probability of "
            f"backtest overfitting; noise gives 50%), and lost money in {found.loss:.0%}."
        )
    if swept.different < count:
        yield f"Only {swept.different} of the {count} courses differ: some choices changed nothing."


def _notes(swept: Swept, spared: Sequence[str]) -> Iterator[str]:
    if len(swept.rows) > MOST_SHOWN:
        yield f"The {MOST_SHOWN} best of {len(swept.rows)} sets; --json has all of them."
    if spared:
        yield f"Too narrow for {', '.join(spared)}; --json has them."
    words = {
        "0x costs": "0x and 2x costs: the return at no costs and at twice the assumed ones.",
        "turnover": "Turnover: buys and sales in units of equity.",
    }
    told = "".join(f"{text} " for name, text in words.items() if name not in spared)
    yield (
        f"Sharpe: a year's, from hourly steps, +- its standard error. {told}Past or simulated "
        "results promise nothing."
    )


def _a_year(step_sharpe: float, like: Row) -> float:
    """A Sharpe ratio of a step in the unit of a year, by a trial that has both."""
    ratio = like.trial.sharpe / like.trial.step_sharpe if like.trial.step_sharpe else math.nan
    return step_sharpe * ratio


def _plain(row: Row) -> dict[str, Any]:
    trial = row.trial
    return {
        **row.choices,
        "id": trial.id,
        "sharpe": _known(trial.sharpe),
        "sharpe_error": _known(trial.sharpe_error),
        "total_return": trial.total_return,
        "return_0x": _known(trial.return_0x),
        "return_2x": _known(trial.return_2x),
        "max_drawdown": trial.max_drawdown,
        "turnover": _known(trial.turnover),
        "cost_bp": _known(trial.cost_bp),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(value: float) -> str:
    return f"{value:+.2%}" if math.isfinite(value) else "-"


def _sharpe(trial: Trial) -> str:
    return f"{_figure(trial.sharpe)} +- {_figure(trial.sharpe_error)}"


def _figure(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"

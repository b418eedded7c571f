"""`astra backtests`: what was backtested, listed, shown, and made again."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from astra.cli.options import AsJson, out, read_settings
from astra.errors import DataError

if TYPE_CHECKING:
    from astra.deflated import Deflated
    from astra.store.backtests import Trial


app = typer.Typer(help="Past backtests: which there are, what came of them, the same again.")

_TIME = "%Y-%m-%d %H:%M"
_WIDE, _WIDE_ONLY = 100, ("to", "market", "won/lost")  # columns of so wide a terminal
_TEXTS = ("id", "from", "to", "market", "policy")
Id = Annotated[str, typer.Argument(metavar="ID", help="as astra backtests names it")]


@app.callback(invoke_without_command=True)
def listing(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="the newest N")] = 40,
    as_json: AsJson = False,
) -> None:
    """List what was backtested, the newest first."""
    if context.invoked_subcommand:
        return
    from astra.store import open_store
    from astra.trials import deflate

    store = open_store(read_settings().database_url)
    try:
        trials = store.backtests.list()
    finally:
        store.close()
    shown = trials[:last]
    by_hours: dict[str, list[Trial]] = {}
    for trial in trials:
        by_hours.setdefault(trial.hours, []).append(trial)
    deflated = {trial.id: deflate(trial, by_hours[trial.hours]) for trial in shown}
    if as_json:
        rows = [_plain(trial, deflated[trial.id]) for trial in shown]
        print(json.dumps({"stored": len(trials), "backtests": rows}))  # noqa: T201 - the answer
        return
    if not trials:
        out.print("there is no backtest yet: run astra backtest")
        return
    columns = {name: figures for name, figures in _COLUMNS.items()
               if out.width >= _WIDE or name not in _WIDE_ONLY}  # fmt: skip
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        side: Literal["left", "right"] = "left" if name in _TEXTS else "right"
        table.add_column(name, justify=side, no_wrap=name != "policy", overflow="fold")
    for trial in shown:
        table.add_row(*(escape(text(trial, deflated[trial.id])) for text in columns.values()))
    out.print(table)
    older = f" {len(trials) - len(shown)} older ones: --last {len(trials)}."
    out.print(
        f"Sharpe: a year's, +- its standard error; deflated: the probability that it is above the "
        "best of all different trials over the same hours by luck."
        f"{older if len(trials) > len(shown) else ''} Past or simulated results promise nothing.",
        style="dim", soft_wrap=True,
    )  # fmt: skip


@app.command()
def show(trial: Id, as_json: AsJson = False) -> None:
    """Everything that is stored of a backtest."""
    from astra.cli.backtests import stored
    from astra.cli.findings import asked
    from astra.trials import deflate
    from model.backtest.spec import from_json

    course, trials = stored(trial, read_settings())
    found, deflated = course.trial, deflate(course.trial, trials)
    if as_json:
        curve = {
            "times": [t.isoformat() for t in course.times],
            "equity": [cents / 100 for cents in course.equity],
        }
        print(json.dumps({**_plain(found, deflated), **curve}))  # noqa: T201 - the answer itself
        return
    out.print(f"[bold]{found.id}[/] {escape(found.policy)}, made {found.made_at:{_TIME}} UTC")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    figure = {name: text(found, deflated) for name, text in _COLUMNS.items()}
    rows = {
        "market": f"{found.market}, bars {found.data_hash}",
        "decisions": f"{found.steps}, hourly, {found.first_at:{_TIME}} to {found.last_at:{_TIME}} "
        "UTC",
        "return": f"{figure['return']}, to {course.equity[-1] / 100:,.2f} USD",
        "Sharpe": f"{figure['Sharpe']}, deflated by the {deflated.trials} different trials over "
        f"these hours "
        f"{figure['deflated']}",
        "drawdown": figure["drawdown"],
        "sales won/lost": figure["won/lost"],
        **asked(from_json(json.loads(found.parameters))),
        "network": found.model_id,
        "code": found.code_version,
    }
    for name, text in rows.items():
        table.add_row(name, escape(text))
    out.print(table)
    out.print(f"again: astra backtests rerun {found.id}")


@app.command()
def rerun(trial: Id, as_json: AsJson = False) -> None:
    """Make a backtest again on the same bars and compare it to the cent; exit 1 if it differs."""
    from astra.cli import backtest, specifying
    from astra.cli.backtests import courses, differences, stored
    from model.backtest.spec import from_json

    settings = read_settings()
    before, _ = stored(trial, settings)
    spec = from_json(json.loads(before.trial.parameters))
    if spec.source.path and not Path(spec.source.path).is_file():
        raise DataError(
            f"backtest {trial} needs its bars in {spec.source.path}, found no such file: put it "
            "back, or make the backtest anew with --bars"
        )
    (after,) = courses(backtest.run(spec, settings))
    found = [
        *(f"the file has changed: {path}" for path in specifying.changed_files(spec)),
        *differences(before, after),
    ]
    if as_json:
        print(json.dumps({"id": trial, "same": not found, "differs": found}))  # noqa: T201
    elif not found:
        out.print(
            f"{trial} is the same to the cent: {len(after.equity)} values of equity, the last "
            f"{after.equity[-1] / 100:,.2f} USD",
            soft_wrap=True,
        )
    else:
        out.print(f"{trial} came out otherwise:")
        for line in found:
            out.print(f"  {escape(line)}", soft_wrap=True)
    raise typer.Exit(1 if found else 0)


def _plain(trial: Trial, deflated: Deflated) -> dict[str, Any]:
    """For JSON: times in ISO form, what cannot be known null."""
    found = asdict(trial) | {
        "parameters": json.loads(trial.parameters),
        "deflated_sharpe": deflated.probability,
        "trials": deflated.trials,
    }
    return {name: _value(value) for name, value in found.items()}


def _value(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sharpe(trial: Trial, _: Deflated) -> str:
    known = math.isfinite(trial.sharpe)
    return f"{trial.sharpe:.1f} +- {trial.sharpe_error:.1f}" if known else "-"


def _chance(_: Trial, found: Deflated) -> str:
    return f"{found.probability:.0%}" if math.isfinite(found.probability) else "-"


# What the list says of a trial, by the name of the column.
_COLUMNS: Mapping[str, Callable[[Trial, Deflated], str]] = {
    "id": lambda trial, _: trial.id,
    "from": lambda trial, _: f"{trial.first_at:%Y-%m-%d}",
    "to": lambda trial, _: f"{trial.last_at:%Y-%m-%d}",
    "market": lambda trial, _: trial.market,
    "policy": lambda trial, _: trial.policy,
    "return": lambda trial, _: f"{trial.total_return:+.2%}",
    "Sharpe": _sharpe,
    "deflated": _chance,
    "drawdown": lambda trial, _: f"{trial.max_drawdown:.2%}",
    "won/lost": lambda trial, _: f"{trial.winning_trades}/{trial.losing_trades}",
}

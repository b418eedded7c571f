"""The `astra` command: reads settings, calls one thing, shows its answer. The composition root.

Services and training code are imported inside the commands that need them, so that `astra --help`
is quick and nothing but training loads torch.
"""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from astra.cli import audit, control, daily, db, loops, models, steps, studies, trading, trials, why
from astra.cli.options import err, out, read_settings
from astra.errors import AstraError

app = typer.Typer(
    help="An hourly, forecast-driven portfolio. It trades on paper unless two settings say else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def doctor() -> None:
    """Say what is configured, reachable and missing; exit 1 if something needs you."""
    from astra.cli import doctor as clinic

    found = clinic.examine(read_settings())
    for check in found:
        mark = {True: "[green]ok  [/]", False: "[red]need[/]", None: "[yellow]note[/]"}[check.ok]
        out.print(f"{mark} {check.subject}: {escape(check.finding)}", soft_wrap=True)
    raise typer.Exit(1 if any(check.ok is False for check in found) else 0)


_PANELS = {
    "Everything": (loops.run, loops.up, loops.sandbox),
    "One step of the hour": (
        steps.load, steps.allocate, trading.rebalance, steps.monitor, steps.replay,
        steps.twin,
    ),
    "Stop and go": (control.halt, control.lift),
    "Study": (studies.backtest, studies.train, studies.evaluate),
    "Care": (doctor, why.why, daily.report),
}  # fmt: skip
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.add_typer(trials.app, name="backtests", rich_help_panel="Study")
app.add_typer(models.app, name="models", rich_help_panel="Study")
app.add_typer(db.app, name="db", rich_help_panel="Care")
app.add_typer(audit.app, name="audit", rich_help_panel="Care")


def main() -> None:
    """Entry point: our errors become one sentence and their exit code, never a traceback."""
    try:
        app()
    except AstraError as error:
        err.print(f"[red]{error.kind}:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)

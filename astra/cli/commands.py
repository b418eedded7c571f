"""The `astra` command: reads settings, calls one thing, shows its answer. The composition root.

Services and training code are imported inside the commands that need them, so that `astra --help`
is quick and nothing but training loads torch.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from astra import settings as astra_settings
from astra.cli import db
from astra.errors import AstraError, DataError
from astra.settings import Settings

app = typer.Typer(
    help="An hourly, forecast-driven portfolio. It trades on paper unless two settings say else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(db.app, name="db")
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

DEFAULT_TICKERS = 60
BarsFile = Annotated[
    Path | None,
    typer.Option("--bars", help="replay a Parquet file of 5-minute bars", metavar="FILE"),
]
Tickers = Annotated[int, typer.Option(min=2, max=503, help="candidates at most")]
Seed = Annotated[int, typer.Option(help="of the simulated market")]
Edge = Annotated[
    float, typer.Option(min=0, max=0.5, help="rank IC planted in the simulated market; 0 = none")
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object last on stdout")]


@app.command()
def run(
    bars: BarsFile = None,
    tickers: Tickers = DEFAULT_TICKERS,
    hours: Annotated[int, typer.Option(min=1, max=400, help="decision times to trade")] = 3,
    policy: Annotated[str | None, typer.Option(help="measured, trust, original, ...")] = None,
    edge: Edge = 0.04,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """The whole trading loop in the sandbox for the market's last hours, then a report."""
    from astra.cli import hour, report
    from astra.cli.launcher import ends_on_signals
    from astra.cli.sandboxed import Options

    settings = _settings(policy=policy)
    options = Options(bars, tickers, hours, edge, seed)
    with ends_on_signals():
        console = err if as_json else out
        found = hour.run(options, settings, lambda text: console.print(text, soft_wrap=True))
    if as_json:
        print(json.dumps(found.as_json()))  # noqa: T201 - the answer itself
    else:
        out.print()
        report.show(found, out)


@app.command()
def up(
    bars: BarsFile = None,
    tickers: Tickers = DEFAULT_TICKERS,
    speed: Annotated[float, typer.Option(min=0.1, max=600, help="market minutes a minute")] = 1.0,
    edge: Edge = 0.04,
    seed: Seed = 1,
) -> None:
    """Keep every service, the scheduler and the page running, and print their addresses.

    Without Alpaca keys in the settings the sandbox stands in for all vendors.
    """
    from astra.cli import up as running
    from astra.cli.launcher import ends_on_signals
    from astra.cli.sandboxed import Options

    options = Options(bars, tickers, 1, edge, seed)
    with ends_on_signals():
        running.keep_up(options, speed, _settings(), lambda text: out.print(text, soft_wrap=True))


@app.command()
def load(
    tickers: Annotated[str, typer.Option(help="AAPL|MSFT; default: the whole universe")] = "",
    since: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="from this day on, as far back as a vendor has it"),
    ] = None,
    period: Annotated[str, typer.Option(help="5d, 1mo, max: load this much again")] = "",
) -> None:
    """Load bars through the ETL service: what is new, or a stretch of the past."""
    asked = {"ticker": tickers, "period": period, "since": since and since.date().isoformat()}
    query = {name: value for name, value in asked.items() if value}
    _show(_services().post("etl", "/load_price_history", **query))


@app.command()
def replay(
    as_of: Annotated[str, typer.Argument(help="ISO time of a past decision")],
    known_at: Annotated[
        str | None, typer.Option(help="ISO time; default: when it was decided")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="measured, trust, original, ...")] = None,
    k: Annotated[int | None, typer.Option(min=1, help="names at most")] = None,
) -> None:
    """Make a past decision again, on what was known then or at another time; nothing is traded."""
    asked = {"as_of": as_of, "known_at": known_at, "policy": policy, "k": k}
    _show(_services().post("model", "/replay", {n: v for n, v in asked.items() if v is not None}))


@app.command()
def allocate(
    as_of: Annotated[str | None, typer.Option(help="ISO time of a decision")] = None,
    policy: Annotated[str | None, typer.Option(help="measured, trust, original, ...")] = None,
    k: Annotated[int | None, typer.Option(min=1, help="names at most")] = None,
) -> None:
    """Decide through the model service and drop the allocation file."""
    asked = {"as_of": as_of, "policy": policy, "k": k}
    _show(_services().post("model", "/allocate", {n: v for n, v in asked.items() if v is not None}))


@app.command()
def rebalance(
    file: Annotated[Path, typer.Argument(help="target_<YYYYMMDD-HHMMSS>_<tag>.csv")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan, send nothing")] = False,
) -> None:
    """Drop an allocation file in the bucket, which triggers the trade; or show what it would do."""
    from astra.allocation import parse
    from astra.desk import Desk
    from astra.execution import Delivered, Executor
    from astra.gcs import Bucket

    settings = _settings()
    if not file.is_file():
        raise DataError(f"an allocation file is required, {file} is none")
    content = file.read_bytes()
    if dry_run:
        delivered = Delivered(settings.bucket, file.name, 0, content, {})
        plan, _ = Executor(Desk.from_settings(settings)).preview(delivered)
        for order in (*plan.sells, *plan.buys):
            out.print(f"{order.side} {order.qty} {order.symbol} at about "
                      f"{order.reference_price:,.2f}: {order.reason}")  # fmt: skip
        for skipped in plan.skipped:
            out.print(f"skip {skipped.symbol}: {skipped.reason}")
        out.print(f"{len(plan.sells)} sells, {len(plan.buys)} buys; nothing was sent")
        return
    parse(file.name, content, {}, settings.k)
    generation = Bucket.from_settings(settings).create_once(file.name, content, "text/csv", {})
    out.print(f"dropped {file.name} (generation {generation}) in {settings.bucket}")


@app.command()
def monitor() -> None:
    """Save what broker and bucket say, and hold our books against the broker's."""
    services = _services()
    for path in ("/update_account", "/activities", "/history", "/forecasts"):
        services.post("monitor", path)
    _show(services.get("monitor", "/reconcile"))


@app.command()
def train(
    bars: BarsFile = None,
    seed: Annotated[int, typer.Option(help="of the simulated market trained on")] = 7,
    edge: Edge = 0.04,
    tickers: Tickers = 100,
) -> None:
    """Train an N-BEATS, verify it, register it as a bundle and promote it.

    Without a file it learns from the simulated market of 2023: another seed and other days than
    `astra run` trades.
    """
    from astra.cli import study

    bundle = study.train(bars, seed, edge, tickers, _settings().bundles, err)
    out.print(f"promoted {bundle}")


@app.command()
def evaluate(
    bars: BarsFile = None,
    seed: Seed = 1,
    edge: Edge = 0.04,
    tickers: Tickers = DEFAULT_TICKERS,
    bundle: Annotated[str | None, typer.Option(help="bundle id; default: the champion")] = None,
) -> None:
    """Forecasts against the last value on sessions that the bundle has not seen."""
    from astra.cli import study

    study.evaluate(bars, seed, edge, tickers, _settings().bundles, bundle, out)


@app.command()
def backtest(
    bars: BarsFile = None,
    start: Annotated[
        dt.datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="first day; default: the 21st session"),
    ] = None,
    end: Annotated[
        dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="last day")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="may be repeated; default: all of them")
    ] = None,
    tickers: Tickers = DEFAULT_TICKERS,
    edge: Edge = 0.04,
    seed: Seed = 1,
    exact: Annotated[
        bool, typer.Option("--exact", help="measure skill anew each time, as the service: slower")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Walk policies over past or simulated bars, each in a book of its own, costs paid."""
    from astra.cli import backtest as walking

    first, last = (day.date() if day else None for day in (start, end))
    asked = walking.Asked(bars, first, last, tuple(policy or ()), tickers, edge, seed, exact)
    found = walking.run(asked, _settings())
    if as_json:
        print(json.dumps(found.as_json()))  # noqa: T201 - the answer itself
    else:
        walking.show(found, out)


@app.command()
def sandbox(
    bars: BarsFile = None,
    tickers: Tickers = DEFAULT_TICKERS,
    edge: Edge = 0.04,
    seed: Seed = 1,
    port: Annotated[int, typer.Option(help="control; Yahoo, storage, Alpaca follow")] = 8900,
    function_url: Annotated[str, typer.Option(help="told of each new object")] = "",
    speed: Annotated[float, typer.Option(min=0, max=600, help="0 = the clock is stepped")] = 0.0,
) -> None:
    """Serve a market through Yahoo's, Google Cloud Storage's and Alpaca's APIs on loopback."""
    from sandbox import main as sandbox_main

    options = sandbox_main.Options(
        bars=bars,
        tickers=None if bars else tickers,
        seed=seed,
        edge=edge,
        port=port,
        speed=speed,
        function_url=function_url or None,
        # On a stepped clock an hour takes seconds, so a minute's budget is an hour's.
        personality=sandbox_main.Personality(requests_per_minute=200 if speed else 200 * 60),
    )
    sandbox_main.run_forever(options, _print_urls)


def _print_urls(sandbox: Any) -> None:
    out.print(f"serving {sandbox.market.identity}")
    for name, url in asdict(sandbox.urls).items():
        out.print(f"  {name:8} {url}")


@app.command()
def doctor() -> None:
    """What is configured, reachable and missing; exit 1 if something needs you."""
    from astra.cli import doctor as clinic

    found = clinic.examine(_settings())
    for check in found:
        mark = {True: "[green]ok  [/]", False: "[red]need[/]", None: "[yellow]note[/]"}[check.ok]
        out.print(f"{mark} {check.subject}: {check.finding}")
    raise typer.Exit(1 if any(check.ok is False for check in found) else 0)


def main() -> None:
    """Entry point: our errors become one sentence and their exit code, never a traceback."""
    try:
        app()
    except AstraError as error:
        err.print(f"[red]{type(error).__name__}:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)


def _settings(policy: str | None = None) -> Settings:
    return astra_settings.load(**({} if policy is None else {"policy": policy}))


def _services() -> Any:
    from astra.services import Services

    return Services(_settings())


def _show(answer: dict[str, Any]) -> None:
    out.print_json(json.dumps(answer))

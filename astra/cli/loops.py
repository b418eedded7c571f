"""The commands that keep a whole market going: `run`, `up`, `sandbox`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astra.cli.options import (
    DEFAULT_TICKERS,
    AsJson,
    BarsFile,
    Edge,
    Policy,
    Seed,
    Tickers,
    err,
    out,
    read_settings,
)

if TYPE_CHECKING:
    from sandbox.main import Sandbox


def run(
    bars: BarsFile = None,
    tickers: Tickers = DEFAULT_TICKERS,
    hours: Annotated[
        int, typer.Option(min=1, max=400, metavar="H", help="decision times to trade")
    ] = 3,
    policy: Policy = None,
    edge: Edge = 0.04,
    seed: Seed = 1,
    faults: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="what goes wrong at each decision time, such as docs/faults.example.json",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Trade the last hours of a simulated or recorded market, then report.

    Everything runs on this machine. Each run has a SQLite database and a paper account of its own
    under var/sandbox; the database, vendors and keys of the settings are left alone.
    """
    from astra.cli import hour, report
    from astra.cli.launcher import ends_on_signals
    from astra.cli.sandboxed import Options, read_faults

    settings = read_settings(policy=policy)
    wrong = read_faults(faults) if faults else ()
    options = Options(bars, tickers, hours, edge, seed, wrong)
    with ends_on_signals():
        console = err if as_json else out
        found = hour.run(options, settings, lambda text: console.print(text, soft_wrap=True))
    if as_json:
        print(json.dumps(found.as_json()))  # noqa: T201 - the answer itself
    else:
        out.print()
        report.show(found, out)


def up(
    bars: BarsFile = None,
    tickers: Tickers = DEFAULT_TICKERS,
    speed: Annotated[
        float, typer.Option(min=0.1, max=600, metavar="X", help="market minutes a minute")
    ] = 1.0,
    edge: Edge = 0.04,
    seed: Seed = 1,
) -> None:
    """Keep every service, the scheduler and the page running until Ctrl-C.

    With Alpaca keys in the settings it meets the real vendors and the settings' database; without,
    a simulated market whose clock runs, with a SQLite database of its own under var/sandbox.
    """
    from astra.cli import up as running
    from astra.cli.launcher import ends_on_signals
    from astra.cli.sandboxed import Options

    options = Options(bars, tickers, 1, edge, seed)
    with ends_on_signals():
        running.keep_up(
            options, speed, read_settings(), lambda text: out.print(text, soft_wrap=True)
        )


def sandbox(
    bars: BarsFile = None,
    tickers: Tickers = DEFAULT_TICKERS,
    edge: Edge = 0.04,
    seed: Seed = 1,
    port: Annotated[
        int, typer.Option(metavar="N", help="of its control; Yahoo, storage and Alpaca follow")
    ] = 8900,
    function_url: Annotated[
        str, typer.Option(metavar="URL", help="of the rebalance function, told of each new file")
    ] = "",
    speed: Annotated[
        float,
        typer.Option(
            min=0, max=600, metavar="X", help="market minutes a minute; 0 = its clock is set"
        ),
    ] = 0.0,
) -> None:
    """Serve a market on this machine through the APIs of Yahoo, Cloud Storage and Alpaca."""
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


def _print_urls(sandbox: Sandbox) -> None:
    out.print(f"serving {sandbox.market.identity}")
    for name, url in asdict(sandbox.urls).items():
        out.print(f"  {name:8} {url}")

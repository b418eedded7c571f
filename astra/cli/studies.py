"""The commands that study the past: `backtest`, `train`, `evaluate`."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated

import typer

from astra.cli.options import (
    DEFAULT_TICKERS,
    AsJson,
    BarsFile,
    Edge,
    Seed,
    Tickers,
    err,
    out,
    read_settings,
)


def backtest(
    bars: BarsFile = None,
    start: Annotated[
        dt.datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="first day, such as 2026-03-02; default: the 21st session of the bars",
        ),
    ] = None,
    end: Annotated[
        dt.datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], metavar="DATE", help="last day"),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(metavar="P", help="may be repeated; default: all of them")
    ] = None,
    tickers: Tickers = DEFAULT_TICKERS,
    edge: Edge = 0.04,
    seed: Seed = 1,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="measure skill anew each hour, as the service does: slower"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make every decision of the past again by each policy, in a book of its own, costs paid."""
    from astra.cli import backtest as walking

    first, last = (day.date() if day else None for day in (start, end))
    asked = walking.Asked(bars, first, last, tuple(policy or ()), tickers, edge, seed, exact)
    found = walking.run(asked, read_settings())
    if as_json:
        print(json.dumps(found.as_json()))  # noqa: T201 - the answer itself
    else:
        walking.show(found, out)


def train(
    bars: BarsFile = None,
    seed: Annotated[int, typer.Option(metavar="S", help="seed of the simulated market")] = 7,
    edge: Edge = 0.04,
    tickers: Tickers = 100,
) -> None:
    """Train an N-BEATS network, verify it, and put it in use.

    Without a file it learns from the simulated market of 2023: another seed and other days than
    `astra run` trades.
    """
    from astra.cli import study

    bundle = study.train(bars, seed, edge, tickers, read_settings().bundles, err)
    out.print(f"promoted {bundle}")


def evaluate(
    bars: BarsFile = None,
    seed: Seed = 1,
    edge: Edge = 0.04,
    tickers: Tickers = DEFAULT_TICKERS,
    bundle: Annotated[
        str | None, typer.Option(metavar="ID", help="a trained network; default: the one in use")
    ] = None,
) -> None:
    """Hold a network's forecasts against the last value, on sessions it has not seen."""
    from astra.cli import study

    study.evaluate(bars, seed, edge, tickers, read_settings().bundles, bundle, out)

"""The commands that study the past: `backtest`, `train`, `evaluate`."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from astra.cli.options import (
    DEFAULT_TICKERS,
    POLICY_NAMES,
    AsJson,
    BarsFile,
    Edge,
    Seed,
    Tickers,
    err,
    out,
    read_settings,
)
from astra.errors import ConfigError

_OF_A_SWEEP = ("sweep", "jobs", "cluster", "no_store", "as_json")


def backtest(
    context: typer.Context,
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
        list[str] | None,
        typer.Option(
            metavar="P", help=f"{POLICY_NAMES}; may be repeated; default: all that have a name"
        ),
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="the bars that astra load has stored")
    ] = False,
    known_at: Annotated[
        dt.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            metavar="TIME",
            help="stored bars as they were known then, UTC, without later corrections; "
            "implies --store",
        ),
    ] = None,
    costs_bp: Annotated[
        float | None,
        typer.Option(
            "--costs-bps",
            min=0,
            max=1000,
            metavar="X",
            help="half the spread that each fill pays; default: ASTRA_HALF_SPREAD_BP",
        ),
    ] = None,
    slippage_bp: Annotated[
        float,
        typer.Option(
            "--slippage-bps", min=0, max=1000, metavar="X", help="what each fill pays beyond it"
        ),
    ] = 0.0,
    whole_shares: Annotated[
        bool, typer.Option("--whole-shares", help="trade no fractions of shares")
    ] = False,
    bundle: Annotated[
        str | None, typer.Option(metavar="ID", help="a trained network; default: the one in use")
    ] = None,
    tickers: Tickers = DEFAULT_TICKERS,
    edge: Edge = 0.04,
    seed: Seed = 1,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="write an HTML report, pictures and JSON there"),
    ] = None,
    no_store: Annotated[
        bool, typer.Option("--no-store", help="leave it out of astra backtests")
    ] = False,
    sweep: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="many sets of choices side by side, as a TOML file like docs/sweep.example.toml "
            "names them; what is stored already is not made again",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="processes of a sweep; default: one for each core"),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="a sweep on a Dask cluster, tcp://HOST:PORT"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make every decision of the past again by each policy, in a book of its own, costs paid.

    The bars are the simulated market's, unless a file or the store is named. What it found is kept
    for astra backtests, as a trial that later ones are judged by.
    """
    if sweep or jobs or cluster:
        _sweep(context, sweep, jobs, cluster, is_kept=not no_store, as_json=as_json)
        return
    from astra.cli import backtest as walking
    from astra.cli import findings, specifying
    from astra.cli.backtests import keep
    from astra.store import open_store

    settings = read_settings()
    asked = specifying.Asked(
        bars=bars,
        store=store,
        known_at=known_at.replace(tzinfo=dt.UTC) if known_at else None,
        first=start.date() if start else None,
        last=end.date() if end else None,
        policies=tuple(policy or ()),
        tickers=tickers,
        edge=edge,
        seed=seed,
        half_spread_bp=costs_bp,
        slippage_bp=slippage_bp,
        whole_shares=whole_shares,
        bundle=bundle,
    )
    if report:
        from model.backtest.report import open_folder

        open_folder(report)
    if not no_store:
        open_store(settings.database_url).close()  # if it can't be reached, better said now
    found = walking.run(specifying.specify(asked, settings), settings)
    if not no_store:
        keep(found, settings)
    told = findings.study(found, settings, is_kept=not no_store)
    written = findings.write(found, told, report) if report else ()
    if as_json:
        print(json.dumps(findings.document(found, told)))  # noqa: T201 - the answer itself
        return
    findings.show(told, out)
    for path in written:
        out.print(f"wrote {path}", soft_wrap=True)


def _sweep(
    context: typer.Context,
    path: Path | None,
    jobs: int | None,
    cluster: str | None,
    *,
    is_kept: bool,
    as_json: bool,
) -> None:
    from astra.cli import sweep, swept

    if path is None:
        raise ConfigError("--jobs and --cluster are of a sweep: name its file with --sweep FILE")
    for name in context.params:
        given = context.get_parameter_source(name)
        if given is not None and given.name == "COMMANDLINE" and name not in _OF_A_SWEEP:
            raise ConfigError(
                f"a sweep's choices stand in its file, --{name.replace('_', '-')} was given too: "
                f"write it into [backtest] or [grid] of {path}"
            )
    asked = sweep.Asked(path, jobs, cluster, is_kept)
    found = sweep.run(asked, read_settings(), err)
    if as_json:
        print(json.dumps(found.as_json()))  # noqa: T201 - the answer itself
    else:
        swept.show(found, out)


def train(
    bars: Annotated[
        Path | None,
        typer.Option(
            "--bars", help="a Parquet file of 5-minute or daily bars to learn from", metavar="FILE"
        ),
    ] = None,
    frequency: Annotated[
        str | None,
        typer.Option(
            metavar="5m|1d",
            help="5m: the next hour; 1d: the next five sessions; default: the preset's",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            help="small (minutes on two cores), daily, paper (made for a GPU) or a TOML file; "
            "default: small, with daily bars daily",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="another network, at the size of small: nbeats, nhits, tide, tsmixer or nlinear",
        ),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(min=1, max=50, metavar="N", help="networks whose mean is the forecast"),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="S", help="of the weights and of the simulated market")
    ] = 7,
    edge: Edge = 0.04,
    tickers: Annotated[
        int, typer.Option(min=2, max=503, metavar="N", help="stocks of the simulated market")
    ] = 100,
    keep_back: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="last sessions not learned from, kept for astra evaluate"
        ),
    ] = 0,
    promote: Annotated[
        bool, typer.Option("--promote", help="use it at once, measured against nothing")
    ] = False,
) -> None:
    """Train a network, verify it and register it; the first of a frequency is used at once.

    Without a file it learns from the simulated market of 2023: another seed and other days than
    `astra run` trades. Started again after a kill it goes on where it was.
    """
    from astra.cli import training

    asked = training.Asked(
        bars, frequency, preset, network, members, seed, edge, tickers, promote, keep_back
    )
    training.show(training.run(asked, read_settings(), err), out)


def evaluate(
    bundle: Annotated[
        str | None, typer.Option(metavar="ID", help="a trained network; default: the one in use")
    ] = None,
    bars: Annotated[
        Path | None,
        typer.Option(
            help="a Parquet file of 5-minute or daily bars; default: a simulated market",
            metavar="FILE",
        ),
    ] = None,
    last_sessions: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="the last sessions alone; earlier ones are history"),
    ] = None,
    frequency: Annotated[
        str, typer.Option(metavar="5m|1d", help="whose network is in use, without --bundle")
    ] = "5m",
    seed: Seed = 1,
    edge: Edge = 0.04,
    tickers: Tickers = DEFAULT_TICKERS,
    charts: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="write PNG charts there")
    ] = None,
    foundation: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="of a Chronos-2 or TimesFM 2.5 you have downloaded, as one more row; it takes "
            "long on a CPU, 20 ms a ticker and decision: ask for fewer --last-sessions",
        ),
    ] = None,
    risk: Annotated[
        bool,
        typer.Option("--risk", help="the covariance estimators instead of a network's forecasts"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold a network's forecasts against simple ones and what came, on sessions it has not seen.

    With --risk it is the estimators of the covariance (ASTRA_RISK_MODEL) that are held against what
    came, on 5-minute bars.
    """
    if risk:
        from astra.cli import risk as judging

        judging.refuse(bundle=bundle, frequency=frequency, charts=charts, foundation=foundation)
        asked_risk = judging.Asked(bars, last_sessions, tickers, edge, seed)
        judged = judging.run(asked_risk, read_settings())
        if as_json:
            print(json.dumps(judged.as_json()))  # noqa: T201 - the answer itself
        else:
            judging.show(judged, out)
        return
    from astra.cli import evaluating

    asked = evaluating.Asked(
        bundle, bars, last_sessions, frequency, tickers, edge, seed, charts, foundation
    )
    found = evaluating.run(asked, read_settings())
    if as_json:
        print(json.dumps(found.as_json()))  # noqa: T201 - the answer itself
    else:
        evaluating.show(found, out)

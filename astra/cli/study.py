"""`astra train` and `astra evaluate`: finds the bars, calls the model, shows the figures."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# The simulated market to learn from: other days and, by default, another seed than `run` trades.
TRAINING_DAYS = dt.date(2023, 1, 3), dt.date(2023, 12, 29)
EVALUATION_DAYS = dt.date(2026, 3, 2), dt.date(2026, 5, 29)


def train(
    bars: Path | None, seed: int, edge: float, tickers: int, folder: Path, console: Console
) -> str:
    """Train on a file or on the simulated market; the promoted bundle's id.

    Raises:
        ConfigError: the training packages are not installed.
        DataError: the bars cannot be used.
    """
    from astra.errors import ConfigError

    try:
        from model.forecast.training import train as train_bundle
    except ImportError as error:
        raise ConfigError(
            f"training needs the extra packages ({error.name} is missing): run make setup"
        ) from error
    frame, market = _bars(bars, seed, edge, tickers, TRAINING_DAYS)
    kind = "replay" if bars else "simulated"
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=None)

        def advance(step: int, steps: int, loss: float) -> None:
            bar.update(task, completed=step, total=steps, description=f"loss {loss:.4f}")

        bundle = train_bundle(
            frame, seed=seed, trained_on=kind, market=market, folder=folder, progress=advance
        )
    for name, value in sorted(bundle.spec.metrics.items()):
        console.print(f"  {name:16} {value:.4f}")
    return bundle.id


def _bars(
    bars: Path | None, seed: int, edge: float, tickers: int, days: tuple[dt.date, dt.date]
) -> tuple[pd.DataFrame, str]:
    """The frame and the market's identity."""
    from sandbox.market import default_tickers, replay_market, simulated_bars

    if bars is None:
        names = default_tickers(tickers)[:tickers]  # the stocks, without the ETFs behind them
        frame = simulated_bars(names, seed=seed, edge=edge, first=days[0], last=days[1])
        return frame, f"simulated:{seed}"
    from astra.bars import read_parquet

    return read_parquet(str(bars)), replay_market(bars, None).identity

"""`astra evaluate`: finds bundle and bars, evaluates, shows the figures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from astra.errors import ConfigError
from astra.settings import Settings

if TYPE_CHECKING:
    from model.evaluation import Evaluation
    from model.evaluation.baselines import Pretrained
    from model.evaluation.metrics import Tested
    from model.forecast.spec import Spec
    from model.panel import Panel

POINTS = 100.0
_POINTS_NOTE = (
    "MASE: errors over the look-back's mean move of one bar. Signs and rank IC: from the first "
    "price that could be traded to the horizon's end. Errors and t are over days; ridge and "
    "LightGBM are fitted anew every 20 sessions on those before."
)
_BANDS_NOTE = (
    "Normal band: EWMA volatility x time of day. In brackets 95 % intervals, days drawn in blocks; "
    "* is more than 2 points off."
)
# Other days and, by default, another seed than those of the simulated training. The daily ones
# begin earlier: their look-back and volatilities take half a year.
SIMULATED_DAYS = {
    "5m": (dt.date(2026, 3, 2), dt.date(2026, 5, 29)),
    "1d": (dt.date(2025, 3, 3), dt.date(2026, 5, 29)),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options."""

    bundle: str | None
    bars: Path | None
    last_sessions: int | None
    frequency: str
    tickers: int
    edge: float
    seed: int
    charts: Path | None
    foundation: Path | None


@dataclass(frozen=True, slots=True)
class Found:
    """The evaluation, whose market it was on, and the charts written."""

    evaluation: Evaluation
    market: str
    planted_edge: float | None
    trained: str
    tickers: int
    charts: tuple[Path, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "market": self.market,
            "planted_edge": self.planted_edge,
            "tickers": self.tickers,
            **self.evaluation.document(),
            "charts": [str(path) for path in self.charts],
        }


def run(asked: Asked, settings: Settings) -> Found:
    """Evaluate on a file's bars or on the simulated market of other days than the training's.

    Raises:
        ConfigError: charts are asked for and matplotlib is not installed, or the foundation model
            cannot be used.
        BundleError: there is no such bundle.
        DataError: the bars cannot be used, or the bundle has seen all of them.
    """
    from model.evaluation import decision_times, evaluate
    from model.forecast.registry import open_registry

    write_charts = _charts() if asked.charts else None
    bundle = open_registry(settings).load(asked.bundle, asked.frequency)
    spec = bundle.spec
    pretrained = _pretrained(asked.foundation, spec) if asked.foundation else None
    panel, market = _panel(asked, spec.frequency)
    times = [t for t in decision_times(panel, spec.horizon) if t > spec.training.end]
    if asked.last_sessions is not None:
        first = panel.sessions[-min(asked.last_sessions, len(panel.sessions))].opens_at
        times = [t for t in times if t >= first]
    cost = settings.half_spread_bp + settings.fee_bp
    evaluation = evaluate(bundle, panel, times, cost_bp=cost, pretrained=pretrained)
    return Found(
        evaluation,
        market,
        None if asked.bars else asked.edge,
        f"trained on {spec.training.market} until {spec.training.end:%Y-%m-%d}",
        len(panel.tickers),
        write_charts(evaluation, asked.charts) if asked.charts and write_charts else (),
    )


def show(found: Found, console: Console) -> None:
    """Print it: what was compared, point forecasts, bands, and what follows."""
    from model.evaluation import BASELINES

    e = found.evaluation
    if found.planted_edge is not None:
        console.print(
            f"[bold]SIMULATED, edge planted: IC {found.planted_edge:.3f}, measured: IC "
            f"{e.ic:.3f}.[/] It says nothing about real markets.",
            soft_wrap=True,
        )
    console.print(f"[bold]{e.bundle}[/], {found.trained}", soft_wrap=True)
    console.print(
        f"{len(e.dates)} days of {found.market}, {e.dates[0]} to {e.dates[-1]}: {e.closes:,} "
        f"closes of {found.tickers} tickers compared, {e.decisions} decisions",
        soft_wrap=True,
    )
    console.print()
    console.print(_points(e))
    for name, reason in e.missing.items():
        console.print(f"[yellow]{name} is missing: {reason}[/]", soft_wrap=True)
    console.print(_POINTS_NOTE, style="dim")
    for name in e.points.keys() - {"forecast", *BASELINES}:
        console.print(
            f"{name}, zero-shot: what others trained it on may hold these very days.", style="dim"
        )
    console.print()
    console.print(_bands(e))
    console.print(_BANDS_NOTE, style="dim")
    console.print()
    for line in (*_findings(e), *(f"wrote {path}" for path in found.charts)):
        console.print(line, soft_wrap=True)


def _points(e: Evaluation) -> Table:
    table = _table("Closes, mean over steps, tickers and decisions")
    table.add_column("")
    for name in ("MAE\nbp", "\nMASE", "sMAPE\n%", "less last\nvalue bp (t)", "right\nsigns %",
                 "rank IC\n(t)", "\ndays"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for name, p in e.points.items():
        table.add_row(
            "this network" if name == "forecast" else name,
            f"{p.mae_bp:.2f}",
            f"{p.mase:.3f}",
            f"{p.smape:.3f}",
            f"{p.against.mean:+.3f} ({p.against.t:+.1f})" if p.against else "",
            f"{POINTS * p.direction.mean:.1f} ± {POINTS * p.direction.error:.1f}"
            if p.direction
            else "",
            f"{p.ic.mean:+.4f} ({p.ic.t:+.1f})" if p.ic else "",
            f"{p.days}",
            style="bold" if name == "forecast" else None,
        )
    return table


def _bands(e: Evaluation) -> Table:
    from model.evaluation.walk import BANDS

    ours, normal = e.bands["forecast"], e.bands["normal"]
    table = _table("Quantile loss and % of closes inside the bands, by step")
    for name in ("\nstep", "loss\nbp", "less normal\nband's (t)",
                 *(f"in {band:.0%}\nband" for band in BANDS)):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for step, (mine, other) in enumerate(zip(ours.pinball_bp, normal.pinball_bp, strict=True)):
        inside = [_inside(e, step, band) for band in range(len(BANDS))]
        less = f"{mine / other - 1:+.1%} ({e.against_normal_by_step[step].t:+.1f})"
        table.add_row(f"{step + 1}", f"{mine:.3f}", less, *inside)
    mine, other = float(ours.pinball_bp.mean()), float(normal.pinball_bp.mean())
    overall = [f"{POINTS * share:.1f}            " for share in ours.overall]
    less = f"{mine / other - 1:+.1%} ({e.against_normal.t:+.1f})"
    table.add_row("all", f"{mine:.3f}", less, *overall, style="bold")
    return table


def _inside(e: Evaluation, step: int, band: int) -> str:
    """The share inside a band with its interval, marked where it is off."""
    from model.evaluation.report import NEAR_NOMINAL
    from model.evaluation.walk import BANDS

    ours = e.bands["forecast"]
    share, low, high = (
        POINTS * float(found[step, band]) for found in (ours.coverage, ours.low, ours.high)
    )
    text = f"{share:.1f} ({low:.1f}-{high:.1f})"
    near = abs(share / POINTS - BANDS[band]) <= NEAR_NOMINAL
    return text if near else f"[yellow]*{text}[/]"


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip


def _findings(e: Evaluation) -> Iterator[str]:
    """What follows from the tables, a sentence each."""
    from model.evaluation.report import NEAR_NOMINAL
    from model.evaluation.walk import BANDS
    from model.forecast.skill import SUSPECT_IC

    loss = e.against_normal
    yield (
        f"Quantile loss {'below' if loss.mean < 0 else 'not below'} the normal band's: "
        f"{loss.mean:+.3f} bp {_test(loss)}, p {loss.p:.3f}."
    )
    for band in BANDS:
        step, off = e.off_nominal(band)
        near = abs(off) <= NEAR_NOMINAL
        yield (
            f"{band:.0%} band: {'' if near else '[yellow]not '}within 2 points of nominal at every "
            f"step{'' if near else '[/]'}, the furthest is step {step} with {POINTS * off:+.1f}."
        )
    ours = e.points["forecast"].ic
    if ours:
        yield (
            f"Rank IC {ours.mean:+.4f} {_test(ours)} from the first price that could be traded; "
            f"{e.close_ic.mean:+.4f} from the last close, which has the bid-ask bounce in it."
        )
        yield (
            f"Top fifth less bottom fifth by score: {e.spread_bp.mean:+.1f} bp a decision "
            f"{_test(e.spread_bp)}, {e.net_spread_bp.mean:+.1f} bp after {e.spread_cost_bp:.1f} bp "
            "to open and close both legs."
        )
    if ours and e.leak:
        over = f"over {ours.days} day{'s' if ours.days > 1 else ''}"
        seen = f"t {ours.t:+.1f} {over}" if ours.t else over
        # Days that are all alike have no t either, but noise is not like that.
        noise = ours.t < 2 if ours.t else ours.days < 2
        doubt = "which noise reaches too on so few days, and " if noise else ""
        yield (
            f"[bold red]LEAK ALARM: a rank IC of {e.ic:.3f} ({seen}) is above {SUSPECT_IC}, "
            f"{doubt}too good for these returns: "
            "look for what the network could know of the future.[/]"
        )


def _test(found: Tested) -> str:
    return f"(t {found.t:+.1f})"


def _pretrained(folder: Path, spec: Spec) -> Pretrained:
    try:
        from model.evaluation.foundation import load
    except ImportError as error:
        raise ConfigError(
            f"a foundation model needs the extra packages ({error.name} is missing): run make setup"
        ) from error
    return load(folder, spec.window, spec.horizon)


def _charts() -> Callable[[Evaluation, Path], tuple[Path, ...]]:
    try:
        from model.evaluation.charts import write
    except ImportError as error:
        raise ConfigError(
            "charts need matplotlib, which is not installed: pip install matplotlib, or make setup"
        ) from error
    return write


def _panel(asked: Asked, frequency: str) -> tuple[Panel, str]:
    from astra.cli import panels

    if asked.bars:
        return panels.from_file(asked.bars, frequency)
    days = SIMULATED_DAYS[frequency]
    return panels.simulated(
        frequency, seed=asked.seed, edge=asked.edge, tickers=asked.tickers, days=days
    )

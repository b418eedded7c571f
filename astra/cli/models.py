"""`astra models`: which trained networks there are, which is in use, and how that changes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from astra.cli.options import DEFAULT_TICKERS, AsJson, out, read_settings
from astra.errors import BundleError
from astra.settings import Settings

if TYPE_CHECKING:
    from model.forecast.bundle import Bundle
    from model.forecast.challenge import Verdict
    from model.forecast.registry import Registry, Reign
    from model.forecast.spec import Spec
    from model.panel import Panel

app = typer.Typer(help="Trained networks: which there are, which is in use.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="as astra models list names it")]
Frequency = Annotated[str, typer.Option(metavar="5m|1d", help="whose champion")]
SEED, EDGE = 1, 0.04  # of the simulated market that simulated networks contend on
_LIST_NOTE = (
    "* in use. Loss (mean over the quantiles) and rank IC are of each network's own held-out "
    "sessions: to "
    "compare two of them, astra evaluate --bundle ID on the same bars, or astra models promote."
)
_NEW_SKILL = (
    "Its skill is measured from its own forecasts on sessions after its training, nothing is "
    "inherited; until it has shown some, it tilts nothing."
)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """All trained networks; the ones in use are marked."""
    from model.forecast.registry import open_registry

    registry = open_registry(read_settings())
    found = registry.list()
    if as_json:
        rows = [
            {"id": b.id, "champion": b.is_champion, "fault": b.fault or None,
             "spec": _plain(b.spec) if b.spec else None} for b in found
        ]  # fmt: skip
        print(json.dumps({"models": rows}))  # noqa: T201 - the answer itself
        return
    if not found:
        out.print("there is no trained network yet: run astra train")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "id", "trained on", "until", "loss bp", "rank IC (t)"):
        is_figure = name in ("loss bp", "rank IC (t)")
        table.add_column(name, justify="right" if is_figure else "left", overflow="fold")
    for bundle in found:
        mark = "*" if bundle.is_champion else ""
        table.add_row(mark, bundle.id, *_row(bundle.spec), style="bold" if mark else None)
    out.print(table)
    for bundle in found:
        if bundle.fault:
            out.print(f"[red]{bundle.id} cannot be used:[/] {escape(bundle.fault)}", soft_wrap=True)
    out.print(_LIST_NOTE, style="dim", soft_wrap=True)


@app.command()
def show(
    bundle: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="default: the one in use")
    ] = None,
    frequency: Frequency = "5m",
    as_json: AsJson = False,
) -> None:
    """Everything a network says about itself, and when it was in use."""
    from model.forecast.bundle import frequency_of
    from model.forecast.registry import open_registry

    registry = open_registry(read_settings())
    name = bundle or registry.champion_id(frequency)
    spec, reigns = registry.spec(name), _reigns(registry, name, frequency_of(name))
    if as_json:
        uses = [{"since": _day(r.since), "until": _day(until), "why": r.why}
                for r, until in reigns]  # fmt: skip
        print(json.dumps({"id": name, "in_use": uses, "spec": _plain(spec)}))  # noqa: T201
        return
    out.print(f"[bold]{name}[/]")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for title, rows in _card(spec):
        table.add_row()
        table.add_row(f"[bold]{title}[/]")
        for row in rows:
            table.add_row(*row)
    out.print(table)
    out.print()
    for reign, until in reigns:
        ended = f"to {_day(until)}" if until else "to this day"
        why = f" ({reign.why})" if reign.why else ""
        since = f"from {_day(reign.since)} " if reign.since else ""
        out.print(f"in use {since}{ended}{why}", soft_wrap=True)
    if not reigns:
        out.print(f"a challenger: astra models promote {name}")


@app.command()
def promote(
    bundle: Id,
    bars: Annotated[
        Path | None,
        typer.Option(help="a Parquet file of 5-minute or daily bars", metavar="FILE"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="whatever it is worth; the registry writes it down")
    ] = False,
) -> None:
    """Put a network in use if it is no worse than the present one.

    Both forecast at least 20 sessions that neither has seen; the mean quantile loss decides. The
    sessions are those of --bars; without it, of the simulated market for a network trained on one,
    else the stored ones, from the ETL service. A running service takes the promoted network at its
    next decision.
    """
    from model.forecast.challenge import examine
    from model.forecast.registry import open_registry

    settings, now = read_settings(), dt.datetime.now(dt.UTC)
    registry = open_registry(settings)
    challenger = registry.load(bundle)
    found = registry.succession(challenger.spec.frequency)
    if found is not None and found.champion.id == bundle:
        out.print(f"{bundle} is in use already")
        return
    examine(challenger)
    if found is None:
        if not registry.promote_if_first(bundle, now):
            raise BundleError("another network was promoted meanwhile: try again")
        out.print(f"promoted {bundle}, the first of {challenger.spec.frequency} bars")
        return
    old = found.champion.id
    if force:
        reign = registry.promote(bundle, now, f"forced over {old}", over=old)
    else:
        verdict = _contest(registry, old, challenger, bars, settings)
        if not verdict.passes:
            raise BundleError(
                f"{bundle} stays a challenger, {old} is better: {verdict}; --force promotes it all "
                "the same"
            )
        reign = registry.promote(bundle, now, str(verdict), over=old)
    out.print(f"promoted {bundle} over {old}: {reign.why}", soft_wrap=True)
    out.print(_NEW_SKILL, soft_wrap=True, style="dim")


@app.command()
def rollback(frequency: Frequency = "5m") -> None:
    """Return to the network that was in use before; once more, to the one before that."""
    from model.forecast.registry import open_registry

    reign = open_registry(read_settings()).rollback(dt.datetime.now(dt.UTC), frequency)
    out.print(f"{reign.id} is in use again, {reign.why}")


@app.command()
def sign(bundle: Id) -> None:
    """Sign a network that you trust with ASTRA_BUNDLE_KEY; new ones are signed by themselves."""
    from model.forecast.registry import open_registry

    open_registry(read_settings()).sign(bundle)
    out.print(f"signed {bundle}")


def _contest(
    registry: Registry, old: str, challenger: Bundle, bars: Path | None, settings: Settings
) -> Verdict:
    from model.forecast.challenge import contend

    try:
        champion = registry.load(old)
    except BundleError as error:
        raise BundleError(
            f"the network in use can't be compared with: {error}; --force promotes "
            f"{challenger.id} unseen"
        ) from error
    panel = _panel((champion.spec, challenger.spec), bars, settings)
    return contend(champion, challenger, panel)


def _panel(contenders: tuple[Spec, Spec], bars: Path | None, settings: Settings) -> Panel:
    """The bars on which a champion and a challenger contend, with a history before them."""
    from astra.cli import panels
    from astra.cli.evaluating import SIMULATED_DAYS

    spec = contenders[1]
    if bars:
        return panels.from_file(bars, spec.frequency)[0]
    if spec.training.trained_on == "simulated":
        return panels.simulated(
            spec.frequency, seed=SEED, edge=EDGE, tickers=DEFAULT_TICKERS,
            days=SIMULATED_DAYS[spec.frequency],
        )[0]  # fmt: skip
    from astra.bars import from_arrow
    from astra.services import Services
    from model.panel import build, daily_of

    start = max(s.training.end for s in contenders) - max(_history(s) for s in contenders)
    stored = Services(settings).dump("price_history", start=start.isoformat())
    panel = build(from_arrow(stored.table))
    return daily_of(panel) if spec.frequency == "1d" else panel


def _history(spec: Spec) -> dt.timedelta:
    """What a network looks back on; of daily bars two half-lives of the market's exposure too."""
    from model.outlook import HISTORY

    if spec.frequency == "5m":
        return HISTORY
    return dt.timedelta(days=2 * (spec.window + spec.scaler.beta_half_life))


def _row(spec: Spec | None) -> tuple[str, ...]:
    """The columns of the list after the id."""
    if spec is None:
        return ("?",) * 4
    metrics, training = spec.metrics, spec.training
    return (
        training.market,
        f"{training.end:%Y-%m-%d}",
        _figure(metrics, "pinball_bp", ".3f"),
        f"{_figure(metrics, 'ic', '+.4f')} ({_figure(metrics, 't', '+.1f')})",
    )


def _figure(metrics: Mapping[str, float], name: str, form: str) -> str:
    return format(metrics[name], form) if name in metrics else "-"


def _reigns(
    registry: Registry, bundle_id: str, frequency: str
) -> list[tuple[Reign, dt.datetime | None]]:
    """The times in which a bundle was champion, the last one first, each with its end."""
    found = registry.succession(frequency)
    if found is None:
        return []
    reigns = (found.champion, *found.before, *found.withdrawn)
    return [(reign, reign.until) for reign in reigns if reign.id == bundle_id]


def _card(spec: Spec) -> Iterable[tuple[str, Sequence[tuple[str, str]]]]:
    training = spec.training
    yield (
        "Network",
        (
            (
                "architecture",
                spec.network + (f", mean of {spec.members}" if spec.members > 1 else ""),
            ),
            *((name, _text(value)) for name, value in spec.sizes.items()),
            ("bars", spec.frequency),
            ("look-back, horizon", f"{spec.window} bars, {spec.horizon} bars"),
            ("gaps it bears", f"{spec.allowed_gaps} of the look-back"),
            ("target", spec.target),
            ("quantiles", ", ".join(_text(q) for q in spec.quantiles)),
            ("weights of them in the mean", ", ".join(_text(w) for w in spec.location)),
        ),
    )
    yield (
        "Training",
        (
            ("on", f"{training.trained_on} bars, {training.market}"),
            ("from, to", f"{training.start:%Y-%m-%d}, {training.end:%Y-%m-%d %H:%M} UTC"),
            ("tickers, windows", f"{training.tickers}, {training.windows:,}"),
            ("steps x batch", f"{training.steps:,} x {training.batch:,}"),
            ("learning rate, decay", f"{training.learning_rate:g}, {training.weight_decay:g}"),
            ("seed", str(training.seed)),
        ),
    )
    yield "Held-out sessions", _figures(spec.metrics)
    reference = spec.reference
    yield (
        "Normal inputs and errors",
        (
            ("deciles of inputs", ", ".join(f"{d:+.2f}" for d in reference.deciles)),
            ("daily error", f"{reference.error:.4f} +- {reference.error_deviation:.4f}"),
        ),
    )
    yield "Scaler", _figures(_plain(spec)["scaler"])
    yield "Made with", sorted(spec.versions.items())


def _figures(values: Mapping[str, float]) -> Sequence[tuple[str, str]]:
    return [(name, _text(value)) for name, value in sorted(values.items())]


def _text(value: float | str | bool) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:.6g}"
    return str(value)


def _plain(spec: Spec) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(spec.to_json())
    return plain


def _day(at: dt.datetime | None) -> str | None:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else None

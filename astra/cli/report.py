"""The report of a run as a person likes to read it. It shows; it adds up, nothing more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from astra.cli.run_report import RunReport
from astra.sessions import NEW_YORK

SHOWN_NAMES = 10


def show(report: RunReport, console: Console) -> None:
    """Print it: market, decisions, holdings, value, books, time, and what was left out."""
    for lines in (_market(report), _decisions(report)):
        for line in lines:
            console.print(line, soft_wrap=True)
        console.print()
    if report.decisions:
        console.print("[bold]Holdings after the last decision[/]")
        console.print(_holdings(report))
        console.print()
    for line in _outcome(report):
        console.print(line, soft_wrap=True)


def clock(as_of: str) -> str:
    """An instant as a person in New York reads it."""
    return dt.datetime.fromisoformat(as_of).astimezone(NEW_YORK).strftime("%a %Y-%m-%d %H:%M")


def _market(report: RunReport) -> Iterator[str]:
    skill = report.decisions[-1]["skill"] if report.decisions else None
    measured = (
        f"IC {skill['ic']:+.3f} (t {skill['t']:.1f} over {skill['days']} days)"
        if skill
        else "nothing"
    )
    if report.opening.planted_edge is None:
        yield f"[bold]REPLAYED, {report.opening.market}. Forecast skill measured: {measured}.[/]"
    else:
        planted = f"IC {report.opening.planted_edge:.3f}" if report.opening.planted_edge else "none"
        yield f"[bold]SIMULATED, edge planted: {planted}, measured: {measured}.[/]"
        yield "What is earned here says nothing about real markets."
    yield (
        f"{report.bars:,} bars of {len(report.opening.candidates)} candidates, "
        f"{report.opening.history_days} calendar days before the first decision."
    )
    if report.opening.not_members:
        yield (
            "[dim]"
            + _listed("Data only, not members of the S&P 500: ", report.opening.not_members)
            + "[/]"
        )


def _decisions(report: RunReport) -> Iterator[str]:
    yield "[bold]Decisions[/] (New York time, paper orders)"
    for d in report.decisions:
        skill, gap = d["skill"], d["bound_gap"]
        state = f"on, IC {skill['used']:.3f}" if skill["on"] else "off"
        proof = "" if gap is None else f" · at most {gap:.2%} below the best possible"
        yield f"  [bold]{clock(d['as_of'])}[/]  {d['policy']}: {d['reason']}"
        yield (
            f"    {d['fills']} of {d['orders']} orders filled · {len(d['weights'])} names · "
            f"equity {d['equity']:,.2f} USD"
        )
        yield f"    forecast skill {state}{proof}"
        if d["left_out"]:
            reasons = [f"{ticker} ({why})" for ticker, why in d["left_out"].items()]
            yield "[dim]" + _listed("    left out: ", reasons, most=4) + "[/]"
    for r in report.refusals:
        yield f"  [bold]{clock(r.as_of)}[/]  refused: {r.reason}"


def _holdings(report: RunReport) -> Table:
    weights = report.decisions[-1]["weights"]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("ticker", "weight", "shares"):
        table.add_column(name, justify="left" if name == "ticker" else "right")
    ordered = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    for ticker, weight in ordered[:SHOWN_NAMES]:
        table.add_row(ticker, f"{weight:.2%}", f"{float(report.positions.get(ticker, 0)):,.4f}")
    rest = [weight for _, weight in ordered[SHOWN_NAMES:]]
    if rest:
        table.add_row(f"{len(rest)} more", f"{sum(rest):.2%}", "")
    table.add_row("cash", f"{1 - sum(weights.values()):.2%}", "")
    return table


def _outcome(report: RunReport) -> Iterator[str]:
    gained = report.equity / report.start_equity - 1
    spy = report.benchmark
    against = f"SPY {spy['return']:+.2%} over the same time" if spy else "no SPY in these bars"
    filled = sum(d["fills"] for d in report.decisions)
    yield (
        f"[bold]Account {report.equity:,.2f} USD, {gained:+.2%}[/] ({against}); "
        f"{filled} orders filled."
    )
    books = report.books
    if books["cash_diff"] == 0 and not books["share_diffs"]:
        yield (
            "Our books equal the broker's to the cent and the share; "
            f"{books['duplicate_orders']} duplicate orders."
        )
    else:
        yield (
            f"[red]BOOKS DIFFER[/]: cash {books['cash_diff']}, shares {books['share_diffs']}; "
            f"{books['duplicate_orders']} duplicate orders."
        )
    if report.shadow:
        best_first = sorted(report.shadow.items(), key=lambda item: -item[1])
        yield "[dim]Each policy in a book of its own, trade or hold at the same costs:[/]"
        values = " · ".join(f"{policy} {value:,.0f}" for policy, value in best_first)
        yield f"[dim]  {values}[/]"
    yield f"[dim]Seconds: {_seconds(report.decisions)}; the whole run {report.seconds:.1f}.[/]"
    yield f"[dim]Everything it wrote is in {report.folder}[/]"


def _seconds(decisions: Sequence[dict[str, Any]]) -> str:
    names = ("load", "read", "forecast", "skill", "books", "optimize", "drop_to_first_order")
    sums = {n: sum(d["seconds"].get(n) or 0.0 for d in decisions) for n in names}
    return ", ".join(f"{name.replace('_', ' ')} {sums[name]:.1f}" for name in names)


def _listed(start: str, items: Sequence[str], most: int = 12) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return start + ", ".join(items[:most]) + more

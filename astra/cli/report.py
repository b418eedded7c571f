"""The report of a run as a person likes to read it. It shows; it adds up, nothing more."""

from __future__ import annotations

import datetime as dt
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from astra.cli.hour import RunReport
from astra.sessions import NEW_YORK

SHOWN_NAMES = 10


def show(report: RunReport, console: Console) -> None:
    """Print it: market, decisions, what was traded, value, time, and what was left out."""
    for part in (_market(report), _decisions(report), _holdings(report), _outcome(report)):
        console.print(part)
        console.print()


def _market(report: RunReport) -> RenderableType:
    last = report.decisions[-1]["skill"] if report.decisions else None
    measured = (
        f"IC {last['ic']:+.3f} (t {last['t']:.1f}, {last['days']} days)" if last else "nothing"
    )
    if report.planted_edge is None:
        line = f"REPLAYED bars ({report.market}), paper money; forecast skill measured: {measured}."
    else:
        line = (
            f"SIMULATED, edge planted: IC {report.planted_edge:.3f}, measured: {measured}. "
            "What is earned here says nothing about real markets."
        )
    lines = [Text(line, style="bold")]
    history = f"{report.history_days} calendar days before the first decision"
    lines.append(Text(f"{report.bars:,} bars, {len(report.tickers)} candidates, {history}."))
    if report.not_members:
        lines.append(Text(_listed("Data only, not S&P 500 members: ", report.not_members), "dim"))
    return Group(*lines)


def _decisions(report: RunReport) -> RenderableType:
    table = Table(title="Decisions", title_justify="left", box=None, pad_edge=False)
    for name, justify in (
        ("New York", "left"), ("policy", "left"), ("what and why", "left"), ("skill t", "right"),
        ("certified", "right"), ("orders", "right"), ("filled", "right"), ("equity USD", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for d in report.decisions:
        gap = d["bound_gap"]
        table.add_row(
            _clock(d["as_of"]),
            d["policy"],
            d["reason"],
            f"{d['skill']['t']:.1f} {'on' if d['skill']['on'] else 'off'}",
            "-" if gap is None else f"within {gap:.2%}",
            str(d["orders"]),
            str(d["fills"]),
            f"{d['equity']:,.2f}",
        )
    for r in report.refusals:
        table.add_row(_clock(r.as_of), "-", f"refused: {r.reason}", "", "", "0", "0", "")
    return table


def _holdings(report: RunReport) -> RenderableType:
    if not report.decisions:
        return Text("Nothing was decided, nothing is held.")
    last = report.decisions[-1]
    table = Table(title="Holdings after the last decision", title_justify="left", box=None,
                  pad_edge=False)  # fmt: skip
    for name in ("ticker", "weight", "shares"):
        table.add_column(name, justify="left" if name == "ticker" else "right")
    weights = sorted(last["weights"].items(), key=lambda item: -item[1])
    for ticker, weight in weights[:SHOWN_NAMES]:
        table.add_row(ticker, f"{weight:.2%}", f"{float(report.positions.get(ticker, 0)):,.4f}")
    rest = weights[SHOWN_NAMES:]
    if rest:
        table.add_row(f"{len(rest)} more", f"{sum(w for _, w in rest):.2%}", "")
    table.add_row("cash", f"{1 - sum(w for _, w in weights):.2%}", "")
    left_out = last.get("left_out") or {}
    notes = [Text(_listed("Left out: ", [f"{t} ({why})" for t, why in left_out.items()]), "dim")]
    return Group(table, *(notes if left_out else []))


def _outcome(report: RunReport) -> RenderableType:
    gained = report.equity / report.start_equity - 1
    against = (
        f"SPY {report.benchmark['return']:+.2%}" if report.benchmark else "no SPY in these bars"
    )
    books = report.books
    equal = books["cash_diff"] == 0 and not books["share_diffs"]
    verdict = (
        "Books equal the broker's to the cent and the share"
        if equal
        else f"BOOKS DIFFER: cash {books['cash_diff']}, shares {books['share_diffs']}"
    )
    filled = sum(d["fills"] for d in report.decisions)
    seconds = _seconds(report)
    return Group(
        Text(
            f"Account {report.equity:,.2f} USD ({gained:+.2%}; {against} over the same time). "
            f"{filled} orders filled.",
            style="bold",
        ),
        Text(f"{verdict}, {books['duplicate_orders']} duplicate orders."),
        _shadow(report),
        Text(f"Seconds: {seconds}; whole run {report.seconds:.1f}.", "dim"),
        Text(f"Everything it wrote: {report.folder}", "dim"),
    )


def _shadow(report: RunReport) -> RenderableType:
    if not report.shadow:
        return Text("")
    parts = [f"{policy} {equity:,.0f}" for policy, equity in sorted(report.shadow.items())]
    return Text(
        "Other policies, traded fully each hour at the same prices and costs: " + ", ".join(parts),
        "dim",
    )


def _seconds(report: RunReport) -> str:
    names = ("load", "forecast", "optimize", "drop_to_first_order", "total")
    sums: dict[str, Any] = {}
    for d in report.decisions:
        for name in names:
            sums[name] = sums.get(name, 0.0) + (d["seconds"].get(name) or 0.0)
    return ", ".join(f"{name.replace('_', ' ')} {sums.get(name, 0.0):.1f}" for name in names)


def _listed(start: str, items: list[str] | tuple[str, ...], most: int = 12) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return start + ", ".join(items[:most]) + more + "."


def _clock(as_of: str) -> str:
    return dt.datetime.fromisoformat(as_of).astimezone(NEW_YORK).strftime("%a %Y-%m-%d %H:%M")

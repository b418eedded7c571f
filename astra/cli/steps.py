"""The commands that take one step: `load`, `allocate`, `monitor`, `replay`, `twin`."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated

import typer

from astra.cli import loaded
from astra.cli.options import AsJson, Policy, out, read_settings, show

if TYPE_CHECKING:
    from astra.services import Services

Names = Annotated[int | None, typer.Option(min=1, metavar="N", help="names at most")]


def load(
    tickers: Annotated[
        str, typer.Option(metavar="A|B", help="AAPL|MSFT; default: the whole universe")
    ] = "",
    since: Annotated[
        dt.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="from this day on, such as 2026-03-02; what Yahoo has no more, from Alpaca",
        ),
    ] = None,
    period: Annotated[
        str, typer.Option(metavar="P", help="5d, 1mo, max: this much of the past again")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Load bars through the ETL service: what is new, or a stretch of the past.

    The exit code is 1 if every ticker failed.
    """
    asked = {"ticker": tickers, "period": period, "since": since and since.date().isoformat()}
    query = {name: str(value) for name, value in asked.items() if value}
    answer = _services().post("etl", "/load_price_history", None, **query)
    if as_json:
        print(json.dumps(answer))  # noqa: T201 - the answer itself
    else:
        for line in loaded.lines(answer):
            out.print(line, soft_wrap=True, markup=False)
    raise typer.Exit(1 if loaded.all_failed(answer) else 0)


def allocate(
    as_of: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="2026-10-30T14:00:00Z; default: the last decision time"),
    ] = None,
    policy: Policy = None,
    k: Names = None,
) -> None:
    """Decide, through the model service, and drop the allocation file, which triggers the trade."""
    asked = {"as_of": as_of, "policy": policy, "k": k}
    show(_services().post("model", "/allocate", {n: v for n, v in asked.items() if v is not None}))


def replay(
    as_of: Annotated[
        str,
        typer.Argument(metavar="AS_OF", help="time of a past decision: 2026-10-30T14:00:00Z"),
    ],
    known_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="on what was known then; default: when it was decided"),
    ] = None,
    policy: Policy = None,
    k: Names = None,
) -> None:
    """Make a past decision again, on what was known then or at another time; nothing is traded."""
    asked = {"as_of": as_of, "known_at": known_at, "policy": policy, "k": k}
    show(_services().post("model", "/replay", {n: v for n, v in asked.items() if v is not None}))


def monitor() -> None:
    """Save account, fills and forecasts, and hold our books against the broker's."""
    services = _services()
    for path in ("/update_account", "/activities", "/history", "/forecasts"):
        services.post("monitor", path)
    show(services.get("monitor", "/reconcile"))


def twin(
    day: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="default: the last session"),
    ] = None,
) -> None:
    """Hold a day as it was traded against its replay, and say what lies between."""
    query = {} if day is None else {"day": day.date().isoformat()}
    show(_services().post("monitor", "/twin", None, **query))


def _services() -> Services:
    from astra.services import Services

    return Services(read_settings())

"""What the commands share: options that mean the same everywhere, settings, and the two outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from astra import settings as astra_settings
from astra.settings import Settings

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

DEFAULT_TICKERS = 60
BarsFile = Annotated[
    Path | None,
    typer.Option("--bars", help="a Parquet file of 5-minute bars to replay", metavar="FILE"),
]
Tickers = Annotated[
    int, typer.Option(min=2, max=503, metavar="N", help="stocks to choose from, at most")
]
Seed = Annotated[int, typer.Option(metavar="S", help="seed of the simulated market")]
Edge = Annotated[
    float,
    typer.Option(
        min=0,
        max=0.5,
        metavar="X",
        help="rank correlation with the next hour's returns that the simulated market lets a "
        "forecast reach; 0 = none",
    ),
]
POLICY_NAMES = "measured, trust, original, min_variance, risk_parity, equal or file.py:function"
Policy = Annotated[str | None, typer.Option(metavar="P", help=POLICY_NAMES)]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object last on stdout")]


def read_settings(policy: str | None = None) -> Settings:
    return astra_settings.load(**({} if policy is None else {"policy": policy}))


def show(answer: dict[str, Any]) -> None:
    """A service's answer, as it came."""
    out.print_json(json.dumps(answer))

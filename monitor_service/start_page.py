"""The start page: how things stand, for a person. Made by the server, without a script."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from astra.errors import AstraError
from astra.records import TradingState
from astra.sessions import NEW_YORK
from astra.status import Status
from monitor_service.watch import Watch

LINKS: Mapping[str, str] = {
    "/status": "all of this as JSON",
    "/metrics": "for Prometheus",
    "/state": "what the account may do, asked of the broker",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
}
_MADE_UP = {
    "simulated": "SIMULATED market: what is earned here says nothing about real markets.",
    "replay": "REPLAYED market: recorded bars, traded on paper as if they were new.",
}


def routes(watch: Watch) -> Blueprint:
    """Routes / and /status."""
    found = Blueprint("start", __name__)
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True
    )
    page.filters |= {"when": when, "usd": _usd, "percent": _percent}

    @found.get("/status")
    def _status() -> Response:
        return jsonify(watch.status().as_json())

    @found.get("/")
    def _start() -> tuple[str, int, dict[str, str]]:
        try:
            content, code = _content(watch.status()), 200
        except AstraError as error:
            content, code = {"problem": str(error)}, error.status
        text = page.get_template("start.html.jinja").render(links=LINKS, **content)
        return text, code, _HEADERS

    return found


def _content(status: Status) -> dict[str, Any]:
    return {
        "problem": "",
        "s": status,
        "market": _MADE_UP.get(status.market.partition(":")[0], ""),
        "is_active": status.trading.state is TradingState.ACTIVE,
        "critical": [a for a in status.alerts if a.severity == "critical"],
        "warnings": [a for a in status.alerts if a.severity != "critical"],
    }


def when(at: dt.datetime | None, form: str = "%a %-d %b %H:%M") -> Markup | str:
    """New York's time; the year, and UTC, where one hovers."""
    if at is None:
        return "never"
    utc, here = at.astimezone(dt.UTC), at.astimezone(NEW_YORK)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(), f"{utc:%Y-%m-%d %H:%M:%S} UTC", f"{here:{form}}"
    )


def _usd(value: object) -> str:
    return f"{float(str(value)):,.2f} USD"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"

"""What every page says at its top: whether the account may trade, and what needs somebody. Pure."""

from __future__ import annotations

import html
from dataclasses import dataclass

from astra.records import TradingState
from astra.status import Trading, trading
from astra.store import Store
from astra.store.alerts import AlertRow
from frontend.words import capital, count, hover, new_york

CHIPS = {
    TradingState.ACTIVE: ("go", "Trading is on"),
    TradingState.REDUCING: ("less", "Only sales: purchases are stopped"),
    TradingState.HALTED: ("stop", "Trading is stopped"),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's trading state and its open alerts, the oldest first."""

    trading: Trading
    alerts: tuple[AlertRow, ...]


def read(store: Store, account: str) -> Standing:
    """How the account stands."""
    return Standing(trading(store, account), store.alerts.open(account))


def chip(found: Trading) -> str:
    """HTML of the trading state in a few words, since when and why."""
    kind, words = CHIPS[found.state]
    if not found.is_confirmed:
        kind, words = "stop", f"{words}, NOT confirmed by the broker"
    said = f'<span class="astra-chip astra-{kind}">{words}</span>'
    if found.state is not TradingState.ACTIVE and found.since:
        since = hover(found.since, f"since {new_york(found.since)}")
        said += f"<span>{since}: {html.escape(found.reason or 'no reason given')}</span>"
    return f'<div class="astra-standing" role="status">{said}</div>'


def alert_line(alerts: tuple[AlertRow, ...]) -> str:
    """All open alerts in one line, the first critical one in words; "" if none is open."""
    if not alerts:
        return ""
    gravest = next((a for a in alerts if is_critical(a)), alerts[0])
    return f"{count(len(alerts), 'open alert')}: {capital(gravest.message)}."


def is_critical(alert: AlertRow) -> bool:
    return alert.severity == "critical"

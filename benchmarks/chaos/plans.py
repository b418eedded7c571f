"""From a seed: the account, the file, and what goes wrong with them. Pure: the same seed, the same.

`EXACT` are the kinds after which the account must be the calm run's to the cent and the share:
whatever happened there changes no price, so it may change no trade. `CHANGED` are those in which
the world itself becomes another, and `benchmarks.chaos.trial` says what must hold then.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TICKERS = ("AAPL", "BRK.B", "JPM", "KO", "MSFT", "PG", "UNH", "XOM")
EXACT = (
    "killed", "killed twice", "resumed", "paused", "two workers", "faults", "lists", "lag",
    "power lags", "hanging",
)  # fmt: skip
CHANGED = (
    "time passes", "newer file", "part fills", "rejected", "fields", "session closes",
    "account reset",
)  # fmt: skip
FORKED = tuple(kind for kind in EXACT + CHANGED if kind != "paused")  # for real processes
_OFTEN = {
    "killed": 270, "killed twice": 180, "resumed": 50, "paused": 80, "two workers": 80,
    "faults": 150, "lists": 50, "lag": 20, "power lags": 5, "hanging": 10,
    "time passes": 80, "newer file": 100, "part fills": 15, "rejected": 20, "fields": 20,
    "session closes": 40, "account reset": 40,
}  # fmt: skip
# Where fills follow from the plan alone, orders may be limited or sliced as well.
STYLED = (
    "killed", "killed twice", "resumed", "paused", "two workers", "faults", "lists", "newer file",
    "session closes", "account reset",
)  # fmt: skip
_STYLES = {"market": 80, "limit": 14, "twap": 6}
HANGING = 1.0  # seconds, longer than a hasty worker waits for an answer
POWER_LAG = 1.0  # seconds by which the buying power lags, a tenth of what Alpaca's may
_POOL = 6  # beginnings, and files for each: so many calm runs are shared by all seeds


@dataclass(frozen=True, slots=True)
class Case:
    """What happens under one seed.

    Attributes:
        kind: one of `EXACT` and `CHANGED`.
        held, weights: what the account begins with, and what the file asks for.
        kills: where each worker dies, as a share of the calm run's points or by a point's name; in
            their order.
        faults: bodies of POST /sandbox/faults, armed before the first delivery.
        newer: the weights of a second file, in the kind that has one.
        style: how orders are sent: market, limit or twap.
    """

    seed: int
    kind: str
    held: Mapping[str, float]
    weights: Mapping[str, float]
    kills: tuple[float | str, ...] = ()
    faults: tuple[Mapping[str, Any], ...] = ()
    newer: Mapping[str, float] = field(default_factory=dict)
    style: str = "market"


def draw(seed: int, kinds: tuple[str, ...] = EXACT + CHANGED) -> Case:
    """The case of a seed, among `kinds`."""
    rng = random.Random(seed)
    kind = rng.choices(kinds, [_OFTEN[kind] for kind in kinds])[0]
    held = _portfolio(rng.randrange(_POOL))
    weights = _portfolio(100 + rng.randrange(_POOL))
    kills = 2 if kind == "killed twice" else int(kind != "faults" or rng.random() < 0.5)
    style = rng.choices(tuple(_STYLES), tuple(_STYLES.values()))[0]
    return Case(
        seed,
        kind,
        held,
        weights,
        tuple(rng.random() for _ in range(kills)),
        _faults(kind, rng),
        _portfolio(200 + rng.randrange(_POOL)) if kind == "newer file" else {},
        style if kind in STYLED else "market",
    )


def _portfolio(number: int) -> dict[str, float]:
    """Two to five names, 5 % to 20 % each; of one in six up to 30 %, which is over the limit of a
    position and of an order, so that less is bought."""
    rng, most = random.Random(number), 6 if number % _POOL == 0 else 4
    names = rng.sample(TICKERS, rng.randint(2, 5))
    return {name: rng.randint(1, most) * 0.05 for name in sorted(names)}


_ON_ORDERS = {"vendor": "alpaca", "method": "POST", "path": "/v2/orders"}
_READS = ("/v2/account", "/v2/positions", "/v2/orders*", "/v2/clock", "/v2/assets", "/v2/stocks*")
_LISTS = ("/v2/orders", "/v2/account/activities", "/v2/positions")
# Without fractionable, tradable, multiplier or last_equity less is traded, and rightly so.
_FIELDS = (
    "filled_avg_price", "filled_qty", "filled_at", "submitted_at", "status", "client_order_id",
    "qty", "market_value", "current_price", "avg_entry_price", "asset_id", "cash", "equity",
    "buying_power", "is_open", "timestamp", "next_close", "net_amount", "cum_qty",
    "type", "limit_price", "legs",
)  # fmt: skip


def _faults(kind: str, rng: random.Random) -> tuple[Mapping[str, Any], ...]:
    times = rng.randint(1, 3)
    match kind:
        case "faults":
            return tuple(_passing(rng) for _ in range(rng.randint(1, 4)))
        case "lists":
            return tuple(
                {"vendor": "alpaca", "method": "GET", "path": path, "times": None, effect: True}
                for path, effect in zip(
                    rng.sample(_LISTS, 2), rng.choices(("duplicate", "reorder"), k=2), strict=True
                )
            )
        case "lag":
            return ({**_ON_ORDERS, "lag_s": rng.randint(1, 3) / 10, "times": times},)
        case "power lags":
            return ({**_ON_ORDERS, "lag_power_s": POWER_LAG, "times": times},)
        case "hanging":
            return ({**_ON_ORDERS, "delay_s": HANGING, "times": 1},)
        case "part fills":
            part = {"partial_fill": rng.randint(1, 9) / 10, "rest": rng.choice(("wait", "cancel"))}
            return ({**_ON_ORDERS, **part, "times": times},)
        case "rejected":
            return ({**_ON_ORDERS, "reject": True, "times": times},)
        case "fields":
            gone = rng.sample(_FIELDS, rng.randint(1, 3))
            path = rng.choice((*_READS, "/v2/orders", "/v2/account/activities"))
            return ({"vendor": "alpaca", "method": rng.choice(("GET", "*")), "path": path,
                     "drop_fields": gone, "times": times},)  # fmt: skip
        case _:
            return ()


def _passing(rng: random.Random) -> Mapping[str, Any]:
    """A fault that passes and changes nothing that was traded."""
    times = rng.randint(1, 4)
    match rng.randrange(4):
        case 0:
            return {**_ON_ORDERS, "status": 429, "retry_after": 0, "times": times}
        case 1:
            return {**_ON_ORDERS, "status": rng.choice((500, 503, 504)), "times": times}
        case 2:
            return {**_ON_ORDERS, "status": 504, "after": True, "times": times}
        case _:
            status = rng.choice((429, 500, 502, 503, 504))
            more = {"retry_after": 0} if status == 429 else {}
            return {"vendor": "alpaca", "method": "GET", "path": rng.choice(_READS),
                    "status": status, "times": times, **more}  # fmt: skip

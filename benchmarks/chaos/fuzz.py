"""Files and events that nobody should send: each must end as a plan or as a reason.

From a seed: the same seed, the same input. Each begins as a sound one and is spoiled a few times,
so that the rules behind the first are met too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

from astra.allocation import build, parse
from astra.errors import DataError
from astra.execution import Delivered
from astra.rebalance import Holdings, Rules, plan_orders
from astra.records import Asset
from benchmarks.chaos.plans import TICKERS

AS_OF = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
BUCKET = "astra-allocations"
MOST_NAMES = 20
_HOLDINGS = Holdings(
    positions=(),
    prices=dict.fromkeys(TICKERS, 100.0),
    assets={t: Asset(symbol=t, name=t, tradable=True, fractionable=True) for t in TICKERS},
    equity=100_000.0,
    cash=100_000.0,
    buying_power=200_000.0,
)
_RULES = Rules(drift_band=0.001, min_order_usd=1.0)
SOUND = {
    "ce-id": "1", "ce-specversion": "1.0", "ce-source": "//storage.googleapis.com/",
    "ce-type": "google.cloud.storage.object.v1.finalized", "Content-Type": "application/json",
}  # fmt: skip
_WORDS = (
    "", " ", "0", "1", "-1", "0.5", "nan", "inf", "-inf", "1e400", "1e-400", "0x1", "1_0",
    "\u0661", "\uff11", "1,0", "'1'", '"', '""', '"\n', "\x00", "\ufeff", "\u2028", "\r", "\r\n",
    "\n", "\n\n", ",", ",,,,,,,,", "ticker", "weight", "ticker,weight", "AAPL", "aapl", "BRK.B",
    "BRK/B", "../x", "=1+1", "None", "null", "true", "9" * 400, "A" * 5_000, "\U0001f4c8",
    "a\u0301", "\ud7ff", "2026-01-12T15:00:00+00:00", "9999-12-31T23:59:59.999999+14:00",
    "0001-01-01T00:00:00-14:00", "20260112-150000", "20261399-996199", "99991231-235959", "{}",
    "[]", '{"a": {"b": [1]}}',
)  # fmt: skip


def file(seed: int) -> Delivered:
    """A dropped file; about one in ten is sound."""
    rng = random.Random(seed)
    picked = rng.sample(TICKERS, rng.randint(1, len(TICKERS)))
    weights = {t: round(rng.random() / len(picked), 9) for t in picked}
    name, content, metadata = build(
        AS_OF,
        f"{seed % 2**32:08x}",
        weights,
        policy="measured",
        model_id="m",
        metadata={"coverage": "1.0", "trained_on": "simulated"},
    )
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        match rng.randrange(6):
            case 0:
                name = _spoiled(name, rng)
            case 1:
                key = rng.choice((*metadata, "coverage", "skill", "trained_until", "x"))
                metadata = {**metadata, key: _spoiled(metadata.get(key, ""), rng)}
            case 2:
                metadata = {k: v for k, v in metadata.items() if rng.random() < 0.5}
            case _:
                content = rng.choice(_SPOILERS)(content, rng)
    if rng.random() < 0.9 and "sha256" in metadata:  # else nothing behind the checksum is reached
        metadata = {**metadata, "sha256": hashlib.sha256(content).hexdigest()}
    return Delivered(BUCKET, name, seed + 1, content, metadata)


def event(seed: int) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a POST to the function."""
    rng = random.Random(seed)
    resource: dict[str, Any] = {
        "bucket": BUCKET, "name": f"target_20260112-150000_{seed % 2**32:08x}.csv",
        "generation": str(seed + 1), "metageneration": "1", "size": "40",
        "metadata": {"as_of": "x"},
    }  # fmt: skip
    headers = dict(SOUND)
    for _ in range(rng.choice((1, 1, 2, 3))):
        key = rng.choice(tuple(resource))
        match rng.randrange(3):
            case 0:
                resource.pop(key, None)
            case 1:
                resource[key] = _any(rng)
            case _:
                resource[key] = _spoiled(str(resource.get(key)), rng)
    body = json.dumps(resource).encode()
    if rng.random() < 0.3:
        body = rng.choice(_SPOILERS)(body, rng)
    if rng.random() < 0.1:
        header = rng.choice(tuple(headers))
        word = rng.choice(_WORDS).encode("ascii", "ignore").decode()
        headers[header] = "".join(c for c in word if c.isprintable())[:200]
    return body, headers


def judged(delivered: Delivered) -> str:
    """`plan` or `reason`. Any exception but the reason's comes out."""
    try:
        found = parse(delivered.name, delivered.content, delivered.metadata, MOST_NAMES)
    except DataError:
        return "reason"
    plan = plan_orders(found.weights, _HOLDINGS, _RULES)
    cost = sum(float(order.qty) * order.reference_price for order in plan.buys)
    if cost > _HOLDINGS.cash:
        raise AssertionError(f"the plan buys for {cost} USD, there are {_HOLDINGS.cash}")
    return "plan"


def _spoiled(text: str, rng: random.Random) -> str:
    at = rng.randint(0, len(text))
    word = rng.choice(_WORDS)
    return rng.choice((word, text[:at], text[:at] + word + text[at:], text + text))


def _any(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    simple: tuple[Any, ...] = (None, True, False, 0, -1, 2**63, 1e308, 0.1, rng.choice(_WORDS))
    if depth > 2 or rng.random() < 0.6:
        return rng.choice(simple)
    if rng.random() < 0.5:
        return [_any(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(_WORDS): _any(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _flipped(content: bytes, rng: random.Random) -> bytes:
    found = bytearray(content or b"x")
    for _ in range(rng.randint(1, 4)):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def _with_word(content: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(content))
    return content[:at] + rng.choice(_WORDS).encode("utf-8", "surrogatepass") + content[at:]


def _field_replaced(content: bytes, rng: random.Random) -> bytes:
    fields = content.split(b",")
    fields[rng.randrange(len(fields))] = rng.choice(_WORDS).encode("utf-8", "surrogatepass")
    return b",".join(fields)


def _line_moved(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.choice((0, 1, 2, 30))):
        lines.insert(rng.randint(0, len(lines)), line)
    return b"\n".join(lines)


def _recoded(content: bytes, rng: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-8-sig", "utf-32")))


_SPOILERS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut, _flipped, _with_word, _field_replaced, _field_replaced, _line_moved, _recoded,
)  # fmt: skip

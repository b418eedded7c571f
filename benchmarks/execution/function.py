"""The function under functions-framework, as Google runs it: a file is dropped, orders are filled.

The sandbox delivers the storage event and stands in for the broker, in this process; the function
is a child. One rebalance follows the other: some names leave, as many join, all weights change.
"""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from astra.cli.launcher import House as Children
from astra.cli.launcher import free_ports, function_service
from astra.errors import AstraError
from benchmarks.execution.house import House, opened
from benchmarks.results import Row
from benchmarks.timing import require_equal

LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.002
INVESTED = 0.9
STEP = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Traded:
    """One rebalance: wall seconds from the drop to the first order and to the end, and what it
    took."""

    first: float
    whole: float
    orders: int
    requests: int


def rebalances(names: int, rounds: int) -> list[Row]:
    """From the drop to the first order and to the end, once the function is warm."""
    port = free_ports(1)[0]
    with (
        TemporaryDirectory() as name,
        opened(Path(name), names + names // 5, f"http://127.0.0.1:{port}") as house,
        Children(Path(name) / "logs", house.environment) as children,
    ):
        children.start([function_service(port)])
        cold, *warm = [_trade(house, number, names) for number in range(rounds + 1)]
    first, whole, orders, requests = (
        statistics.median(getattr(t, field.name) for t in warm) for field in fields(Traded)
    )
    return [
        Row("execution", f"file drop to first order, {names} names", first, "s", 1, "lower",
            f"a process's first event {cold.first:.2f} s"),
        Row("execution", f"whole rebalance of {names} names", whole, "s", 5, "lower",
            f"{orders:g} orders; a process's first event, from cash, {cold.whole:.2f} s"),
        Row("execution", f"requests to the broker, rebalance of {names} names", requests,
            "requests", 100, "lower", f"{orders:g} orders; 200 a minute are allowed"),
    ]  # fmt: skip


def _trade(house: House, number: int, names: int) -> Traded:
    """Drop an allocation and wait until the function has answered.

    Raises:
        AstraError: it did not answer in time, or did not fill all of its orders.
    """
    market = house.sandbox.market
    market.clock.step_to(market.clock.now() + STEP)
    weights = _weights(house.tickers, number, names)
    before, began = len(house.asked), time.perf_counter()
    key = house.drop(weights)
    while not _is_answered(house, number) and time.perf_counter() - began < LIMIT_SECONDS:
        time.sleep(POLL_SECONDS)
    ended, asked = time.perf_counter(), house.asked[before:]
    sent = [at for at, method, path in asked if method == "POST" and path == "/v2/orders"]
    row, orders = house.store.journal.allocation(key), house.store.journal.orders(key)
    if row is None or row.status != "done" or not sent or any(o.filled_qty < o.qty for o in orders):
        raise AstraError(f"a rebalance must be traded to its end to be measured, found {row}")
    require_equal(len(sent) - len(orders), 0, "orders in the journal and at the broker")
    return Traded(sent[0] - began, ended - began, len(sent), len(asked))


def _weights(tickers: Sequence[str], number: int, names: int) -> dict[str, float]:
    """Of `names` of them: each time some other ones, and other weights of all the same ones."""
    first = (number % 2) * (len(tickers) - names)
    parts = {t: 1.0 + 0.5 * ((i + number) % 2) for i, t in enumerate(tickers)}
    chosen = tickers[first : first + names]
    whole = sum(parts[t] for t in chosen)
    return {t: INVESTED * parts[t] / whole for t in chosen}


def _is_answered(house: House, number: int) -> bool:
    deliveries = house.sandbox.vendors["storage"].extensions["state"]()["deliveries"]
    return len(deliveries) > number and bool(deliveries[number]["done"])

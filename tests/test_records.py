"""What a rebalance leaves behind: each plan line a fill or a reason, its cost, log and books."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import desk as trading
import pytest
from execution_desk import dropped, opened_desk
from limits import limits

from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Executor
from astra.outcomes import Outcome, outcomes
from astra.records import Side
from astra.shortfall import fees_by_order, of_line
from astra.store.dossiers import Dossier
from astra.tactics import Style
from sandbox.markets import simulated_bars

FIRST = {"AAPL": 0.45, "JPM": 0.4}
THEN = {"AAPL": 0.2, "BRK.B": 0.45, "JPM": 0.3}
LATER = trading.TEN + dt.timedelta(minutes=10)
ORDERS: dict[str, Any] = {"method": "POST", "path": "/v2/orders"}


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    """With the bars up to ten in its store."""
    wide = limits(max_order_weight=0.6, max_position_weight=0.6)
    desk = opened_desk(sandbox, tmp_path, limits=wide, fill_timeout=3.0, confirm_seconds=0.2)
    first, last = dt.date(2026, 1, 9), dt.date(2026, 1, 12)
    bars = simulated_bars(trading.TICKERS, seed=5, edge=0.04, first=first, last=last)
    known = bars[bars["ts"] + 300 <= trading.TEN.timestamp()]
    desk.store.prices.upsert(known, trading.TEN)
    return desk


def traded(desk: Desk, weights: dict[str, float], at: dt.datetime = trading.TEN) -> Dossier:
    """An allocation taken to its end."""
    row = Executor(desk).execute(dropped(weights, at))
    assert row.is_final
    return desk.store.dossier(row.id)


def ends(found: Dossier) -> dict[str, Outcome]:
    """The outcomes by symbol; none is open or without a reason, and no line is without one."""
    ended = outcomes(found.lines, found.orders, found.unfinished)
    assert {o.symbol for o in ended} == {line.symbol for line in found.lines}
    for o in ended:
        assert o.is_final and o.is_explained, o
    for line in found.lines:
        parts = sum(line.parts.values())
        assert parts == pytest.approx(line.weight_planned - line.weight_target, abs=1e-9)
    return {o.symbol: o for o in ended}


def test_two_rebalances_leave_every_line_filled_and_its_cost_known(
    sandbox: trading.Desk, desk: Desk
) -> None:
    first = traded(desk, FIRST)
    sandbox.step(LATER)
    second = traded(desk, THEN, LATER)
    desk.store.books.record_activities(first.allocation.account, sandbox.alpaca.activities())
    fees = fees_by_order(desk.store.books.activities(first.allocation.account))
    for found in (first, second):
        for o in ends(found).values():
            assert (o.reason, o.filled) == ("", o.ordered)
        for order in found.orders:
            (line,) = (ln for ln in found.lines if ln.symbol == order.symbol)
            cost = of_line(
                order.side, float(order.qty), float(order.filled_qty),
                float(fees.get(order.broker_id, 0)), decision_price=line.decision_price,
                price=order.reference_price, average_price=order.filled_average_price,
                last_price=None,
            )  # fmt: skip
            assert cost.total is not None
            assert (cost.fees or 0) > 0 if order.side is Side.SELL else cost.fees == 0
            assert abs(cost.bp(cost.total) or 0) < 200
    held = {p.symbol: p.qty for p in sandbox.alpaca.positions()}
    booked = {o.symbol: o.filled for o in ends(second).values() if o.side is Side.BUY}
    assert held["BRK.B"] == booked["BRK.B"]


def test_the_account_is_saved_after_each_rebalance(sandbox: trading.Desk, desk: Desk) -> None:
    first = traded(desk, FIRST)
    sandbox.step(LATER)
    second = traded(desk, THEN, LATER)
    saved = desk.store.books.read("account_summary").to_pylist()
    by_allocation = {row["allocation_id"]: row for row in saved if row["allocation_id"]}
    assert by_allocation.keys() == {first.allocation.id, second.allocation.id}
    now = by_allocation[second.allocation.id]
    account = sandbox.alpaca.account()
    assert (Decimal(now["cash"]), Decimal(now["equity"])) == (account.cash, account.equity)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"reject": True, "times": None}, "BROKER_REJECTED"),
        ({"status": 400, "times": None}, "BROKER_REFUSED"),
        ({"partial_fill": 0.4, "rest": "cancel", "times": None}, "BROKER_CANCELED"),
    ],
)
def test_what_the_broker_leaves_unfilled_has_its_reason(
    sandbox: trading.Desk, desk: Desk, fault: dict[str, Any], reason: str
) -> None:
    traded(desk, FIRST)
    sandbox.step(LATER)
    sandbox.fail(**ORDERS, **fault)
    found = traded(desk, THEN, LATER)
    for o in ends(found).values():
        assert o.filled < o.ordered and reason in o.reason


def test_what_the_gate_denies_has_its_code(sandbox: trading.Desk, desk: Desk) -> None:
    careful = replace(desk, limits=replace(desk.limits, max_gross=0.42))
    ended = ends(traded(careful, FIRST))
    assert ended["AAPL"].reason.startswith("RISK_GROSS_EXPOSURE") and ended["AAPL"].filled == 0
    assert ended["JPM"].reason == ""


def test_what_the_plan_leaves_alone_says_why(sandbox: trading.Desk, desk: Desk) -> None:
    traded(desk, FIRST)
    (held,) = (p for p in sandbox.alpaca.positions() if p.symbol == "AAPL")
    now = float(held.qty) * held.market_price / float(sandbox.alpaca.account().equity)
    weights = {"AAPL": now + 0.0003, "JPM": 0.1, "ZZZZ": 0.2, "BRK.B": 0.000005}
    holding = replace(desk, rules=replace(desk.rules, hold=frozenset({"JPM"})))
    ended = ends(traded(holding, weights, trading.TEN + dt.timedelta(seconds=1)))
    assert all(o.side is None for o in ended.values())
    assert "difference of" in ended["AAPL"].reason and "difference of" in ended["BRK.B"].reason
    assert ended["JPM"].reason.startswith("on hold")
    assert ended["ZZZZ"].reason.startswith("unknown to the broker")


def test_purchases_scaled_to_the_cash_say_so(sandbox: trading.Desk, desk: Desk) -> None:
    ended = ends(traded(desk, {"AAPL": 0.5, "JPM": 0.5}))
    assert all("to the cash" in o.reason and o.filled == o.ordered for o in ended.values())


def test_everything_done_is_in_one_unbroken_log(sandbox: trading.Desk, desk: Desk) -> None:
    found = traded(desk, FIRST)
    assert desk.store.audit.verify().broken is None
    told = {(e.kind, e.subject) for e in desk.store.audit.entries()}
    assert {("sending", o.id) for o in found.orders} <= told
    assert {("received", found.allocation.id), ("planned", found.allocation.id)} <= told


def test_what_an_expired_allocation_leaves_undone_has_its_reason(
    sandbox: trading.Desk, desk: Desk
) -> None:
    traded(desk, {"AAPL": 0.35, "JPM": 0.3})
    sandbox.step(LATER)
    sandbox.fail(**ORDERS, status=503, times=None)
    fewer = {"AAPL": 0.2, "BRK.B": 0.2, "JPM": 0.2}
    with pytest.raises(TemporaryError):
        traded(desk, fewer, LATER)
    sandbox.faults.disarm()
    sandbox.step(LATER + dt.timedelta(hours=1))
    found = traded(desk, fewer, LATER)
    assert found.allocation.status == "abandoned"
    sold = [o.reason for o in ends(found).values() if o.side is not None]
    assert len(sold) == 2 and all("CALLED_OFF" in reason for reason in sold)
    assert "expired before it was traded" in ends(found)["BRK.B"].reason


def test_limit_orders_end_as_a_fill_or_a_reason_too(sandbox: trading.Desk, desk: Desk) -> None:
    found = traded(replace(desk, style=Style("limit", 1.0, 10)), FIRST)
    assert all(order.limit_price for order in found.orders)
    ends(found)

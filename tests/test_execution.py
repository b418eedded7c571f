"""An allocation is traded once and to its end, however it is delivered or cut off."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import desk as trading
import pytest

from astra.allocation import build
from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.ledger import compare, replay
from astra.rebalance import Rules
from astra.records import OrderStatus, Side
from astra.risk import Limits
from astra.store import open_store

RULES = Rules(drift_band=0.001, min_order_usd=1.0)
LIMITS = Limits(max_order_weight=0.6)
HALVES = {"AAPL": 0.5, "JPM": 0.4}


@pytest.fixture
def sandbox() -> Iterator[trading.Desk]:
    with trading.opened() as opened:
        yield opened


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    store = open_store(f"sqlite:///{tmp_path / 'astra.db'}")
    return Desk(
        sandbox.alpaca,
        store,
        RULES,
        LIMITS,
        max_names=20,
        capital=0.0,
        fill_timeout=5.0,
        doubt_seconds=0.2,
    )


def dropped(
    weights: dict[str, float], as_of: dt.datetime = trading.TEN, generation: int = 1
) -> Delivered:
    name, content, metadata = build(
        as_of, "0a1b2c3d", weights, policy="measured", model_id="m", metadata={}
    )
    return Delivered("bucket", name, generation, content, metadata)


def shares(sandbox: trading.Desk) -> dict[str, Decimal]:
    return {p.symbol: p.qty for p in sandbox.alpaca.positions()}


def sent(sandbox: trading.Desk) -> list[str]:
    return [o.client_order_id for o in sandbox.alpaca.orders("all")]


def books_differ(sandbox: trading.Desk) -> bool:
    broker = sandbox.alpaca
    return not compare(replay(broker.activities()), broker.account(), broker.positions()).are_none


def test_an_allocation_is_traded_and_written_down(sandbox: trading.Desk, desk: Desk) -> None:
    row = Executor(desk).execute(dropped(HALVES))
    assert (row.status, row.reason) == ("done", "2 of 2 orders filled")
    value = {s: float(q) * sandbox.alpaca.latest_prices([s])[s] for s, q in shares(sandbox).items()}
    assert value["AAPL"] == pytest.approx(50_000, rel=0.02)
    assert value["JPM"] == pytest.approx(40_000, rel=0.02)
    summary = desk.store.books.read("account_summary").to_pylist()
    assert [s["allocation_id"] for s in summary] == [row.id]
    assert {o.id for o in desk.store.journal.orders(row.id)} == set(sent(sandbox))
    assert not books_differ(sandbox)


def test_delivered_twice_it_trades_once(sandbox: trading.Desk, desk: Desk) -> None:
    first = Executor(desk).execute(dropped(HALVES))
    again = Executor(desk).execute(dropped(HALVES))
    assert again == first
    assert len(sent(sandbox)) == 2


def test_delivered_to_many_workers_at_once_it_trades_once(
    sandbox: trading.Desk, desk: Desk
) -> None:
    ended: list[str] = []

    def deliver() -> None:
        try:
            ended.append(Executor(desk).execute(dropped(HALVES)).status)
        except TemporaryError:
            ended.append("again")

    workers = [threading.Thread(target=deliver) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert "done" in ended
    assert set(ended) <= {"done", "again"}
    assert len(sent(sandbox)) == 2


def test_the_next_allocation_sells_before_it_buys_and_the_one_after_holds(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk).execute(dropped({"AAPL": 0.5, "JPM": 0.48}))
    later = trading.TEN + dt.timedelta(minutes=10)
    sandbox.step(later)
    row = Executor(desk).execute(dropped({"BRK.B": 0.5, "JPM": 0.48}, later, generation=2))
    assert row.status == "done"
    sides = {o.symbol: o.side for o in desk.store.journal.orders(row.id)}
    assert sides["AAPL"] is Side.SELL
    assert sides["BRK.B"] is Side.BUY
    assert set(shares(sandbox)) == {"BRK.B", "JPM"}
    hold = Executor(desk).execute(dropped({"BRK.B": 0.5, "JPM": 0.48}, later, generation=3))
    assert (hold.status, hold.reason) == ("done", "nothing to trade")
    assert not books_differ(sandbox)


@pytest.mark.parametrize(
    ("delivered", "reason"),
    [
        (dropped(HALVES, trading.TEN - dt.timedelta(minutes=31)), "expired at"),
        (dropped(HALVES, trading.TEN + dt.timedelta(hours=1)), "dated in the future"),
        (replace(dropped(HALVES), content=b""), "don't match the sha256"),
        (replace(dropped(HALVES), content=b"", metadata={}), "found an empty file"),
        (replace(dropped(HALVES), name="target_today.csv"), "is required, found"),
    ],
)
def test_a_file_that_cannot_be_traded_is_refused_with_its_reason(
    sandbox: trading.Desk, desk: Desk, delivered: Delivered, reason: str
) -> None:
    row = Executor(desk).execute(delivered)
    assert row.status == "refused"
    assert reason in row.reason
    assert sent(sandbox) == []
    assert Executor(desk).execute(delivered) == row


def test_a_closed_market_refuses(desk: Desk, sandbox: trading.Desk) -> None:
    sandbox.step(trading.CLOSE + dt.timedelta(minutes=1))
    row = Executor(desk).execute(dropped(HALVES, trading.CLOSE))
    assert row.status == "refused"
    assert "market is closed until" in row.reason


def test_an_older_file_that_comes_late_is_superseded(sandbox: trading.Desk, desk: Desk) -> None:
    newer = dropped(HALVES, trading.TEN, generation=7)
    older = dropped({"BRK.B": 0.9}, trading.TEN - dt.timedelta(minutes=5), generation=8)
    assert Executor(desk).execute(newer).status == "done"
    row = Executor(desk).execute(older)
    assert (row.status, row.reason) == ("superseded", f"{newer.name} is newer")
    assert set(shares(sandbox)) == {"AAPL", "JPM"}


def test_a_newer_file_takes_over_one_that_is_half_done(sandbox: trading.Desk, desk: Desk) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=50)
    half = dropped({"BRK.B": 0.5})
    with pytest.raises(TemporaryError):
        Executor(desk).execute(half)
    sandbox.faults.disarm()
    row = Executor(desk).execute(dropped(HALVES, generation=2))
    assert row.status == "done"
    assert desk.store.journal.allocation(half.id).status == "superseded"  # type: ignore[union-attr]
    assert set(shares(sandbox)) == {"AAPL", "JPM"}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_broker_that_fails_in_the_middle_leads_to_the_same_positions(
    sandbox: trading.Desk, desk: Desk, tmp_path: Path, status: int, after: bool
) -> None:
    sandbox.fail("POST", "/v2/orders", status=status, after=after, times=1)
    for _ in range(5):
        try:
            row = Executor(desk).execute(dropped(HALVES))
            break
        except TemporaryError:
            continue
    assert (row.status, row.reason) == ("done", "2 of 2 orders filled")
    assert len(sent(sandbox)) == len(set(sent(sandbox))) == 2
    with trading.opened() as other:
        store = open_store(f"sqlite:///{tmp_path / 'calm.db'}")
        calm = replace(desk, broker=other.alpaca, store=store)
        Executor(calm).execute(dropped(HALVES))
        assert shares(other) == shares(sandbox)


def test_a_half_done_allocation_is_abandoned_after_it_expired(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=50)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(dropped(HALVES))
    sandbox.faults.disarm()
    sandbox.step(trading.TEN + dt.timedelta(minutes=31))
    row = Executor(desk).execute(dropped(HALVES))
    assert row.status == "abandoned"
    assert sent(sandbox) == []


def test_the_gate_denies_an_order_with_its_code_and_the_others_go_on(
    sandbox: trading.Desk, desk: Desk
) -> None:
    strict = replace(desk, limits=Limits(max_order_weight=0.45))
    row = Executor(strict).execute(dropped(HALVES))
    assert row.reason == "1 of 2 orders filled"
    denied = [o for o in desk.store.journal.orders(row.id) if o.status is OrderStatus.REJECTED]
    assert [o.symbol for o in denied] == ["AAPL"]
    assert denied[0].reason.startswith("RISK_ORDER_VALUE: AAPL")
    assert set(shares(sandbox)) == {"JPM"}


def test_positions_that_are_not_ours_are_left_alone(sandbox: trading.Desk, desk: Desk) -> None:
    sandbox.orders.submit("BRK.B", Side.BUY, Decimal(3), "by-hand")
    Executor(desk).execute(dropped({"AAPL": 0.5}))
    assert shares(sandbox)["BRK.B"] == 3


def test_capital_caps_what_is_managed(sandbox: trading.Desk, desk: Desk) -> None:
    Executor(replace(desk, capital=10_000.0)).execute(dropped(HALVES))
    spent = 100_000 - float(sandbox.alpaca.account().cash)
    assert spent == pytest.approx(9_000, rel=0.02)


def test_an_order_that_arrives_late_is_found_before_a_newer_file_plans(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", delay_s=1.0, times=1)
    hasty = trading.connect(sandbox.url, vendor_timeout=0.3)
    impatient = replace(desk, broker=hasty, doubt_seconds=0.0)
    with pytest.raises(TemporaryError):
        Executor(impatient).execute(dropped({"AAPL": 0.5}))
    patient = replace(desk, broker=hasty, doubt_seconds=3.0)
    row = Executor(patient).execute(dropped({"AAPL": 0.5}, generation=2))
    assert row.status == "done"
    value = float(shares(sandbox)["AAPL"]) * sandbox.alpaca.latest_prices(["AAPL"])["AAPL"]
    assert value == pytest.approx(50_000, rel=0.02)


def test_no_order_leaves_after_the_close_when_it_is_taken_up_again(
    sandbox: trading.Desk, desk: Desk
) -> None:
    as_of = trading.CLOSE - dt.timedelta(minutes=20)
    sandbox.step(as_of)
    sandbox.fail("POST", "/v2/orders", status=503, times=50)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(dropped(HALVES, as_of))
    sandbox.faults.disarm()
    sandbox.step(trading.CLOSE + dt.timedelta(minutes=5))
    row = Executor(desk).execute(dropped(HALVES, as_of))
    assert sent(sandbox) == []
    assert row.reason == "0 of 2 orders filled"
    reasons = {o.reason.split(":")[0] for o in desk.store.journal.orders(row.id)}
    assert reasons == {"RISK_MARKET_CLOSED"}


def test_a_new_file_that_will_be_refused_supersedes_nothing(
    sandbox: trading.Desk, desk: Desk
) -> None:
    future = dropped({"BRK.B": 0.5}, trading.TEN + dt.timedelta(hours=2), generation=9)
    Executor(desk)._receive(future)  # the worker died right after writing it down
    assert Executor(desk).execute(dropped(HALVES)).status == "done"


def test_a_half_done_allocation_is_not_taken_up_on_another_account(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=50)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(dropped(HALVES))
    sandbox.faults.disarm()
    sandbox.app.extensions["reset"]()
    row = Executor(desk).execute(dropped(HALVES))
    assert row.status == "abandoned"
    assert "account has become" in row.reason
    assert sent(sandbox) == []


def test_a_file_of_zeros_sells_all_that_is_ours(sandbox: trading.Desk, desk: Desk) -> None:
    Executor(desk).execute(dropped(HALVES))
    row = Executor(desk).execute(dropped({"AAPL": 0.0, "JPM": 0.0}, generation=2))
    assert row.status == "done"
    assert shares(sandbox) == {}
    assert not books_differ(sandbox)


def test_a_preview_sends_and_writes_nothing(sandbox: trading.Desk, desk: Desk) -> None:
    plan, _ = Executor(desk).preview(dropped(HALVES))
    assert [o.symbol for o in plan.buys] == ["AAPL", "JPM"]
    assert sent(sandbox) == []
    assert desk.store.journal.allocation(dropped(HALVES).id) is None

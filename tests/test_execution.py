"""An allocation is traded once and to its end, however it is delivered or cut off."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import desk as trading
import pytest
from execution_desk import HALVES, LIMITS, dropped, sent, shares
from limits import limits

from astra.errors import AstraError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.ledger import compare, replay
from astra.records import OrderStatus, Side, TradingState
from astra.store import open_store, schema
from astra.store.journal import Journal


def books_differ(sandbox: trading.Desk) -> bool:
    broker = sandbox.alpaca
    return not compare(replay(broker.activities()), broker.account(), broker.positions()).are_none


def pass_seconds(sandbox: trading.Desk, seconds: float) -> None:
    """As if so much wall time had passed for what lags behind its fills."""
    booked_at = sandbox.app.extensions["broker"].books.booked_at
    booked_at[:] = [at - seconds for at in booked_at]


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
    strict = replace(desk, limits=replace(LIMITS, max_gross=0.45))
    row = Executor(strict).execute(dropped(HALVES))
    assert row.reason == "1 of 2 orders filled"
    denied = [o for o in desk.store.journal.orders(row.id) if o.status is OrderStatus.REJECTED]
    assert [o.symbol for o in denied] == ["AAPL"]
    assert denied[0].reason.startswith("RISK_GROSS_EXPOSURE: AAPL")
    assert set(shares(sandbox)) == {"JPM"}


def test_a_target_over_the_gates_limits_is_bought_up_to_them(
    sandbox: trading.Desk, desk: Desk
) -> None:
    strict = replace(desk, limits=limits(max_position_weight=0.25, max_order_weight=0.25))
    row = Executor(strict).execute(dropped({"AAPL": 0.3, "JPM": 0.3, "BRK.B": 0.2}))
    assert row.reason == "3 of 3 orders filled"
    held = {p.symbol: float(p.qty) * p.market_price / 1e5 for p in sandbox.alpaca.positions()}
    assert held == pytest.approx({"AAPL": 0.249, "JPM": 0.249, "BRK.B": 0.2}, abs=1e-3)
    reasons = {line.symbol: line.reason for line in desk.store.journal.lines(row.id)}
    assert reasons["AAPL"] == "limited to 25% of equity"


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


def test_a_previews_lines_are_those_that_are_journaled(sandbox: trading.Desk, desk: Desk) -> None:
    for weights in (HALVES, {"BRK.B": 0.4, "JPM": 0.3, "ZZZZ": 0.1}, {"BRK.B": 0.4, "AAPL": 0.2}):
        sandbox.step(sandbox.market.clock.now() + dt.timedelta(minutes=5))
        dropped_now = dropped(weights, sandbox.market.clock.now())
        plan, _ = Executor(desk).preview(dropped_now)
        row = Executor(desk).execute(dropped_now)
        lines = sorted(desk.store.journal.lines(row.id), key=lambda line: line.symbol)
        assert len(plan.lines) == len(lines)
        for seen, done in zip(plan.lines, lines, strict=True):
            told, was_told = (re.sub(r"[\d.]+", "#", line.reason) for line in (seen, done))
            assert (seen.symbol, told) == (done.symbol, was_told)
            assert seen.weight_planned == pytest.approx(done.weight_planned, abs=0.002)


def test_what_is_half_done_is_resumed_without_the_file(sandbox: trading.Desk, desk: Desk) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=50)
    half = dropped(HALVES)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(half)
    assert [row.status for row in Executor(desk).resume()] == ["buying"]  # the fault is still there
    sandbox.faults.disarm()
    assert [row.status for row in Executor(desk).resume()] == ["done"]
    assert Executor(desk).resume() == []
    assert set(shares(sandbox)) == {"AAPL", "JPM"}
    assert len(sent(sandbox)) == 2


def test_of_two_unfinished_files_resume_trades_the_newer(sandbox: trading.Desk, desk: Desk) -> None:
    older = dropped({"BRK.B": 0.9}, trading.TEN - dt.timedelta(minutes=5))
    newer = dropped(HALVES, generation=2)
    for delivered in (newer, older):  # both workers died right after writing them down
        Executor(desk)._receive(delivered)
    assert [row.status for row in Executor(desk).resume()] == ["superseded", "done"]
    assert set(shares(sandbox)) == {"AAPL", "JPM"}


def test_a_newer_file_ends_the_older_one_between_its_two_phases(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk).execute(dropped(HALVES))
    sandbox.fail("POST", "/v2/orders", status=503, times=50)
    older = dropped({"BRK.B": 0.9}, generation=2)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(older)
    sandbox.faults.disarm()
    Executor(desk)._receive(dropped(HALVES, generation=3))
    assert Executor(desk).execute(older).status == "superseded"
    reasons = {o.reason for o in desk.store.journal.orders(older.id)}
    assert all(reason.startswith("CALLED_OFF: ") for reason in reasons)
    assert [row.status for row in Executor(desk).resume()] == ["done"]
    assert set(shares(sandbox)) == {"AAPL", "JPM"}


def test_a_worker_goes_on_from_what_the_last_one_left_not_from_what_it_saw_first(
    sandbox: trading.Desk, desk: Desk
) -> None:
    executor = Executor(desk)
    stale = executor._receive(dropped(HALVES))
    done = Executor(desk).execute(dropped(HALVES))
    assert stale.status == "received"
    assert executor._finish(stale) == done
    assert len(sent(sandbox)) == 2


def test_a_worker_that_slept_over_its_lease_sends_nothing(
    sandbox: trading.Desk, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = desk.store.journal
    begin_sending = type(journal).begin_sending

    def begin_and_sleep(self: Journal, order_id: str, fence: int, at: dt.datetime) -> TradingState:
        state = begin_sending(self, order_id, fence, at)
        for held in self._held.values():
            held.until = time.monotonic()
        return state

    monkeypatch.setattr(type(journal), "begin_sending", begin_and_sleep)
    with pytest.raises(TemporaryError, match="must last"):
        Executor(desk).execute(dropped(HALVES))
    assert sent(sandbox) == []
    monkeypatch.undo()
    assert Executor(desk).resume()[0].reason == "2 of 2 orders filled"


def test_an_account_without_its_number_is_not_taken_for_another(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk)._receive(dropped(HALVES))
    sandbox.fail("GET", "/v2/account", drop_fields=["account_number", "id"], times=None)
    with pytest.raises(AstraError):
        Executor(desk).execute(dropped(HALVES))
    sandbox.faults.disarm()
    assert Executor(desk).execute(dropped(HALVES)).status == "done"


def test_positions_that_lag_their_fills_are_waited_for(sandbox: trading.Desk, desk: Desk) -> None:
    sandbox.fail("POST", "/v2/orders", lag_s=600, times=None)
    Executor(desk).execute(dropped(HALVES))
    assert shares(sandbox) == {}
    pass_seconds(sandbox, 599)
    Executor(desk).execute(dropped(HALVES, generation=2))  # only what the price has moved since
    pass_seconds(sandbox, 600)
    assert float(shares(sandbox)["AAPL"]) == pytest.approx(991, rel=0.01)
    sandbox.faults.disarm()
    sandbox.fail("POST", "/v2/orders", lag_s=1.0, times=None)
    swap = Executor(desk).execute(dropped({"BRK.B": 0.5, "JPM": 0.4}, generation=3))
    assert swap.reason == "2 of 2 orders filled"
    pass_seconds(sandbox, 1)
    assert not books_differ(sandbox)


def test_every_name_of_both_phases_has_its_line(sandbox: trading.Desk, desk: Desk) -> None:
    Executor(desk).execute(dropped({"AAPL": 0.5, "JPM": 0.48}))
    row = Executor(desk).execute(dropped({"BRK.B": 0.4, "JPM": 0.3}, generation=2))
    lines = {line.symbol: line for line in desk.store.journal.lines(row.id)}
    assert set(lines) == {"AAPL", "BRK.B", "JPM"}
    assert lines["AAPL"].weight_before == pytest.approx(0.5, abs=0.01)  # before it was sold
    assert lines["BRK.B"].weight_planned == pytest.approx(0.4, abs=0.01)


def test_a_name_whose_purchase_was_never_planned_has_a_reason(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk).execute(dropped(HALVES))
    sandbox.fail("POST", "/v2/orders", status=503, times=50)
    half = dropped({"BRK.B": 0.5, "JPM": 0.4}, generation=2)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(half)
    sandbox.faults.disarm()
    sandbox.step(trading.TEN + dt.timedelta(minutes=31))
    assert Executor(desk).execute(half).status == "abandoned"
    line = next(li for li in desk.store.journal.lines(half.id) if li.symbol == "BRK.B")
    assert line.reason.startswith("CALLED_OFF: it expired")
    assert line.weight_planned == line.weight_before == 0
    assert sum(line.parts.values()) == pytest.approx(line.weight_planned - line.weight_target)


def test_only_files_dropped_by_hand_are_traded_where_the_settings_say_so(
    sandbox: trading.Desk, desk: Desk
) -> None:
    by_hand = replace(desk, rebalance_on="file")
    row = Executor(by_hand).execute(dropped(HALVES))
    assert row.status == "held"
    assert "only files dropped by hand" in row.reason
    assert Executor(by_hand).execute(dropped(HALVES)) == row
    manual = dropped({"BRK.B": 0.5}, generation=2, policy="manual")
    assert Executor(by_hand).execute(manual).status == "done"
    assert set(shares(sandbox)) == {"BRK.B"}


def test_a_decision_waits_until_the_holdings_have_drifted(
    sandbox: trading.Desk, desk: Desk
) -> None:
    lazy = replace(desk, rebalance_on="drift", drift_threshold=0.05)
    first = Executor(lazy).execute(dropped(HALVES))
    assert first.status == "done"  # there is nothing to drift from
    row = Executor(lazy).execute(dropped({"BRK.B": 0.55}, generation=2))
    assert row.status == "held"
    assert "under 5.00%" in row.reason
    jumpy = replace(lazy, drift_threshold=1e-6)
    assert Executor(jumpy).execute(dropped({"BRK.B": 0.55}, generation=3)).status == "done"
    assert set(shares(sandbox)) == {"BRK.B"}
    manual = dropped(HALVES, generation=4, policy="manual")
    assert Executor(lazy).execute(manual).status == "done"


def test_nothing_of_an_expired_allocation_stays_open_at_the_broker(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", partial_fill=0.5, times=None)
    half = dropped(HALVES)
    with pytest.raises(TemporaryError, match="not traded to the end"):
        Executor(desk).execute(half)
    assert [o.symbol for o in sandbox.alpaca.orders("open")] == ["AAPL", "JPM"]
    early = desk.store.journal.allocation(half.id)
    assert early is not None
    with desk.store._dialect.writing("books") as connection:
        connection.execute(
            schema.allocations.update().values(expires_at=int(early.received_at.timestamp()))
        )
    assert Executor(desk).execute(half).status == "abandoned"
    assert sandbox.alpaca.orders("open") == ()
    ended = desk.store.journal.orders(half.id)
    assert {o.status for o in ended} == {OrderStatus.CANCELED}
    assert all(o.filled_qty > 0 and "it expired before" in o.reason for o in ended)

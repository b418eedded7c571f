"""Our books and journal against the broker's: what is equal, what differs, what is corrected."""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import desk as trading
import pytest
from execution_desk import HALVES, dropped, opened_desk
from flask import Response, request

from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Executor
from astra.execution.holdings import own_shares
from astra.execution.planning import rules_of
from astra.execution.reconciling.reconcile import duplicates, reconcile
from astra.records import OrderStatus, Side, TradingState
from astra.store import schema
from astra.store.journal import ExecutionReport
from sandbox import market_events
from sandbox.books import Line
from sandbox.broker import Broker

D = Decimal
LATER = trading.TEN + dt.timedelta(minutes=10)


@pytest.fixture
def hidden() -> set[str]:
    """Ids of lines that the sandbox's record does not tell."""
    return set()


@pytest.fixture
def sandbox(hidden: set[str]) -> Iterator[trading.Desk]:
    def untold(answer: Response) -> Response:
        if request.path == "/v2/account/activities":
            answer.set_data(json.dumps([x for x in answer.get_json() if x["id"] not in hidden]))
        return answer

    with trading.opened() as opened:
        opened.app.after_request_funcs.setdefault(None, []).append(untold)
        yield opened


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    return opened_desk(sandbox, tmp_path, confirm_seconds=0.3)


@pytest.fixture
def held(desk: Desk) -> Desk:
    """After a rebalance, with books that are the broker's."""
    Executor(desk).execute(dropped(HALVES))
    assert reconcile(desk).status == "equal"
    return desk


def broker(sandbox: trading.Desk) -> Broker:
    """The sandbox's own broker, to do to the account what no request can."""
    found: Broker = sandbox.app.extensions["broker"]
    return found


def book(sandbox: trading.Desk, cash: str) -> str:
    """Take cash out of the account; the id of the line about it."""
    there = broker(sandbox)
    there.books.book(Line("CSW", there.market.clock.now(), D(cash)))
    return there.books.lines[-1].id


def lines(sandbox: trading.Desk, kind: str) -> set[str]:
    """Ids of the lines of a kind."""
    there = broker(sandbox)
    there.settle()
    return {line.id for line in there.books.lines if line.kind == kind}


def state(desk: Desk) -> TradingState:
    return desk.store.states.get(desk.broker.account().number).state


def lifted(desk: Desk) -> None:
    account, now = desk.broker.account().number, desk.broker.clock().now
    states = desk.store.states
    states.offer_lift(states.get(account), "code", time.time() + 60, "c", now)
    states.lift(account, "code", time.time(), {}, "test", now)


# --- equal


def test_books_equal_the_brokers_before_and_after_a_rebalance(desk: Desk) -> None:
    assert reconcile(desk).status == "equal"
    Executor(desk).execute(dropped(HALVES))
    again = reconcile(desk)
    assert again.found.message == "our books equal the broker's to the cent and the share"
    assert desk.store.reconciliations.latest(again.found.account) == again.found
    assert duplicates(desk, again.found.account) == 0


@pytest.mark.parametrize("fault", ["duplicate", "reorder"])
def test_lines_told_twice_or_in_any_order_make_the_same_book(
    desk: Desk, sandbox: trading.Desk, fault: str
) -> None:
    for i in range(5):
        sandbox.orders.submit("AAPL", Side.BUY, D(3), f"by-hand-{i}")
        sandbox.step(sandbox.market.clock.now() + dt.timedelta(minutes=5))
    sandbox.fail("GET", "/v2/account/activities", times=None, **{fault: True})
    assert reconcile(desk).status == "equal"
    assert reconcile(desk).new == 0


def test_a_record_of_many_pages_is_caught_up_after_an_outage(
    desk: Desk, sandbox: trading.Desk
) -> None:
    reconcile(desk)
    for i in range(130):
        sandbox.orders.submit("AAPL", Side.BUY, D(1), f"by-hand-{i}")
    sandbox.step(sandbox.market.clock.now() + dt.timedelta(days=3))
    found = reconcile(desk)
    assert (found.status, found.new) == ("equal", 130)


def test_a_sale_and_a_withdrawal_by_hand_are_in_the_record_and_no_difference(
    held: Desk, sandbox: trading.Desk
) -> None:
    sandbox.orders.submit("JPM", Side.SELL, D(5), "by-hand")
    book(sandbox, "-500")
    assert reconcile(held).status == "equal"


def test_positions_that_lag_the_fills_are_waited_for(desk: Desk, sandbox: trading.Desk) -> None:
    reconcile(desk)
    sandbox.fail("POST", "/v2/orders", lag_s=0.6)
    sandbox.orders.submit("AAPL", Side.BUY, D(100), "by-hand")
    began = time.monotonic()
    assert reconcile(desk, seconds=5.0).status == "equal"
    assert 0.4 < time.monotonic() - began < 3.0


def test_a_file_right_after_another_does_not_buy_what_the_positions_do_not_show_yet(
    desk: Desk, sandbox: trading.Desk
) -> None:
    patient = replace(desk, confirm_seconds=5.0)
    sandbox.fail("POST", "/v2/orders", times=None, lag_s=0.8)
    Executor(patient).execute(dropped(HALVES))
    sandbox.step(LATER)
    row = Executor(patient).execute(dropped(HALVES, LATER))
    assert row.status == "done"
    bought = sum(float(o.qty) * o.reference_price for o in desk.store.journal.orders(row.id))
    assert bought < 2_000, "what the prices moved, of 90,000 USD"


# --- the record is late or wrong


def test_a_fill_missing_in_the_record_is_recorded_alarmed_and_halts(
    held: Desk, sandbox: trading.Desk, hidden: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    known = lines(sandbox, "FILL")
    sandbox.orders.submit("AAPL", Side.BUY, D(9), "by-hand")
    hidden |= lines(sandbox, "FILL") - known
    found = reconcile(held, seconds=0.2)
    assert found.status == "differs"
    assert found.found.share_diffs == {"AAPL": D(-9)}
    cost = 2 * 9 * held.broker.latest_prices(["AAPL"])["AAPL"]
    assert found.found.value_diff == pytest.approx(cost, rel=0.02)
    assert "alarm=books-differ" in caplog.text
    assert (found.halted, state(held)) == (True, TradingState.HALTED)


def test_a_line_that_is_booked_days_late_makes_the_books_equal_again(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    hidden.add(book(sandbox, "-0.07"))
    sandbox.step(trading.TEN + dt.timedelta(days=2))
    sandbox.orders.submit("AAPL", Side.BUY, D(9), "by-hand")
    small = reconcile(held)
    assert (small.status, small.halted, small.found.cash_diff) == ("differs", False, D("0.07"))
    hidden.clear()
    assert reconcile(held).status == "equal"


def test_a_line_that_comes_while_it_is_waited_for_is_no_difference(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    sandbox.orders.submit("AAPL", Side.BUY, D(9), "by-hand")
    hidden |= lines(sandbox, "FILL")
    late = threading.Timer(0.3, hidden.clear)
    late.start()
    assert reconcile(held, seconds=5.0).status == "equal"
    late.join()


def test_a_difference_that_was_waited_out_is_not_waited_for_again(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    hidden.add(book(sandbox, "-0.07"))
    reconcile(held)
    sandbox.step(LATER)
    began = time.monotonic()
    assert reconcile(held, seconds=5.0).status == "differs"
    assert time.monotonic() - began < 3.0


# --- the account was changed from outside


def test_an_empty_list_of_positions_is_a_difference_and_no_sale(
    held: Desk, sandbox: trading.Desk
) -> None:
    own, kept = own_shares(held, held.broker.account().number), broker(sandbox).books.holdings
    broker(sandbox).books.holdings = {}
    found = reconcile(held)
    assert set(found.found.share_diffs) == {"AAPL", "JPM"}
    assert state(held) is TradingState.HALTED
    broker(sandbox).books.holdings = kept
    assert reconcile(held).status == "equal"
    assert own_shares(held, held.broker.account().number) == own


@pytest.mark.parametrize("path", ["/v2/positions", "/v2/account", "/v2/orders"])
def test_no_answer_is_no_difference(held: Desk, sandbox: trading.Desk, path: str) -> None:
    account = held.broker.account().number
    before = held.store.reconciliations.latest(account)
    sandbox.fail("GET", path, times=None, status=503)
    with pytest.raises(TemporaryError):
        reconcile(held)
    sandbox.faults.disarm()
    assert held.store.reconciliations.latest(account) == before
    assert state(held) is TradingState.ACTIVE


def test_an_answer_that_cannot_be_read_is_no_difference(held: Desk, sandbox: trading.Desk) -> None:
    sandbox.fail("GET", "/v2/positions", times=None, drop_fields=["qty"])
    with pytest.raises(TemporaryError, match="cannot be read"):
        reconcile(held)


def test_a_difference_at_which_a_person_lifted_the_halt_does_not_halt_again(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    hidden.add(book(sandbox, "-900"))
    assert reconcile(held).halted
    assert not reconcile(held).halted, "once is enough"
    lifted(held)
    sandbox.step(LATER)
    assert not reconcile(held).halted
    hidden.add(book(sandbox, "-900"))
    assert reconcile(held).halted, "it has grown"


def test_no_cent_more_than_was_accepted_halts_but_the_limit_more_does(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    hidden.add(book(sandbox, "-900"))
    assert reconcile(held).halted
    lifted(held)
    sandbox.step(LATER)
    hidden.add(book(sandbox, "-0.01"))
    assert not reconcile(held).halted
    hidden.clear()
    assert reconcile(held).status == "equal"


@pytest.mark.parametrize(("gone", "halts"), [("-900", False), ("-40000", True)])
def test_an_order_under_way_explains_no_more_than_it_can_have_moved(
    desk: Desk, sandbox: trading.Desk, hidden: set[str], gone: str, halts: bool
) -> None:
    Executor(desk).execute(dropped({"AAPL": 0.5}))
    reconcile(desk)
    sandbox.step(LATER)
    sandbox.fail("POST", "/v2/orders", times=None, partial_fill=0.5)
    with pytest.raises(TemporaryError):
        Executor(replace(desk, fill_timeout=0.1)).execute(dropped({"AAPL": 0.5, "JPM": 0.1}, LATER))
    hidden.add(book(sandbox, gone))
    found = reconcile(desk)
    assert (found.status, found.halted) == ("differs", halts)


def test_fills_of_ours_that_the_record_tells_late_halt_only_after_minutes(
    desk: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    Executor(desk).execute(dropped(HALVES))
    hidden |= lines(sandbox, "FILL")
    found = reconcile(desk)
    assert (found.status, found.halted) == ("differs", False)
    sandbox.step(trading.TEN + dt.timedelta(minutes=2))
    assert not reconcile(desk).halted
    hidden.add(book(sandbox, "-9000"))
    assert reconcile(desk).halted, "what no fill explains"
    lifted(desk)
    hidden.pop()
    sandbox.step(LATER)
    hidden |= lines(sandbox, "FILL") | lines(sandbox, "CSW")
    assert not reconcile(desk).halted, "a person has seen it"


def test_fills_of_ours_that_the_record_does_not_tell_for_minutes_halt(
    desk: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    Executor(desk).execute(dropped(HALVES))
    hidden |= lines(sandbox, "FILL")
    reconcile(desk)
    sandbox.step(LATER)
    assert reconcile(desk).halted


# --- an account is met


def test_what_an_account_holds_at_the_first_meeting_is_booked_once(
    desk: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    sandbox.orders.submit("JPM", Side.BUY, D(40), "by-hand")
    hidden |= lines(sandbox, "CSD") | lines(sandbox, "FILL")
    first = reconcile(desk)
    assert first.status == "explained"
    assert "met for the first time" in first.found.message
    booked = desk.store.books.activities(first.found.account)
    assert {line.type for line in booked} == {"OPENING"}
    assert reconcile(desk).status == "equal"
    assert own_shares(desk, first.found.account) == {}, "what was there is not ours"


def test_what_the_record_tells_later_of_the_time_before_is_not_counted_twice(
    desk: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    sandbox.orders.submit("JPM", Side.BUY, D(40), "by-hand")
    book(sandbox, "-0.07")
    deposit, known = lines(sandbox, "CSD"), lines(sandbox, "CSW")
    hidden |= deposit | lines(sandbox, "FILL") | known
    sandbox.step(LATER)
    assert reconcile(desk).status == "explained"
    for late in (lines(sandbox, "FILL"), known, deposit):
        hidden -= late
        assert reconcile(desk).status == "equal"


def test_a_line_of_the_day_before_whose_cash_comes_later_is_counted(
    desk: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    hidden |= lines(sandbox, "CSD")
    assert reconcile(desk).status == "explained"
    there = broker(sandbox)
    there.books.book(Line("FEE", trading.TEN - dt.timedelta(days=1), D("-0.07")))
    assert reconcile(desk).status == "explained"
    assert reconcile(desk).status == "equal"


def test_an_account_with_fills_of_ours_is_not_met_for_the_first_time(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    with held.store._dialect.writing("books") as connection:
        connection.execute(schema.reconciliations.delete())
    hidden.add(book(sandbox, "-40000"))
    found = reconcile(held)
    assert (found.status, found.halted) == ("differs", True)


def test_two_who_meet_an_account_at_once_open_it_once(
    desk: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    hidden |= lines(sandbox, "CSD")
    found: list[str] = []
    both = [threading.Thread(target=lambda: found.append(reconcile(desk).status)) for _ in "ab"]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert set(found) <= {"explained", "equal"}
    assert reconcile(desk).status == "equal"


def test_at_the_first_meeting_too_an_empty_list_of_positions_is_no_sale(
    desk: Desk, sandbox: trading.Desk
) -> None:
    sandbox.orders.submit("JPM", Side.BUY, D(40), "by-hand")
    kept, broker(sandbox).books.holdings = broker(sandbox).books.holdings, {}
    assert reconcile(desk).status == "differs"
    broker(sandbox).books.holdings = kept
    assert reconcile(desk).status == "equal"


def test_a_reset_account_opens_a_new_book(held: Desk, sandbox: trading.Desk) -> None:
    before = held.broker.account().number
    broker(sandbox).reset()
    found = reconcile(held)
    assert (found.status, found.found.share_diffs) == ("equal", {})
    assert found.found.account != before
    assert held.store.books.replayed(before).shares


# --- splits and names


def test_a_split_is_in_the_record_and_multiplies_our_part(
    held: Desk, sandbox: trading.Desk
) -> None:
    account = held.broker.account().number
    sandbox.orders.submit("JPM", Side.BUY, D(10), "by-hand")
    own = own_shares(held, account)["JPM"]
    market_events.take(sandbox.market, {"split": {"ticker": "JPM", "ratio": 4}})
    sandbox.step(trading.TEN + dt.timedelta(days=1))
    assert reconcile(held).status == "equal"
    assert own_shares(held, account)["JPM"] == pytest.approx(4 * own, abs=D("0.000001"))


def test_a_new_symbol_takes_our_part_with_it(held: Desk, sandbox: trading.Desk) -> None:
    account = held.broker.account().number
    own = own_shares(held, account)["JPM"]
    sandbox.orders.submit("JPM", Side.BUY, D(10), "by-hand")
    sandbox.step(LATER)
    market_events.take(sandbox.market, {"rename": {"ticker": "JPM", "to": "JPMC"}})
    assert reconcile(held).status == "equal"
    assert own_shares(held, account)["JPMC"] == own
    another_day = replace(held, broker=trading.connect(sandbox.url))  # assets are asked for again
    row = Executor(another_day).execute(dropped({"AAPL": 0.5}, LATER))
    assert row.status == "done"
    assert {p.symbol: p.qty for p in held.broker.positions()}["JPMC"] == D(10)
    assert reconcile(held).status == "equal"


def test_a_file_that_names_the_old_symbol_is_read_with_the_new_one(
    held: Desk, sandbox: trading.Desk
) -> None:
    sandbox.step(LATER)
    market_events.take(sandbox.market, {"rename": {"ticker": "JPM", "to": "JPMC"}})
    reconcile(held)
    row = Executor(held).execute(dropped({"AAPL": 0.5, "JPM": 0.2}, LATER))
    assert row.status == "done"
    worth = {p.symbol: float(p.qty) * p.market_price for p in held.broker.positions()}
    assert worth["JPMC"] == pytest.approx(20_000, rel=0.02)
    on_hold = replace(held, rules=replace(held.rules, hold=frozenset({"JPM"})))
    assert "JPMC" in rules_of(on_hold, row).hold


def test_a_new_symbol_that_the_record_does_not_tell_is_known_by_its_asset(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    account = held.broker.account().number
    own = own_shares(held, account)["JPM"]
    sandbox.step(LATER)
    market_events.take(sandbox.market, {"rename": {"ticker": "JPM", "to": "JPMC"}})
    hidden |= lines(sandbox, "NC")
    found = reconcile(held)
    assert (found.status, found.halted) == ("explained", False)
    assert own_shares(held, account)["JPMC"] == own
    assert reconcile(held).status == "equal"

    hidden.clear()  # then the record tells it too
    found = reconcile(held)
    assert found.status == "explained"
    assert own_shares(held, account).get("JPM", D(0)) == 0
    assert own_shares(held, account)["JPMC"] == own
    assert reconcile(held).status == "equal"


def test_a_split_that_the_record_tells_later_is_known_by_its_worth(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    account = held.broker.account().number
    own = own_shares(held, account)["JPM"]
    market_events.take(sandbox.market, {"split": {"ticker": "JPM", "ratio": 4}})
    sandbox.step(trading.TEN + dt.timedelta(days=1))
    hidden |= lines(sandbox, "SPLIT")
    found = reconcile(held)
    assert (found.status, found.halted) == ("explained", False)
    assert own_shares(held, account)["JPM"] == pytest.approx(4 * own, abs=D("0.000001"))
    hidden.clear()
    assert reconcile(held).status == "explained"
    assert reconcile(held).status == "equal"
    assert own_shares(held, account)["JPM"] == pytest.approx(4 * own, abs=D("0.000001"))


def test_a_split_that_is_told_later_is_taken_back_whatever_else_differs(
    held: Desk, sandbox: trading.Desk, hidden: set[str]
) -> None:
    account = held.broker.account().number
    own = own_shares(held, account)["JPM"]
    fee = book(sandbox, "-0.07")
    hidden.add(fee)
    market_events.take(sandbox.market, {"split": {"ticker": "JPM", "ratio": 4}})
    sandbox.step(trading.TEN + dt.timedelta(days=1))
    hidden |= lines(sandbox, "SPLIT")
    reconcile(held)
    hidden &= {fee}
    found = reconcile(held)
    assert (found.found.share_diffs, found.found.cash_diff) == ({}, D("0.07"))
    assert own_shares(held, account)["JPM"] == pytest.approx(4 * own, abs=D("0.000001"))


def test_what_a_person_buys_after_he_sold_ours_is_his(held: Desk, sandbox: trading.Desk) -> None:
    ours = own_shares(held, held.broker.account().number)["AAPL"]
    sandbox.orders.submit("AAPL", Side.SELL, ours, "by-hand-1")
    sandbox.step(trading.TEN + dt.timedelta(minutes=5))
    sandbox.orders.submit("AAPL", Side.BUY, D(30), "by-hand-2")
    sandbox.step(LATER)
    row = Executor(held).execute(dropped({"JPM": 0.4}, LATER))
    assert row.status == "done"
    assert {p.symbol: p.qty for p in held.broker.positions()}["AAPL"] == 30


# --- orders


def test_what_a_worker_ends_while_it_is_looked_at_is_not_corrected(
    desk: Desk, sandbox: trading.Desk
) -> None:
    reconcile(desk)
    sandbox.fail("POST", "/v2/orders", partial_fill=0.5, times=None)
    with pytest.raises(TemporaryError):
        Executor(replace(desk, fill_timeout=0.1)).execute(dropped({"AAPL": 0.5}))
    sandbox.faults.disarm()
    sandbox.step(LATER)  # the rest fills
    asked: list[str] = []

    def ended(answer: Response) -> Response:
        if (request.path, request.method) == ("/v2/orders", "GET") and not asked:
            asked.append(request.path)
            asked.extend(row.status for row in Executor(desk).resume())
        return answer

    sandbox.app.after_request_funcs[None].append(ended)
    assert reconcile(desk).found.order_diffs == {}
    assert asked == ["/v2/orders", "done"]
    assert not any(e.kind == "corrected" for e in desk.store.audit.entries())


def test_an_order_is_corrected_only_where_it_is_otherwise_and_nobody_works_on_it(
    held: Desk, sandbox: trading.Desk
) -> None:
    order = held.store.journal.orders_to_reconcile(held.broker.account().number, None)[0]
    told = ExecutionReport(
        order.id, order.status, LATER, order.broker_id, order.filled_qty, reason=""
    )
    assert held.store.journal.correct(told) is None
    assert not any(e.kind == "corrected" for e in held.store.audit.entries())


def test_an_order_that_filled_after_it_was_given_up_is_corrected(
    held: Desk, sandbox: trading.Desk
) -> None:
    account = held.broker.account().number
    order = next(
        o for o in held.store.journal.orders_to_reconcile(account, None) if o.symbol == "JPM"
    )
    lost = ExecutionReport(
        order.id, OrderStatus.CANCELED, trading.TEN, "", D(0), None, "it never arrived"
    )
    held.store.journal.correct(lost)
    found = reconcile(held)
    assert found.status == "explained"
    assert "filled at the broker" in found.found.order_diffs[order.id]
    again = next(o for o in held.store.journal.orders(order.allocation_id) if o.id == order.id)
    assert (again.status, again.filled_qty) == (order.status, order.filled_qty)
    assert reconcile(held).status == "equal"
    kinds = [e.kind for e in held.store.audit.entries(account) if e.subject == order.id]
    assert kinds[-1] == "corrected"


def test_an_order_that_arrives_after_it_was_given_up_is_cancelled(
    held: Desk, sandbox: trading.Desk
) -> None:
    sandbox.step(trading.CLOSE - dt.timedelta(seconds=1))  # nothing fills any more today
    allocation = held.store.journal.newest_done(held.broker.account().number)
    assert allocation is not None
    late = f"{allocation.id}-AAPL-buy-2"
    first = held.store.journal.orders(allocation.id)[0]
    fence = held.store.journal.allocation(allocation.id)
    assert fence is not None
    row = replace(
        first, id=late, attempt=2, status=OrderStatus.CANCELED, filled_qty=D(0), broker_id=""
    )
    held.store.journal.plan_orders(allocation.id, fence.fence, [row])
    sandbox.fail("POST", "/v2/orders", partial_fill=0.5)
    sandbox.orders.submit("AAPL", Side.BUY, D(2), late, D(1))
    found = reconcile(held)
    assert "came too late and was cancelled" in found.found.order_diffs[late]
    assert not held.broker.orders("open")
    reconcile(held)
    assert reconcile(held).status == "equal"


def test_an_order_of_ours_that_the_journal_does_not_know_is_alarmed(
    held: Desk, sandbox: trading.Desk, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.orders.submit("AAPL", Side.BUY, D(1), f"{'0' * 16}-AAPL-buy-1")
    found = reconcile(held)
    assert (found.status, found.halted) == ("differs", False)
    assert "not in our journal" in caplog.text
    assert duplicates(held, found.found.account) == 1


def test_what_was_filled_beyond_the_plan_is_a_duplicate(held: Desk, sandbox: trading.Desk) -> None:
    account = held.broker.account().number
    allocation = held.store.journal.newest_done(account)
    assert allocation is not None
    first = held.store.journal.orders(allocation.id)[0]
    again = replace(first, id=first.id[:-1] + "2", attempt=2)
    held.store.journal.plan_orders(allocation.id, allocation.fence, [again])
    sandbox.orders.submit(first.symbol, first.side, D(1), again.id)
    reconcile(held)
    assert duplicates(held, account) == 1


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

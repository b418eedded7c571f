"""The switch that stops an account, and the two steps that lift it, against a sandbox broker."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import desk as trading
import pytest
from execution_desk import dropped, opened_desk
from hypothesis import given
from hypothesis import strategies as st
from limits import limits

from astra.breakers import beyond, raised, tripped
from astra.errors import DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.execution.halting.halt import halt
from astra.execution.halting.lift import lift, offer_lift
from astra.execution.halting.trip import trip
from astra.records import OrderStatus, Side, TradingState
from astra.store import Store, open_store

THIRDS = {"AAPL": 0.3, "BRK.B": 0.3, "JPM": 0.3}
REDUCING, HALTED = TradingState.REDUCING, TradingState.HALTED


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    return opened_desk(sandbox, tmp_path, fill_timeout=2.0, doubt_seconds=1.0, confirm_seconds=0.5)


def rest(sandbox: trading.Desk, name: str, symbol: str = "AAPL", side: Side = Side.BUY) -> None:
    """An order that waits: to buy at 1 USD, or to sell at 9,999."""
    ticket = {"symbol": symbol, "side": side.value, "qty": "1", "type": "limit",
              "limit_price": "1" if side is Side.BUY else "9999", "time_in_force": "day",
              "client_order_id": name}  # fmt: skip
    sandbox.alpaca.trading.call("POST", "/orders", ticket)


def at_broker(sandbox: trading.Desk) -> dict[str, str]:
    return {o["client_order_id"]: o["status"] for o in sandbox.state()["orders"]}


def lines_end_with(desk: Desk, delivered: Delivered) -> dict[str, str]:
    return {o.symbol: o.reason.split(":")[0] for o in desk.store.journal.orders(delivered.id)}


@pytest.fixture
def trades(sandbox: trading.Desk, desk: Desk) -> Iterator[threading.Thread]:
    """A worker that sends three purchases, each half a second on its way and filled by half."""
    sandbox.fail("POST", "/v2/orders", delay_s=0.5, partial_fill=0.5, times=None)

    def deliver() -> None:
        for _ in range(5):
            try:
                Executor(desk).execute(dropped(THIRDS))
            except TemporaryError:
                continue
            return

    worker = threading.Thread(target=deliver)
    worker.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not any(
        order.status is OrderStatus.SENDING
        for order in desk.store.journal.orders(dropped(THIRDS).id)
    ):
        time.sleep(0.01)
    yield worker
    worker.join(20)
    assert not worker.is_alive()


def test_resting_orders_are_cancelled_within_a_second_and_the_broker_confirms_it(
    sandbox: trading.Desk, desk: Desk
) -> None:
    for name in ("by-hand", "another"):
        rest(sandbox, name)
    ended = halt(desk, HALTED, "a test", "test")
    assert ended.is_confirmed
    assert ended.seconds < 1.0
    assert set(ended.cancelled) == {"by-hand", "another"}
    assert at_broker(sandbox) == {"by-hand": "canceled", "another": "canceled"}
    assert desk.store.states.get(ended.account).state is HALTED
    assert "the broker confirms" in ended.message


def test_with_nothing_open_a_halt_is_confirmed_at_once(desk: Desk) -> None:
    ended = halt(desk, HALTED, "a test", "test")
    assert (ended.is_confirmed, ended.cancelled, ended.was) == (True, (), TradingState.ACTIVE)


def test_an_order_in_flight_is_waited_for_and_its_rest_cancelled_and_no_other_leaves(
    sandbox: trading.Desk, desk: Desk, trades: threading.Thread
) -> None:
    ended = halt(desk, HALTED, "a test", "test", seconds=5.0)
    assert ended.is_confirmed
    assert len(ended.cancelled) == 1, "the one that was under way when the switch was thrown"
    trades.join(20)
    assert list(at_broker(sandbox).values()) == ["canceled"]
    reasons = sorted(lines_end_with(desk, dropped(THIRDS)).values())
    assert reasons.count("RISK_HALTED") >= 2
    row = desk.store.journal.allocation(dropped(THIRDS).id)
    assert row is not None
    assert row.is_final


def test_an_order_that_arrives_after_its_worker_gave_up_is_waited_for_and_booked(
    sandbox: trading.Desk, desk: Desk
) -> None:
    hasty = replace(desk, broker=trading.connect(sandbox.url, vendor_timeout=0.3), doubt_seconds=3)
    sandbox.fail("POST", "/v2/orders", delay_s=1.5, times=1)
    delivered = dropped({"AAPL": 0.3})
    worker = threading.Thread(target=Executor(hasty).execute, args=(delivered,))
    worker.start()
    while not any(o.status is OrderStatus.SENDING for o in desk.store.journal.orders(delivered.id)):
        time.sleep(0.01)
    ended = halt(hasty, HALTED, "a test", "test")
    worker.join(20)
    assert ended.is_confirmed
    assert ended.seconds > 0.5, "it was not declared lost while it could arrive"
    (order,) = desk.store.journal.orders(delivered.id)
    assert at_broker(sandbox) == {order.id: "filled"}
    assert order.status is OrderStatus.FILLED
    assert order.filled_qty == order.qty


def test_an_order_that_never_arrives_is_given_up_after_the_time_a_request_may_take(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=None)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(dropped({"AAPL": 0.5}))
    hasty = halt(desk, HALTED, "a test", "test", seconds=0.2)
    assert not hasty.is_confirmed
    assert len(hasty.under_way) == 1
    assert "1 under way" in hasty.message
    patient = halt(desk, HALTED, "a test", "test")
    assert patient.is_confirmed
    assert patient.seconds >= desk.doubt_seconds


def test_reducing_cancels_our_purchases_only_and_lets_sales_leave(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk).execute(dropped({"AAPL": 0.5}))
    later = trading.TEN + dt.timedelta(minutes=10)
    sandbox.step(later)
    rest(sandbox, "by-hand", "BRK.B")
    ours = dropped({"JPM": 0.4}, later, generation=2)
    sandbox.fail("POST", "/v2/orders", partial_fill=0.5, times=None)
    with pytest.raises(TemporaryError):  # the sale fills by half and waits
        Executor(replace(desk, fill_timeout=0.1)).execute(ours)
    rest(sandbox, f"{ours.id}-BRK.B-buy-1", "BRK.B")
    ended = halt(desk, REDUCING, "a test", "test")
    assert ended.is_confirmed
    assert ended.cancelled == (f"{ours.id}-BRK.B-buy-1",)
    sandbox.faults.disarm()
    sandbox.step(later + dt.timedelta(minutes=10))
    assert Executor(desk).execute(ours).is_final
    ids = {o["client_order_id"]: o["status"] for o in sandbox.state()["orders"]}
    assert ids[f"{ours.id}-AAPL-sell-1"] == "filled"
    assert ids["by-hand"] == "accepted"
    assert not any("JPM-buy" in name for name in ids)
    assert lines_end_with(desk, ours)["JPM"] == "RISK_REDUCING"


def test_halting_twice_keeps_the_first_reason_and_voids_a_code(
    sandbox: trading.Desk, desk: Desk
) -> None:
    first = halt(desk, HALTED, "the first", "a")
    code = offer_lift(desk, "c").code
    rest(sandbox, "late")
    second = halt(desk, HALTED, "the second", "b")
    assert (second.was, second.reason, second.cancelled) == (HALTED, "the first", ("late",))
    with pytest.raises(DataError, match="it stays HALTED"):
        lift(desk, code, "test")
    assert desk.store.states.get(first.account).changed_by == "a"


def test_a_weaker_state_does_not_replace_a_stricter_one(desk: Desk) -> None:
    halt(desk, HALTED, "strict", "test")
    ended = halt(desk, REDUCING, "weak", "test")
    assert (ended.state, ended.reason) == (HALTED, "strict")
    with pytest.raises(DataError, match="takes `lift`"):
        halt(desk, TradingState.ACTIVE, "", "test")


def test_the_state_stands_though_the_broker_does_not_answer_and_the_next_look_confirms(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk).execute(dropped({"AAPL": 0.5}))
    rest(sandbox, "by-hand")
    sandbox.fail("*", "/v2", status=503, times=None)
    ended = halt(desk, HALTED, "a test", "test", seconds=0.3)
    assert (ended.state, ended.is_confirmed) == (HALTED, False)
    assert "has not confirmed it" in ended.message
    assert ended.problem
    assert desk.store.states.get(ended.account).state is HALTED
    sandbox.faults.disarm()
    assert at_broker(sandbox)["by-hand"] == "accepted"
    assert trip(desk) is None
    assert at_broker(sandbox)["by-hand"] == "canceled"


def test_a_broker_that_cannot_list_is_still_told_to_cancel_all(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk).execute(dropped({"AAPL": 0.5}))
    rest(sandbox, "by-hand")
    sandbox.fail("GET", "/v2/orders", status=500, times=None)
    ended = halt(desk, HALTED, "a test", "test", seconds=0.0)
    assert not ended.is_confirmed
    assert at_broker(sandbox)["by-hand"] == "canceled"


def test_an_account_nobody_has_met_cannot_be_halted_while_the_broker_is_silent(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("*", "/v2", status=503, times=None)
    with pytest.raises(TemporaryError, match="nothing was written"):
        halt(desk, HALTED, "a test", "test", seconds=0.0)


def test_a_reset_account_is_halted_under_its_new_number_too(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk).execute(dropped({"AAPL": 0.5}))
    sandbox.app.extensions["reset"]()
    ended = halt(desk, HALTED, "a test", "test")
    assert ended.account == sandbox.alpaca.account().number
    assert ended.is_confirmed
    assert desk.store.states.get(ended.account).state is HALTED


def test_a_halt_survives_a_restart_and_nothing_is_sent(
    sandbox: trading.Desk, desk: Desk, tmp_path: Path
) -> None:
    halt(desk, HALTED, "a test", "test")
    desk.store.close()
    again = replace(desk, store=open_store(f"sqlite:///{tmp_path / 'astra.db'}"))
    row = Executor(again).execute(dropped(THIRDS))
    assert row.is_final
    assert at_broker(sandbox) == {}
    assert set(lines_end_with(again, dropped(THIRDS)).values()) == {"RISK_HALTED"}


def test_lifting_takes_a_code_and_says_what_is_left(sandbox: trading.Desk, desk: Desk) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=None)
    half = dropped(THIRDS)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(half)
    sandbox.faults.disarm()
    halt(desk, HALTED, "a test", "test")
    offer = offer_lift(desk, "c")
    assert (offer.state, offer.reason, offer.unfinished) == (HALTED, "a test", (half.name,))
    assert desk.store.states.get(offer.account).state is HALTED
    lifted = lift(desk, f" {offer.code.lower()}\n", "test")
    assert (lifted.was, lifted.unfinished) == (HALTED, (half.name,))
    assert desk.store.states.get(offer.account).state is TradingState.ACTIVE
    assert at_broker(sandbox) == {}, "lifting sends nothing by itself"


@pytest.mark.parametrize("code", ["", "WRONG", "é", "0" * 500])
def test_a_wrong_code_lifts_nothing(desk: Desk, code: str) -> None:
    halt(desk, HALTED, "a test", "test")
    for _ in range(2):  # with no code offered, and with one
        with pytest.raises(DataError, match="it stays HALTED"):
            lift(desk, code, "test")
        offer_lift(desk, "c")


def test_a_used_or_old_code_lifts_nothing(desk: Desk) -> None:
    account = halt(desk, HALTED, "a test", "test").account
    code = offer_lift(desk, "c").code
    lift(desk, code, "test")
    halt(desk, HALTED, "again", "test")
    with pytest.raises(DataError, match="a used or an old one"):
        lift(desk, code, "test")
    old = offer_lift(desk, "c").code
    desk.store.states.offer_lift(desk.store.states.get(account), old, time.time() - 1, "c", NOON)
    with pytest.raises(DataError, match="a used or an old one"):
        lift(desk, old, "test")
    assert desk.store.states.get(account).state is HALTED


def test_an_account_that_trades_has_nothing_to_lift(desk: Desk) -> None:
    offer = offer_lift(desk, "c")
    assert (offer.state, offer.code) == (TradingState.ACTIVE, "")
    with pytest.raises(DataError, match="it stays ACTIVE"):
        lift(desk, offer.code, "test")


def test_every_throw_and_every_lift_is_a_line_of_the_audit_log(desk: Desk) -> None:
    halt(desk, REDUCING, "first", "a")
    halt(desk, HALTED, "second", "b")
    lift(desk, offer_lift(desk, "d").code, "c")
    entries = list(desk.store.audit.entries())
    found = [e.content for e in entries if e.kind == "state"]
    assert [(c["from"], c["to"], c["by"]) for c in found] == [
        ("ACTIVE", "REDUCING", "a"), ("REDUCING", "HALTED", "b"), ("HALTED", "ACTIVE", "c"),
    ]  # fmt: skip
    (offered,) = [e.content for e in entries if e.kind == "lift offered"]
    assert offered == {"state": "HALTED", "reason": "second", "by": "d"}, "and no code"


def churn(sandbox: trading.Desk, name: str, shares: int = 300) -> None:
    """Lose spread and fee: of 300 shares 0.65 bp of the account."""
    for side in (Side.BUY, Side.SELL):
        sandbox.orders.submit("AAPL", side, Decimal(shares), f"{name}-{side}")


def test_a_days_loss_trips_once_and_not_again_at_a_figure_that_a_person_has_accepted(
    sandbox: trading.Desk, desk: Desk
) -> None:
    careful = replace(desk, limits=replace(desk.limits, max_daily_loss=1e-4))
    account = sandbox.alpaca.account().number
    churn(sandbox, "one")
    assert trip(careful) is None
    churn(sandbox, "two")
    reason = trip(careful)
    assert reason == "0.01% lost in a day, over 0.01%"
    row = careful.store.states.get(account)
    assert (row.state, row.changed_by, row.reason) == (REDUCING, "breaker", reason)
    assert trip(careful) is None, "it stands already"

    lift(careful, offer_lift(careful, "c").code, "a person")
    assert trip(careful) is None
    churn(sandbox, "a little", shares=30)
    assert trip(careful) is None
    assert careful.store.states.get(account).state is TradingState.ACTIVE
    churn(sandbox, "more")
    assert trip(careful) is not None
    assert careful.store.states.get(account).state is REDUCING


def test_a_breaker_leaves_a_stricter_state_alone(sandbox: trading.Desk, desk: Desk) -> None:
    careful = replace(desk, limits=replace(desk.limits, max_daily_loss=1e-5))
    account = halt(careful, HALTED, "a person", "test").account
    churn(sandbox, "one")
    assert trip(careful) is None
    assert careful.store.states.get(account).reason == "a person"


def test_orders_that_the_broker_rejects_halt_the_account_by_themselves(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", reject=True, times=None)
    Executor(desk).execute(dropped(THIRDS))
    assert trip(desk) is None, "three orders say nothing yet"
    Executor(desk).execute(dropped(THIRDS, generation=2))
    assert trip(desk) == "100.00% of the day's orders rejected, over 50.00%"
    assert desk.store.states.get(sandbox.alpaca.account().number).state is HALTED


def test_a_breaker_does_not_take_a_silent_broker_for_an_account_without_loss(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("GET", "/v2/account", status=503, times=None)
    with pytest.raises(TemporaryError):
        trip(desk)


LIMITS = limits(max_daily_loss=0.05, max_drawdown=0.2, max_reject_rate=0.5)
NOON = dt.datetime(2026, 1, 12, 17, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("figures", "state"),
    [
        ({"daily_loss": 0.05, "drawdown": 0.2, "reject_rate": 0.5}, None),
        ({"daily_loss": None, "drawdown": None, "reject_rate": None}, None),
        ({"daily_loss": float("nan")}, None),
        ({"daily_loss": 0.0501}, REDUCING),
        ({"drawdown": 0.201}, REDUCING),
        ({"reject_rate": 0.51}, HALTED),
        ({"daily_loss": 0.3, "drawdown": 0.3, "reject_rate": 0.6}, HALTED),
    ],
)
def test_a_figure_beyond_its_limit_calls_for_the_strictest_state(
    figures: dict[str, float | None], state: TradingState | None
) -> None:
    found = tripped(figures, LIMITS)
    assert (found and found.state) == state


def test_a_days_figure_that_was_accepted_holds_for_that_day_in_new_york_only() -> None:
    accepted = {"daily_loss": 0.06, "drawdown": 0.25}
    same = raised(LIMITS, accepted, NOON, NOON + dt.timedelta(hours=10))  # 22:00 in New York
    assert same.max_daily_loss == pytest.approx(0.06 + 0.05 / 4)
    assert same.max_drawdown == pytest.approx(0.25 + 0.2 / 4)
    assert same.max_reject_rate == LIMITS.max_reject_rate
    next_day = raised(LIMITS, accepted, NOON, NOON + dt.timedelta(hours=13))
    assert next_day == replace(LIMITS, max_drawdown=same.max_drawdown)
    assert raised(LIMITS, accepted, None, NOON) == LIMITS


@given(
    st.dictionaries(
        st.sampled_from(["daily_loss", "drawdown", "reject_rate"]), st.floats(0, 1), min_size=1
    )
)
def test_whatever_is_accepted_does_not_trip_again_and_limits_never_shrink(
    figures: dict[str, float],
) -> None:
    after = raised(LIMITS, beyond(figures, LIMITS), NOON, NOON)
    assert tripped(figures, after) is None
    for name in ("max_daily_loss", "max_drawdown", "max_reject_rate"):
        assert getattr(after, name) >= getattr(LIMITS, name)


def test_on_every_database_only_one_of_two_who_give_the_code_at_once_lifts(store: Store) -> None:
    store.states.set("A1", HALTED, "a test", "test", NOON)
    store.states.offer_lift(store.states.get("A1"), "CODE", time.time() + 60, "c", NOON)

    def give(_: int) -> bool:
        row = store.states.lift("A1", "CODE", time.time(), {"drawdown": 0.3}, "test", NOON)
        return row is not None

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(give, range(4))) == 1
    row = store.states.get("A1")
    assert (row.state, row.accepted) == (TradingState.ACTIVE, {"drawdown": 0.3})
    assert store.states.last_account() == ("A1", NOON)
    assert store.states.get("A2").state is TradingState.ACTIVE

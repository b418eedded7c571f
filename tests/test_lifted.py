"""After a person has lifted a state: what stays accepted, and what may be lifted."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import desk as trading
import pytest
from execution_desk import opened_desk
from limits import limits

from astra.breakers import raised, still_accepted
from astra.errors import DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.halting.halt import halt
from astra.execution.halting.lift import lift, offer_lift
from astra.execution.halting.trip import trip
from astra.records import TradingState
from astra.store import Store

REDUCING, HALTED, ACTIVE = TradingState.REDUCING, TradingState.HALTED, TradingState.ACTIVE
LIMITS = limits(max_daily_loss=0.05, max_drawdown=0.2, max_reject_rate=0.5)
ACCEPTED = {"daily_loss": 0.06, "drawdown": 0.25}
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
MONDAY = dt.datetime(2026, 1, 12, 17, tzinfo=dt.UTC)  # noon in New York
EVENING = MONDAY + 10 * HOUR  # after the close


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    return opened_desk(sandbox, tmp_path, limits=LIMITS)


def state(desk: Desk) -> TradingState:
    return desk.store.states.get(desk.broker.account().number).state


def was_worth(desk: Desk, usd: int, at: dt.datetime) -> None:
    account = replace(desk.broker.account(), equity=Decimal(usd))
    desk.store.books.record_account_summary(account, (), at, None, {})


@pytest.mark.parametrize(
    ("lifted_at", "now", "is_accepted"),
    [
        (MONDAY, EVENING, True),
        (MONDAY, MONDAY + DAY, False),
        (EVENING, MONDAY + DAY, True),  # through the next session
        (EVENING, EVENING + DAY, True),
        (EVENING, MONDAY + 2 * DAY, False),
        (MONDAY - 2 * DAY, MONDAY, True),  # on Saturday
        (MONDAY - 2 * DAY, MONDAY + DAY, False),
    ],
)
def test_a_days_figure_is_accepted_through_the_session_or_the_next_one(
    lifted_at: dt.datetime, now: dt.datetime, is_accepted: bool
) -> None:
    found = still_accepted(ACCEPTED, lifted_at, now)
    assert ("daily_loss" in found) == is_accepted
    assert "drawdown" in found


def test_a_drawdown_is_accepted_until_it_has_grown_or_a_new_peak_is_reached() -> None:
    later = MONDAY + 40 * DAY
    before, after = MONDAY - DAY, MONDAY + DAY
    found = raised(LIMITS, ACCEPTED, MONDAY, later, before)
    assert found.max_drawdown == pytest.approx(0.25 + 0.2 / 4)
    assert raised(LIMITS, ACCEPTED, MONDAY, later, after) == LIMITS
    assert raised(LIMITS, {}, MONDAY, later, before) == LIMITS
    assert raised(LIMITS, ACCEPTED, None, later, before) == LIMITS


def test_a_drawdown_that_was_lifted_in_the_evening_does_not_trip_the_next_morning(
    sandbox: trading.Desk, desk: Desk
) -> None:
    was_worth(desk, 140_000, trading.TEN - 3 * DAY)
    assert trip(desk) == "28.57% lost from the peak, over 20.00%"
    sandbox.step(trading.TEN + 7 * HOUR)
    lift(desk, offer_lift(desk, "c").code, "a person")
    for morning in (1, 2, 3):
        sandbox.step(trading.TEN + morning * DAY)
        assert trip(desk) is None
        assert state(desk) is ACTIVE
    was_worth(desk, 180_000, trading.TEN - 5 * DAY)
    assert trip(desk) is not None, "it has grown by more than a quarter of its limit"


def test_what_was_accepted_stays_so_through_a_halt_for_another_cause(
    sandbox: trading.Desk, desk: Desk
) -> None:
    was_worth(desk, 140_000, trading.TEN - 3 * DAY)
    trip(desk)
    lift(desk, offer_lift(desk, "c").code, "a person")
    sandbox.step(trading.TEN + DAY)
    halt(desk, HALTED, "the books differ", "reconciliation")
    row = desk.store.states.get(desk.broker.account().number)
    assert row.accepted_at == trading.TEN, "not when the state changed since"
    lift(desk, offer_lift(desk, "c").code, "a person")
    assert trip(desk) is None
    assert state(desk) is ACTIVE


def test_a_halt_for_another_cause_does_not_prolong_what_was_accepted_for_a_day(
    desk: Desk,
) -> None:
    account = desk.broker.account().number
    states = desk.store.states
    states.set(account, REDUCING, "a loss", "breaker", MONDAY)
    assert states.offer_lift(states.get(account), "CODE", 4e9, "c", MONDAY)
    states.lift(account, "CODE", 0.0, ACCEPTED, "a person", MONDAY)
    states.set(account, REDUCING, "another", "test", MONDAY + DAY)
    row = states.get(account)
    assert (row.since, row.accepted_at) == (MONDAY + DAY, MONDAY)
    found = still_accepted(row.accepted, row.accepted_at, MONDAY + DAY)
    assert found == {"drawdown": 0.25}


def test_only_the_state_that_was_shown_can_be_lifted(store: Store) -> None:
    states = store.states
    states.set("A1", REDUCING, "a loss", "breaker", MONDAY)
    shown = states.get("A1")
    states.set("A1", HALTED, "the books differ", "reconciliation", MONDAY)
    assert not states.offer_lift(shown, "CODE", 4e9, "c", MONDAY)
    assert states.lift("A1", "CODE", 0.0, {}, "a person", MONDAY) is None
    assert states.offer_lift(states.get("A1"), "CODE", 4e9, "c", MONDAY)
    states.set("A1", HALTED, "again", "test", MONDAY)
    assert states.lift("A1", "CODE", 0.0, {}, "a person", MONDAY) is None, "the code is void"
    assert states.get("A1").state is HALTED


def test_a_state_that_changes_while_it_is_shown_is_not_offered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = halt(desk, REDUCING, "a loss", "breaker").account
    states, read = desk.store.states, desk.store.states.get

    def shown(number: str) -> object:
        row = read(number)
        states.set(account, HALTED, "the books differ", "reconciliation", MONDAY)
        return row

    monkeypatch.setattr(states, "get", shown)
    with pytest.raises(TemporaryError, match="ask for a new code"):
        offer_lift(desk, "c")
    monkeypatch.undo()
    with pytest.raises(DataError, match="it stays HALTED"):
        lift(desk, "", "a person")

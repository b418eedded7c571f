"""A worker plans on what was compared, gives way to what will be traded, and says what was."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import desk as trading
import pytest
from execution_desk import HALVES, dropped, opened_desk, sent, shares, status_of
from flask import Response, request

from astra.errors import TemporaryError
from astra.execution import planning
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.execution.halting.halt import halt
from astra.execution.parent_order import parents_of, told
from astra.execution.watch import LEASE_SECONDS
from astra.execution.worker import Worker
from astra.rebalance import Plan
from astra.records import OrderStatus, TradingState
from astra.store.journal import Journal
from astra.tactics import Style

MINUTE = dt.timedelta(minutes=1)
EARLIER = trading.TEN - MINUTE


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    return opened_desk(sandbox, tmp_path, confirm_seconds=0.3)


@contextmanager
def killed_at(step: str) -> Iterator[None]:
    """Workers die where they would take this step."""

    def die(*_: Any) -> None:
        raise TemporaryError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, step, die)
        yield


def begun(desk: Desk, delivered: Delivered, step: str = "_plan_buys") -> None:
    """Trade it until a worker dies at the step."""
    with killed_at(step), pytest.raises(TemporaryError, match="killed"):
        Executor(desk).execute(delivered)


def test_a_plan_is_made_on_the_answers_that_were_compared_and_no_others(
    sandbox: trading.Desk, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    Executor(desk).execute(dropped({"AAPL": 0.5}))
    asked: list[str] = []
    during = [False]

    def note(answer: Response) -> Response:
        if during[0]:
            asked.append(request.path)
        return answer

    sandbox.app.after_request_funcs.setdefault(None, []).append(note)
    plan = planning.plan_of

    def observed(*what: Any, **more: Any) -> Plan:
        during[0] = True
        try:
            return plan(*what, **more)
        finally:
            during[0] = False

    monkeypatch.setattr("astra.execution.worker.plan_of", observed)
    sandbox.step(trading.TEN + 10 * MINUTE)
    row = Executor(desk).execute(dropped({"JPM": 0.4}, trading.TEN + 10 * MINUTE, generation=2))
    assert row.reason == "2 of 2 orders filled"
    assert asked
    assert not {"/v2/account", "/v2/positions"} & set(asked)


def test_an_answer_that_contradicts_the_books_is_planned_on_when_it_stays(
    sandbox: trading.Desk, desk: Desk
) -> None:
    Executor(desk).execute(dropped(HALVES))
    hidden: list[bool] = []

    def untold(answer: Response) -> Response:
        if request.path == "/v2/account/activities" and hidden:
            answer.set_data("[]")
        return answer

    sandbox.app.after_request_funcs.setdefault(None, []).append(untold)
    sandbox.step(trading.TEN + 10 * MINUTE)
    swap = dropped({"BRK.B": 0.5, "JPM": 0.4}, trading.TEN + 10 * MINUTE, generation=2)
    begun(desk, swap)
    hidden.append(True)  # the record does not know the sale yet
    with pytest.raises(TemporaryError, match="heard once"):
        Executor(desk).execute(swap)
    assert "BRK.B" not in shares(sandbox)
    assert Executor(desk).execute(swap).reason == "2 of 2 orders filled"
    assert set(shares(sandbox)) == {"BRK.B", "JPM"}


def test_resume_leaves_what_is_another_accounts_to_it_until_it_expires(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", partial_fill=0.5, times=None)
    half = dropped({"AAPL": 0.5})
    with pytest.raises(TemporaryError):
        Executor(desk).execute(half)
    with trading.opened() as other:
        theirs = replace(desk, broker=other.alpaca)
        assert [row.status for row in Executor(theirs).resume()] == ["buying"]
        assert [o.symbol for o in sandbox.alpaca.orders("open")] == ["AAPL"]
        other.step(trading.TEN + 31 * MINUTE)
        assert [row.status for row in Executor(theirs).resume()] == ["abandoned"]


def test_a_decision_that_will_be_held_stands_in_no_files_way(
    sandbox: trading.Desk, desk: Desk
) -> None:
    by_hand = replace(desk, rebalance_on="file")
    Executor(by_hand).execute(dropped(HALVES, EARLIER, policy="manual"))
    begun(by_hand, dropped({"BRK.B": 0.9}, generation=2, policy="manual"))
    Executor(by_hand)._receive(dropped(HALVES, generation=3))
    assert [row.status for row in Executor(by_hand).resume()] == ["done", "held"]
    assert set(shares(sandbox)) == {"BRK.B"}


def test_a_decision_that_is_held_for_little_drift_stands_in_no_files_way(
    sandbox: trading.Desk, desk: Desk
) -> None:
    lazy = replace(desk, rebalance_on="drift")
    Executor(lazy).execute(dropped(HALVES, EARLIER))
    for delivered in (
        dropped({"BRK.B": 0.5}, generation=2, policy="manual"),
        dropped(HALVES, generation=3),
    ):
        Executor(lazy)._receive(delivered)
    assert [row.status for row in Executor(lazy).resume()] == ["done", "held"]
    assert set(shares(sandbox)) == {"BRK.B"}


def test_what_a_decision_has_superseded_half_done_it_brings_to_its_own_end(
    sandbox: trading.Desk, desk: Desk
) -> None:
    lazy = replace(desk, rebalance_on="drift", drift_threshold=0.5)
    Executor(lazy).execute(dropped(HALVES, EARLIER))
    half = dropped({"AAPL": 0.5, "BRK.B": 0.4}, generation=2, policy="manual")
    begun(lazy, half)
    assert set(shares(sandbox)) == {"AAPL"}
    assert Executor(lazy).execute(dropped(HALVES, generation=3)).status == "done"
    assert status_of(lazy.store, half)[0] == "superseded"
    assert set(shares(sandbox)) == {"AAPL", "JPM"}


def test_an_older_file_gives_way_to_a_newer_one_that_comes_while_it_begins(
    sandbox: trading.Desk, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = dropped({"BRK.B": 0.5}), dropped(HALVES, generation=2)
    plan = Worker._plan

    def as_it_comes(self: Worker, *more: Any) -> Plan:
        Executor(desk)._receive(newer)
        return plan(self, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_plan", as_it_comes)
        assert Executor(desk).execute(older).status == "superseded"
    assert Executor(desk).execute(newer).status == "done"
    assert set(shares(sandbox)) == {"AAPL", "JPM"}


def test_a_lease_of_a_clock_that_is_wrong_is_not_believed(
    sandbox: trading.Desk, desk: Desk, tmp_path: Path
) -> None:
    Executor(desk)._receive(dropped(HALVES))
    dialect = desk.store.journal._dialect
    a_day_ahead = Journal(dialect, wall=lambda: time.time() + 86_400)
    assert a_day_ahead.take_lease(dropped(HALVES).id, LEASE_SECONDS)
    assert Executor(desk).execute(dropped(HALVES)).status == "done"
    Executor(desk)._receive(dropped(HALVES, generation=2))
    a_little = Journal(dialect, wall=lambda: time.time() + LEASE_SECONDS / 2)
    assert a_little.take_lease(dropped(HALVES, generation=2).id, LEASE_SECONDS)
    with pytest.raises(TemporaryError, match="another worker"):
        Executor(desk).execute(dropped(HALVES, generation=2))


def test_a_lease_is_renewed_while_the_plan_is_made(
    sandbox: trading.Desk, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.execution.watch.LEASE_SECONDS", 1.5)
    renewed: list[float] = []
    renew = Journal.renew

    def noted(self: Journal, *more: Any) -> None:
        renewed.append(time.monotonic())
        renew(self, *more)

    monkeypatch.setattr(Journal, "renew", noted)
    sandbox.fail("GET", "/v2/positions", delay_s=0.7, times=3)
    Executor(desk)._receive(dropped(HALVES))
    started = time.monotonic()
    assert Executor(desk).resume()[0].status == "done"
    assert [at for at in renewed if at - started < 2.0]
    assert len(sent(sandbox)) == 2


def test_a_line_of_slices_is_filled_when_all_of_it_is(sandbox: trading.Desk, desk: Desk) -> None:
    slow = replace(desk, style=Style("twap", 20.0, 4))
    half = dropped({"AAPL": 0.5})
    with pytest.raises(TemporaryError, match="next slice"):
        Executor(slow).execute(half)
    halt(slow, TradingState.HALTED, "stop", "person")
    sandbox.step(trading.TEN + 2 * MINUTE)
    with pytest.raises(TemporaryError, match="next slice"):
        Executor(slow).execute(half)
    account, now = sandbox.alpaca.account().number, trading.TEN + 2 * MINUTE
    states = slow.store.states
    assert states.offer_lift(states.get(account), "code", time.time() + 60, "c", now)
    states.lift(account, "code", time.time(), {}, "person", now)
    sandbox.step(trading.TEN + 8 * MINUTE)
    row = Executor(slow).execute(half)
    assert (row.status, row.reason) == ("done", "0 of 1 orders filled, AAPL to 50 %")


def test_what_was_traded_to_its_end_is_done_whatever_the_time(
    sandbox: trading.Desk, desk: Desk
) -> None:
    begun(desk, dropped(HALVES), "_done")
    sandbox.step(trading.TEN + 31 * MINUTE)
    assert [row.reason for row in Executor(desk).resume()] == ["2 of 2 orders filled"]
    assert status_of(desk.store, dropped(HALVES))[0] == "done"


def test_what_was_traded_is_told_by_name(sandbox: trading.Desk, desk: Desk) -> None:
    row = Executor(desk).execute(dropped(HALVES))
    aapl, jpm = parents_of(desk.store.journal.orders(row.id))
    part = replace(jpm.last, status=OrderStatus.CANCELED, filled_qty=jpm.last.qty * 99999 / 100_000)
    assert told([]) == "nothing to trade"
    assert told([aapl, *parents_of([part])]) == "1 of 2 orders filled, JPM to 99 %"
    rest = replace(jpm.last, attempt=2, qty=jpm.last.qty - part.filled_qty)
    assert told(parents_of([part, replace(rest, filled_qty=rest.qty)])) == "1 of 1 orders filled"

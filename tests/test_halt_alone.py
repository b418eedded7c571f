"""The switch without its database, and what it leaves alone once the broker has confirmed it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import desk as trading
import pytest
import sqlalchemy
from typer.testing import CliRunner

from astra.cli.commands import app
from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.halting.halt import halt
from astra.execution.halting.trip import trip
from astra.records import Side, TradingState
from astra.store import connect

REDUCING, HALTED = TradingState.REDUCING, TradingState.HALTED
OURS = "0123456789abcdef-AAPL-buy-1"
NOWHERE = "postgresql+psycopg://user:secret@127.0.0.1:1/astra"


def rest(sandbox: trading.Desk, name: str, side: Side = Side.BUY) -> None:
    """An order that waits: to buy at 1 USD, or to sell at 9,999."""
    ticket = {"symbol": "AAPL", "side": side.value, "qty": "1", "type": "limit",
              "limit_price": "1" if side is Side.BUY else "9999", "time_in_force": "day",
              "client_order_id": name}  # fmt: skip
    sandbox.alpaca.trading.call("POST", "/orders", ticket)


def still_open(sandbox: trading.Desk) -> set[str]:
    return {order.client_order_id for order in sandbox.alpaca.orders("open")}


def lose_table(where: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{where / 'astra.db'}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("ALTER TABLE trading_states RENAME TO gone"))
    engine.dispose()


def test_once_confirmed_a_persons_own_orders_are_left_alone_and_ours_are_not(
    sandbox: trading.Desk, desk: Desk
) -> None:
    rest(sandbox, "before")
    ended = halt(desk, HALTED, "a test", "test")
    assert ended.cancelled == ("before",)
    rest(sandbox, "my-own-stop")
    rest(sandbox, OURS)
    for _ in range(2):
        assert trip(desk) is None
        assert still_open(sandbox) == {"my-own-stop"}
    sandbox.fail("GET", "/v2/orders", status=500, times=None)
    trip(desk)
    sandbox.faults.disarm()
    assert still_open(sandbox) == {"my-own-stop"}, "nor blindly"
    assert halt(desk, HALTED, "again", "a person").cancelled == ("my-own-stop",)


def test_until_it_is_confirmed_everything_is_cancelled_again(
    sandbox: trading.Desk, desk: Desk
) -> None:
    desk.store.states.set(desk.broker.account().number, HALTED, "a test", "test", trading.TEN)
    rest(sandbox, "before")
    sandbox.fail("*", "/v2/orders", status=503, times=None)
    assert not halt(desk, HALTED, "a test", "test", seconds=0.0).is_confirmed
    sandbox.faults.disarm()
    assert still_open(sandbox) == {"before"}
    trip(desk)  # asks to cancel
    trip(desk)  # confirms
    assert still_open(sandbox) == set()
    rest(sandbox, "after")
    trip(desk)
    assert still_open(sandbox) == {"after"}


def test_a_stricter_state_has_to_be_confirmed_anew(sandbox: trading.Desk, desk: Desk) -> None:
    account = halt(desk, REDUCING, "a test", "test").account
    assert desk.store.states.is_confirmed(account)
    desk.store.states.set(account, HALTED, "a test", "test", trading.TEN)
    assert not desk.store.states.is_confirmed(account)
    rest(sandbox, "before")
    trip(desk)
    assert still_open(sandbox) == set()


def test_orders_go_though_the_state_cannot_be_written_and_that_is_said(
    sandbox: trading.Desk, desk: Desk, tmp_path: Path
) -> None:
    rest(sandbox, "resting")
    account = halt(desk, REDUCING, "a test", "test").account
    lose_table(tmp_path)
    ended = halt(desk, HALTED, "a test", "test")
    assert still_open(sandbox) == set()
    assert (ended.account, ended.state, ended.cancelled) == (account, HALTED, ("resting",))
    assert (ended.is_written, ended.is_confirmed) == (False, False)
    assert "1 orders were cancelled at the broker" in ended.message
    assert "HALTED is NOT written down (the database " in ended.message
    assert "halt again" in ended.message


def test_without_a_database_nothing_opened_later_and_only_our_purchases_when_reducing(
    sandbox: trading.Desk, desk: Desk
) -> None:
    away = replace(desk, store=connect(NOWHERE))
    for name, side in (("by-hand", Side.BUY), (OURS, Side.BUY)):
        rest(sandbox, name, side)
    reduced = halt(away, REDUCING, "a test", "test")
    assert (reduced.is_written, reduced.cancelled) == (False, (OURS,))
    assert still_open(sandbox) == {"by-hand"}
    halted = halt(away, HALTED, "a test", "test")
    assert (halted.is_written, halted.cancelled) == (False, ("by-hand",))


def test_a_broker_that_cannot_list_is_told_to_cancel_all_without_a_database_too(
    sandbox: trading.Desk, desk: Desk
) -> None:
    rest(sandbox, "by-hand")
    sandbox.fail("GET", "/v2/orders", status=500, times=None)
    ended = halt(replace(desk, store=connect(NOWHERE)), HALTED, "a test", "test")
    sandbox.faults.disarm()
    assert "does not tell what is open" in ended.message
    assert still_open(sandbox) == set()


def test_with_neither_database_nor_broker_nothing_is_claimed(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("*", "/v2", status=503, times=None)
    with pytest.raises(TemporaryError, match="nothing was written and nothing cancelled"):
        halt(replace(desk, store=connect(NOWHERE)), HALTED, "a test", "test", seconds=0.0)


def test_the_command_halts_at_the_broker_while_the_database_is_away(
    sandbox: trading.Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "DATABASE_URL": NOWHERE, "ALPACA_URL": sandbox.url, "ALPACA_DATA_URL": sandbox.url,
        "ALPACA_KEY": "key", "ALPACA_SECRET": "secret", "VENDOR_TIMEOUT": "0.5",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"ASTRA_{name}", value)
    monkeypatch.chdir(tmp_path)
    rest(sandbox, "resting")
    done = CliRunner().invoke(app, ["halt"])
    assert done.exit_code == 4
    assert "1 orders were cancelled at the broker" in done.stdout
    assert "NOT written down" in done.stdout
    assert "secret" not in done.stdout
    assert still_open(sandbox) == set()

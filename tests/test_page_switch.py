"""The switch on the page System, at a real monitor and a real broker."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import desk as trading
import pytest
import requests
from flask import Flask
from shown_page import Runner, said, top

from astra.records import Account, TradingState
from astra.settings import Settings
from astra.store import Store, open_store
from monitor_service.main import create_app
from sandbox.serving import Servers

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

TOKEN = "a token of this test"


@dataclass(frozen=True)
class House:
    """A store, its monitor's address, its broker."""

    store: Store
    url: str
    monitor: str
    broker: trading.Desk

    @property
    def state(self) -> TradingState:
        return self.store.states.get(self.broker.alpaca.account().number).state


@pytest.fixture
def house(sandbox: trading.Desk, tmp_path: Path) -> Iterator[House]:
    url = f"sqlite:///{tmp_path}/astra.db"
    settings = Settings(
        _env_file=None, database_url=url, alpaca_key="key", alpaca_secret="secret",
        alpaca_url=sandbox.url, alpaca_data_url=sandbox.url, storage_url="http://127.0.0.1:9",
        vendor_timeout=0.5, token=TOKEN,
    )  # fmt: skip
    store = open_store(url)
    with Servers({"monitor": create_app(settings)}) as urls:
        asked = {"Authorization": f"Bearer {TOKEN}"}
        requests.post(f"{urls['monitor']}/update_account", headers=asked, timeout=30)
        yield House(store, url, urls["monitor"], sandbox)
    store.close()


@pytest.fixture
def switch(page: Runner, house: House, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page System of a person who has logged in."""
    for name, value in {
        "PAGE_PASSWORD": "open", "MONITOR_URL": house.monitor, "TOKEN": TOKEN,
        "VENDOR_TIMEOUT": "0.5",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"ASTRA_{name}", value)
    app = page(house.url, "System")
    app.session_state["access_password"] = "open"
    return app.run()


def test_trading_is_stopped_by_a_click_and_a_confirmation(switch: AppTest, house: House) -> None:
    assert "Trading is on" in top(switch)
    switch.button(key="switch_stop").click().run()
    assert house.state is TradingState.ACTIVE
    switch.text_input(key="switch_reason").input("a test")
    switch.button(key="switch_stop_now").click().run()
    row = house.store.states.get(house.broker.alpaca.account().number)
    assert (row.state, row.reason, row.changed_by) == (TradingState.HALTED, "a test", "monitor")
    text = said(switch) + "".join(s.value for s in switch.success)
    assert "is HALTED: the broker confirms that nothing it forbids is open" in text.replace(
        "\\", ""
    )
    assert "Trading is stopped" in top(switch) and "a test" in top(switch)
    assert not switch.error


def test_a_stop_can_be_left_and_can_be_of_purchases_only(switch: AppTest, house: House) -> None:
    switch.button(key="switch_stop").click().run()
    switch.button(key="switch_leave").click().run()
    assert house.state is TradingState.ACTIVE
    stop(switch, "Purchases only: go on selling")
    assert house.state is TradingState.REDUCING
    assert "Only sales: purchases are stopped" in top(switch)


def stop(app: AppTest, what: str = "Everything: cancel open orders, send nothing") -> None:
    app.button(key="switch_stop").click().run()
    app.radio(key="switch_what").set_value(what)
    app.button(key="switch_stop_now").click().run()


def test_lifting_takes_the_code_that_the_first_step_shows(switch: AppTest, house: House) -> None:
    stop(switch)
    switch.button(key="switch_lift").click().run()
    code = offered(switch)
    switch.text_input(key="switch_code").input("WRONG")
    switch.button(key="switch_lift_now").click().run()
    assert house.state is TradingState.HALTED
    assert "This is not the code above: nothing was changed" in said(switch)
    assert offered(switch) == code
    switch.text_input(key="switch_code").input(f" {code.lower()} ")
    switch.button(key="switch_lift_now").click().run()
    assert house.state is TradingState.ACTIVE
    assert "Trading is on" in top(switch)
    kinds = [entry.kind for entry in house.store.audit.entries()]
    assert kinds.count("lift offered") == 1


def offered(app: AppTest) -> str:
    """The code that the page shows."""
    (code,) = re.findall("type `([A-Z0-9]{8})` within ten minutes", said(app))
    return str(code)


def test_a_halt_that_the_broker_has_not_confirmed_is_said_in_red_until_it_has(
    switch: AppTest, house: House
) -> None:
    stop(switch, "Purchases only: go on selling")
    house.broker.fail("*", "/v2", status=503, times=None)
    stop(switch)
    assert "NOT confirmed by the broker" in top(switch)
    red = [e.value for e in switch.error]
    assert any("The broker has NOT confirmed" in text for text in red)
    assert any("but the broker has not confirmed it" in text for text in red)
    house.broker.faults.disarm()
    switch.button(key="switch_again").click().run()
    assert "NOT confirmed" not in top(switch) and not switch.error
    assert house.state is TradingState.HALTED


def test_a_monitor_that_is_down_is_one_sentence_with_another_way(
    switch: AppTest, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_MONITOR_URL", "http://127.0.0.1:9")
    stop(switch)
    text = said(switch)
    assert "The monitor service does not answer at http://127.0.0.1:9/halt" in text
    assert "It is not known whether it was done; without the monitor: `astra halt`" in text
    assert house.state is TradingState.ACTIVE


def test_a_wrong_token_changes_nothing_and_names_the_remedy(
    switch: AppTest, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_TOKEN", "wrong")
    stop(switch)
    assert "set ASTRA_TOKEN to the service's token" in said(switch)
    assert house.state is TradingState.ACTIVE


def test_without_a_login_nothing_can_be_pressed(page: Runner, house: House) -> None:
    app = page(house.url, "System")
    assert "set ASTRA_PAGE_PASSWORD. Until then: `astra halt`" in said(app)
    assert not app.button


def test_an_earlier_account_has_no_switch_and_the_present_one_is_named(
    switch: AppTest, house: House
) -> None:
    old = Account("PAOLD", Decimal(1000), Decimal(1000), Decimal(1000))
    house.store.books.record_account_summary(old, [], trading.TEN - dt.timedelta(days=300))
    house.store.states.set(
        "PAOLD", TradingState.HALTED, "old trouble", "breaker", trading.TEN - dt.timedelta(days=300)
    )
    switch.run()
    number = house.broker.alpaca.account().number
    switch.sidebar.selectbox(key="account_number").set_value("PAOLD").run()
    assert "old trouble" in said(switch)
    assert f"The broker has account {number} now" in said(switch)
    assert [b.key for b in switch.button if str(b.key).startswith("switch")] == []
    switch.sidebar.selectbox(key="account_number").set_value(number).run()
    assert switch.button(key="switch_stop")


def test_a_reset_that_is_not_recorded_yet_cannot_be_lifted_from_the_old_accounts_page(
    switch: AppTest, house: House
) -> None:
    stop(switch)
    shown = house.broker.alpaca.account().number
    house.broker.begin_anew(trading.TEN + dt.timedelta(minutes=5))
    switch.button(key="switch_lift").click().run()
    assert f"account {shown} is asked for, the broker has" in said(switch)
    assert house.store.states.get(shown).state is TradingState.HALTED


def press_elsewhere(house: House, path: str, **body: str) -> dict[str, Any]:
    """What another person asks of the monitor."""
    asked = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.post(f"{house.monitor}{path}", json=body, headers=asked, timeout=30)
    found: dict[str, Any] = answer.json()
    return found


def test_an_offer_goes_when_its_state_does_and_the_next_one_says_the_next_reason(
    switch: AppTest, house: House
) -> None:
    press_elsewhere(house, "/halt", reason="a drill")
    switch.run()
    switch.button(key="switch_lift").click().run()
    assert "stopped because: a drill" in said(switch)
    press_elsewhere(house, "/lift", code=press_elsewhere(house, "/lift")["code"])
    house.broker.step(trading.TEN + dt.timedelta(minutes=1))
    press_elsewhere(house, "/halt", reason="books differ")
    switch.run()
    assert "stopped because" not in said(switch)
    assert "What stands has changed since the code was offered" in said(switch)
    switch.button(key="switch_lift").click().run()
    assert "stopped because: books differ" in said(switch)


def test_whoever_waits_with_an_offer_while_another_lifts_is_back_at_the_first_step(
    switch: AppTest, house: House
) -> None:
    press_elsewhere(house, "/halt")
    switch.run()
    switch.button(key="switch_lift").click().run()
    press_elsewhere(house, "/lift", code=press_elsewhere(house, "/lift")["code"])
    switch.run()
    house.broker.step(trading.TEN + dt.timedelta(minutes=1))
    press_elsewhere(house, "/halt", reason="books differ")
    switch.run()
    assert "type `" not in said(switch)
    assert switch.button(key="switch_lift")


def test_a_code_that_is_void_by_now_is_not_shown_any_longer(switch: AppTest, house: House) -> None:
    stop(switch)
    switch.button(key="switch_lift").click().run()
    code = offered(switch)
    press_elsewhere(house, "/lift")  # another person's offer replaces it
    switch.text_input(key="switch_code").input(code)
    switch.button(key="switch_lift_now").click().run()
    assert "found another, a used or an old one" in said(switch)
    assert code not in said(switch) and house.state is TradingState.HALTED
    switch.button(key="switch_lift").click().run()
    assert offered(switch) != code


def test_what_came_of_it_is_said_only_while_that_stands(switch: AppTest, house: House) -> None:
    stop(switch)
    for _ in range(2):
        assert [s for s in switch.success if "is HALTED" in s.value]
        switch.run()
    press_elsewhere(house, "/lift", code=press_elsewhere(house, "/lift")["code"])
    assert not switch.run().success


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>log in</html>"),
        (200, b"{}"),
        (200, b"[1]"),
        (204, b""),
        (200, b'{"account": "%s", "message": "ok", "state": "HALTED", "confirmed": "no"}'),
        (200, b'{"account": "%s", "message": "ok", "state": "STOPPED", "confirmed": true}'),
        (200, b'{"account": "%s", "message": ["ok"], "state": "HALTED", "confirmed": true}'),
    ],
)
def test_an_answer_that_is_none_of_the_monitors_is_one_sentence_and_no_success(
    switch: AppTest, house: House, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    number = house.broker.alpaca.account().number.encode()
    with answering(status, body.replace(b"%s", number)) as url:
        monkeypatch.setenv("ASTRA_MONITOR_URL", url)
        stop(switch)
    assert not switch.exception and not switch.success
    text = said(switch)
    assert "It is not known whether it was done; without the monitor: `astra halt`" in text


def test_a_lift_that_the_monitor_answers_with_a_state_that_is_not_active_is_no_success(
    switch: AppTest, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(switch)
    switch.button(key="switch_lift").click().run()
    switch.text_input(key="switch_code").input(offered(switch))
    with answering(200, b'{"account": "a", "message": "hello", "state": "HALTED"}') as url:
        monkeypatch.setenv("ASTRA_MONITOR_URL", url)
        switch.button(key="switch_lift_now").click().run()
    assert not switch.exception and not switch.success
    assert "It is not known whether it was done; without the monitor: `astra lift`" in said(switch)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Something else at the monitor's address, that answers every POST alike."""
    app = Flask("stranger")
    app.add_url_rule("/<path:path>", view_func=lambda path: (body, status), methods=["POST"])
    with Servers({"stranger": app}) as urls:
        yield urls["stranger"]

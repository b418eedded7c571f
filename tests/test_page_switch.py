"""The switch on the page System, at a real monitor and a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import desk as trading
import pytest
import requests
from shown_page import Runner, said, top

from astra.records import TradingState
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
    code = switch.session_state["switch_offer"].code
    assert f"type `{code}` within ten minutes" in said(switch)
    switch.text_input(key="switch_code").input("WRONG")
    switch.button(key="switch_lift_now").click().run()
    assert house.state is TradingState.HALTED
    assert "is required, found another, a used or an old one" in said(switch)
    assert "not known whether" not in said(switch)
    switch.text_input(key="switch_code").input(f" {code.lower()} ")
    switch.button(key="switch_lift_now").click().run()
    assert house.state is TradingState.ACTIVE
    assert "Trading is on" in top(switch)
    kinds = [entry.kind for entry in house.store.audit.entries()]
    assert kinds.count("lift offered") == 1


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

"""The monitor's /state, /halt, /lift and /resume at a sandbox broker."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import desk as trading
import pytest
import sqlalchemy
from flask.testing import FlaskClient

from astra.allocation import build
from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.records import TradingState
from astra.settings import Settings
from astra.store import Store, open_store
from monitor_service.main import create_app


@pytest.fixture
def settings(sandbox: trading.Desk, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=f"sqlite:///{tmp_path / 'astra.db'}",
        alpaca_key="key",
        alpaca_secret="secret",
        alpaca_url=sandbox.url,
        alpaca_data_url=sandbox.url,
        storage_url="http://127.0.0.1:9",
        vendor_timeout=0.5,
        fill_timeout=2.0,
        max_order_weight=0.6,
        max_position_weight=0.6,
    )


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings.database_url)


def dropped(weights: dict[str, float]) -> Delivered:
    name, content, metadata = build(
        trading.TEN, "0a1b2c3d", weights, policy="measured", model_id="m",
        metadata={"trained_until": "2026-01-01T00:00:00+00:00", "coverage": "1.0"},
    )  # fmt: skip
    return Delivered("bucket", name, 1, content, metadata)


def runs(store: Store) -> list[tuple[str, str]]:
    return [(r["job"], r["status"]) for r in store.books.read("runs").to_pylist()]


def rest(sandbox: trading.Desk) -> None:
    ticket = {"symbol": "AAPL", "side": "buy", "qty": "1", "type": "limit", "limit_price": "1",
              "time_in_force": "day", "client_order_id": "by-hand"}  # fmt: skip
    sandbox.alpaca.trading.call("POST", "/orders", ticket)


def test_halt_cancels_confirms_and_is_a_logged_run(
    sandbox: trading.Desk, client: FlaskClient, store: Store
) -> None:
    rest(sandbox)
    answer = client.post("/halt", json={"reason": "a test"})
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["state"], body["was"], body["confirmed"]) == ("HALTED", "ACTIVE", True)
    assert body["cancelled"] == ["by-hand"]
    assert body["seconds"] < 1.0
    assert runs(store) == [("halt", "ok")]
    state = client.get("/state").get_json()
    assert (state["state"], state["reason"], state["by"]) == ("HALTED", "a test", "monitor")
    assert state["since"] == trading.TEN.isoformat()


def test_the_state_may_be_asked_for_in_the_query(client: FlaskClient) -> None:
    assert client.post("/halt?state=reducing&reason=x").get_json()["state"] == "REDUCING"


def test_a_silent_broker_is_answered_as_accepted_and_not_confirmed(
    sandbox: trading.Desk, client: FlaskClient, store: Store
) -> None:
    client.post("/halt", json={"state": "REDUCING"})
    sandbox.fail("*", "/v2", status=503, times=None)
    answer = client.post("/halt")
    assert answer.status_code == 202
    assert answer.get_json()["confirmed"] is False
    sandbox.faults.disarm()
    assert store.states.get(sandbox.alpaca.account().number).state is TradingState.HALTED


@pytest.mark.parametrize("body", [{"state": "ACTIVE"}, {"state": "OFF"}, {"state": 1}])
def test_a_state_that_is_none_to_halt_to_is_refused(
    client: FlaskClient, body: dict[str, object]
) -> None:
    answer = client.post("/halt", json=body)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "DataError")
    assert client.get("/state").get_json()["state"] == "ACTIVE"


DEEP = b"[" * 50_000
HOSTILE = (b"{", b"[]", b"1", b"\xff\xfe", DEEP, b'{"code": "\\ud800"}', b'{"code": "\\u0000"}',
           b'{"code": 7}', b'{"reason": {}}', b"x" * 200_000)  # fmt: skip


@pytest.mark.parametrize("path", ["/halt", "/lift", "/resume"])
@pytest.mark.parametrize("body", HOSTILE)
def test_no_body_is_an_error_that_nobody_expected(
    client: FlaskClient, path: str, body: bytes
) -> None:
    answer = client.post(path, data=body, content_type="application/json")
    assert answer.status_code in (200, 400, 413)
    assert path == "/resume" or answer.get_json()["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", DEEP, b'{"reason": "\\ud800 a\\u0000b\\n"}'])
def test_what_cannot_be_read_halts(
    client: FlaskClient, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post("/halt", data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()["state"]) == (200, "HALTED")
    assert client.get("/state").get_json()["reason"] in ("ab", "asked for at the monitor")
    assert "alarm=halt" in caplog.text  # a service says it in its log


def test_of_many_that_give_the_code_at_once_one_lifts(settings: Settings) -> None:
    app = create_app(settings)
    app.test_client().post("/halt")
    code = app.test_client().post("/lift").get_json()["code"]
    with ThreadPoolExecutor(8) as people:
        said = people.map(
            lambda _: app.test_client().post("/lift", json={"code": code}).status_code, range(8)
        )
    assert sorted(said) == [200] + [400] * 7


@pytest.mark.parametrize("path", ["/halt", "/lift", "/resume"])
def test_nothing_is_changed_by_a_get(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 405


def test_lifting_takes_two_posts(client: FlaskClient, store: Store) -> None:
    assert client.post("/lift").get_json()["code"] == ""
    client.post("/halt")
    offer = client.post("/lift").get_json()
    assert (offer["state"], len(offer["code"])) == ("HALTED", 8)
    assert client.get("/state").get_json()["state"] == "HALTED"
    assert offer["code"] not in str(client.get("/state").get_json())
    wrong = client.post("/lift", json={"code": "WRONG"})
    assert wrong.status_code == 400
    assert "it stays HALTED" in wrong.get_json()["message"]
    lifted = client.post("/lift", json={"code": offer["code"]}).get_json()
    assert (lifted["state"], lifted["was"]) == ("ACTIVE", "HALTED")
    assert client.get("/state").get_json()["state"] == "ACTIVE"
    assert runs(store).count(("lift", "ok")) == 3
    assert ("lift", "failed") in runs(store)


def test_another_account_than_the_one_asked_for_is_neither_stopped_nor_lifted(
    sandbox: trading.Desk, client: FlaskClient, store: Store
) -> None:
    old = sandbox.alpaca.account().number
    client.post("/update_account")
    sandbox.begin_anew(trading.TEN + dt.timedelta(minutes=5))
    new = sandbox.alpaca.account().number
    client.post("/update_account")
    for path in ("/halt", "/lift"):
        answer = client.post(path, json={"account": old})
        assert (answer.status_code, answer.get_json()["error"]) == (400, "DataError")
        assert f"account {old} is asked for, the broker has {new}" in answer.get_json()["message"]
    assert {store.states.get(n).state for n in (old, new)} == {TradingState.ACTIVE}
    assert client.post("/halt", json={"account": new}).get_json()["account"] == new
    code = client.post("/lift", json={"account": new}).get_json()["code"]
    refused = client.post("/lift", json={"account": old, "code": code})
    assert (refused.status_code, store.states.get(new).state) == (400, TradingState.HALTED)
    assert client.post("/lift", json={"account": new, "code": code}).status_code == 200


def test_a_halt_of_the_account_recorded_last_does_not_wait_for_a_silent_broker(
    sandbox: trading.Desk, client: FlaskClient, store: Store
) -> None:
    account = sandbox.alpaca.account().number
    client.post("/update_account")
    client.post("/halt", json={"state": "REDUCING", "account": account})
    sandbox.fail("*", "/v2", status=503, times=None)
    assert client.post("/halt", json={"account": account}).status_code == 202
    assert store.states.get(account).state is TradingState.HALTED
    unknown = client.post("/halt", json={"account": "PA9OTHER"})
    assert (unknown.status_code, store.states.get("PA9OTHER").since) == (503, None)


def test_a_halt_of_the_account_in_view_cancels_while_the_database_is_away(
    sandbox: trading.Desk, client: FlaskClient, tmp_path: Path
) -> None:
    rest(sandbox)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'astra.db'}")
    with engine.begin() as connection:
        for table in ("account_summary", "trading_states"):
            connection.execute(sqlalchemy.text(f"ALTER TABLE {table} RENAME TO gone_{table}"))
    engine.dispose()
    answer = client.post("/halt", json={"account": sandbox.alpaca.account().number})
    assert (answer.status_code, answer.get_json()["written"]) == (503, False)
    assert not sandbox.alpaca.orders("open")


def test_resume_takes_up_what_was_cut_off_and_says_what_became_of_it(
    sandbox: trading.Desk, client: FlaskClient, settings: Settings
) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=None)
    half = dropped({"AAPL": 0.5})
    with pytest.raises(TemporaryError):
        Executor(Desk.from_settings(settings)).execute(half)
    sandbox.faults.disarm()
    (row,) = client.post("/resume").get_json()["allocations"]
    assert (row["object"], row["status"]) == (half.name, "done")
    assert client.post("/resume").get_json() == {"tripped": "", "allocations": []}
    assert [p.symbol for p in sandbox.alpaca.positions()] == ["AAPL"]


def test_resume_sends_nothing_for_a_halted_account(
    sandbox: trading.Desk, client: FlaskClient, settings: Settings, store: Store
) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=None)
    half = dropped({"AAPL": 0.5})
    with pytest.raises(TemporaryError):
        Executor(Desk.from_settings(settings)).execute(half)
    sandbox.faults.disarm()
    client.post("/halt")
    client.post("/resume")
    assert sandbox.state()["orders"] == []
    (order,) = store.journal.orders(half.id)
    assert order.reason.startswith("RISK_HALTED")


def test_resume_lets_the_breakers_look_first(
    sandbox: trading.Desk, settings: Settings, store: Store
) -> None:
    careful = settings.model_copy(update={"max_daily_loss": 1e-9})
    client = create_app(careful).test_client()
    for side in ("buy", "sell"):
        ticket = {"symbol": "AAPL", "side": side, "qty": "100", "type": "market",
                  "time_in_force": "day"}  # fmt: skip
        sandbox.alpaca.trading.call("POST", "/orders", ticket)
    assert "lost in a day" in client.post("/resume").get_json()["tripped"]
    assert client.get("/state").get_json()["state"] == "REDUCING"


def test_an_expired_half_is_abandoned_by_resume(
    sandbox: trading.Desk, client: FlaskClient, settings: Settings
) -> None:
    sandbox.fail("POST", "/v2/orders", status=503, times=None)
    with pytest.raises(TemporaryError):
        Executor(Desk.from_settings(settings)).execute(dropped({"AAPL": 0.5}))
    sandbox.faults.disarm()
    sandbox.step(trading.TEN + dt.timedelta(minutes=31))
    (row,) = client.post("/resume").get_json()["allocations"]
    assert row["status"] == "abandoned"

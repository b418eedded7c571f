"""What keeps the adapter from harm: of live money, odd symbols, a broker that does not go on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from desk import TICKERS, Desk, answering, connect, opened
from execution_desk import dropped, opened_desk, sent
from flask import Response, jsonify, make_response, request
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.alpaca.orders import Orders
from astra.errors import DataError, TemporaryError
from astra.execution.executor import Executor
from astra.records import Side
from astra.store.journal import Journal

ODD = "TOOLONG123"


@pytest.fixture
def desk() -> Iterator[Desk]:
    with opened() as found:
        yield found


def heard(desk: Desk) -> list[str]:
    """What the broker is asked from now on."""
    found: list[str] = []

    def listen() -> None:
        found.append(f"{request.method} {request.path}")

    desk.app.before_request_funcs.setdefault(None, []).append(listen)
    return found


def refuse(desk: Desk, odd: frozenset[str], sentence: str) -> None:
    """The data API refuses a list with such a symbol as Alpaca does."""

    def answer(response: Response) -> Response:
        asked = set(request.args.get("symbols", "").split(","))
        if request.path.startswith("/v2/stocks/") and (bad := sorted(asked & odd)):
            return make_response(jsonify(message=sentence.format(bad[0])), 400)
        return response

    desk.app.after_request_funcs.setdefault(None, []).append(answer)


def test_at_a_live_account_an_order_follows_the_last_check_with_nothing_between(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = connect(desk.url, alpaca_paper=False, live_trading=desk.alpaca.account().number)
    house = replace(opened_desk(desk, tmp_path), broker=live)
    asked, real = heard(desk), Journal.require_time

    def checked(self: Journal, allocation_id: str, fence: int, seconds: float) -> None:
        real(self, allocation_id, fence, seconds)
        asked.append("checked")

    monkeypatch.setattr(Journal, "require_time", checked)
    assert Executor(house).execute(dropped({"AAPL": 0.3, "JPM": 0.3})).status == "done"
    after_check = [two for one, two in itertools.pairwise(asked) if one == "checked"]
    assert after_check == ["POST /v2/orders"] * 2


def test_an_account_that_was_looked_at_is_not_asked_for_again_before_a_halt_cancels(
    desk: Desk,
) -> None:
    number = desk.alpaca.account().number
    live = connect(desk.url, alpaca_paper=False, live_trading=number)
    asked = heard(desk)
    Orders(live).cancel_all()
    Orders(live).cancel_all()
    assert asked == ["GET /v2/account", "DELETE /v2/orders", "DELETE /v2/orders"]


@pytest.mark.parametrize("sentence", ["code=400, message=invalid symbol: {}", "invalid symbol"])
def test_a_symbol_that_alpaca_refuses_costs_no_other_its_price(desk: Desk, sentence: str) -> None:
    expected = desk.alpaca.last_trades(TICKERS)
    refuse(desk, frozenset({ODD, "B_D"}), sentence)
    names = [ODD, "B_D", *TICKERS]
    assert desk.alpaca.last_trades(names) == expected
    asked = heard(desk)
    assert desk.alpaca.last_trades(names) == expected
    assert (len(asked) == 1) == ("{}" in sentence)  # where Alpaca named them they are known
    assert desk.alpaca.last_trades([ODD]) == {}
    assert desk.alpaca.quotes(names).keys() == set(TICKERS)
    assert desk.alpaca.earlier_prices(names).keys() == set(TICKERS)


@settings(max_examples=40)
@given(odd=st.frozensets(st.sampled_from("ABCDEFGHIJK")))
def test_of_any_list_exactly_the_refused_symbols_are_left_out(odd: frozenset[str]) -> None:
    every = tuple("ABCDEFGHIJK")
    with opened() as desk:
        refuse(desk, odd, "invalid symbol: {}")
        found = desk.alpaca._asked("/stocks/trades/latest", every)
        assert sum(1 for _ in found) <= len(every)
        assert desk.alpaca._malformed == odd


def test_a_refusal_for_another_reason_is_not_taken_for_the_symbols(desk: Desk) -> None:
    body = {"message": "invalid feed"}
    desk.app.after_request_funcs.setdefault(None, []).append(
        lambda answer: make_response(jsonify(body), 400) if "symbols" in request.args else answer
    )
    with pytest.raises(DataError, match="invalid feed"):
        desk.alpaca.last_trades(TICKERS)


def test_a_file_with_a_symbol_that_alpaca_refuses_is_traded_without_it(
    desk: Desk, tmp_path: Path
) -> None:
    refuse(desk, frozenset({ODD}), "code=400, message=invalid symbol: {}")
    house = opened_desk(desk, tmp_path)
    file = dropped({"AAPL": 0.5, ODD: 0.1}, policy="manual")
    assert Executor(house).execute(file).status == "done"
    assert [order.split("-")[1] for order in sent(desk)] == ["AAPL"]
    line = next(line for line in house.store.journal.lines(file.id) if line.symbol == ODD)
    assert (line.price, line.weight_planned, line.reason) == (
        None,
        0,
        "unknown to the broker: its weight stays cash",
    )


def test_a_broker_that_repeats_a_page_is_not_asked_for_ever(desk: Desk) -> None:
    for i in range(120):
        desk.orders.submit("JPM", Side.BUY, Decimal(1), f"b{i}")
    first: list[bytes] = []

    def same(answer: Response) -> Response:
        if request.path == "/v2/account/activities":
            first.append(answer.get_data())
            answer.set_data(first[0])
        return answer

    desk.app.after_request_funcs.setdefault(None, []).append(same)
    with pytest.raises(DataError, match="an earlier one"):
        list(itertools.islice(desk.alpaca.activities(), 5000))
    assert len(first) == 2


@pytest.mark.parametrize("exempt", ["", "broker.invalid"])
def test_the_proxy_of_the_environment_is_used_unless_the_host_is_exempt(
    monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    said = {"account_number": "N", "cash": "5", "equity": "5", "multiplier": "2"}
    with answering(200, json.dumps(said).encode()) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", exempt)
        broker = connect("http://broker.invalid")
        monkeypatch.delenv("http_proxy")  # it was found as the session began
        if exempt:
            with pytest.raises(TemporaryError):
                broker.account()
        else:
            assert broker.account().number == "N"


def test_certificates_that_the_environment_names_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    assert connect("https://broker.invalid").trading._client._session.verify == str(
        tmp_path / "ca.pem"
    )

"""Alpaca's answers against a table of the fields that its documentation names.

The sandbox's answers agree with the table, and the readers survive whatever becomes of a field.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from desk import TEN, Desk, answering, connect, opened
from hypothesis import given
from hypothesis import strategies as st

from astra.alpaca import Alpaca, bodies
from astra.alpaca.values import Body
from astra.errors import AstraError, DataError
from astra.records import Side
from astra.sessions import next_session

KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}
READERS: dict[str, Callable[[Body], object]] = {
    "account": bodies.read_account,
    "position": bodies.read_position,
    "order": bodies.read_order,
    "fill": bodies.read_activity,
    "activity": bodies.read_activity,
    "clock": bodies.read_clock,
    "asset": bodies.read_asset,
    "trade": bodies.read_trade,
    "quote": bodies.read_quote,
}
# What is there must be readable, though it may be missing: the books count with it.
COUNTED = {("activity", "net_amount"), ("activity", "qty")}


@dataclass(frozen=True)
class Documented:
    """A field: its type in JSON, whether it may be null, when it is there, what we do with it."""

    type: str
    presence: str
    use: str

    def holds(self, value: object) -> bool:
        if value is None:
            return self.type.endswith("?")
        return TYPES[self.type.removesuffix("?")](value)


def is_number_text(value: object) -> bool:
    return isinstance(value, str) and Decimal(value).is_finite()


def is_json_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_time(value: object) -> bool:
    return isinstance(value, str) and dt.datetime.fromisoformat(value).tzinfo is not None


def is_day(value: object) -> bool:
    return isinstance(value, str) and dt.date.fromisoformat(value) is not None


TYPES: dict[str, Callable[[object], bool]] = {
    "number": is_number_text,
    "json": is_json_number,
    "text": lambda value: isinstance(value, str),
    "flag": lambda value: isinstance(value, bool),
    "time": is_time,
    "day": is_day,
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def read_table() -> dict[str, dict[str, Documented]]:
    with (Path(__file__).parent / "alpaca_fields.toml").open("rb") as file:
        found = tomllib.load(file)
    return {
        noun: {name: Documented(*text.split()) for name, text in fields.items()}
        for noun, fields in found.items()
    }


TABLE = read_table()
FIELDS = [(noun, name) for noun, fields in TABLE.items() for name in fields]


@cache
def served() -> Mapping[str, list[Body]]:
    """The sandbox's own answers by noun: an account that has bought, sold and still waits."""
    with opened(pays_dividends=True) as desk:
        desk.orders.submit("AAPL", Side.BUY, Decimal(30), "bought")
        desk.orders.submit("AAPL", Side.SELL, Decimal(10), "sold")
        desk.orders.submit("JPM", Side.BUY, Decimal(1), "cheap", limit_price=Decimal("1.05"))
        desk.fail("POST", "/v2/orders", partial_fill=0.5)
        desk.orders.submit("BRK.B", Side.BUY, Decimal(2), "in part")
        rows: list[Body] = asked(desk, "account/activities")
        return {
            "account": [asked(desk, "account")],
            "position": asked(desk, "positions"),
            "order": asked(desk, "orders?status=all"),
            "fill": [row for row in rows if row["activity_type"] == "FILL"],
            "activity": [row for row in rows if row["activity_type"] != "FILL"],
            "clock": [asked(desk, "clock")],
            "asset": asked(desk, "assets"),
            "trade": [asked(desk, "stocks/trades/latest?symbols=AAPL")["trades"]["AAPL"]],
            "quote": [asked(desk, "stocks/quotes/latest?symbols=AAPL")["quotes"]["AAPL"]],
        }


def asked(desk: Desk, path: str) -> Any:
    return requests.get(f"{desk.url}/v2/{path}", headers=KEYS, timeout=5).json()


class TestSandbox:
    @pytest.mark.parametrize("noun", TABLE)
    def test_its_fields_are_the_documented_ones_with_the_documented_types(self, noun: str) -> None:
        fields = TABLE[noun]
        current = {name for name, field in fields.items() if field.presence != "gone"}
        for body in served()[noun]:
            assert body.keys() <= current
            wrong = {name: value for name, value in body.items() if not fields[name].holds(value)}
            assert not wrong

    @pytest.mark.parametrize("noun", TABLE)
    def test_it_leaves_out_none_that_is_always_there(self, noun: str) -> None:
        always = {name for name, field in TABLE[noun].items() if field.presence == "always"}
        assert served()[noun]
        for body in served()[noun]:
            assert always <= body.keys()

    def test_the_account_lives_without_the_fields_of_the_day_trading_rule(self) -> None:
        (body,) = served()["account"]
        gone = {name for name, field in TABLE["account"].items() if field.presence == "gone"}
        assert {"pattern_day_trader", "daytrade_count"} <= gone
        assert not gone & body.keys()
        old = {**body, "pattern_day_trader": True, "daytrade_count": 9}
        assert bodies.read_account(old) == bodies.read_account(body)


odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1e999999", "-0", "NaN", "0001-01-01T00:00:00+14:00", "99999999999999999::"])
    | st.datetimes().map(dt.datetime.isoformat),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


class TestReaders:
    @pytest.mark.parametrize("change", ["removed", "null"])
    @pytest.mark.parametrize(("noun", "name"), FIELDS)
    def test_only_a_needed_field_is_missed(self, noun: str, name: str, change: str) -> None:
        field = TABLE[noun][name]
        for body in served()[noun]:
            spoiled = {key: value for key, value in body.items() if key != name}
            if change == "null":
                spoiled[name] = None
            if field.use == "needed" or is_of_part_done(noun, name, body):
                with pytest.raises(DataError):
                    READERS[noun](spoiled)
            else:
                READERS[noun](spoiled)

    @given(st.sampled_from(FIELDS), odd, st.integers(0))
    def test_a_field_of_another_type_is_a_data_error_or_does_no_harm(
        self, asked: tuple[str, str], value: object, i: int
    ) -> None:
        noun, name = asked
        body = served()[noun][i % len(served()[noun])]
        spoiled, use = {**body, name: value}, TABLE[noun][name].use
        try:
            found = READERS[noun](spoiled)
        except DataError:
            assert use == "needed" or asked in COUNTED or is_of_part_done(noun, name, body)
        else:
            assert use != "passed" or found == READERS[noun](body)

    @given(st.sampled_from(sorted(READERS)), st.data())
    def test_any_body_is_read_or_refused_in_one_sentence(
        self, noun: str, data: st.DataObject
    ) -> None:
        names = st.sampled_from(sorted(TABLE[noun])) | st.text(max_size=5)
        changes = data.draw(st.dictionaries(names, odd, max_size=6))
        base = served()[noun][0] if data.draw(st.booleans()) else {}
        try:
            READERS[noun]({**base, **changes})
        except DataError as error:
            assert "\n" not in str(error)

    @pytest.mark.parametrize("noun", READERS)
    def test_fields_that_nobody_knows_yet_are_passed_over(self, noun: str) -> None:
        for body in served()[noun]:
            new = {**body, "of_next_year": {"nested": [1, None]}, "": 0}
            assert READERS[noun](new) == READERS[noun](body)

    @pytest.mark.parametrize("word", ["canceled", "expired", "partially_filled", "pending_cancel"])
    def test_what_a_stopped_order_has_filled_is_never_guessed(self, word: str) -> None:
        body = {"id": "1", "symbol": "A", "side": "buy", "qty": "5", "status": word}
        with pytest.raises(DataError, match="filled_qty"):
            bodies.read_order(body)
        assert bodies.read_order(body | {"status": "filled"}).filled_qty == 5
        assert bodies.read_order(body | {"status": "new"}).filled_qty == 0


def is_of_part_done(noun: str, name: str, body: Body) -> bool:
    """Without it nobody knows how much of an order that is part done was filled."""
    return (noun, name) == ("order", "filled_qty") and body["status"] == "partially_filled"


class TestAdapter:
    """What a whole answer of another shape is taken for."""

    @pytest.mark.parametrize(
        "ask",
        [
            Alpaca.account,
            Alpaca.positions,
            Alpaca.clock,
            Alpaca.orders,
            lambda alpaca: alpaca.order("x"),
            lambda alpaca: list(alpaca.activities()),
            lambda alpaca: alpaca.assets(["A"]),
            lambda alpaca: alpaca.portfolio_history(),
        ],
    )
    @pytest.mark.parametrize(
        "body", [b"", b"null", b"[]", b"{}", b"5", b'"flat"', b"[null]", b"[[]]", b'{"a": 1}']
    )
    def test_no_other_shape_is_an_account_or_a_position(
        self, ask: Callable[[Alpaca], object], body: bytes
    ) -> None:
        with answering(200, body) as url:
            try:
                found = ask(connect(url))
            except AstraError:
                return
            assert body == b"[]"
            assert found in ((), [], {})

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b'{"trades": [1], "quotes": 5}', b'{"trades": 1}']
    )
    def test_no_price_comes_from_another_shape(self, body: bytes) -> None:
        with answering(200, body) as url:
            for ask in (connect(url).last_trades, connect(url).quotes):
                try:
                    assert ask(["A"]) == {}
                except AstraError:
                    continue

    def test_one_unreadable_position_spoils_all_for_it_must_not_look_flat(self) -> None:
        with opened() as desk:
            desk.orders.submit("AAPL", Side.BUY, Decimal(3), "one")
            desk.fail("GET", "/v2/positions", drop_fields=["qty"])
            with pytest.raises(DataError, match="position needs qty"):
                desk.alpaca.positions()
            assert [position.symbol for position in desk.alpaca.positions()] == ["AAPL"]

    def test_an_asset_that_cannot_be_read_is_not_listed_and_the_others_are(self) -> None:
        rows = b'[{"symbol": "A", "tradable": true}, {"tradable": true}, {"symbol": ["B"]}]'
        with answering(200, rows) as url:
            assert set(connect(url).assets(["A"])) == {"A"}

    def test_an_order_answered_unreadably_is_looked_up_and_not_sent_twice(self) -> None:
        with opened() as desk:
            desk.fail("POST", "/v2/orders", drop_fields=["id"])
            order = desk.orders.submit("AAPL", Side.BUY, Decimal(3), "once")
            assert order.id
            assert len(desk.state()["orders"]) == 1

    def test_the_latest_trade_and_quote_have_their_times(self) -> None:
        later = next_session(TEN).opens_at + dt.timedelta(minutes=97)
        with opened(later, feed="iex") as iex, opened(later) as sip:
            for desk in (iex, sip):
                trades, quotes = (
                    ask(["AAPL", "NOPE"]) for ask in (desk.alpaca.last_trades, desk.alpaca.quotes)
                )
                assert trades.keys() == quotes.keys() == {"AAPL"}
                trade, quote = trades["AAPL"], quotes["AAPL"]
                assert quote.bid < trade.price < quote.ask
                assert trade.at <= quote.at <= later
            assert quote.at == later
            assert iex.alpaca.quotes(["AAPL"])["AAPL"].at < later

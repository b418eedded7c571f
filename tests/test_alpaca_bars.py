"""Alpaca's bars in pages: against the sandbox, and word for word against a stand-in."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from desk import TEN, TICKERS, Desk, opened
from flask import request
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import NOW, Reply, bars_in_pages, standing_in
from werkzeug.http import http_date

from astra import bars
from astra.alpaca import MarketData, SymbolBars
from astra.alpaca.bars import ROWS_A_PAGE, last_open_to_all
from astra.alpaca.failures import RateLimitError, RefusedError, UnreachableError
from astra.alpaca.transport import SYMBOLS_A_REQUEST
from astra.errors import ConfigError, DataError, TemporaryError
from astra.sessions import BAR, BAR_SECONDS, last_sessions
from astra.settings import Settings
from sandbox.market import default_tickers
from sandbox.markets import simulated_market
from sandbox.tape import Tape

FRIDAY = dt.datetime(2026, 1, 9, 14, 30, tzinfo=dt.UTC)
CENTURY = dt.timedelta(days=36_500)
SECOND = dt.timedelta(seconds=1)
MANY = default_tickers(40)


@lru_cache(maxsize=1)
def long_tape() -> Tape:
    """25,000 bars."""
    days = {"start": dt.date(2026, 1, 5), "end": dt.date(2026, 1, 16)}
    return simulated_market(MANY, seed=5, **days).tape


def market_data(url: str, **more: Any) -> MarketData:
    terms = {"alpaca_key": "key", "alpaca_secret": "secret", "alpaca_data_url": url}
    return MarketData.from_settings(Settings(_env_file=None, **{**terms, **more}))


def row(minute: int, **values: Any) -> dict[str, Any]:
    at = FRIDAY + minute * dt.timedelta(minutes=1)
    named = {"t": f"{at:%Y-%m-%dT%H:%M:%SZ}", "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 10}
    return {**named, "n": 1, "vw": 1.2} | values


def one_row(**values: Any) -> SymbolBars:
    kept = {name: value for name, value in row(0, **values).items() if value != "absent"}
    return SymbolBars("A", [kept], NOW)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with opened() as found:
        yield found


class TestBars:
    def test_they_are_the_markets_record_up_to_the_vendors_now(self, desk: Desk) -> None:
        data = market_data(desk.url)
        for found in data.bars(TICKERS, FRIDAY, "sip"):
            valid, rejected = bars.validate(found.frame(), found.now)
            span = int(FRIDAY.timestamp()), int(TEN.timestamp())
            record = desk.market.history(found.symbol, *span)
            assert rejected.total == 0
            assert set(valid["ticker"]) == {found.symbol}
            assert valid["ts"].tolist() == record.ts.tolist()
            for name in (*bars.PRICES, "volume"):
                assert np.allclose(valid[name], getattr(record, name), rtol=1e-12), name
            assert found.now == TEN

    def test_every_symbol_comes_once_and_whole_over_pages_of_ten_thousand(self) -> None:
        with opened(dt.datetime(2026, 1, 16, 22, tzinfo=dt.UTC), long_tape()) as desk:
            asked: list[str] = []
            desk.app.before_request(lambda: asked.append(request.path))
            first = last_sessions(9, desk.market.clock.now())[0].opens_at
            found = list(market_data(desk.url).bars(MANY, first, "sip"))
            assert [one.symbol for one in found] == sorted(MANY)
            total = sum(len(one.rows) for one in found)
            assert total > 2 * ROWS_A_PAGE
            assert len(asked) == -(-total // ROWS_A_PAGE)
            for one in found:
                span = int(first.timestamp()), int(one.now.timestamp())
                record = desk.market.history(one.symbol, *span)
                assert one.frame()["ts"].tolist() == record.ts.tolist()

    def test_symbols_without_bars_come_in_their_turn_without_rows(self, desk: Desk) -> None:
        found = list(market_data(desk.url).bars(("ZZZ", "JPM", "AAAA"), FRIDAY, "sip"))
        assert [(one.symbol, bool(one.rows)) for one in found] == [
            ("AAAA", False),
            ("JPM", True),
            ("ZZZ", False),
        ]
        assert list(found[0].frame().columns) == list(bars.COLUMNS)

    @settings(max_examples=25)
    @given(
        counts=st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(0, 5), min_size=1),
        size=st.integers(1, 7),
    )
    def test_any_cut_into_pages_gives_the_same_bars(
        self, counts: dict[str, int], size: int
    ) -> None:
        rows = {s: [row(5 * i, c=i + 0.5) for i in range(n)] for s, n in counts.items()}
        with standing_in(bars_in_pages(rows, size)) as vendor:
            found = list(market_data(vendor.url).bars(list(counts), FRIDAY, "sip"))
        assert {one.symbol: list(one.rows) for one in found} == rows
        assert [one.symbol for one in found] == sorted(counts)

    def test_a_symbol_is_as_of_the_first_answer_that_brought_it(self) -> None:
        """A bar that was forming then is not closed by the date of a later page."""
        dates = {None: NOW - SECOND, "2": NOW, "4": NOW + SECOND}
        pages = bars_in_pages({"A": [row(0)], "B": [row(0), row(5), row(10)], "C": [row(0)]}, 2)

        def answer(path: str, query: dict[str, str]) -> Reply:
            date = dates[query.get("page_token")]
            return Reply(pages(path, query).body, headers=(("Date", http_date(date)),))

        with standing_in(answer) as vendor:
            found = {s.symbol: s.now for s in market_data(vendor.url).bars("ABC", FRIDAY, "sip")}
        assert found == {"A": NOW - SECOND, "B": NOW - SECOND, "C": NOW + SECOND}

    def test_the_longest_list_of_symbols_keeps_the_url_under_two_kilobytes(self) -> None:
        symbols = [f"AA{i:03d}" for i in range(SYMBOLS_A_REQUEST)]
        with standing_in(bars_in_pages({}, 1)) as vendor:
            data = market_data(vendor.url)
            assert len(list(data.bars(symbols, FRIDAY, "sip", TEN))) == len(symbols)
            assert len(vendor.url + vendor.asked[0]) < 2000

    def test_the_next_page_is_not_asked_for_once_nobody_reads_on(self) -> None:
        rows = {symbol: [row(0)] for symbol in "ABCDEFGH"}
        with standing_in(bars_in_pages(rows, 1)) as vendor:
            reading = market_data(vendor.url).bars("ABCDEFGH", FRIDAY, "sip")
            next(reading)
            reading.close()  # type: ignore[attr-defined]
            assert len(vendor.asked) <= 3


class TestRows:
    def test_a_missing_value_is_nan_and_rejected_when_judged(self) -> None:
        for name in "ohlcv":
            for value in (None, "absent"):
                valid, rejected = bars.validate(one_row(**{name: value}).frame(), NOW)
                assert (len(valid), rejected.missing) == (0, 1), (name, value)

    @pytest.mark.parametrize("time", ["absent", None, "", "noon", 17, "2026-01-09T14:30:0xZ"])
    def test_a_bar_without_a_time_is_a_data_error_that_names_the_symbol(self, time: Any) -> None:
        with pytest.raises(DataError, match="bars of A "):
            one_row(t=time).frame()

    @pytest.mark.parametrize("value", ["much", [], {}])
    def test_a_price_that_is_no_number_is_a_data_error(self, value: object) -> None:
        with pytest.raises(DataError, match="bars of A "):
            one_row(c=value).frame()

    @pytest.mark.parametrize(
        "time",
        ["2026-01-09T14:30:00Z", "2026-01-09T14:30:00.000000000Z", "2026-01-09T09:30:00-05:00"],
    )
    def test_each_way_to_write_a_time_is_the_same_time(self, time: str) -> None:
        assert one_row(t=time).frame()["ts"].tolist() == [int(FRIDAY.timestamp())]

    @pytest.mark.parametrize(
        "body",
        [
            {"bars": {}},
            {"next_page_token": None},
            {"bars": [], "next_page_token": None},
            {"bars": {}, "next_page_token": "for ever"},
            {"bars": {"A": {}}, "next_page_token": None},
            {"bars": {"B": [row(0)]}, "next_page_token": None},
            ["bars"],
        ],
    )
    def test_an_answer_of_another_shape_is_refused_rather_than_cut_short(self, body: Any) -> None:
        with standing_in(lambda *_: Reply(body)) as vendor, pytest.raises(DataError):
            list(market_data(vendor.url).bars("A", FRIDAY, "sip"))

    def test_no_bars_at_all_may_be_said_with_null(self) -> None:
        with standing_in(lambda *_: Reply({"bars": None, "next_page_token": None})) as vendor:
            (found,) = market_data(vendor.url).bars("A", FRIDAY, "sip")
        assert (found.symbol, list(found.rows)) == ("A", [])

    def test_a_symbol_that_comes_back_after_its_turn_is_refused(self) -> None:
        pages = {None: {"B": [row(0)]}, "1": {"A": [row(0)]}}

        def answer(_: str, query: dict[str, str]) -> Reply:
            token = query.get("page_token")
            return Reply({"bars": pages[token], "next_page_token": None if token else "1"})

        with standing_in(answer) as vendor, pytest.raises(DataError, match="A out of turn"):
            list(market_data(vendor.url).bars("AB", FRIDAY, "sip"))


class TestFeed:
    @pytest.mark.parametrize("feed", ["sip", "iex"])
    def test_the_best_feed_that_the_account_may_read_is_probed_once(self, feed: Any) -> None:
        with opened(feed=feed) as desk:
            data = market_data(desk.url)
            assert data.entitled() == feed
            desk.fail("GET", "/v2/stocks", status=500, times=None)
            assert data.entitled() == feed

    @pytest.mark.parametrize("code", [{}, {"code": 42210000}])
    def test_a_missing_subscription_is_not_taken_for_wrong_keys(self, code: dict[str, int]) -> None:
        said = {"message": "subscription does not permit querying recent SIP data"} | code

        def answer(_: str, query: dict[str, str]) -> Reply:
            return Reply(said, 403) if query["feed"] == "sip" else Reply({"trades": {}})

        with standing_in(answer) as vendor:
            data = market_data(vendor.url)
            assert (data.entitled(), data.ask_now()) == ("iex", NOW)
            with pytest.raises(RefusedError, match="recent SIP"):
                list(data.bars("A", FRIDAY, "sip"))

    def test_the_thin_feed_has_fewer_bars_and_less_volume(self) -> None:
        with opened(feed="iex") as desk:
            data = market_data(desk.url)
            thin, whole = (
                [one.frame() for one in data.bars(TICKERS, FRIDAY, name, FRIDAY + 70 * BAR)]
                for name in ("iex", "sip")
            )
        assert sum(map(len, thin)) < 0.95 * sum(map(len, whole))
        assert sum(f["volume"].sum() for f in thin) < 0.05 * sum(f["volume"].sum() for f in whole)

    @given(st.integers(0, 10 * BAR_SECONDS))
    def test_what_is_open_to_all_is_fifteen_minutes_old_and_ends_a_bar(self, seconds: int) -> None:
        now = TEN + seconds * SECOND
        end = last_open_to_all(now)
        assert dt.timedelta(minutes=15) < now - end <= dt.timedelta(minutes=20, seconds=1)
        assert (int(end.timestamp()) + 1) % BAR_SECONDS == 0

    def test_an_account_without_subscription_may_read_the_past_of_all_exchanges(self) -> None:
        with opened(feed="iex") as desk:
            data = market_data(desk.url)
            end = last_open_to_all(data.ask_now())
            (found,) = data.bars(("AAPL",), FRIDAY, "sip", end)
            record = desk.market.history("AAPL", int(FRIDAY.timestamp()), int(end.timestamp()))
            assert found.frame()["ts"].tolist() == record.ts.tolist()
            assert found.frame()["volume"].tolist() == record.volume.tolist()


class TestTime:
    def test_now_is_alpacas_and_not_the_machines(self, desk: Desk) -> None:
        data = market_data(desk.url)
        assert data.ask_now() == TEN
        desk.step(TEN + BAR)
        assert data.ask_now() == TEN + BAR == data.now

    def test_of_two_dates_the_vendors_is_the_last(self) -> None:
        dates = (("Date", http_date(NOW + CENTURY)), ("Date", http_date(NOW)))
        with standing_in(lambda *_: Reply({"trades": {}}, headers=dates)) as vendor:
            assert market_data(vendor.url).ask_now() == NOW

    @pytest.mark.parametrize("headers", [(), (("Date", "today"),)])
    def test_an_answer_without_a_date_is_of_no_use(self, headers: Any) -> None:
        reply = Reply({"trades": {}}, headers=headers)
        missing = pytest.raises(TemporaryError, match="a date is required")
        with standing_in(lambda *_: reply) as vendor, missing:
            market_data(vendor.url).ask_now()

    def test_threads_that_share_it_keep_their_answers_dates_apart(self) -> None:
        symbols = [chr(ord("A") + i) for i in range(16)]
        dates = {symbol: NOW + i * SECOND for i, symbol in enumerate(symbols)}

        def answer(_: str, query: dict[str, str]) -> Reply:
            time.sleep(0.002)
            headers = (("Date", http_date(dates[query["symbols"]])),)
            return Reply({"bars": None, "next_page_token": None}, headers=headers)

        with standing_in(answer) as vendor, ThreadPoolExecutor(8) as pool:
            data = market_data(vendor.url)
            found = pool.map(lambda symbol: next(data.bars(symbol, FRIDAY, "sip")), symbols * 4)
            assert all(one.now == dates[one.symbol] for one in found)

    @pytest.mark.parametrize(
        ("headers", "market"), [((), "real"), ((("X-Astra-Market", "simulated:5"),), "simulated:5")]
    )
    def test_the_market_is_named_by_the_answer_and_real_where_none_is(
        self, headers: Any, market: str
    ) -> None:
        dated = (("Date", http_date(NOW)), *headers)
        with standing_in(lambda *_: Reply({"trades": {}}, headers=dated)) as vendor:
            data = market_data(vendor.url)
            data.ask_now()
        assert data.market == market


class TestFailing:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ((("Retry-After", "17"),), 17),
            ((("X-RateLimit-Reset", str(int(NOW.timestamp()) + 23)),), 23),
            ((("Retry-After", "soon"),), None),
            ((), None),
        ],
    )
    def test_a_limit_says_when_to_come_back_by_the_vendors_clock(
        self, headers: Any, seconds: float | None
    ) -> None:
        reply = Reply({"message": "too many requests."}, 429, (("Date", http_date(NOW)), *headers))
        with standing_in(lambda *_: reply) as vendor, pytest.raises(RateLimitError) as caught:
            list(market_data(vendor.url).bars("A", FRIDAY, "sip"))
        assert caught.value.retry_after == seconds
        assert len(vendor.asked) == 1

    @pytest.mark.parametrize("status", [500, 502, 504])
    def test_a_failing_vendor_is_asked_once_and_reported_as_passing(
        self, desk: Desk, status: int
    ) -> None:
        desk.fail("GET", "/v2/stocks/bars", status=status)
        data = market_data(desk.url)
        with pytest.raises(TemporaryError, match=str(status)) as caught:
            list(data.bars(TICKERS, FRIDAY, "sip"))
        assert not isinstance(caught.value, UnreachableError)
        assert len(list(data.bars(TICKERS, FRIDAY, "sip"))) == len(TICKERS)

    def test_silence_ends_at_the_time_out(self, desk: Desk) -> None:
        desk.fail("GET", "/v2/stocks/bars", delay_s=1)
        with pytest.raises(UnreachableError, match="GET /stocks/bars"):
            list(market_data(desk.url, vendor_timeout=0.1).bars(TICKERS, FRIDAY, "sip"))

    @pytest.mark.parametrize("status", [401, 403])
    def test_wrong_keys_are_a_matter_of_the_settings(self, status: int) -> None:
        reply = Reply({"message": "forbidden."}, status)
        asks: tuple[Callable[[MarketData], object], ...] = (
            lambda data: data.ask_now(),
            lambda data: list(data.bars("A", FRIDAY, "sip")),
        )
        with standing_in(lambda *_: reply) as vendor:
            for ask in asks:
                with pytest.raises(ConfigError, match="ASTRA_ALPACA_KEY"):
                    ask(market_data(vendor.url))

    def test_missing_keys_are_all_named_before_anything_is_sent(self) -> None:
        with pytest.raises(ConfigError, match="ASTRA_ALPACA_KEY, ASTRA_ALPACA_SECRET"):
            market_data("http://127.0.0.1:9", alpaca_key="", alpaca_secret="")

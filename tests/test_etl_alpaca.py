"""Alpaca as a source of bars, over HTTP: who is asked for together, what becomes of each."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import requests
from desk import TEN, TICKERS, Desk, opened
from flask import request
from standin import NOW, Reply, bars_in_pages, standing_in
from test_alpaca_bars import FRIDAY, MANY, long_tape, row

from astra import bars
from astra.errors import ConfigError, TemporaryError
from astra.sessions import BAR, last_sessions
from astra.settings import Settings
from etl_service.sources.alpaca import AlpacaBars
from etl_service.sources.source import Fetched, Source
from sandbox import yahoo
from sandbox.faults import Faults
from sandbox.markets import simulated_market
from sandbox.serving import Servers

BARS = "/v2/stocks/bars"
MONDAY = last_sessions(1, TEN)[0].opens_at
DAY = dt.timedelta(days=1)


def source(url: str, *, is_delayed: bool = False, **more: Any) -> AlpacaBars:
    terms = {"alpaca_key": "key", "alpaca_secret": "secret", "alpaca_data_url": url}
    return AlpacaBars(Settings(_env_file=None, **{**terms, **more}), is_delayed=is_delayed)


def fetched(one: Source, starts: Mapping[str, dt.datetime | None]) -> dict[str, Fetched]:
    """What came of each, exactly once."""
    found = list(one.fetch(starts))
    assert sorted(f.ticker for f in found) == sorted(starts)
    return {f.ticker: f for f in found}


def queries(asked: list[str]) -> list[tuple[list[str], str]]:
    """Symbols and start of each request for bars."""
    parsed = [parse_qs(urlsplit(url).query) for url in asked if urlsplit(url).path == BARS]
    return [(query["symbols"][0].split(","), query["start"][0]) for query in parsed]


@pytest.fixture
def desk() -> Iterator[Desk]:
    with opened() as found:
        yield found


class TestFetching:
    def test_it_serves_the_markets_bars_by_the_vendors_time(self, desk: Desk) -> None:
        alpaca = source(desk.url)
        desk.step(TEN + BAR / 2)  # a bar is forming
        found = fetched(alpaca, dict.fromkeys(TICKERS, FRIDAY))
        for ticker, one in found.items():
            assert (one.status, one.message, one.split, one.now) == ("ok", "", None, TEN + BAR / 2)
            valid, _ = bars.validate(one.frame, one.now)
            span = int(FRIDAY.timestamp()), int(TEN.timestamp())
            record = desk.market.history(ticker, *span)
            assert valid["ts"].tolist() == record.ts.tolist()
            assert np.allclose(valid["close"], record.close, rtol=1e-12)
        assert (alpaca.name, alpaca.feed) == ("alpaca", "alpaca-sip")

    def test_a_ticker_without_bars_is_empty_and_the_others_load(self, desk: Desk) -> None:
        found = fetched(source(desk.url), {"AAPL": FRIDAY, "NOPE": FRIDAY, "JPM": None})
        assert {t: f.status for t, f in found.items()} == {
            "AAPL": "ok",
            "NOPE": "empty",
            "JPM": "ok",
        }

    def test_a_start_that_has_not_come_yet_is_empty_without_a_request(self, desk: Desk) -> None:
        alpaca = source(desk.url)
        alpaca.ask_now()
        desk.fail("GET", BARS, status=500, times=None)
        assert fetched(alpaca, {"AAPL": TEN})["AAPL"].status == "empty"

    def test_splits_leave_the_bars_that_yahoo_serves(self) -> None:
        days = {"start": dt.date(2026, 1, 5), "end": dt.date(2026, 1, 16)}
        tape = simulated_market(TICKERS, seed=5, splits=30, **days).tape
        split = next(a for t in TICKERS for a in tape.actions(t) if a.kind == "split")
        with opened(split.at + BAR, tape) as desk:
            start = split.at - 2 * DAY
            found = fetched(source(desk.url), {split.ticker: start})[split.ticker].frame
            with Servers({"yahoo": yahoo.create_app(desk.market, Faults())}) as urls:
                theirs = chart(urls["yahoo"], split.ticker, start, split.at + BAR)
        ours = dict(zip(found["ts"], found["close"], strict=True))
        assert len(ours) > 78
        assert ours.keys() == theirs.keys()
        for ts, close in theirs.items():
            assert ours[ts] == pytest.approx(close, rel=1e-6)


class TestPlanning:
    def test_a_ticker_seen_for_the_first_time_is_loaded_over_sixty_days(self) -> None:
        with standing_in(bars_in_pages({"A": [row(0)]}, 10)) as vendor:
            fetched(source(vendor.url), {"A": None})
        assert queries(vendor.asked) == [(["A"], (NOW - 60 * DAY).isoformat())]

    def test_no_start_is_older_than_alpacas_first_bars(self) -> None:
        with standing_in(bars_in_pages({}, 10)) as vendor:
            alpaca = source(vendor.url)
            fetched(alpaca, {"A": dt.datetime(2010, 1, 1, tzinfo=dt.UTC)})
        assert queries(vendor.asked) == [(["A"], "2016-01-01T00:00:00+00:00")]
        assert alpaca.earliest(NOW) == dt.datetime(2016, 1, 1, tzinfo=dt.UTC)

    def test_tickers_of_one_session_share_requests_of_hundreds(self) -> None:
        tickers = [f"T{i}" for i in range(500)]
        starts = {t: FRIDAY + (i % 7) * BAR for i, t in enumerate(tickers)}
        with standing_in(bars_in_pages({}, 10)) as vendor:
            alpaca = source(vendor.url)
            fetched(alpaca, starts)
        assert queries(vendor.asked) == [
            (tickers[:250], FRIDAY.isoformat()),
            (tickers[250:], FRIDAY.isoformat()),
        ]
        assert [alpaca.requests(n) for n in (0, 1, 250, 251, 500)] == [0, 1, 1, 2, 2]

    def test_a_few_that_start_later_join_and_are_cut_to_their_start(self) -> None:
        rows = {t: [row(5 * i) for i in range(4)] for t in "AB"}
        later = FRIDAY + 3 * DAY
        rows["B"] += [row(3 * 1440 + 5 * i) for i in range(3)]
        with standing_in(bars_in_pages(rows, 100)) as vendor:
            found = fetched(source(vendor.url), {"B": later, "A": FRIDAY})
        assert queries(vendor.asked) == [(["B", "A"], FRIDAY.isoformat())]
        assert [len(found[t].frame) for t in "AB"] == [4, 3]
        assert found["B"].frame["ts"].min() == int(later.timestamp())

    def test_many_do_not_load_months_because_one_is_new(self) -> None:
        tickers = [f"T{i}" for i in range(200)]
        with standing_in(bars_in_pages({}, 10)) as vendor:
            fetched(source(vendor.url), {**dict.fromkeys(tickers, FRIDAY), "NEW": None})
        assert queries(vendor.asked) == [
            (tickers, FRIDAY.isoformat()),
            (["NEW"], (NOW - 60 * DAY).isoformat()),
        ]

    def test_those_named_first_come_first(self) -> None:
        tickers = [f"T{i}" for i in range(300)]
        starts = {t: FRIDAY + (DAY * 3 if i % 2 else DAY * 0) for i, t in enumerate(tickers)}
        with standing_in(bars_in_pages({}, 10)) as vendor:
            fetched(source(vendor.url), starts)
        asked = [symbols for symbols, _ in queries(vendor.asked)]
        assert asked == [tickers[0::2], tickers[1::2]]


class TestFeeds:
    def test_the_mark_tells_the_thin_feed(self) -> None:
        with opened(feed="iex") as desk:
            alpaca = source(desk.url)
            found = fetched(alpaca, dict.fromkeys(TICKERS, FRIDAY))
        assert alpaca.feed == "alpaca-iex"
        assert {f.status for f in found.values()} == {"ok"}

    def test_delayed_bars_are_of_all_exchanges_but_for_the_last_minutes(self) -> None:
        with opened(feed="iex") as desk:
            alpaca = source(desk.url, is_delayed=True)
            found = fetched(alpaca, {"AAPL": FRIDAY, "JPM": TEN - BAR})
            record = desk.market.history("AAPL", int(FRIDAY.timestamp()), int(TEN.timestamp()))
        assert alpaca.feed == "alpaca-sip"
        old = record.ts + 300 <= (TEN - 3 * BAR).timestamp()
        assert found["AAPL"].frame["ts"].tolist() == record.ts[old].tolist()
        assert found["AAPL"].frame["volume"].tolist() == record.volume[old].tolist()
        assert found["JPM"].status == "empty"


class TestFailing:
    def test_a_failure_between_pages_costs_only_what_was_not_whole(self) -> None:
        with opened(dt.datetime(2026, 1, 16, 22, tzinfo=dt.UTC), long_tape()) as desk:
            spoil(desk, 2, status=500)
            start = last_sessions(9, desk.market.clock.now())[0].opens_at
            alpaca = source(desk.url)
            found = fetched(alpaca, dict.fromkeys(MANY, start))
            statuses = [found[t].status for t in sorted(MANY)]
            whole = statuses.count("ok")
            assert 10 < whole < 20  # a page is 10,000 bars, of about 700 each
            assert statuses == ["ok"] * whole + ["error"] * (len(MANY) - whole)
            lost = [t for t in MANY if found[t].status == "error"]
            assert all(found[t].passes and not found[t].unreachable for t in lost)
            assert all("500" in found[t].message for t in lost)
            again = fetched(alpaca, dict.fromkeys(lost, start))
            assert {f.status for f in again.values()} == {"ok"}

    def test_the_next_request_is_tried_after_a_failing_one(self) -> None:
        tickers = [f"T{i}" for i in range(251)]
        rows = bars_in_pages({"T250": [row(0)]}, 10)

        def answer(path: str, query: dict[str, str]) -> Reply:
            return Reply({}, 503) if "T0," in query["symbols"] else rows(path, query)

        with standing_in(answer) as vendor:
            found = fetched(source(vendor.url), dict.fromkeys(tickers, FRIDAY))
        assert (found["T0"].status, found["T250"].status) == ("error", "ok")

    def test_a_limit_ends_the_asking_and_says_when_to_come_back(self) -> None:
        tickers = [f"T{i}" for i in range(300)]
        limited = Reply({"message": "too many requests."}, 429, (("Retry-After", "31"),))

        def answer(path: str, query: dict[str, str]) -> Reply:
            return limited if path == BARS else Reply({"trades": {}})

        with standing_in(answer) as vendor:
            alpaca = source(vendor.url)
            found = fetched(alpaca, dict.fromkeys(tickers, FRIDAY))
        assert {f.status for f in found.values()} == {"rate_limited"}
        assert all(f.passes and f.now == NOW for f in found.values())
        assert len(queries(vendor.asked)) == 1
        assert alpaca.retry_after == 31

    def test_the_sandboxs_budget_of_a_minute_is_met_as_a_limit(self) -> None:
        with opened(requests_per_minute=3) as desk:
            alpaca = source(desk.url)
            assert fetched(alpaca, {"AAPL": FRIDAY})["AAPL"].status == "ok"
            assert fetched(alpaca, {"AAPL": FRIDAY})["AAPL"].status == "rate_limited"
            assert 50 < alpaca.retry_after <= 62

    def test_silence_ends_the_asking(self, desk: Desk) -> None:
        alpaca = source(desk.url, vendor_timeout=0.3)
        desk.fail("GET", BARS, delay_s=1)
        found = fetched(alpaca, dict.fromkeys([*TICKERS, *(f"T{i}" for i in range(300))], FRIDAY))
        assert all(f.unreachable and f.passes and f.status == "error" for f in found.values())

    def test_nobody_there_is_a_status_for_each_and_temporary_when_asked_for_the_time(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            alpaca = source(f"http://127.0.0.1:{unused.getsockname()[1]}")
            found = fetched(alpaca, {"AAPL": None, "JPM": FRIDAY})
            assert all(f.unreachable and f.status == "error" for f in found.values())
            with pytest.raises(TemporaryError):
                alpaca.ask_now()
            assert alpaca.retry_after == 60

    def test_wrong_keys_do_not_pass(self) -> None:
        with standing_in(lambda *_: Reply({"message": "forbidden."}, 403)) as vendor:
            alpaca = source(vendor.url)
            one = fetched(alpaca, {"AAPL": None})["AAPL"]
            assert (one.status, one.passes) == ("error", False)
            assert "ASTRA_ALPACA_KEY" in one.message
            with pytest.raises(ConfigError):
                alpaca.ask_now()

    def test_missing_keys_are_told_at_the_start(self) -> None:
        with pytest.raises(ConfigError, match="ASTRA_ALPACA_KEY"):
            source("http://127.0.0.1:9", alpaca_key="")

    def test_malformed_symbols_are_found_and_not_asked_for_again(self) -> None:
        tickers = [f"T{i}" for i in range(60)]
        tickers[7], tickers[41] = "B$D", "WO/SE"
        rows = bars_in_pages({t: [row(0)] for t in tickers}, 100)

        def answer(path: str, query: dict[str, str]) -> Reply:
            bad = [s for s in query["symbols"].split(",") if not s.isalnum()]
            text = f"invalid symbol: {bad[0]}" if bad else ""
            return Reply({"message": text}, 400) if bad else rows(path, query)

        with standing_in(answer) as vendor:
            alpaca = source(vendor.url)
            for _ in range(2):
                vendor.asked.clear()
                found = fetched(alpaca, dict.fromkeys(tickers, FRIDAY))
                bad = {t: f for t, f in found.items() if f.status != "ok"}
                assert bad.keys() == {"B$D", "WO/SE"}
                assert all(f.unknown and not f.passes and t in f.message for t, f in bad.items())
        assert len(queries(vendor.asked)) == 1

    def test_another_refusal_is_not_searched_for(self) -> None:
        refusal, trades = Reply({"message": "invalid start"}, 400), Reply({"trades": {}})
        with standing_in(lambda path, _: refusal if path == BARS else trades) as vendor:
            found = fetched(source(vendor.url), dict.fromkeys("ABCDEFGH", FRIDAY))
        assert {(f.status, f.passes, f.unknown) for f in found.values()} == {
            ("error", False, False)
        }
        assert len(queries(vendor.asked)) == 1

    def test_bars_that_cannot_be_read_cost_their_ticker_only(self) -> None:
        rows = {"A": [row(0)], "B": [row(0, t=None)], "C": [row(0)]}
        with standing_in(bars_in_pages(rows, 100)) as vendor:
            found = fetched(source(vendor.url), dict.fromkeys("ABC", FRIDAY))
        assert [found[t].status for t in "ABC"] == ["ok", "error", "ok"]
        assert "bars of B" in found["B"].message

    def test_closing_the_iterator_ends_the_asking(self) -> None:
        tickers = [f"T{i}" for i in range(300)]
        with standing_in(bars_in_pages({}, 10)) as vendor:
            reading = source(vendor.url).fetch(dict.fromkeys(tickers, FRIDAY))
            next(reading)
            reading.close()  # type: ignore[attr-defined]
        assert len(queries(vendor.asked)) == 1


def spoil(desk: Desk, nth: int, **effect: Any) -> None:
    """The `nth` request for bars goes wrong."""
    seen = [0]

    def count() -> None:
        seen[0] += request.path == BARS
        if seen[0] == nth - 1 and request.path == BARS:
            desk.fail("GET", BARS, **effect)

    desk.app.before_request(count)


def chart(url: str, ticker: str, start: dt.datetime, end: dt.datetime) -> dict[int, float]:
    """Yahoo's closes by the start of their bar, of those that have closed."""
    query = {
        "interval": "5m",
        "period1": int(start.timestamp()),
        "period2": int(end.timestamp()),
    }
    answer = requests.get(f"{url}/v8/finance/chart/{ticker}", params=query, timeout=10).json()
    (result,) = answer["chart"]["result"]
    closes = result["indicators"]["quote"][0]["close"]
    return {
        ts: close
        for ts, close in zip(result["timestamp"], closes, strict=True)
        if close is not None and ts % 300 == 0 and ts + 300 <= end.timestamp()
    }

"""The sandbox's Yahoo, met through yfinance itself and, where that hides things, by plain HTTP."""

import datetime as dt
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
import requests
import yfinance as yf
from curl_cffi.requests import Session
from werkzeug.http import parse_date
from yfinance.data import YfData
from yfinance.exceptions import YFPricesMissingError, YFRateLimitError

from astra.sessions import BAR, BAR_SECONDS, is_on_grid, sessions_between
from sandbox import yahoo
from sandbox.faults import Faults
from sandbox.market import Market, default_tickers
from sandbox.markets import simulated_market
from sandbox.serving import Servers

START = dt.date(2026, 9, 14)
# 2.5 minutes into a bar of the sixth session.
NOW = dt.datetime(2026, 9, 21, 15, 2, 30, tzinfo=dt.UTC)
TICKERS = (*default_tickers(30)[:-2], "SPY")
FIELDS = ("open", "high", "low", "close", "volume")


class LoopbackSession(Session):
    """What is meant for *.yahoo.com goes to `url`."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def request(self, method, url, *args, **kwargs):  # type: ignore[no-untyped-def, override]
        parts = urlsplit(url)
        if parts.hostname and parts.hostname.endswith("yahoo.com"):
            url = f"{self._url}{parts.path or '/'}"
        return super().request(method, url, *args, **kwargs)


@pytest.fixture
def market() -> Market:
    return simulated_market(TICKERS, seed=7, edge=0.04, start=START, at=NOW)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def url(market: Market, faults: Faults) -> Iterator[str]:
    with Servers({"yahoo": yahoo.create_app(market, faults)}) as urls:
        yield urls["yahoo"]


@pytest.fixture
def session(url: str, tmp_path: Path) -> Iterator[LoopbackSession]:
    yf.set_tz_cache_location(str(tmp_path))
    YfData.cache_get.cache_clear()
    hidden, yf.config.debug.hide_exceptions = yf.config.debug.hide_exceptions, False
    with LoopbackSession(url) as session:
        # One session, cookie and crumb serve the whole process: take over the last test's.
        client = YfData(session=session)
        client._cookie = client._crumb = None
        yield session
    yf.config.debug.hide_exceptions = hidden


def history(session: Session, symbol: str, **options: object) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # yfinance 1.7 warns under pandas 3 on every call
        return yf.Ticker(symbol, session=session).history(
            **{"interval": "5m", "auto_adjust": False, "prepost": False, **options}
        )


def chart(url: str, symbol: str, **query: object) -> dict:
    answer = requests.get(f"{url}/v8/finance/chart/{symbol}", params=query, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()["chart"]["result"][0]


def seconds(t: dt.datetime) -> int:
    return int(t.timestamp())


# Through yfinance


def test_yfinance_reads_five_days_of_bars_as_the_market_made_them(
    market: Market, session: LoopbackSession
) -> None:
    for symbol, ticker in (("AAPL", "AAPL"), ("BRK-B", "BRK.B"), ("SPY", "SPY")):
        frame = history(session, symbol, period="5d")
        assert str(frame.index.tz) == "America/New_York"
        ts = frame.index.as_unit("s").asi8
        closed = ts + BAR_SECONDS <= NOW.timestamp()
        first = sessions_between(market.clock.now() - dt.timedelta(days=6), NOW)[0]
        bars = market.history(ticker, seconds(first.opens_at), seconds(NOW))
        np.testing.assert_array_equal(ts[closed], bars.ts)
        for column in FIELDS:
            np.testing.assert_array_equal(frame[column.capitalize()][closed], getattr(bars, column))
        # What is left is the forming bar, into which yfinance folds the live point.
        assert (~closed).sum() == 1
        assert is_on_grid(ts[closed]).all()


def test_yfinance_reads_an_explicit_window(market: Market, session: LoopbackSession) -> None:
    start, end = NOW - dt.timedelta(days=4), NOW - dt.timedelta(hours=1)
    frame = history(session, "AMZN", start=start, end=end)
    bars = market.history("AMZN", seconds(start), seconds(end))
    np.testing.assert_array_equal(frame.index.as_unit("s").asi8, bars.ts)
    np.testing.assert_array_equal(frame["Close"], bars.close)


def test_yfinance_reads_daily_bars(market: Market, session: LoopbackSession) -> None:
    frame = history(session, "SPY", period="5d", interval="1d")
    assert len(frame) == 5
    friday = sessions_between(NOW - dt.timedelta(days=3), NOW)[0]
    assert friday.date == dt.date(2026, 9, 18)
    bars = market.history("SPY", seconds(friday.opens_at), seconds(friday.closes_at))
    row = frame.iloc[-2]
    assert row["Open"] == bars.open[0]
    assert row["High"] == bars.high.max()
    assert row["Low"] == bars.low.min()
    assert row["Close"] == row["Adj Close"] == bars.close[-1]
    assert row["Volume"] == bars.volume.sum()


def test_an_unknown_symbol_is_missing_prices(session: LoopbackSession) -> None:
    # Without its time zone yfinance would ask for the company's profile first.
    yf.cache.get_tz_cache().store("NOPE", "America/New_York")
    with pytest.raises(YFPricesMissingError, match="may be delisted"):
        history(session, "NOPE", period="5d")


def test_a_rate_limit_reaches_the_caller(session: LoopbackSession, faults: Faults) -> None:
    faults.arm({"vendor": "yahoo", "path": "/v8/finance/chart/AAPL", "status": 429, "times": None})
    with pytest.raises(YFRateLimitError):
        history(session, "AAPL", period="5d")
    faults.disarm()
    assert len(history(session, "AAPL", period="5d"))


def test_five_minute_bars_older_than_60_days_are_refused(session: LoopbackSession) -> None:
    start = NOW - dt.timedelta(days=61)
    with pytest.raises(YFPricesMissingError, match="must be within the last 60 days"):
        history(session, "AAPL", start=start, end=NOW)


def test_a_dividend_arrives_as_an_event(session: LoopbackSession, market: Market) -> None:
    market.clock.step_to(NOW + dt.timedelta(days=30))
    paid = [a for t in TICKERS for a in market.actions(t) if a.kind == "dividend"]
    assert paid
    action = paid[0]
    frame = history(session, action.ticker.replace(".", "-"), period="1mo")
    found = frame["Dividends"][frame["Dividends"] > 0]
    assert found.tolist() == [action.value]
    assert found.index[0] == action.at
    daily = history(session, action.ticker.replace(".", "-"), period="3mo", interval="1d")
    before = daily.index < pd.Timestamp(action.at).tz_convert("America/New_York").normalize()
    ratio = (daily["Adj Close"] / daily["Close"]).to_numpy()
    expected = 1 - action.value / daily["Close"][before].iloc[-1]
    np.testing.assert_allclose(ratio[before], expected)
    np.testing.assert_allclose(ratio[~before], 1)


# By plain HTTP


def test_the_last_point_is_live_and_off_the_grid(url: str, market: Market) -> None:
    found = chart(url, "AAPL", interval="5m", range="1d")
    quote = found["indicators"]["quote"][0]
    assert found["timestamp"][-1] == seconds(NOW)
    live = {name: quote[name][-1] for name in FIELDS}
    forming = market.forming("AAPL")
    assert forming is not None
    assert set(live.values()) == {forming.close, 0}
    assert found["timestamp"][-2] == forming.ts == seconds(NOW.replace(minute=0, second=0))
    assert quote["open"][-2] == forming.open
    assert found["meta"]["regularMarketPrice"] == forming.close
    assert found["meta"]["regularMarketTime"] == seconds(NOW)


@pytest.mark.parametrize("window", ["1d", "1mo"])
def test_times_and_volumes_are_whole_numbers_and_prices_are_not(url: str, window: str) -> None:
    found = chart(url, "AAPL", interval="5m", range=window)
    quote = found["indicators"]["quote"][0]
    whole, broken = [*found["timestamp"], *quote["volume"]], [*quote["open"], *quote["close"]]
    assert {type(value) for value in whole} - {type(None)} == {int}
    assert {type(value) for value in broken} - {type(None)} == {float}


def test_at_the_start_of_a_bar_only_its_open_is_shown(url: str, market: Market) -> None:
    market.clock.step_to(NOW.replace(minute=5, second=0))
    found = chart(url, "AAPL", interval="5m", range="1d")
    now = seconds(market.clock.now())
    forming = market.forming("AAPL")
    assert forming is not None
    assert found["timestamp"][-2:] == [now - BAR_SECONDS, now]
    last = {name: found["indicators"]["quote"][0][name][-1] for name in FIELDS}
    assert last == dict.fromkeys(FIELDS[:4], forming.open) | {"volume": 0}


def test_after_the_close_a_point_at_the_close_is_left(url: str, market: Market) -> None:
    closes = dt.datetime(2026, 9, 21, 20, tzinfo=dt.UTC)
    market.clock.step_to(closes + dt.timedelta(hours=2))
    found = chart(url, "SPY", interval="5m", range="1d")
    assert found["timestamp"][-1] == seconds(closes)
    assert len(found["timestamp"]) == 79
    assert found["meta"]["currentTradingPeriod"]["regular"]["end"] == seconds(closes)


def test_missing_bars_are_nulls_for_some_tickers_and_left_out_for_others(
    url: str, market: Market
) -> None:
    shown = {}
    for ticker in TICKERS:
        found = chart(url, ticker.replace(".", "-"), interval="5m", range="5d")
        opens = found["indicators"]["quote"][0]["open"]
        assert len(opens) == len(found["timestamp"])
        bars = market.history(ticker, found["timestamp"][0], seconds(NOW))
        closed = [t for t in found["timestamp"] if t + BAR_SECONDS <= NOW.timestamp()]
        kept = [t for t, o in zip(found["timestamp"], opens, strict=True) if o is not None]
        assert [t for t in kept if t + BAR_SECONDS <= NOW.timestamp()] == bars.ts.tolist()
        gaps = len(bars) < (bars.ts[-1] - bars.ts[0]) // BAR_SECONDS + 1 and None in opens
        shown[ticker] = (gaps, len(closed) == len(bars))
    assert (True, False) in shown.values()
    assert (False, True) in shown.values()


def test_the_meta_describes_the_exchange(url: str) -> None:
    meta = chart(url, "BRK-B", interval="5m", range="5d")["meta"]
    assert meta["symbol"] == "BRK-B"
    assert meta["exchangeTimezoneName"] == "America/New_York"
    assert meta["gmtoffset"] == -14_400
    assert meta["dataGranularity"] == "5m"
    assert {"1d", "5d", "1mo", "max"} <= set(meta["validRanges"])
    assert len(meta["tradingPeriods"]) == 5
    regular = meta["currentTradingPeriod"]["regular"]
    assert regular["start"] == seconds(dt.datetime(2026, 9, 21, 13, 30, tzinfo=dt.UTC))
    assert chart(url, "SPY", interval="5m", range="1d")["meta"]["instrumentType"] == "ETF"


def test_an_empty_window_has_no_timestamps(url: str) -> None:
    saturday = dt.datetime(2026, 9, 19, tzinfo=dt.UTC)
    found = chart(
        url,
        "AAPL",
        interval="5m",
        period1=seconds(saturday),
        period2=seconds(saturday + dt.timedelta(days=1)),
    )
    assert "timestamp" not in found
    assert found["indicators"] == {"quote": [{}]}


def test_the_date_header_is_the_markets_time(url: str, faults: Faults) -> None:
    faults.arm({"vendor": "yahoo", "path": "/v8", "status": 500})
    for status in (500, 200, 404):
        symbol = "NOPE" if status == 404 else "AAPL"
        answer = requests.get(f"{url}/v8/finance/chart/{symbol}", timeout=10)
        assert answer.status_code == status
        assert parse_date(answer.headers["Date"]) == NOW


def test_a_crumb_needs_the_cookie(url: str) -> None:
    with requests.Session() as session:
        refused = session.get(f"{url}/v1/test/getcrumb", timeout=10)
        assert refused.status_code == 401
        assert refused.json()["finance"]["error"]["code"] == "Unauthorized"
        assert "A3" in session.get(f"{url}/", timeout=10).cookies
        assert session.get(f"{url}/v1/test/getcrumb", timeout=10).text


@pytest.mark.parametrize(
    ("symbol", "query", "status", "code", "reason"),
    [
        ("NOPE", {}, 404, "Not Found", "No data found, symbol may be delisted"),
        ("BRK.B", {}, 404, "Not Found", "No data found, symbol may be delisted"),
        ("AAPL", {"interval": "7m"}, 422, "Unprocessable Entity", "interval=7m is not supported"),
        ("AAPL", {"range": "soon"}, 422, "Unprocessable Entity", "range=soon is not supported"),
        ("AAPL", {"interval": "5m", "range": "3mo"}, 422, "Unprocessable Entity", "last 60 days"),
        ("AAPL", {"period1": "x"}, 400, "Bad Request", "epoch seconds"),
        ("AAPL", {"period1": "9", "period2": "8"}, 400, "Bad Request", "after end date"),
    ],
)
def test_a_wrong_request_is_answered_in_yahoos_shape(
    url: str, symbol: str, query: dict, status: int, code: str, reason: str
) -> None:
    answer = requests.get(f"{url}/v8/finance/chart/{symbol}", params=query, timeout=10)
    assert answer.status_code == status
    body = answer.json()["chart"]
    assert body["result"] is None
    assert body["error"]["code"] == code
    assert reason in body["error"]["description"]


def test_a_split_rewrites_what_yahoo_tells_of_the_past(tmp_path: Path) -> None:
    market = simulated_market(("AAPL",), seed=7, edge=0, start=START, splits=60)
    with Servers({"yahoo": yahoo.create_app(market, Faults())}) as urls:
        opens = market.clock.now()
        market.clock.step_to(opens + 10 * BAR)
        query = {"interval": "5m", "period1": seconds(opens), "period2": seconds(opens) + 1}
        before = chart(urls["yahoo"], "AAPL", **query)["indicators"]["quote"][0]
        market.clock.step_to(opens + dt.timedelta(days=10))
        after = chart(urls["yahoo"], "AAPL", **query)["indicators"]["quote"][0]
        split = chart(urls["yahoo"], "AAPL", interval="5m", range="1mo", events="div,splits")
    ratios = [
        e["numerator"] / e["denominator"]
        for e in split["events"]["splits"].values()
        if e["date"] > seconds(opens)
    ]
    assert ratios
    assert before["open"][0] / after["open"][0] == pytest.approx(np.prod(ratios))


def test_on_a_running_clock_an_answer_is_of_one_moment(url: str, market: Market) -> None:
    market.clock.run(30_000)
    found = []
    for _ in range(12):
        answer = requests.get(
            f"{url}/v8/finance/chart/SPY", params={"interval": "5m", "range": "1d"}, timeout=10
        )
        rows = answer.json()["chart"]["result"][0]
        date = parse_date(answer.headers["Date"])
        assert date is not None
        found.append((seconds(date), rows["timestamp"], rows["indicators"]["quote"][0]["close"]))
    market.clock.halt()
    market.clock.step_to(NOW + dt.timedelta(days=60))
    for date, times, closes in found:
        truth = market.history("SPY", times[0], date)
        closed = {t: c for t, c in zip(times, closes, strict=True) if t + BAR_SECONDS <= date}
        end = date - BAR_SECONDS
        assert {t: c for t, c in closed.items() if t in set(truth.ts.tolist())} == {
            int(t): c for t, c in zip(truth.ts, truth.close, strict=True) if t <= end
        }
    assert found[-1][0] > found[0][0] + BAR_SECONDS

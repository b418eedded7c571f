"""What is done to the sandbox's market at run time, as its vendors' answers show it over HTTP."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from astra.sessions import BAR, BAR_SECONDS, next_session
from sandbox.main import Personality, Sandbox
from sandbox.markets import simulated_market

START = dt.date(2026, 9, 14)
NOW = dt.datetime(2026, 9, 16, 15, 2, 30, tzinfo=dt.UTC)  # 2.5 minutes into a bar of the third day
OPEN = dt.datetime(2026, 9, 16, 13, 30, tzinfo=dt.UTC)
TOMORROW = dt.datetime(2026, 9, 17, 13, 30, tzinfo=dt.UTC)
TICKERS = ("AAPL", "MSFT", "OXY", "SPY")
KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}


def opened() -> Sandbox:
    market = simulated_market(TICKERS, seed=7, start=START, at=NOW, splits=0)
    return Sandbox(market, personality=Personality(requests_per_minute=100_000))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with opened() as running:
        yield running


@pytest.fixture(scope="module")
def untouched() -> Iterator[Sandbox]:
    with opened() as running:
        yield running


def happen(sandbox: Sandbox, **event: Any) -> list[dict[str, Any]]:
    answer = requests.post(f"{sandbox.urls.control}/sandbox/market", json=event, timeout=5)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def step(sandbox: Sandbox, to: dt.datetime) -> None:
    sandbox.market.clock.step_to(to)


def chart(sandbox: Sandbox, symbol: str, **query: Any) -> dict[str, Any]:
    query = {"interval": "5m", "range": "5d", "events": "div,splits", **query}
    answer = requests.get(f"{sandbox.urls.yahoo}/v8/finance/chart/{symbol}", query, timeout=5)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["chart"]["result"][0]
    return found


def quotes(sandbox: Sandbox, symbol: str, name: str = "close", **query: Any) -> dict[int, float]:
    """Yahoo's values of one field by time, nulls left out."""
    found = chart(sandbox, symbol, **query)
    values = found["indicators"]["quote"][0].get(name, [])
    pairs = zip(found.get("timestamp", []), values, strict=True)
    return {t: v for t, v in pairs if v is not None}


def alpaca(sandbox: Sandbox, path: str, **query: Any) -> requests.Response:
    return requests.get(f"{sandbox.urls.alpaca}/v2/{path}", query, headers=KEYS, timeout=5)


def bars(sandbox: Sandbox, symbol: str, name: str = "c", **query: Any) -> dict[int, float]:
    """Alpaca's values of one field by time; empty if it has no bars of the symbol."""
    query = {"timeframe": "5Min", "start": "2026-09-14", "adjustment": "split",
             "limit": 10_000, "symbols": symbol, **query}  # fmt: skip
    page = alpaca(sandbox, "stocks/bars", **query).json()
    assert page["next_page_token"] is None
    found = page["bars"].get(symbol, [])
    return {seconds(dt.datetime.fromisoformat(bar["t"])): bar[name] for bar in found}


def seconds(t: dt.datetime) -> int:
    return int(t.timestamp())


def buy(sandbox: Sandbox, symbol: str, qty: int) -> requests.Response:
    order = {"symbol": symbol, "qty": qty, "side": "buy", "type": "market", "time_in_force": "day"}
    return requests.post(f"{sandbox.urls.alpaca}/v2/orders", json=order, headers=KEYS, timeout=5)


# A split


def test_a_split_rewrites_history_at_the_next_open_and_not_before(sandbox: Sandbox) -> None:
    (event,) = happen(sandbox, split={"ticker": "OXY", "ratio": 4})
    assert event == {
        "split": {"ticker": "OXY", "ratio": 4.0, "at": TOMORROW.isoformat()},
        "taken_at": NOW.isoformat(),
    }
    before, volumes = bars(sandbox, "OXY"), bars(sandbox, "OXY", "v")
    step(sandbox, TOMORROW - BAR)
    assert "events" not in chart(sandbox, "OXY")
    assert bars(sandbox, "OXY").items() >= before.items()
    step(sandbox, TOMORROW + BAR)
    after, yahoo = bars(sandbox, "OXY"), quotes(sandbox, "OXY")
    assert {t: after[t] * 4 for t in before} == pytest.approx(before, rel=1e-12)
    assert {t: yahoo[t] * 4 for t in before} == pytest.approx(before, rel=1e-12)
    assert {t: bars(sandbox, "OXY", "v")[t] for t in before} == {t: 4 * volumes[t] for t in before}
    raw = bars(sandbox, "OXY", adjustment="raw")
    assert {t: raw[t] for t in before} == pytest.approx(before, rel=1e-12)
    assert raw[seconds(TOMORROW)] == after[seconds(TOMORROW)]
    at = seconds(TOMORROW)
    assert chart(sandbox, "OXY")["events"]["splits"] == {
        str(at): {"date": at, "numerator": 4.0, "denominator": 1.0, "splitRatio": "4:1"}
    }
    assert chart(sandbox, "OXY", range="1mo")["events"]["splits"]
    assert "events" not in chart(sandbox, "AAPL")


def test_a_split_multiplies_the_position_and_keeps_its_worth(sandbox: Sandbox) -> None:
    filled = buy(sandbox, "OXY", 10).json()
    happen(sandbox, split={"ticker": "OXY", "ratio": 3})
    step(sandbox, TOMORROW - dt.timedelta(minutes=1))
    before = alpaca(sandbox, "positions/OXY").json()
    step(sandbox, TOMORROW + dt.timedelta(minutes=1))
    after = alpaca(sandbox, "positions/OXY").json()
    assert (before["qty"], after["qty"]) == ("10", "30")
    assert float(after["lastday_price"]) == pytest.approx(float(before["current_price"]) / 3)
    assert float(after["cost_basis"]) == float(before["cost_basis"])
    (line,) = alpaca(sandbox, "account/activities/SPLIT").json()
    assert (line["symbol"], line["qty"], line["description"]) == ("OXY", "20", "3 for 1")
    (fill,) = alpaca(sandbox, "account/activities/FILL").json()
    assert (fill["price"], fill["qty"]) == (filled["filled_avg_price"], "10")


def test_a_reverse_split_on_a_day_of_choice(sandbox: Sandbox) -> None:
    at = next_session(TOMORROW + dt.timedelta(hours=8)).opens_at
    happen(sandbox, split={"ticker": "AAPL", "ratio": 0.1, "at": (at + BAR).isoformat()})
    before = quotes(sandbox, "AAPL")
    step(sandbox, at + BAR)
    closed = seconds(NOW) - BAR_SECONDS
    after = quotes(sandbox, "AAPL")
    for t in (t for t in before if t <= closed):
        assert after[t] == pytest.approx(10 * before[t], rel=1e-12)
    (event,) = chart(sandbox, "AAPL")["events"]["splits"].values()
    assert event["splitRatio"] == "1:10"


def test_a_dividend_after_a_split_is_per_share_of_its_day() -> None:
    """Two markets, one split: the money that all shares of the beginning got is the same."""
    plain, split = (simulated_market(TICKERS, start=START, at=NOW, splits=0) for _ in "ab")
    with Sandbox(split) as sandbox:
        happen(sandbox, split={"ticker": "MSFT", "ratio": 4})
    for market in (plain, split):
        market.clock.step_to(NOW + dt.timedelta(days=150))
    paid = [a.value for a in plain.actions("MSFT")]
    assert paid
    halved = [a.value for a in split.actions("MSFT") if a.kind == "dividend"]
    assert [4 * value for value in halved] == pytest.approx(paid)


# A correction


def test_a_corrected_bar_is_served_by_both_vendors_and_stays_plausible(sandbox: Sandbox) -> None:
    ts = seconds(OPEN + 3 * BAR)
    highs, lows = bars(sandbox, "OXY", "h"), bars(sandbox, "OXY", "l")
    before, traded = bars(sandbox, "OXY"), bars(sandbox, "OXY", "v")
    order = buy(sandbox, "OXY", 10).json()
    close = round(highs[ts] * 1.02, 2)
    correct = {"ticker": "OXY", "ts": (OPEN + 3 * BAR).isoformat(), "close": close}
    happen(sandbox, correct=correct)
    for closes, tops, bottoms in (
        (bars(sandbox, "OXY"), bars(sandbox, "OXY", "h"), bars(sandbox, "OXY", "l")),
        (*(quotes(sandbox, "OXY", name) for name in ("close", "high", "low")),),
    ):
        assert (closes[ts], tops[ts], bottoms[ts]) == (close, close, lows[ts])
        assert {t: closes[t] for t in before if t != ts} == {
            t: before[t] for t in before if t != ts
        }
    happen(sandbox, correct={"ticker": "OXY", "ts": (OPEN + 3 * BAR).isoformat(), "volume": 12})
    assert bars(sandbox, "OXY", "v")[ts] == quotes(sandbox, "OXY", "volume")[ts] == 12
    assert bars(sandbox, "OXY")[ts] == close
    assert {t: v for t, v in bars(sandbox, "OXY", "v").items() if t != ts} == {
        t: v for t, v in traded.items() if t != ts
    }
    again = alpaca(sandbox, f"orders/{order['id']}").json()
    assert again["filled_avg_price"] == order["filled_avg_price"]


def test_a_factor_moves_the_close_and_the_low_follows(sandbox: Sandbox) -> None:
    ts, before = seconds(OPEN), bars(sandbox, "AAPL")
    happen(sandbox, correct={"ticker": "AAPL", "ts": OPEN.isoformat(), "factor": 0.9})
    expected = round(before[ts] * 0.9, 4)
    assert bars(sandbox, "AAPL")[ts] == bars(sandbox, "AAPL", "l")[ts] == expected


def test_a_correction_is_split_with_the_rest(sandbox: Sandbox) -> None:
    happen(sandbox, correct={"ticker": "OXY", "ts": OPEN.isoformat(), "close": 90, "volume": 7})
    happen(sandbox, split={"ticker": "OXY", "ratio": 3})
    step(sandbox, TOMORROW + BAR)
    assert bars(sandbox, "OXY")[seconds(OPEN)] == 30
    assert quotes(sandbox, "OXY", "volume")[seconds(OPEN)] == 21
    assert bars(sandbox, "OXY", adjustment="raw")[seconds(OPEN)] == 90
    happen(sandbox, correct={"ticker": "OXY", "ts": OPEN.isoformat(), "close": 31})
    assert bars(sandbox, "OXY")[seconds(OPEN)] == 31
    assert bars(sandbox, "OXY", "v")[seconds(OPEN)] == 21


# A stopped feed


def test_a_stopped_feed_holds_nothing_later_and_catches_up(sandbox: Sandbox) -> None:
    happen(sandbox, stop={"ticker": "OXY"})
    step(sandbox, NOW + 12 * BAR)
    for held in (quotes(sandbox, "OXY"), bars(sandbox, "OXY")):
        assert max(held) == seconds(OPEN + 17 * BAR)  # the last that had closed
    meta = chart(sandbox, "OXY")["meta"]
    assert meta["regularMarketTime"] == seconds(OPEN + 18 * BAR)
    assert meta["regularMarketPrice"] == bars(sandbox, "OXY")[seconds(OPEN + 17 * BAR)]
    assert max(bars(sandbox, "AAPL")) == seconds(OPEN + 29 * BAR)
    day = chart(sandbox, "OXY", interval="1d")
    assert day["timestamp"][-1] == seconds(NOW)
    assert buy(sandbox, "OXY", 1).json()["status"] == "filled"  # the market goes on
    happen(sandbox, resume={"ticker": "OXY"})
    assert max(bars(sandbox, "OXY")) == seconds(OPEN + 29 * BAR)
    assert max(quotes(sandbox, "OXY")) == seconds(NOW + 12 * BAR)


def test_one_vendors_feed_stops_for_all_tickers_while_the_other_goes_on(sandbox: Sandbox) -> None:
    stopped_at = (OPEN + 6 * BAR).isoformat()
    happen(sandbox, stop={"ticker": "*", "vendor": "yahoo", "at": stopped_at})
    for ticker in TICKERS:
        assert max(quotes(sandbox, ticker)) == seconds(OPEN + 5 * BAR)
        assert max(bars(sandbox, ticker)) == seconds(OPEN + 17 * BAR)
    happen(sandbox, resume={"ticker": "*"})
    assert max(quotes(sandbox, "OXY")) == seconds(NOW)


def test_a_feed_that_stops_later_serves_until_then(sandbox: Sandbox) -> None:
    happen(sandbox, stop={"ticker": "SPY", "at": (NOW + 2 * BAR).isoformat()})
    assert max(quotes(sandbox, "SPY")) == seconds(NOW)
    step(sandbox, NOW + dt.timedelta(days=1))
    assert max(quotes(sandbox, "SPY")) == seconds(OPEN + 19 * BAR)


# Leavers and joiners


def test_a_delisted_ticker_is_unknown_to_yahoo_and_inactive_at_alpaca(sandbox: Sandbox) -> None:
    buy(sandbox, "OXY", 10)
    worth = alpaca(sandbox, "positions/OXY").json()["market_value"]
    happen(sandbox, delist={"ticker": "OXY"})
    gone = requests.get(f"{sandbox.urls.yahoo}/v8/finance/chart/OXY", timeout=5)
    assert gone.status_code == 404
    error = gone.json()["chart"]["error"]
    assert error["description"] == "No data found, symbol may be delisted"
    assert bars(sandbox, "OXY") == {}
    assert set(alpaca(sandbox, "stocks/bars", symbols="AAPL,OXY", timeframe="5Min").json()["bars"]
               ) == {"AAPL"}  # fmt: skip
    asset = alpaca(sandbox, "assets/OXY").json()
    assert (asset["status"], asset["tradable"]) == ("inactive", False)
    active = {a["symbol"] for a in alpaca(sandbox, "assets", status="active").json()}
    assert active == {"AAPL", "MSFT", "SPY"}
    assert [a["symbol"] for a in alpaca(sandbox, "assets", status="inactive").json()] == ["OXY"]
    refused = buy(sandbox, "OXY", 1)
    assert (refused.status_code, refused.json()["message"]) == (422, 'asset "OXY" is not active')
    step(sandbox, TOMORROW + BAR)
    held = alpaca(sandbox, "positions/OXY").json()  # what was held stays, at its last price
    assert held["qty"] == "10"
    assert float(held["market_value"]) == pytest.approx(float(worth), rel=0.01)
    state = requests.get(f"{sandbox.urls.control}/sandbox/state", timeout=5).json()
    assert state["market"]["tickers"] == ["AAPL", "MSFT", "SPY"]


def test_a_new_listing_has_bars_from_its_first_session_on(sandbox: Sandbox) -> None:
    at = TOMORROW + dt.timedelta(hours=1)
    happen(sandbox, list={"ticker": "NEWCO", "at": at.isoformat()})
    path = f"{sandbox.urls.yahoo}/v8/finance/chart/NEWCO"
    assert requests.get(path, timeout=5).status_code == 404
    assert alpaca(sandbox, "assets/NEWCO").status_code == 404
    assert buy(sandbox, "NEWCO", 1).status_code == 422
    step(sandbox, TOMORROW + 2 * BAR)
    assert min(bars(sandbox, "NEWCO")) == seconds(TOMORROW)
    found = chart(sandbox, "NEWCO", range="60d")
    assert found["timestamp"][0] == found["meta"]["firstTradeDate"] == seconds(TOMORROW)
    assert alpaca(sandbox, "assets/NEWCO").json()["tradable"]
    assert buy(sandbox, "NEWCO", 2).json()["status"] == "filled"
    step(sandbox, TOMORROW + dt.timedelta(days=1))
    assert alpaca(sandbox, "positions/NEWCO").json()["qty"] == "2"


def test_a_listing_in_the_past_has_the_bars_it_had_in_a_market_with_it_all_along(
    sandbox: Sandbox,
) -> None:
    happen(sandbox, list={"ticker": "XOM", "at": OPEN.isoformat()})
    whole = simulated_market((*TICKERS, "XOM"), seed=7, start=START, at=NOW, splits=0)
    truth = whole.history("XOM", seconds(OPEN), seconds(NOW))
    assert bars(sandbox, "XOM") == dict(zip(truth.ts.tolist(), truth.close.tolist(), strict=True))


def test_the_same_events_make_the_same_market() -> None:
    found = []
    for closes_at in (NOW, TOMORROW + dt.timedelta(days=3)):  # one makes its record ahead
        market = simulated_market(TICKERS, seed=7, start=START, at=NOW, end=closes_at.date())
        with Sandbox(market) as sandbox:
            happen(sandbox, split={"ticker": "OXY", "ratio": 2})
            happen(sandbox, list={"ticker": "NEWCO"})
            happen(sandbox, correct={"ticker": "OXY", "ts": OPEN.isoformat(), "factor": 1.01})
            step(sandbox, TOMORROW + dt.timedelta(days=1))
            found.append([bars(sandbox, ticker) for ticker in ("OXY", "NEWCO", "SPY")])
    assert found[0] == found[1]
    assert all(found[0])


# What is refused


def test_one_open_takes_one_split_of_a_ticker(sandbox: Sandbox) -> None:
    happen(sandbox, split={"ticker": "OXY", "ratio": 2})
    again = {"split": {"ticker": "OXY", "ratio": 3}}
    answer = requests.post(f"{sandbox.urls.control}/sandbox/market", json=again, timeout=5)
    assert answer.status_code == 400
    assert "OXY already splits 2 for 1" in answer.json()["message"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({}, "the market takes one of split, correct, stop, resume, delist, list"),
        ({"crash": {}}, "found crash"),
        ({"delist": {"ticker": "OXY"}, "stop": {"ticker": "OXY"}}, "found delist, stop"),
        ({"split": "OXY"}, "split is a JSON object with ticker, ratio, at"),
        ({"split": {"ticker": "OXY"}}, "split needs a ratio"),
        ({"split": {"ticker": "OXY", "ratio": 0}}, "split's ratio is how many new shares"),
        ({"split": {"ticker": "OXY", "ratio": True}}, "found True"),
        ({"split": {"ticker": "OXY", "ratio": 2, "on": "x"}}, "found 'on'"),
        ({"split": {"ticker": "OXY", "ratio": 2, "at": "soon"}}, "split's at is an ISO time"),
        ({"split": {"ticker": "OXY", "ratio": 2, "at": "2026-09-18T14:00"}}, "with a zone"),
        ({"split": {"ticker": "OXY", "ratio": 2, "at": NOW.isoformat()}}, "yet to come"),
        ({"split": {"ticker": "NOPE", "ratio": 2}}, "'NOPE' is not one now"),
        ({"split": {"ticker": "*", "ratio": 2}}, "'*' is not one now"),
        ({"correct": {"ticker": "OXY", "ts": OPEN.isoformat()}}, "a close or a factor"),
        (
            {"correct": {"ticker": "OXY", "ts": OPEN.isoformat(), "close": 1, "factor": 2}},
            "a close or a factor",
        ),
        ({"correct": {"ticker": "OXY", "ts": OPEN.isoformat(), "close": -1}}, "a price above 0"),
        ({"correct": {"ticker": "OXY", "ts": OPEN.isoformat(), "volume": 1.5}}, "of shares"),
        (
            {"correct": {"ticker": "OXY", "ts": (NOW - BAR).isoformat(), "close": 1}},
            "has none that starts at",
        ),
        (
            {"correct": {"ticker": "OXY", "ts": "2026-09-16T15:00:00+00:00", "close": 1}},
            "a correction needs a closed bar",
        ),
        ({"stop": {"ticker": "OXY", "vendor": "storage"}}, "one of yahoo, alpaca"),
        ({"resume": {"ticker": "OXY"}}, "only a stopped feed can resume"),
        ({"list": {"ticker": "OXY"}}, "that never was, found 'OXY'"),
        ({"list": {"ticker": "newco"}}, "a ticker such as BRK.B"),
        ({"list": {"ticker": "*"}}, "that never was, found '*'"),
        ({"list": {"ticker": "QQQ"}}, "can't be listed by itself"),
        ({"list": {"ticker": "X", "at": "2020-01-02T15:00:00Z"}}, "first session"),
    ],
)
def test_an_impossible_event_is_refused_and_changes_nothing(
    untouched: Sandbox, event: dict[str, Any], reason: str
) -> None:
    control = f"{untouched.urls.control}/sandbox"
    answer = requests.post(f"{control}/market", json=event, timeout=5)
    assert answer.status_code == 400
    assert reason in answer.json()["message"]
    assert requests.get(f"{control}/state", timeout=5).json()["events"] == []

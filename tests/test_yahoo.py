"""Yahoo as a source: several processes with yfinance in them against the sandbox's Yahoo."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from flask import Flask, Response, jsonify
from werkzeug.http import http_date

from astra import bars
from astra.errors import ConfigError, TemporaryError
from astra.sessions import last_sessions
from astra.settings import Settings
from etl_service.sources.source import Fetched, Source
from etl_service.sources.yahoo_workers import REACH, Yahoo
from sandbox.faults import Faults
from sandbox.market import Market, default_tickers
from sandbox.markets import simulated_market
from sandbox.serving import Servers
from sandbox.yahoo import create_app as create_yahoo

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOUSE = Path(__file__).parent.parent
TICKERS = ("AAPL", "BRK.B", "OXY", "SPY")
NOW = dt.datetime(2026, 7, 15, 15, 2, 30, tzinfo=dt.UTC)
MINUTES = dt.timedelta(minutes=1)
MONDAY = dt.datetime(2026, 7, 13, 13, 30, tzinfo=dt.UTC)
PROCESSES = 2


class Vendor:
    """One address behind which each test puts its own Yahoo; writes down what it is asked."""

    url = ""

    def __init__(self) -> None:
        self.app = Flask("vendor")
        self.app.wsgi_app = self._answer  # type: ignore[method-assign, assignment]
        self.hook: Callable[[WSGIEnvironment], None] = lambda _: None
        self._lock = threading.Lock()
        self.show(Flask("nothing"))

    def show(self, behind: Flask) -> None:
        self.behind, self.asked, self.most = behind, list[str](), 0
        self.hook, self._inside = (lambda _: None), 0

    def charts(self) -> list[str]:
        return [path for path in self.asked if "/chart/" in path]

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        with self._lock:
            self.asked.append(environ["PATH_INFO"] + query)
            self._inside += 1
            self.most = max(self.most, self._inside)
        try:
            self.hook(environ)
            return list(self.behind.wsgi_app(environ, start))
        finally:
            with self._lock:
                self._inside -= 1


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    vendor = Vendor()
    with Servers({"yahoo": vendor.app}) as urls:
        vendor.url = urls["yahoo"]
        yield vendor


def settings(var: Path, vendor: Vendor | None, **options: Any) -> Settings:
    url = vendor.url if vendor else "http://127.0.0.1:9"
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        var=var,
        yahoo_url=url,
        vendor_timeout=1.0,
        **options,
    )


@pytest.fixture(scope="module")
def source(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yahoo]:
    yahoo = Yahoo(settings(tmp_path_factory.mktemp("var"), vendor, load_processes=PROCESSES))
    yield yahoo
    yahoo.close()


class Shown:
    """A sandbox market behind the vendor's address."""

    def __init__(self, vendor: Vendor, tickers: tuple[str, ...] = TICKERS, **options: Any) -> None:
        asked: dict[str, Any] = {"start": dt.date(2026, 7, 1), "at": NOW, "splits": 0.0} | options
        self.market: Market = simulated_market(tickers, **asked)
        self.faults = Faults()
        vendor.show(create_yahoo(self.market, self.faults))

    def arm(self, ticker: str, **fault: Any) -> None:
        self.faults.arm({"vendor": "yahoo", "path": f"/v8/finance/chart/{ticker}", **fault})

    def truth(self, ticker: str, start: dt.datetime = MONDAY) -> list[tuple[int, float, int]]:
        found = self.market.history(ticker, int(start.timestamp()), 2**40)
        return rows(pd.DataFrame({"ts": found.ts, "close": found.close, "volume": found.volume}))


@pytest.fixture
def shown(vendor: Vendor) -> Shown:
    return Shown(vendor)


def rows(frame: pd.DataFrame) -> list[tuple[int, float, int]]:
    columns = (frame["ts"].tolist(), frame["close"].tolist(), frame["volume"].tolist())
    return list(zip(*columns, strict=True))


def fetched(
    source: Source, *tickers: str, start: dt.datetime | None = MONDAY
) -> dict[str, Fetched]:
    """Each ticker's answer, after Yahoo's time was asked; fails if one comes twice or never."""
    source.ask_now()
    found = list(source.fetch(dict.fromkeys(tickers, start)))
    assert sorted(one.ticker for one in found) == sorted(tickers)
    return {one.ticker: one for one in found}


# --- what it brings


def test_each_ticker_comes_once_with_every_closed_bar_and_nothing_to_reject(
    source: Yahoo, shown: Shown
) -> None:
    found = fetched(source, *TICKERS)
    for ticker, one in found.items():
        assert (one.status, one.now, one.message, one.split) == ("ok", NOW, "", None)
        assert list(one.frame.columns) == list(bars.COLUMNS)
        valid, rejected = bars.validate(one.frame, one.now)
        assert rows(valid) == shown.truth(ticker) != []
        assert rejected == bars.Rejected(forming=rejected.forming)
        assert set(valid["ticker"]) == {ticker}
    assert source.market == shown.market.identity


def test_each_ticker_has_its_own_start_and_none_is_older_than_yahoo_reaches(
    source: Yahoo, shown: Shown, vendor: Vendor
) -> None:
    source.ask_now()
    earliest = source.earliest(NOW)
    starts = {"AAPL": MONDAY, "BRK.B": None, "OXY": NOW - dt.timedelta(days=90), "SPY": NOW}
    found = {one.ticker: one for one in source.fetch(starts)}
    assert earliest == NOW - REACH > NOW - dt.timedelta(days=60)
    expected = {"AAPL": MONDAY, "BRK-B": earliest, "OXY": earliest}
    assert {path.split("?")[0].rpartition("/")[2] for path in vendor.charts()} == set(expected)
    for path in vendor.charts():
        symbol = path.split("?")[0].rpartition("/")[2]
        assert f"period1={int(expected[symbol].timestamp())}&" in path
        assert f"period2={int(NOW.timestamp())}&" in path
    assert found["SPY"].status == "empty"


def test_a_warm_session_costs_one_request_a_ticker(
    source: Yahoo, shown: Shown, vendor: Vendor
) -> None:
    tickers = default_tickers(12)[:12]
    Shown(vendor, tickers)
    for _ in range(2):  # yfinance finds its cookie again from the second request on
        fetched(source, *tickers)
    vendor.asked.clear()
    assert len(list(source.fetch(dict.fromkeys(tickers, MONDAY)))) == source.requests(12) == 12
    assert len(vendor.asked) == len(vendor.charts()) == 12


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_the_machines_clock_counts_for_nothing(source: Yahoo, vendor: Vendor, days: int) -> None:
    session = last_sessions(1, dt.datetime.now(dt.UTC) + dt.timedelta(days=days))[0]
    now, start = session.opens_at + 92 * MINUTES, session.opens_at - dt.timedelta(days=10)
    shown = Shown(vendor, ("AAPL", "OXY"), start=start.date(), at=now)
    for ticker, one in fetched(source, "AAPL", "OXY", start=start).items():
        assert (one.status, one.now) == ("ok", now)
        valid, _ = bars.validate(one.frame, one.now)
        assert rows(valid) == shown.truth(ticker, start) != []


def test_the_time_moves_on_with_the_answers(source: Yahoo, shown: Shown, vendor: Vendor) -> None:
    source.ask_now()
    later = NOW + 30 * MINUTES
    shown.market.clock.step_to(later)
    first = next(iter(source.fetch({"AAPL": MONDAY})))
    second = next(iter(source.fetch({"AAPL": MONDAY})))
    assert (first.now, second.now) == (later, later)
    assert len(second.frame) >= len(first.frame) + 6
    assert "now" not in vendor.asked[-1]


# --- recorded and hand-made answers


def serve(vendor: Vendor, body: Any, status: int = 200, **headers: str) -> None:
    """The same answer to every request for a chart."""
    app = Flask("canned")

    @app.route("/", defaults={"path": ""})
    @app.route("/<path:path>")
    def _any(path: str) -> Response:
        answer = jsonify(body) if "chart" in path and not isinstance(body, str) else Response(body)
        answer.status_code = status if "chart" in path else 200
        answer.headers.update({"Date": http_date(NOW)} | headers)
        return answer

    if not isinstance(body, str):
        app.json.sort_keys = False  # type: ignore[attr-defined]
    vendor.show(app)


def chart(ts: list[int], closes: list[float | None], **changes: Any) -> dict[str, Any]:
    """A chart answer with flat bars; `changes` by the names of its parts."""
    opens = int(NOW.replace(hour=13, minute=30, second=0).timestamp())
    period = {"timezone": "EDT", "start": opens, "end": opens + 23_400, "gmtoffset": -14400}
    meta = {
        "symbol": "AAPL", "currency": "USD", "instrumentType": "EQUITY", "dataGranularity": "5m",
        "exchangeTimezoneName": "America/New_York", "tradingPeriods": [[period]],
        "validRanges": ["1d"],
    }  # fmt: skip
    volume = [None if c is None else 100 for c in closes]
    quote = {name: list(closes) for name in ("open", "high", "low", "close")} | {"volume": volume}
    result = {
        "meta": meta | changes.get("meta", {}),
        "timestamp": ts,
        "indicators": {"quote": [quote | changes.get("quote", {})]},
        "events": changes.get("events", {}),
    }
    return {"chart": {"result": [result], "error": None}}


OPEN = int(NOW.replace(hour=13, minute=30, second=0).timestamp())


def test_the_live_point_is_no_bar_even_if_no_bar_forms(source: Yahoo, vendor: Vendor) -> None:
    live = int(NOW.timestamp()) - 2
    serve(vendor, chart([OPEN, OPEN + 300, live], [1.0, 2.0, 3.0], quote={"volume": [9, 8, 0]}))
    frame = fetched(source, "AAPL")["AAPL"].frame
    assert rows(frame) == [(OPEN, 1.0, 9), (OPEN + 300, 2.0, 8)]


def test_other_points_off_the_grid_are_left_to_be_rejected(source: Yahoo, vendor: Vendor) -> None:
    ts = [OPEN, OPEN + 310, OPEN + 700]
    serve(vendor, chart(ts, [1.0, 2.0, 3.0], quote={"volume": [9, 0, 7]}))
    one = fetched(source, "AAPL")["AAPL"]
    assert one.frame["ts"].tolist() == ts
    assert bars.validate(one.frame, one.now)[1] == bars.Rejected(off_grid=2)


def test_nulls_mean_that_nobody_traded_and_half_a_null_is_rejected(
    source: Yahoo, vendor: Vendor
) -> None:
    ts = [OPEN + 300 * n for n in range(4)]
    quote = {"high": [1.0, None, 2.0, None], "volume": [5, None, 6, 0]}
    closes = [1.0, None, 2.0, None]
    serve(vendor, chart(ts, closes, quote=quote | {"open": [1.0, None, None, None]}))
    one = fetched(source, "AAPL")["AAPL"]
    assert one.frame["ts"].tolist() == [ts[0], ts[2]]
    valid, rejected = bars.validate(one.frame, one.now)
    assert (rows(valid), rejected) == ([(OPEN, 1.0, 5)], bars.Rejected(missing=1))


def test_nothing_but_nulls_is_empty(source: Yahoo, vendor: Vendor) -> None:
    serve(vendor, chart([OPEN, OPEN + 300], [None, None]))
    one = fetched(source, "AAPL")["AAPL"]
    assert (one.status, one.message, len(one.frame)) == ("empty", "", 0)


def test_splits_in_the_window_multiply_also_where_nobody_traded(
    source: Yahoo, vendor: Vendor
) -> None:
    splits = {
        "1": {"date": OPEN - 86_400, "numerator": 4, "denominator": 1, "splitRatio": "4:1"},
        "2": {"date": OPEN, "numerator": 3, "denominator": 2, "splitRatio": "3:2"},
    }
    ts = [OPEN - 86_400, OPEN - 86_100, OPEN]
    dividends = {"3": {"amount": 0.2, "date": OPEN}}
    events = {"splits": splits, "dividends": dividends}
    serve(vendor, chart(ts, [None, 2.0, 3.0], events=events))
    one = fetched(source, "AAPL")["AAPL"]
    assert one.split == pytest.approx(6.0)
    assert one.frame["ts"].tolist() == ts[1:]
    serve(vendor, chart(ts, [1.0, 2.0, 3.0], events={"dividends": dividends}))
    assert fetched(source, "AAPL")["AAPL"].split is None


@pytest.mark.parametrize(
    "meta",
    [
        {"dataGranularity": "1d"},
        {"symbol": "AAPX"},
        {"currency": "CAD"},
        {"currency": None},
        {"tradingPeriods": None},
    ],
)
def test_an_answer_about_something_else_is_refused(
    source: Yahoo, vendor: Vendor, meta: dict[str, str | None]
) -> None:
    serve(vendor, chart([OPEN, OPEN + 300], [1.0, 2.0], meta=meta))
    one = fetched(source, "AAPL")["AAPL"]
    assert (one.status, one.passes, len(one.frame)) == ("error", False, 0)
    assert "cannot be read" in one.message


def payloads(folder: Path) -> Iterator[tuple[str, int, Any]]:
    for path in sorted(folder.glob("yahoo_*/*.json")):
        body, status = json.loads(path.read_text()), 200
        if "response" in body:  # a recording with its request around it
            answer = body["response"]
            status, body = answer["status"], answer.get("bodyJson", answer.get("body"))
        elif path.stem[-4:-3] == "_":
            status = int(path.stem[-3:])
        yield path.name, status, body


def test_every_recorded_answer_is_read_or_refused(
    source: Yahoo, vendor: Vendor, test_data: Path
) -> None:
    outcomes: dict[str, Fetched] = {}
    for name, status, body in payloads(test_data / "payloads"):
        results = (body.get("chart") or {}).get("result") if isinstance(body, dict) else None
        meta = results[0]["meta"] if results else {}
        last = meta.get("regularMarketTime", 0) if isinstance(meta, dict) else 0
        at = dt.datetime.fromtimestamp(last, dt.UTC) if isinstance(last, int) and last else NOW
        serve(vendor, body if body is not None else "", status, Date=http_date(at + 2 * MINUTES))
        symbol = str(meta.get("symbol", "AAPL"))
        outcomes[name] = fetched(source, symbol, start=None)[symbol]
    read = {name: one for name, one in outcomes.items() if one.status == "ok"}
    assert set(read) == {"chart_AAPL_5m_live_200.json"}
    assert all(one.frame.empty for name, one in outcomes.items() if name not in read)
    assert outcomes["chart_unknown_symbol_404.json"].unknown
    assert "last 60 days" in outcomes["chart_5m_too_old_422.json"].message
    assert [name for name, one in outcomes.items() if one.unknown] == [
        "chart_unknown_symbol_404.json"
    ]
    assert [name for name, one in outcomes.items() if one.unreachable] == [
        "quote_no_crumb_401.json"
    ]
    assert len(outcomes) >= 35


def test_the_recorded_live_answer_is_read_to_the_cent(
    source: Yahoo, vendor: Vendor, test_data: Path
) -> None:
    body = json.loads((test_data / "payloads/yahoo_5m/chart_AAPL_5m_live_200.json").read_text())
    result = body["chart"]["result"][0]
    quote = result["indicators"]["quote"][0]
    live = dt.datetime.fromtimestamp(result["timestamp"][-1], dt.UTC)
    serve(vendor, body, Date=http_date(live))
    one = fetched(source, "AAPL", start=None)["AAPL"]
    valid, rejected = bars.validate(one.frame, one.now)
    assert valid["ts"].tolist() == result["timestamp"][:-2]
    for name in (*bars.PRICES, "volume"):
        assert valid[name].tolist() == quote[name][:-2]
    assert rejected == bars.Rejected(forming=1)


# --- what goes wrong


@pytest.mark.parametrize(
    ("fault", "status", "words", "marks"),
    [
        ({"status": 429}, "rate_limited", "limits our requests", {"passes"}),
        ({"status": 500}, "error", "answered 500", {"passes", "unreachable"}),
        ({"status": 503}, "error", "answered 503", {"passes", "unreachable"}),
        ({"status": 403}, "error", "answered 403", {"passes", "unreachable"}),
        ({"delay_s": 1.5}, "error", "cannot be reached", {"passes", "unreachable"}),
        ({"drop_fields": ["instrumentType"]}, "error", "cannot be read", set()),
        ({"drop_fields": ["timestamp"]}, "error", "cannot be read", set()),
    ],
)
def test_a_fault_is_the_status_of_its_ticker_alone_and_leaves_nothing_behind(
    source: Yahoo, shown: Shown, fault: dict[str, Any], status: str, words: str, marks: set[str]
) -> None:
    shown.arm("OXY", times=None, **fault)
    found = fetched(source, *TICKERS)
    assert [found[t].status for t in TICKERS] == ["ok", "ok", status, "ok"]
    one = found["OXY"]
    assert words in one.message
    assert {n for n in ("passes", "unreachable", "unknown") if getattr(one, n)} == marks
    assert one.frame.empty
    shown.faults.disarm()
    assert fetched(source, "OXY")["OXY"].status == "ok"  # a 500 would stay in yfinance's cache


def test_an_unknown_ticker_is_marked(source: Yahoo, shown: Shown) -> None:
    found = fetched(source, "AAPL", "NOPE")
    assert (found["AAPL"].status, found["AAPL"].unknown) == ("ok", False)
    assert (found["NOPE"].status, found["NOPE"].unknown) == ("error", True)
    assert found["NOPE"].message == "Yahoo: No data found, symbol may be delisted"
    assert not found["NOPE"].passes


def test_a_connection_that_breaks_is_unreachable(
    source: Yahoo, shown: Shown, vendor: Vendor
) -> None:
    def broken(environ: WSGIEnvironment) -> None:
        if environ["PATH_INFO"].endswith("SPY"):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)

    vendor.hook = broken
    found = fetched(source, *TICKERS)
    assert [one.ticker for one in found.values() if one.unreachable] == ["SPY"]
    assert found["SPY"].passes


def test_yahoos_page_for_being_down_passes(source: Yahoo, vendor: Vendor) -> None:
    serve(vendor, "<h1>Will be right back</h1>")
    one = fetched(source, "AAPL")["AAPL"]
    assert (one.status, one.passes) == ("error", True)


def test_an_answer_that_nobody_foresaw_is_an_error_of_its_ticker(
    source: Yahoo, vendor: Vendor
) -> None:
    serve(vendor, "[" * 100_000)
    one = fetched(source, "AAPL")["AAPL"]
    assert (one.status, one.passes) == ("error", False)
    assert "cannot be read: RecursionError" in one.message


def test_without_any_answer_no_process_is_started(tmp_path: Path) -> None:
    yahoo = Yahoo(settings(tmp_path, None))
    before = set(multiprocessing.active_children())
    with pytest.raises(TemporaryError, match="cannot be reached") as raised:
        yahoo.ask_now()
    assert raised.value.retry_after == yahoo.retry_after == 60
    found = list(yahoo.fetch({"AAPL": None, "OXY": MONDAY}))
    assert [(f.ticker, f.status, f.passes, f.unreachable) for f in found] == [
        ("AAPL", "error", True, True), ("OXY", "error", True, True),
    ]  # fmt: skip
    assert set(multiprocessing.active_children()) == before


def test_the_time_needs_a_date(source: Yahoo, vendor: Vendor) -> None:
    serve(vendor, {}, Date="yesterday")
    with pytest.raises(TemporaryError, match="no date"):
        source.ask_now()


def test_yahoo_says_when_to_come_back(source: Yahoo, vendor: Vendor) -> None:
    serve(vendor, {}, 429, **{"Retry-After": "321"})
    assert source.retry_after == 60
    source.ask_now()
    assert fetched(source, "AAPL")["AAPL"].status == "rate_limited"
    assert source.retry_after == 321


def test_a_gateways_answer_does_not_name_the_market(source: Yahoo, shown: Shown) -> None:
    fetched(source, "AAPL")
    assert source.market == shown.market.identity != "real"
    shown.faults.arm({"vendor": "yahoo", "path": "/", "status": 502, "times": None})
    assert fetched(source, "AAPL")["AAPL"].status == "error"
    assert source.market == shown.market.identity


def test_a_vendor_without_a_name_is_the_real_one(source: Yahoo, vendor: Vendor) -> None:
    serve(vendor, chart([OPEN], [1.0]))
    fetched(source, "AAPL")
    assert source.market == "real"


# --- processes


def test_what_nobody_takes_is_not_asked_for_and_closing_stops_the_asking(
    source: Yahoo, vendor: Vendor
) -> None:
    tickers = default_tickers(40)[:40]
    Shown(vendor, tickers)
    source.ask_now()
    answers = source.fetch(dict.fromkeys(tickers, MONDAY))
    assert next(answers).status == "ok"
    for _ in range(2):  # takes its turn behind what is under way
        assert len(list(source.fetch({tickers[-1]: MONDAY}))) == 1
    asked = len(vendor.charts())
    assert 3 <= asked <= 2 * PROCESSES + 2
    assert next(answers).status == "ok"
    answers.close()
    assert len(list(source.fetch({tickers[-1]: MONDAY}))) == 1
    assert len(vendor.charts()) <= asked + PROCESSES + 2


def test_ten_callers_at_once_share_the_processes(source: Yahoo, vendor: Vendor) -> None:
    tickers = default_tickers(40)[:40]
    shown = Shown(vendor, tickers)
    source.ask_now()
    parts, found = [tickers[n::10] for n in range(10)], list[Fetched]()
    fetches = [
        threading.Thread(
            target=lambda part: found.extend(source.fetch(dict.fromkeys(part, MONDAY))),
            args=(part,),
        )
        for part in parts
    ]
    for thread in fetches:
        thread.start()
    for thread in fetches:
        thread.join()
    assert sorted(one.ticker for one in found) == sorted(tickers)
    for one in found:
        assert rows(bars.validate(one.frame, one.now)[0]) == shown.truth(one.ticker)
    assert vendor.most <= PROCESSES
    assert len(multiprocessing.active_children()) == PROCESSES


def test_a_process_that_dies_fails_its_tickers_and_the_next_call_has_another(
    vendor: Vendor, shown: Shown, tmp_path: Path
) -> None:
    yahoo = Yahoo(settings(tmp_path, vendor, load_processes=1))
    others = set(multiprocessing.active_children())
    vendor.hook = lambda environ: kill_new(others) if "OXY" in environ["PATH_INFO"] else None
    found = fetched(yahoo, "AAPL", "OXY", "SPY", "BRK.B")
    assert found["AAPL"].status == "ok"
    for ticker in ("OXY", "SPY", "BRK.B"):
        assert (found[ticker].status, found[ticker].passes) == ("error", True)
        assert "has ended" in found[ticker].message
    vendor.hook = lambda _: None
    assert {one.status for one in fetched(yahoo, *TICKERS).values()} == {"ok"}
    assert len(set(multiprocessing.active_children()) - others) == 1
    assert len(list((tmp_path / "yfinance").iterdir())) == 1
    answers = yahoo.fetch(dict.fromkeys(TICKERS, MONDAY))
    assert next(answers).status == "ok"
    yahoo.close()
    assert {one.ticker for one in answers} < set(TICKERS)  # told, be it as ended, none hangs
    assert set(multiprocessing.active_children()) == others
    assert list((tmp_path / "yfinance").iterdir()) == []


def kill_new(others: set[Any]) -> None:
    for child in set(multiprocessing.active_children()) - others:
        child.kill()


SCRIPT = """
import multiprocessing, sys, time
from pathlib import Path
from astra.settings import load
from etl_service.sources.yahoo_workers import Yahoo

if __name__ == "__main__":
    yahoo = Yahoo(load(load_processes=1))
    yahoo.ask_now()
    statuses = [one.status for one in yahoo.fetch({"AAPL": None})]
    pids = [child.pid for child in multiprocessing.active_children()]
    print(*statuses, "yfinance" in sys.modules, *pids, flush=True)
    time.sleep(60)
"""


def test_a_killed_service_leaves_no_process_and_its_caches_go_at_the_next_start(
    vendor: Vendor, shown: Shown, tmp_path: Path
) -> None:
    script = tmp_path / "service.py"
    script.write_text(SCRIPT)
    environment = os.environ | {
        "ASTRA_YAHOO_URL": vendor.url, "ASTRA_VAR": str(tmp_path), "PYTHONPATH": str(HOUSE),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
    ) as service:
        told = service.stdout.readline().split() if service.stdout else []
        service.send_signal(signal.SIGKILL)
    assert told[:-1] == ["ok", "False"]  # yfinance is the workers' business
    ended_by = time.monotonic() + 30
    while is_running(int(told[-1])):
        assert time.monotonic() < ended_by
        time.sleep(0.02)
    (left,) = (tmp_path / "yfinance").iterdir()
    yahoo = Yahoo(settings(tmp_path, vendor, load_processes=1))
    assert [one.status for one in yahoo.fetch({"AAPL": None})] == ["ok"]
    assert not left.exists()
    yahoo.close()
    assert list((tmp_path / "yfinance").iterdir()) == []


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_caches_need_a_place(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")
    with pytest.raises(ConfigError, match="ASTRA_VAR"):
        Yahoo(settings(tmp_path / "var", None))

"""Faults on demand, the control app, and the sandbox as a whole on its four ports."""

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from flask import Flask, Response, jsonify, request
from hypothesis import given
from hypothesis import strategies as st

from astra.errors import ConfigError, DataError
from sandbox.faults import Faults, install
from sandbox.main import Options, Personality, Sandbox, open_market
from sandbox.markets import simulated_market
from sandbox.serving import Servers

START = dt.date(2026, 9, 14)
OPEN = dt.datetime(2026, 9, 14, 13, 30, tzinfo=dt.UTC)


class Counter:
    """A vendor that counts the work it did, with `faults` installed."""

    def __init__(self, vendor: str, faults: Faults) -> None:
        self.done = 0
        self.app = Flask("counter")
        install(self.app, vendor, faults)

        @self.app.route("/v2/orders", methods=["GET", "POST"])
        def _orders() -> Response:
            self.done += 1
            taken = faults.take(vendor, request.method, request.path)
            share = taken.partial_fill if taken else None
            return jsonify(id="1", legs=[{"id": "2", "qty": 3}], share=share)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def alpaca(faults: Faults) -> Counter:
    return Counter("alpaca", faults)


@pytest.fixture
def url(alpaca: Counter) -> Iterator[str]:
    with Servers({"alpaca": alpaca.app}) as urls:
        yield f"{urls['alpaca']}/v2/orders"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(simulated_market(("AAPL", "SPY"), start=START)) as running:
        yield running


# The rules


def test_a_failure_before_the_work_leaves_it_undone(
    faults: Faults, alpaca: Counter, url: str
) -> None:
    faults.arm({"vendor": "alpaca", "method": "POST", "path": "/v2/orders", "status": 504})
    assert requests.post(url, timeout=5).status_code == 504
    assert alpaca.done == 0
    assert requests.post(url, timeout=5).status_code == 200
    assert alpaca.done == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_refusal_says_when_to_come_back(faults: Faults, url: str, after: bool) -> None:
    spec = {"vendor": "alpaca", "status": 429, "times": 1, "after": after}
    faults.arm({**spec, "retry_after": 3600})
    faults.arm(spec)
    answers = [requests.get(url, timeout=5) for _ in range(3)]
    assert [a.status_code for a in answers] == [429, 429, 200]
    assert [a.headers.get("Retry-After") for a in answers] == ["3600", None, None]


def test_a_failure_after_the_work_hides_that_it_was_done(
    faults: Faults, alpaca: Counter, url: str
) -> None:
    faults.arm({"vendor": "alpaca", "path": "/v2/orders", "status": 504, "after": True, "times": 2})
    assert [requests.post(url, timeout=5).status_code for _ in range(3)] == [504, 504, 200]
    assert alpaca.done == 3


@pytest.mark.parametrize("after", [False, True])
def test_a_delay_outlasts_the_clients_patience(
    faults: Faults, alpaca: Counter, url: str, after: bool
) -> None:
    faults.arm({"vendor": "alpaca", "delay_s": 0.1, "after": after})
    with pytest.raises(requests.Timeout):
        requests.post(url, timeout=0.04)
    assert alpaca.done == int(after)


def test_dropped_fields_are_gone_at_any_depth(faults: Faults, url: str) -> None:
    faults.arm({"vendor": "alpaca", "drop_fields": ["id", "share"]})
    assert requests.get(url, timeout=5).json() == {"legs": [{"qty": 3}]}
    assert requests.get(url, timeout=5).json()["id"] == "1"


@pytest.mark.parametrize(
    ("effect", "rows"), [("duplicate", [1, 1, 2, 2, 3, 3]), ("reorder", [3, 2, 1])]
)
def test_the_rows_of_a_list_are_doubled_or_turned_round(
    faults: Faults, effect: str, rows: list[int]
) -> None:
    app = Flask("rows")
    install(app, "alpaca", faults)
    app.add_url_rule("/", view_func=lambda: jsonify([1, 2, 3]))
    faults.arm({"vendor": "alpaca", effect: True})
    assert [app.test_client().get("/").json for _ in range(2)] == [rows, [1, 2, 3]]


def test_a_fault_on_the_work_waits_for_the_vendor_to_ask(faults: Faults, url: str) -> None:
    faults.arm({"vendor": "alpaca", "method": "POST", "path": "/v2/orders", "partial_fill": 0.5})
    assert requests.get(url, timeout=5).json()["share"] is None
    assert requests.post(url, timeout=5).json()["share"] == 0.5
    assert requests.post(url, timeout=5).json()["share"] is None


def test_one_fault_may_spoil_the_work_and_the_answer(
    faults: Faults, alpaca: Counter, url: str
) -> None:
    faults.arm({"vendor": "alpaca", "partial_fill": 0.25, "drop_fields": ["legs"]})
    assert requests.post(url, timeout=5).json() == {"id": "1", "share": 0.25}
    assert requests.post(url, timeout=5).json()["share"] is None


@pytest.mark.parametrize(
    ("spec", "meets"),
    [
        ({"path": "/v2/orders"}, True),
        ({"path": "/v2/ord"}, True),
        ({"path": "/v2/*"}, True),
        ({"path": "*ders"}, True),
        ({"path": "/v2/positions"}, False),
        ({"path": "/v2/order?"}, True),
        ({"method": "GET"}, False),
        ({"method": "*"}, True),
        ({"vendor": "yahoo"}, False),
    ],
)
def test_a_fault_meets_its_own_requests_only(faults: Faults, spec: dict, meets: bool) -> None:
    faults.arm({"vendor": "alpaca", "status": 500, **spec})
    assert (faults.take_answer("alpaca", "POST", "/v2/orders") is not None) == meets
    assert bool(faults.armed()) != meets


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, "needs a vendor"),
        ([], "is a JSON object"),
        ({"vendor": "bloomberg", "status": 500}, "vendor is one of yahoo, storage, alpaca"),
        ({"vendor": "yahoo"}, "needs an effect"),
        ({"vendor": "yahoo", "retry_after": 60, "delay_s": 1}, "retry_after goes with a status"),
        ({"vendor": "yahoo", "status": 429, "retry_after": "soon"}, "a whole number of seconds"),
        ({"vendor": "yahoo", "status": 42}, "status is an HTTP status"),
        ({"vendor": "yahoo", "status": True}, "status is an HTTP status"),
        ({"vendor": "yahoo", "status": "500"}, "status is an HTTP status"),
        ({"vendor": "yahoo", "status": 500, "times": 0}, "times is a count from 1"),
        ({"vendor": "yahoo", "status": 500, "path": "v8"}, "path is a path"),
        ({"vendor": "yahoo", "status": 500, "method": "FETCH"}, "method is one of"),
        ({"vendor": "yahoo", "status": 500, "after": "yes"}, "after is true or false"),
        ({"vendor": "yahoo", "delay_s": -1}, "delay_s is a number of seconds"),
        ({"vendor": "alpaca", "partial_fill": 1}, "partial_fill is a share"),
        ({"vendor": "alpaca", "partial_fill": float("nan")}, "partial_fill is a share"),
        ({"vendor": "alpaca", "drop_fields": "id"}, "drop_fields is a list of names"),
        ({"vendor": "alpaca", "reject": 1}, "reject is true or false"),
        ({"vendor": "alpaca", "lag_s": -1}, "lag_s is a number of seconds"),
        ({"vendor": "alpaca", "lag_power_s": "10"}, "lag_power_s is a number of seconds"),
        ({"vendor": "alpaca", "lag_s": 0}, "needs an effect"),
        ({"vendor": "alpaca", "partial_fill": 0.5, "rest": "vanish"}, "rest is wait or cancel"),
        ({"vendor": "alpaca", "status": 500, "rest": "wait"}, "rest goes with a partial_fill"),
        ({"vendor": "alpaca", "duplicate": "yes"}, "duplicate is true or false"),
        ({"vendor": "alpaca", "reorder": None}, "reorder is true or false"),
        ({"vendor": "storage", "truncate": 1}, "truncate is a share of the bytes"),
        ({"vendor": "storage", "late_event": "soon"}, "late_event is a number of seconds"),
        ({"vendor": "storage", "lost_event": True}, "found 'lost_event'"),
    ],
)
def test_a_malformed_fault_is_refused_in_one_sentence(
    faults: Faults, spec: dict, reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        faults.arm(spec)
    assert "\n" not in str(caught.value)
    assert faults.armed() == []


@given(st.lists(st.integers(1, 4), max_size=5), st.integers(0, 25))
def test_each_fault_is_taken_as_often_as_armed_and_in_order(counts: list[int], asked: int) -> None:
    faults = Faults()
    for i, times in enumerate(counts):
        faults.arm({"vendor": "yahoo", "status": 500 + i, "times": times})
    expected = [500 + i for i, times in enumerate(counts) for _ in range(times)]
    taken = [faults.take_answer("yahoo", "GET", "/") for _ in range(asked)]
    assert [f.status for f in taken if f] == expected[:asked]
    assert sum(f["left"] for f in faults.armed()) == max(0, len(expected) - asked)


def test_threads_share_out_a_fault_exactly(faults: Faults) -> None:
    faults.arm({"vendor": "yahoo", "status": 500, "times": 100})
    taken: list[object] = []
    threads = [
        threading.Thread(
            target=lambda: taken.extend(
                f for _ in range(50) if (f := faults.take_answer("yahoo", "GET", "/"))
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 100
    assert faults.armed() == []


def test_a_fault_without_end_lasts_until_disarmed(faults: Faults, url: str) -> None:
    faults.arm({"vendor": "alpaca", "status": 503, "times": None})
    assert {requests.get(url, timeout=5).status_code for _ in range(4)} == {503}
    faults.disarm()
    assert requests.get(url, timeout=5).status_code == 200


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_errors_have_the_vendors_own_shape(faults: Faults, status: int) -> None:
    apps = {v: Counter(v, faults).app for v in ("alpaca", "storage", "yahoo")}
    for vendor in apps:
        faults.arm({"vendor": vendor, "status": status})
    with Servers(apps) as urls:
        answers = {v: requests.get(f"{u}/v2/orders", timeout=5) for v, u in urls.items()}
    assert {a.status_code for a in answers.values()} == {status}
    assert answers["alpaca"].json().keys() == {"code", "message"}
    assert answers["alpaca"].json()["code"] // 100_000 == status
    assert answers["storage"].json()["error"]["code"] == status
    assert answers["storage"].json()["error"]["errors"][0]["reason"]
    if status == 429:
        assert answers["yahoo"].text == "Edge: Too Many Requests"
    else:
        assert answers["yahoo"].json()["chart"]["error"]["description"]


# The control app and the whole


def test_the_state_names_the_market_and_every_vendor(sandbox: Sandbox) -> None:
    state = requests.get(f"{sandbox.urls.control}/sandbox/state", timeout=5).json()
    assert state["clock"] == {
        "now": OPEN.isoformat(),
        "stepped": True,
        "speed": 0.0,
        "session_open": True,
    }
    assert state["market"]["identity"] == "simulated:7"
    assert state["market"]["planted_edge"] == 0.04
    assert state["market"]["tickers"] == ["AAPL", "SPY"]
    assert state["market"]["first"] == OPEN.isoformat()
    assert set(state["vendors"]) == {"yahoo", "storage", "alpaca"}
    assert state["faults"] == []


def test_all_vendors_share_the_markets_clock(sandbox: Sandbox) -> None:
    clock = f"{sandbox.urls.control}/sandbox/clock"
    later = OPEN + dt.timedelta(hours=2)
    answer = requests.post(clock, json={"to": later.isoformat()}, timeout=5).json()
    assert answer["now"] == later.isoformat() == requests.get(clock, timeout=5).json()["now"]
    assert sandbox.market.clock.now() == later
    for base in (sandbox.urls.control, sandbox.urls.yahoo, sandbox.urls.storage):
        dated = requests.get(f"{base}/", timeout=5).headers["Date"]
        assert dated == "Mon, 14 Sep 2026 15:30:00 GMT"
    key = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
    broker = requests.get(f"{sandbox.urls.alpaca}/v2/clock", headers=key, timeout=5).json()
    assert dt.datetime.fromisoformat(broker["timestamp"]) == later


def test_the_clock_runs_and_halts_on_request(sandbox: Sandbox) -> None:
    clock = f"{sandbox.urls.control}/sandbox/clock"
    assert not requests.post(clock, json={"speed": 600}, timeout=5).json()["stepped"]
    threading.Event().wait(0.02)
    halted = requests.post(clock, json={"speed": 0}, timeout=5).json()
    assert halted["stepped"]
    assert dt.datetime.fromisoformat(halted["now"]) > OPEN + dt.timedelta(seconds=6)
    assert requests.get(clock, timeout=5).json()["now"] == halted["now"]


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("clock", {"to": "2026-09-13T00:00:00+00:00"}, "only moves forwards"),
        ("clock", {"to": "2026-09-15T00:00:00"}, "needs a zone"),
        ("clock", {"to": "soon"}, "is an ISO time"),
        ("clock", {"speed": -1}, "positive number"),
        ("clock", {"speed": 1, "to": "2026-09-15T00:00:00+00:00"}, "the clock takes"),
        ("clock", {}, "the clock takes"),
        ("clock", [], "must be a JSON object"),
        ("faults", {"vendor": "alpaca", "status": 1}, "from 200 to 599"),
        ("faults", "alpaca", "must be a JSON object"),
    ],
)
def test_a_wrong_control_request_is_refused(
    sandbox: Sandbox, path: str, body: object, reason: str
) -> None:
    answer = requests.post(f"{sandbox.urls.control}/sandbox/{path}", json=body, timeout=5)
    assert answer.status_code == 400
    assert reason in answer.json()["message"]
    assert sandbox.market.clock.now() == OPEN


def test_faults_are_armed_and_disarmed_over_http(sandbox: Sandbox) -> None:
    control = f"{sandbox.urls.control}/sandbox/faults"
    spec = {"vendor": "yahoo", "path": "/v8/*", "status": 503, "times": 5}
    armed = requests.post(control, json=spec, timeout=5).json()["faults"]
    assert armed == [{"vendor": "yahoo", "method": "*", "path": "/v8/*", "left": 5}]
    chart = f"{sandbox.urls.yahoo}/v8/finance/chart/AAPL"
    assert requests.get(chart, timeout=5).status_code == 503
    assert requests.delete(control, timeout=5).json() == {"faults": []}
    assert requests.get(chart, timeout=5).status_code == 200


def test_a_taken_port_is_a_config_error_and_leaves_nothing_running(sandbox: Sandbox) -> None:
    taken = int(sandbox.urls.storage.rsplit(":", 1)[1])
    threads = threading.active_count()
    second = Sandbox(sandbox.market, port=taken)
    with pytest.raises(ConfigError, match=f"{taken} cannot be used"):
        second.start()
    assert threading.active_count() == threads
    assert requests.get(f"{sandbox.urls.control}/health", timeout=5).status_code == 200


def test_ports_follow_the_base_in_a_row() -> None:
    with Servers({"probe": Flask("probe")}) as urls:
        base = int(urls["probe"].rsplit(":", 1)[1])
    market = simulated_market(("AAPL",), start=START)
    for attempt in range(base, base + 400, 10):
        sandbox = Sandbox(market, port=attempt)
        try:
            sandbox.start()
        except ConfigError:
            continue
        ports = [u.rsplit(":", 1)[1] for u in (sandbox.urls.control, sandbox.urls.yahoo,
                 sandbox.urls.storage, sandbox.urls.alpaca)]  # fmt: skip
        sandbox.stop()
        assert ports == [str(attempt + i) for i in range(4)]
        return
    pytest.fail("no four ports in a row were free")


def test_the_brokers_personality_reaches_it() -> None:
    market = simulated_market(("AAPL",), start=START)
    with Sandbox(market, personality=Personality(cash=5000)) as sandbox:
        key = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
        account = requests.get(f"{sandbox.urls.alpaca}/v2/account", headers=key, timeout=5).json()
    assert float(account["cash"]) == 5000


def test_options_describe_the_market() -> None:
    market = open_market(Options(tickers=3, seed=5, edge=0.0, end=dt.date(2026, 9, 18)))
    assert market.identity == "simulated:5"
    assert len(market.tickers) == 5
    assert market.clock.now().date() == dt.date(2026, 7, 20)
    assert dt.datetime.fromtimestamp(market.last_ts, dt.UTC).date() == dt.date(2026, 9, 18)
    named = open_market(Options(tickers=("XOM",), start=START, at=OPEN + dt.timedelta(hours=1)))
    assert named.tickers == ("XOM",)
    assert named.clock.now() == OPEN + dt.timedelta(hours=1)


def test_a_sandbox_in_its_own_process_ends_on_sigterm() -> None:
    code = (
        "from sandbox.main import Options, run_forever\n"
        "run_forever(Options(tickers=('AAPL',)), lambda s: print(s.urls.control, flush=True))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdout
        control = process.stdout.readline().strip()
        assert requests.get(f"{control}/health", timeout=5).json()["status"] == "ok"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - began < 5
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{control}/health", timeout=1)

"""Five hundred tickers through real processes, on good hours and bad ones: `make soak`.

The service runs under gunicorn, the sandbox's vendors beside it; whatever goes wrong, in the end
the table holds what the market printed, bar by bar.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from astra import bars
from astra.cli.launcher import House, flask_service, free_ports
from astra.sessions import last_sessions
from astra.store import Store, open_store
from sandbox import market_events
from sandbox.main import Personality, Sandbox
from sandbox.market import default_tickers
from sandbox.markets import simulated_market
from sandbox.view import VendorView
from tests.stores import NewDatabase

pytestmark = pytest.mark.soak

COUNT, REQUESTS = 500, 10
TICKERS = tuple(sorted(t for t in default_tickers() if t not in ("SPY", "QQQ")))[:COUNT]
OPENS = dt.datetime(2026, 7, 15, 13, 30, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@dataclass
class Run:
    """The service, the market it loads, and the table that comes of it."""

    sandbox: Sandbox
    url: str
    store: Store

    def at(self, hours: float) -> None:
        self.sandbox.market.clock.step_to(OPENS + hours * HOUR)

    def load(self) -> dict[str, dict[str, Any]]:
        """All tickers by ten requests at once; what each of them was told."""

        def ask(part: Any) -> dict[str, Any]:
            query = {"ticker": "|".join(part)}
            answer = requests.post(f"{self.url}/load_price_history", params=query, timeout=300)
            assert answer.status_code in (200, 207, 503), answer.text
            return dict(answer.json()["tickers"])

        with ThreadPoolExecutor(REQUESTS) as pool:
            answers = pool.map(ask, np.array_split(np.array(TICKERS), REQUESTS))
            return {ticker: told for answer in answers for ticker, told in answer.items()}

    def arm(self, status: int, **rest: Any) -> None:
        chart = {"vendor": "yahoo", "path": "/v8/finance/chart/*", "status": status}
        self.sandbox.faults.arm({**chart, **rest})

    def happen(self, **event: Any) -> None:
        market_events.take(self.sandbox.market, event)

    def feeds(self) -> set[str]:
        table = self.store.prices.read(columns=("feed",))
        return set(table["feed"].unique().to_pylist())

    def require_the_market(self) -> None:
        """Each stored bar is what Yahoo shows of the market, and none is missing."""
        shown = VendorView(self.sandbox.market, "yahoo")
        since = int((OPENS - dt.timedelta(days=90)).timestamp())
        until = int(self.sandbox.market.clock.now().timestamp())
        for ticker in TICKERS:
            found = bars.from_arrow(self.store.prices.read([ticker]))
            truth = shown.history(ticker, since, until)
            inside = truth.ts >= found["ts"].iloc[0]
            assert found["ts"].tolist() == truth.ts[inside].tolist(), ticker
            for name in bars.PRICES:
                ours, theirs = found[name].to_numpy(), getattr(truth, name)[inside]
                np.testing.assert_allclose(ours, theirs, rtol=1e-6, err_msg=f"{ticker} {name}")
            assert found["volume"].tolist() == truth.volume[inside].tolist(), ticker


@pytest.fixture(params=["sqlite", "postgresql"])
def run(request: pytest.FixtureRequest, new_database: NewDatabase, tmp_path: Path) -> Iterator[Run]:
    start = (OPENS - dt.timedelta(days=12)).date()
    market = simulated_market(TICKERS, start=start, end=OPENS.date(), at=OPENS, splits=0.0)
    database = new_database(request.param)
    with Sandbox(market, personality=Personality(requests_per_minute=100_000)) as sandbox:
        environment = {
            "ASTRA_VAR": str(tmp_path),
            "ASTRA_DATABASE_URL": database,
            "ASTRA_YAHOO_URL": sandbox.urls.yahoo,
            "ASTRA_ALPACA_URL": sandbox.urls.alpaca,
            "ASTRA_ALPACA_DATA_URL": sandbox.urls.alpaca,
            "ASTRA_ALPACA_KEY": "sandbox",
            "ASTRA_ALPACA_SECRET": "sandbox",
            "ASTRA_TICKERS": "|".join(TICKERS),
            "ASTRA_BENCHMARKS": "",
            "ASTRA_YAHOO_REQUESTS_PER_HOUR": "100000",
        }
        with House(tmp_path / "logs", environment) as house:
            service = flask_service("etl", "etl_service.main", free_ports(1)[0])
            house.start([service])
            store = open_store(database)
            yield Run(sandbox, service.url, store)
            store.close()


def statuses(told: dict[str, dict[str, Any]]) -> dict[str, int]:
    found = [one["status"] for one in told.values()]
    return {status: found.count(status) for status in sorted(set(found))}


def total(told: dict[str, dict[str, Any]], name: str) -> int:
    return sum(int(one[name]) for one in told.values())


def test_good_hours_and_bad_ones_end_in_the_market_s_own_table(run: Run) -> None:
    run.at(1)
    first = run.load()
    assert statuses(first) == {"ok": COUNT}
    run.require_the_market()

    again = run.load()
    assert statuses(again) == {"ok": COUNT}
    assert (total(again, "inserted"), total(again, "updated")) == (0, 0)

    _refused_for_hours(run)
    _failing_now_and_then(run)
    _stopped_split_and_corrected(run)


def _refused_for_hours(run: Run) -> None:
    """Yahoo answers 429; Alpaca stands in, and Yahoo's own bars take their place afterwards."""
    run.arm(429, times=None, retry_after=40)
    opened = time.monotonic()
    for hours in (2, 3):
        run.at(hours)
        told = run.load()
        assert statuses(told) == {"ok": COUNT}
        assert total(told, "inserted") > 11 * COUNT
    assert run.feeds() == {"yahoo", "alpaca-sip"}
    run.require_the_market()
    run.sandbox.faults.disarm()
    time.sleep(max(0.0, opened + 60 - time.monotonic()))  # the pause that Yahoo asked for is over
    run.at(4)
    assert statuses(run.load()) == {"ok": COUNT}  # one call finds Yahoo well again
    assert statuses(run.load()) == {"ok": COUNT}  # and all of them ask there
    assert run.feeds() == {"yahoo"}
    run.require_the_market()


def _failing_now_and_then(run: Run) -> None:
    """Three names are answered by 500s: they say so, and the next load has them."""
    broken = {TICKERS[i] for i in (3, 203, 403)}
    for ticker in broken:
        run.arm(500, path=f"/v8/finance/chart/{ticker}", times=None)
    run.at(5)
    told = run.load()
    assert {ticker for ticker, one in told.items() if one["status"] == "error"} == broken
    assert all("500" in told[ticker]["message"] for ticker in broken)
    run.sandbox.faults.disarm()
    assert statuses(run.load()) == {"ok": COUNT}
    run.require_the_market()


def _stopped_split_and_corrected(run: Run) -> None:
    stopped, split, corrected = TICKERS[7], TICKERS[77], TICKERS[177]
    run.happen(stop={"ticker": stopped})
    run.at(6)
    wrong = dt.datetime.fromtimestamp(run.store.prices.last_ts([corrected])[corrected], dt.UTC)
    known_at = run.sandbox.market.clock.now()
    run.happen(correct={"ticker": corrected, "ts": wrong.isoformat(), "factor": 1.01})
    run.happen(split={"ticker": split, "ratio": 4})
    told = run.load()
    assert told[stopped]["inserted"] == 0 and told[stopped]["message"]
    assert told[corrected]["updated"] == 1
    quality = requests.get(
        f"{run.url}/quality", params={"ticker": f"{stopped}|{corrected}"}, timeout=60
    ).json()["tickers"]
    assert quality[stopped]["verdict"] != "ok"
    assert quality[corrected]["corrected"] == 1
    before = run.store.prices.read([corrected], wrong, known_at=known_at - HOUR)
    after = run.store.prices.read([corrected], wrong)
    assert after["close"][0].as_py() == pytest.approx(1.01 * before["close"][0].as_py())
    run.happen(resume={"ticker": stopped})

    tomorrow = last_sessions(1, OPENS + dt.timedelta(days=1))[0]
    run.sandbox.market.clock.step_to(tomorrow.opens_at + HOUR)
    told = run.load()
    assert statuses(told) == {"ok": COUNT}
    assert told[split]["split"] == 4
    run.require_the_market()
    assert (total(run.load(), "inserted"), total(run.load(), "updated")) == (0, 0)

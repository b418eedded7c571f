"""What the monitor shows: /status, /metrics and the start page, and who may see them."""

from __future__ import annotations

import base64
import re
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.alerts import Alert
from monitor_service.main import create_app
from sandbox.main import Sandbox
from tests.seeded_books import NOW, NUMBER, seed_store
from tests.test_monitor import sandbox, settings, store

__all__ = ["sandbox", "settings", "store"]
TOKEN = "s3cret-token"


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


@pytest.fixture
def seeded(settings: Settings, sandbox: Sandbox) -> Store:
    """The books of a made-up account; the broker is asked for the time alone, and never here."""
    opened = open_store(settings.database_url)
    seed_store(opened, days=2)
    sandbox.faults.arm(
        {"vendor": "alpaca", "method": "*", "path": "/", "status": 503, "times": 1000}
    )
    return opened


def samples(client: FlaskClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(client: FlaskClient, name: str, **labels: str) -> float | None:
    return samples(client).get((name, frozenset(labels.items())))


def text_of(page: str) -> str:
    """What a person reads."""
    body = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", body)


def test_status_is_one_json_of_how_things_stand(client: FlaskClient, seeded: Store) -> None:
    found = client.get("/status").get_json()
    assert (found["account"], found["market"], found["paper"]) == (NUMBER, "simulated:1", True)
    assert found["decision"]["reason"] == "trade: gain 6.8 bp > cost 2.9 bp"
    assert found["rebalance"]["status"] == "done"
    assert found["trading"]["state"] == "ACTIVE"
    summary = seeded.books.read("account_summary").to_pylist()[-1]
    assert found["worth"]["equity"] == summary["equity"]
    assert {job["name"] for job in found["jobs"]} >= {"allocate", "resume", "alerts"}


def test_metrics_tell_the_same_in_prometheus_words(client: FlaskClient, seeded: Store) -> None:
    summary = seeded.books.read("account_summary").to_pylist()[-1]
    assert value(client, "astra_account_equity_usd") == float(summary["equity"])
    assert value(client, "astra_account_timestamp_seconds") == summary["at"].timestamp()
    assert value(client, "astra_trading_state", state="ACTIVE") == 1
    assert value(client, "astra_trading_state", state="HALTED") == 0
    assert value(client, "astra_data_names") == 16
    assert value(client, "astra_decision_traded_ratio") == 0.62
    assert value(client, "astra_rebalance_status", status="done") == 1
    assert value(client, "astra_job_missed", job="reconcile") == 0
    assert value(client, "astra_books_equal") is None  # not compared yet
    seeded.alerts.see(NUMBER, [Alert("stale-bars", "critical", "old")], NOW)
    assert value(client, "astra_alert", alert="stale-bars", severity="critical") == 1
    assert value(client, "astra_alerts_open") == 1
    more = [Alert(f"refused-plan:{name}.csv", "warning", "refused") for name in "ab"]
    seeded.alerts.see(NUMBER, more, NOW)
    assert value(client, "astra_alert", alert="refused-plan", severity="warning") == 2


def test_metrics_count_what_was_asked_by_route_and_not_by_address(
    client: FlaskClient, seeded: Store
) -> None:
    for path in ("/status", "/status?x=1", "/nothing/here", "/nothing/there"):
        client.get(path)
    client.open("/status", method="BREW")
    found = samples(client)
    asked = {
        tuple(sorted(dict(labels).values())): number
        for (name, labels), number in found.items()
        if name == "astra_http_requests_total"
    }
    assert asked == {
        ("/status", "200", "GET"): 2, ("404", "GET", "none"): 2, ("405", "none", "other"): 1,
    }  # fmt: skip
    took = ("astra_http_request_duration_seconds_count",
            frozenset({("method", "GET"), ("route", "/status")}))  # fmt: skip
    assert found[took] == 2


def test_every_metric_is_ours_and_has_a_word_of_help(client: FlaskClient, seeded: Store) -> None:
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert len(families) > 20
    assert all(f.name.startswith("astra_") and f.documentation for f in families)


def test_metrics_take_fifty_milliseconds_of_cpu_at_most(client: FlaskClient, seeded: Store) -> None:
    client.get("/metrics")
    took = []
    for _ in range(9):
        began = time.process_time()
        client.get("/metrics")
        took.append(time.process_time() - began)
    assert statistics.median(took) < 0.05


def test_the_start_page_says_how_things_stand_to_a_person(
    client: FlaskClient, seeded: Store
) -> None:
    answer = client.get("/")
    page = text_of(answer.text)
    equity = float(seeded.books.read("account_summary").to_pylist()[-1]["equity"])
    assert answer.content_type.startswith("text/html")
    for said in (
        f"Paper trading · account {NUMBER}", "SIMULATED market", "Nothing needs you.",
        f"{equity:,.2f} USD", "ACTIVE", "trade: gain 6.8 bp &gt; cost 2.9 bp",
        seeded.books.read("allocations")["reason"][-1].as_py(),
        "as of Fri 20 Nov 2026 14:05 New York",
    ):  # fmt: skip
        assert said in page, said
    assert 'title="2026-11-20 19:00:00 UTC"' in answer.text
    assert "<script" not in answer.text
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    for path in ("/status", "/metrics", "/state"):
        assert f'href="{path}"' in answer.text


def test_the_start_page_names_first_what_needs_somebody(client: FlaskClient, seeded: Store) -> None:
    found = [
        Alert("a", "warning", "a job is late"),
        Alert("b", "critical", "<b>books</b> differ", NUMBER),
    ]
    seeded.alerts.see(NUMBER, found, NOW)
    page = client.get("/").text
    assert "Nothing needs you" not in page
    assert page.index("&lt;b&gt;books&lt;/b&gt; differ") < page.index("a job is late")


def test_the_start_page_of_a_fresh_database_says_what_to_do_next(client: FlaskClient) -> None:
    page = text_of(client.get("/").text)
    assert "Nothing was recorded yet. astra up starts every service" in page
    assert "astra load brings them" in page


def test_while_nobody_can_tell_the_time_the_start_page_says_so(
    client: FlaskClient, sandbox: Sandbox
) -> None:
    sandbox.faults.arm(
        {"vendor": "alpaca", "method": "*", "path": "/", "status": 503, "times": 1000}
    )
    answer = client.get("/")
    assert answer.status_code == 503
    assert "nobody has told it yet" in text_of(answer.text)
    assert client.get("/metrics").status_code == 503


class TestCredential:
    PAGES = ("/", "/status", "/metrics", "/state")

    @pytest.fixture
    def closed(self, settings: Settings) -> FlaskClient:
        return create_app(settings.model_copy(update={"token": _secret(TOKEN)})).test_client()

    @pytest.mark.parametrize("path", PAGES)
    def test_a_browser_is_asked_for_the_token(self, closed: FlaskClient, path: str) -> None:
        answer = closed.get(path)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert closed.get(path, headers=_basic("nobody", "wrong")).status_code == 401
        assert closed.get(path, headers=_basic("nobody", "")).status_code == 401
        assert closed.get(path, headers=_basic("anybody", TOKEN)).status_code == 200
        assert closed.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200

    @pytest.mark.parametrize(
        ("method", "path"),
        [("POST", "/halt"), ("POST", "/lift"), ("GET", "/update_account"), ("POST", "/alerts"),
         ("GET", "/alerts"), ("POST", "/status"), ("POST", "/")],
    )  # fmt: skip
    def test_what_a_browser_sends_by_itself_changes_nothing(
        self, closed: FlaskClient, method: str, path: str
    ) -> None:
        answer = closed.open(path, method=method, headers=_basic("anybody", TOKEN))
        assert answer.status_code == 401
        assert "WWW-Authenticate" not in answer.headers

    @pytest.mark.parametrize("given", ["Basic", "Basic !!!", "Basic " + "A" * 9, "Digest x=1"])
    def test_a_malformed_credential_is_none(self, closed: FlaskClient, given: str) -> None:
        assert closed.get("/", headers={"Authorization": given}).status_code == 401

    def test_the_token_is_on_no_page(self, closed: FlaskClient) -> None:
        for path in self.PAGES:
            assert TOKEN not in closed.get(path, headers=_basic("anybody", TOKEN)).text


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_start_page_fits_a_narrow_screen(
    seeded: Store, client: FlaskClient, scheme: str, tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    file = tmp_path / "start.html"
    file.write_text(client.get("/").text)
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=flags.split()
        )
        page: Any = browser.new_page(
            viewport={"width": 390, "height": 800}, color_scheme=scheme, java_script_enabled=True
        )
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (back == "rgb(17, 21, 26)") == (scheme == "dark")
        browser.close()


def _basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def _secret(text: str) -> Any:
    return Settings(_env_file=None, token=text).token

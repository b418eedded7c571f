"""The page System as the store holds it; its switch has tests of its own."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from seeded_books import MEMBERS, NOW, NUMBER, seed_store
from shown_page import Runner, metrics, said, top
from streamlit.util import calc_hash

from astra.sessions import last_sessions
from astra.store import Store, open_store
from astra.store.alerts import Alert
from astra.store.twins import COMPARED, NO_DECISION, Twin
from frontend.charts.twin import parts_chart

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest


@dataclass(frozen=True)
class Seeded:
    """A made-up account's store and its address."""

    store: Store
    url: str
    path: Path


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[Seeded]:
    path = tmp_path / "astra.db"
    store = open_store(f"sqlite:///{path}")
    seed_store(store, days=2)
    yield Seeded(store, f"sqlite:///{path}", path)
    store.close()


def table(app: AppTest, column: str) -> pd.DataFrame:
    """The first table with this column."""
    return next(t.value for t in app.dataframe if column in t.value)


def test_open_alerts_stand_at_the_top_of_every_page_and_on_system_until_they_are_over(
    page: Runner, seeded: Seeded
) -> None:
    found = [
        Alert("missed-run:twin", "warning", "the job twin has not run"),
        Alert("trading-stopped", "critical", "trading is HALTED <b>by</b> a person", NUMBER),
        Alert("other", "critical", "another account is stopped", "PA9OTHER"),
    ]
    seeded.store.alerts.see(NUMBER, found[:2], NOW)
    seeded.store.alerts.see("PA9OTHER", [*found[:1], found[2]], NOW)
    line = "2 open alerts: Trading is HALTED <b>by</b> a person."
    for name in ("Account", "System"):
        assert line in said(page(seeded.url, name if name != "Account" else ""))
    app = page(seeded.url, "System")
    assert "trading is HALTED &lt;b&gt;by&lt;/b&gt; a person" in top(app).replace(
        "Trading", "trading"
    )
    assert "another account" not in top(app)
    seeded.store.alerts.see(NUMBER, [], NOW + dt.timedelta(minutes=5))
    app.run()
    assert "open alert" not in said(app)
    assert "2 alerts over" in [e.label for e in app.expander]


def test_where_nobody_looks_for_alerts_the_page_does_not_say_that_all_is_well(
    page: Runner, seeded: Seeded
) -> None:
    assert "Nobody has looked for any yet" in said(page(seeded.url, "System"))
    seeded.store.books.record_run("a", "alerts", NOW)
    seeded.store.books.finish_run("a", "ok", "", NOW)
    assert "None is open: as far as the monitor can tell" in said(page(seeded.url, "System"))


def test_jobs_show_their_last_run_what_it_said_and_what_was_missed(
    page: Runner, seeded: Seeded
) -> None:
    runs = seeded.store.books
    runs.record_run("a", "alerts", NOW - dt.timedelta(days=1))
    runs.finish_run("a", "ok", "", NOW)
    runs.record_run("b", "reconcile", NOW - dt.timedelta(minutes=2))
    runs.finish_run("b", "failed", "the broker does not answer: ask again", NOW)
    jobs = table(page(seeded.url, "System"), "Job").set_index("Job")
    reconcile = jobs.loc["reconcile"]
    assert reconcile["State"] in ("failed", "missed")
    assert reconcile["What it said"] == "The broker does not answer: ask again"
    assert reconcile["Last run"] == pd.Timestamp(NOW - dt.timedelta(minutes=2))
    assert jobs.loc["update-account", "State"] == "missed"
    assert jobs.loc["housekeeping", "State"] == "leaves no trace"


def test_bars_that_are_missing_or_refused_come_first_and_are_counted(
    page: Runner, seeded: Seeded
) -> None:
    session = last_sessions(1, NOW)[0]
    with sqlite3.connect(seeded.path) as connection:
        connection.execute(
            "DELETE FROM price_history WHERE ticker = 'KO' AND ts >= ?",
            (session.opens_at.timestamp(),),
        )
        connection.execute(
            "INSERT INTO quarantine (ticker, ts, reason, feed, seen_at) VALUES (?, ?, ?, 0, ?)",
            ("XOM", session.opens_at.timestamp(), "high_below_low", NOW.timestamp()),
        )
        connection.execute(
            "INSERT INTO ticker_status VALUES (?, ?, ?, ?, ?, NULL)",
            ("KO", "yahoo", "rate_limited", "asked too often", NOW.timestamp()),
        )
    app = page(seeded.url, "System")
    bars = table(app, "Ticker")
    first = bars.iloc[0]
    assert (first["Ticker"], first["Bars"], first["There"]) == ("KO", "missing", 0)
    assert first["Last load"] == "rate limited: asked too often"
    closed = int((NOW - session.opens_at).total_seconds() // 300)
    assert first["Usually"] == closed
    names = len(MEMBERS)
    assert len(bars) == names
    assert metrics(app)["Bars"] == f"{(names - 1) * closed:,}"
    assert metrics(app)["Coverage"] == f"{(names - 1) / names:.1%}"
    assert metrics(app)["Refused"] == "1"
    assert bars.set_index("Ticker").loc["XOM", "Refused"] == 1
    assert "1 refused bar" in [e.label for e in app.expander]
    assert "Of 16 names: 1 missing, the others complete." in said(app)


def test_an_earlier_session_can_be_looked_at(page: Runner, seeded: Seeded) -> None:
    app = page(seeded.url, "System")
    chosen = app.selectbox(key="quality_session")
    chosen.select("Thu 19 Nov 2026").run()
    assert metrics(app)["Bars"] == f"{78 * len(MEMBERS):,}"
    assert "The session has closed." in said(app)


def test_the_latest_session_stays_the_latest_and_a_chosen_one_is_kept_on_other_pages(
    page: Runner, seeded: Seeded
) -> None:
    thursday, friday = last_sessions(2, NOW)
    seeded.store.twins.record(twin(thursday.opens_at - dt.timedelta(days=1)))
    seeded.store.twins.record(twin(thursday.opens_at))
    latest, chosen = page(seeded.url, "System"), page(seeded.url, "System")
    assert "Fri 20 Nov 2026. All 16 names" in said(latest)
    chosen.selectbox(key="quality_session").select("Thu 19 Nov 2026").run()
    chosen.selectbox(key="twin_session").select_index(1).run()
    seeded.store.record_now(friday.opens_at + dt.timedelta(days=3, hours=1))
    seeded.store.twins.record(twin(friday.opens_at))
    assert "Mon 23 Nov 2026. Of 16 names" in said(latest.run())
    assert "Fri 20 Nov 2026. More by missed fills" in said(latest)
    for name in ("account", "system"):
        chosen._page_hash = calc_hash(name)
        chosen.run()
    assert "Thu 19 Nov 2026. All 16 names" in said(chosen)
    assert "Wed 18 Nov 2026. More by missed fills" in said(chosen)


PARTS = {"price": "-12.20", "slippage": "-3.04", "missed": "25.10", "corrections": "0.15",
         "fees": "-1.20", "other": "0.00"}  # fmt: skip


def twin(session: dt.datetime) -> Twin:
    parts = {part: Decimal(usd) for part, usd in PARTS.items()}
    live = sum(parts.values(), Decimal(-122))
    lines = {"KO": {"price": parts["price"], "missed": parts["missed"]},
             "V": {"slippage": parts["slippage"], "corrections": parts["corrections"]},
             "": {"fees": parts["fees"]}}  # fmt: skip
    return Twin(NUMBER, session, NOW, COMPARED, "more by missed fills", live, Decimal(-122), parts,
                lines)  # fmt: skip


def test_the_live_twin_shows_both_days_the_parts_by_symbol_and_their_sum(
    page: Runner, seeded: Seeded
) -> None:
    before, session = (s.opens_at for s in last_sessions(3, NOW)[:2])
    seeded.store.twins.record(Twin(NUMBER, before, NOW, NO_DECISION, "nothing was decided"))
    seeded.store.twins.record(twin(session))
    app = page(seeded.url, "System")
    shown = metrics(app)
    assert (shown["As traded"], shown["As replayed"]) == ("-$113.19", "-$122.00")
    assert shown["Difference"] == "+$8.81"
    rows = table(app, "Together").set_index("Symbol")["Together"].to_dict()
    assert rows == pytest.approx({"KO": 12.90, "V": -2.89, "the account": -1.20})
    assert sum(rows.values()) == pytest.approx(8.81)
    app.selectbox(key="twin_session").select_index(1).run()
    assert "Nothing was decided." in said(app)
    assert "As traded" not in metrics(app)


def test_the_chart_of_the_twin_ends_at_the_sum_of_its_parts() -> None:
    (bars,) = parts_chart({part: float(usd) for part, usd in PARTS.items()}).data
    assert bars.x[-1] == pytest.approx(8.81)
    assert (bars.measure[-1], bars.y[-1]) == ("total", "Difference")
    assert list(bars.x[:-1]) == [float(usd) for usd in PARTS.values()]


def test_the_audit_log_shows_its_newest_lines_and_is_checked_when_asked(
    page: Runner, seeded: Seeded
) -> None:
    entries = list(seeded.store.audit.entries())
    app = page(seeded.url, "System")
    lines = table(app, "Line")
    assert lines["Line"].tolist() == [e.seq for e in entries[::-1][:50]]
    app.toggle(key="audit_verify").set_value(True).run()
    assert f"All {len(entries)} lines hold" in app.success[0].value.replace("\\", "")
    assert app.code[0].value == f"astra audit verify --head {entries[-1].hash}"


def test_a_log_that_was_tampered_with_is_said_in_red(page: Runner, seeded: Seeded) -> None:
    with sqlite3.connect(seeded.path) as connection:
        connection.execute("UPDATE audit_log SET content = '{}' WHERE seq = 3")
    app = page(seeded.url, "System")
    app.toggle(key="audit_verify").set_value(True).run()
    assert "Line 3 breaks the chain: its content is not what was written." in said(app)

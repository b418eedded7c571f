"""`astra why`: from the decision's parts to what the fills cost, read from the store alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from astra.cli.commands import app
from astra.errors import DataError
from astra.records import Activity, OrderStatus, PlanLine, Side
from astra.store import Offer, Store, open_store
from astra.store.journal import AllocationRow, OrderRow
from tests.grid import GRID, frame

NOW = dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
STAMP = "20260715-150000_0a1b2c3d"
ROW = AllocationRow(
    "a" * 16, "A1", "bucket", f"target_{STAMP}.csv", 1, NOW, NOW + dt.timedelta(minutes=30),
    "measured", "m", {"AAPL": 0.05, "JPM": 0.04}, received_at=NOW,
)  # fmt: skip
DECISION = {
    "as_of": NOW.isoformat(), "policy": "measured", "model_id": "m", "method": "qp",
    "reason": "trade 80% of the way", "why_reads": "forecast is what the skill adds",
    "weights": {"AAPL": 0.05, "JPM": 0.04, "KO": 0.1},
    "held_weights": {"XOM": 0.03, "JPM": 0.0, "KO": 0.1},
    "why": {
        "AAPL": {"forecast": 0.03, "risk": 0.035, "cost": -0.01, "limit": -0.005},
        "JPM": {"forecast": 0.0, "risk": 0.05, "cost": -0.01, "limit": 0.0},
        "XOM": {"forecast": 0.0, "risk": -0.03, "cost": 0.0, "limit": 0.0},
    },
}  # fmt: skip
LINES = (
    PlanLine("AAPL", 100.1, 0.0, 0.05, 0.0499, {"limit": 0.0, "rounding": -0.0001}, "", 100.0),
    PlanLine("JPM", 50.0, 0.0, 0.04, 0.04, {"limit": 0.0, "rounding": 0.0}, "", 50.0),
    PlanLine("KO", 60.0, 0.1, 0.1, 0.1, {"limit": 0.0, "rounding": 0.0}, "on hold: it stays"),
    PlanLine("XOM", 49.9, 0.031, 0.0, 0.0, {"limit": 0.0, "rounding": 0.0}, "", 50.0),
)
BOUGHT = OrderRow(
    f"{ROW.id}-AAPL-buy-1", ROW.id, "A1", "AAPL", Side.BUY, 1, Decimal(1000), 100.1, "to 5.00%",
    planned_at=NOW, updated_at=NOW, status=OrderStatus.CANCELED, filled_qty=Decimal(800),
    filled_average_price=100.25, broker_id="b1",
)  # fmt: skip
DENIED = replace(
    BOUGHT, id=f"{ROW.id}-JPM-buy-1", symbol="JPM", qty=Decimal(400), reference_price=50.0,
    status=OrderStatus.REJECTED, filled_qty=Decimal(0), filled_average_price=None, broker_id="",
    reason="RISK_ORDER_VALUE: JPM: too much in one order",
)  # fmt: skip
SOLD = replace(
    BOUGHT, id=f"{ROW.id}-XOM-sell-1", symbol="XOM", side=Side.SELL, qty=Decimal(200),
    reference_price=49.9, filled_qty=Decimal(200), filled_average_price=49.8, broker_id="b2",
    status=OrderStatus.FILLED,
)  # fmt: skip


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """One allocation, from its decision to its end; a later one has taken over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTRA_DATABASE_URL", "sqlite:///a.db")
    monkeypatch.setenv("COLUMNS", "80")
    store = open_store("sqlite:///a.db")
    fill(store)
    return store


def fill(store: Store) -> None:
    store.books.record_decision(f"decision_{STAMP}.json", DECISION)
    journal = store.journal
    journal.receive(ROW)
    fence = journal.take_lease(ROW.id, 60)
    assert fence is not None
    orders = [replace(BOUGHT, reason="the session closed"), DENIED, SOLD]
    journal.plan_orders(ROW.id, fence, orders, "buying", LINES, NOW)
    journal.set_status(ROW.id, fence, "done", "1 of 3 orders filled", NOW)
    later = replace(ROW, id="b" * 16, object="other.csv", as_of=NOW + dt.timedelta(hours=1))
    journal.receive(replace(later, status="done"))
    place = int(np.searchsorted(GRID, int(NOW.timestamp())))
    bars = frame([("AAPL", place + 1, 101.0), ("AAPL", place + 12, 110.0)])
    store.prices.upsert_many([Offer(bars, NOW + dt.timedelta(hours=2))])
    sold = Activity("1", "FILL", NOW, Decimal(9960), "XOM", Decimal(-200), None, Side.SELL, "b2")
    store.books.record_activities("A1", [sold, Activity("2", "FEE", NOW, Decimal(-3))])


def why(*words: str) -> str:
    done = CliRunner().invoke(app, ["why", *words])
    if done.exception:
        raise done.exception
    assert all(len(line) <= 80 for line in table_lines(done.output))
    return done.output


def table_lines(output: str) -> list[str]:
    """Between the heading of the first table and the legend."""
    lines = output.splitlines()
    ends = [i for i, line in enumerate(lines) if line.startswith(("forecast", "file", "fcast"))]
    return lines[3 : ends[0]]


def cells(output: str, title: str) -> dict[str, list[str]]:
    """The rows of a table by their first cell."""
    below = output.split(title)[1].split("\n\n")[0].splitlines()[2:]
    return {line.split()[0]: line.split()[1:] for line in below if line.strip()}


def test_it_says_why_what_was_filled_and_what_it_cost(told: Store) -> None:
    said = why(ROW.object)
    assert "decided: trade 80% of the way" in said
    assert "traded: done: 1 of 3 orders filled" in said
    changes = cells(said, "Weight changes, % of equity")
    parts = ["3.00", "3.50", "-1.00", "-0.50", "0.00", "-0.01"]
    assert changes["AAPL"] == ["0.00", "4.99", "4.99", *parts]
    assert changes["XOM"][2:] == ["-3.10", "0.00", "-3.00", "0.00", "0.00", "-0.10", "0.00"]
    trades = cells(said, "What was traded")
    assert trades["AAPL"][:4] == ["buy", "1,000", "800", "100.25"]
    flat = " ".join(said.split())
    assert "RISK_ORDER_VALUE: JPM: too" in flat and "on hold: it stays" in flat
    costs = cells(said, "What it cost against the decision's price, basis points")
    assert costs["AAPL"] == ["+10.0", "+12.0", "+0.0", "+18.0", "+40.0", "+400.00"]
    assert costs["JPM"] == ["+0.0", "+0.0", "+0.0", "-", "-", "-"]
    assert costs["XOM"] == ["+20.0", "+20.0", "+3.0", "+0.0", "+43.0", "+43.00"]
    assert costs["all"] == ["but", "1", "+10.9", "+12.7", "+0.3", "+16.4", "+40.3", "+443.00"]


def test_one_name_can_be_asked_for_by_the_allocations_id(told: Store) -> None:
    said = why(ROW.id, "XOM")
    assert "JPM" not in said and "drift: what was held when it was decided" in said


def test_the_decisions_name_finds_it_too(told: Store) -> None:
    assert told.dossier(f"decision_{STAMP}.json") == told.dossier(ROW.object)
    assert told.dossier(ROW.id).closes == {"AAPL": 101.0}


def test_what_is_not_known_is_one_sentence(told: Store) -> None:
    with pytest.raises(DataError, match="the store knows no 'target_x"):
        why("target_x.csv")
    with pytest.raises(DataError, match="has no line of ZZZ"):
        why(ROW.object, "ZZZ")


def test_a_file_dropped_by_hand_is_told_without_a_decision(told: Store) -> None:
    row = replace(ROW, id="c" * 16, object="target_20260715-150000_hand.csv", policy="manual")
    told.journal.receive(row)
    fence = told.journal.take_lease(row.id, 60)
    assert fence is not None
    told.journal.plan_orders(row.id, fence, [], "buying", LINES[:1], NOW)
    said = why(row.object)
    assert "not traded: buying" in said
    changes = cells(said, "Weight changes, % of equity")
    assert changes["AAPL"] == ["0.00", "4.99", "4.99", "5.00", "0.00", "-0.01"]
    assert "not its turn yet" in " ".join(said.split())


def test_no_cost_is_told_while_none_is_known(told: Store) -> None:
    begun = replace(ROW, id="c" * 16, object="target_20260715-160000_hand.csv", generation=2)
    told.journal.receive(begun)
    fence = told.journal.take_lease(begun.id, 60)
    assert fence is not None
    open_order = replace(DENIED, id=f"{begun.id}-JPM-buy-1", allocation_id=begun.id, reason="",
                         status=OrderStatus.PLANNED)  # fmt: skip
    told.journal.plan_orders(begun.id, fence, [open_order], "buying", LINES[1:2], NOW)
    said = why(begun.object)
    assert "open: planned" in said
    assert "What it cost" not in said and "delay:" not in said


def test_a_dossier_is_the_same_in_every_database(store: Store) -> None:
    fill(store)
    found = store.dossier(ROW.object)
    assert (found.allocation.id, found.allocation.status) == (ROW.id, "done")
    assert (found.lines, found.decision) == (LINES, DECISION)
    assert [o.symbol for o in found.orders] == ["AAPL", "JPM", "XOM"]
    assert found.until == NOW + dt.timedelta(hours=1) and found.closes == {"AAPL": 101.0}
    assert store.dossier("b" * 16).until is None
    assert store.dossier("other.csv").decision is None

"""The benchmarks: the shape of their result file, and that a group replaces its own rows only."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from astra.errors import AstraError, ConfigError
from astra.settings import HOUSE
from benchmarks import command, cycle, forecast, inputs, ledger, optimisers, portfolio, store, walk
from benchmarks.execution import cold, function, journal, plan
from benchmarks.results import LATEST, Row, record
from benchmarks.store import engines, refresh, rivals
from benchmarks.timing import DifferentAnswersError, Timed, in_turns, require_equal, timed

KEYS = {"group", "case", "value", "unit", "against", "target", "better", "holds"}


def row(group: str, value: float | None, case: str = "a case") -> Row:
    return Row(group, case, value, "s", 1.0, "lower")


def values(path: Path) -> dict[tuple[str, str], float | None]:
    held = json.loads(path.read_text())["results"]
    return {(r["group"], r["case"]): r["value"] for r in held}


def assert_shape(results: list[dict[str, Any]]) -> None:
    for found in results:
        assert set(found) == KEYS
        assert found["group"] in command.GROUPS and found["better"] in ("lower", "higher")
        assert found["holds"] is (
            found["value"] is not None
            and (
                found["value"] <= found["target"]
                if found["better"] == "lower"
                else found["value"] >= found["target"]
            )
        )
    cases = [(r["group"], r["case"]) for r in results]
    assert len(set(cases)) == len(cases)


def test_the_committed_results_cover_every_group_that_has_cases() -> None:
    whole = json.loads(LATEST.read_text())
    assert set(whole) == {"machine", "commit", "versions", "measured", "results"}
    assert_shape(whole["results"])
    assert {r["group"] for r in whole["results"]} == set(command.GROUPS) == set(whole["measured"])
    assert all(r["value"] is not None for r in whole["results"])
    assert "BLAS threads: 1" in whole["machine"]


def test_the_machine_is_described_without_its_name_or_folders(tmp_path: Path) -> None:
    record(tmp_path / "latest.json", "store", [row("store", 0.5)])
    for path in (tmp_path / "latest.json", LATEST):
        whole = json.loads(path.read_text())
        described = whole["machine"]
        assert str(HOUSE) not in path.read_text()
        assert platform.node() not in described and not re.search(r"(^|\s)/", described)
        assert re.search(r"^\d+ cores of .+, \d+ GiB, .+, Python 3\.\d+\.\d+", described)


def test_a_group_replaces_its_own_rows_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results" / "latest.json"
    record(path, "store", [row("store", 0.5), row("store", 2.0, "dropped later")])
    record(path, "cycle", [row("cycle", 3.0)])
    before = json.loads(path.read_text())
    record(path, "store", [row("store", 0.25)])
    assert values(path) == {("store", "a case"): 0.25, ("cycle", "a case"): 3.0}
    after = json.loads(path.read_text())
    assert_shape(after["results"])
    assert after["measured"]["cycle"] == before["measured"]["cycle"]
    assert list(path.parent.iterdir()) == [path]


def test_what_was_not_measured_does_not_hold() -> None:
    assert not row("forecast", None).holds
    assert row("forecast", 1.0).holds and not row("forecast", 1.1).holds
    assert Row("store", "faster", 10.0, "ratio", 10.0, "higher").holds
    assert not Row("store", "faster", 9.9, "ratio", 10.0, "higher").holds


def test_an_unknown_group_is_one_sentence_and_exit_code_2() -> None:
    asked = [sys.executable, "-m", "benchmarks", "--only", "speed"]
    found = subprocess.run(asked, capture_output=True, text=True, cwd=HOUSE)
    assert found.returncode == ConfigError.exit_code == 2
    assert found.stdout == "" and len(found.stderr.splitlines()) == 1
    assert "store, forecast, portfolio, execution, pages, cycle, found 'speed'" in found.stderr


def test_only_one_group_is_measured_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "latest.json"
    record(path, "cycle", [row("cycle", 3.0, "kept")])
    monkeypatch.setattr(optimisers, "SKFOLIO", tmp_path / "not there")
    monkeypatch.delenv("ASTRA_TEST_DATA", raising=False)
    small = portfolio.measure(names=40, many=60, rounds=1, seeds=2)
    left_out = [r.against for r in small if r.value is None]
    assert all(note.startswith("not measured: ") for note in left_out) and len(left_out) == 2
    monkeypatch.setattr(portfolio, "measure", lambda: small)
    monkeypatch.setattr(ledger, "measure", lambda: [])
    monkeypatch.setattr(walk, "measure", lambda: [])
    assert command.main(["--only", "portfolio", "--results", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "minimum variance" in shown and "kept" not in shown
    found = json.loads(path.read_text())
    assert_shape(found["results"])
    assert {r["group"] for r in found["results"]} == {"cycle", "portfolio"}


def test_without_recorded_bars_a_walk_is_measured_on_simulated_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ASTRA_TEST_DATA", raising=False)
    # Of so few names a longer walk may come out as the shorter one; the walks judge themselves.
    decision, month = walk.measure(names=12, sessions=(1, 3))
    assert decision.value is not None and decision.unit == "s"
    assert month.value is None and "ASTRA_TEST_DATA" in month.against


def test_without_its_rivals_a_ledger_is_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "RIVALS", Path("no-such-python"))
    rows = ledger.measure(large=(20, 100), small=(5, 60), rounds=1)
    assert_shape([r.as_json() for r in rows])
    assert [r.value is None for r in rows] == [False, False, True, True]
    assert all("make rivals" in r.against for r in rows if r.value is None)


def test_a_small_store_is_measured_and_agrees_with_its_rivals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refresh, "JOBS", 3)
    rows = store.measure(tickers=6, days=3, refreshed=1, rounds=1, over_http=False)
    assert_shape([r.as_json() for r in rows])
    cases = [r.case for r in rows]
    assert "SQLite: refresh of 468 bars, 6 new and 6 changed" in cases
    assert "PostgreSQL: 3 jobs of 2 tickers at once, speed-up over the original" in cases
    # So small an answer need not make the service grow.
    assert all(r.value is not None and (r.value > 0 or "growth" in r.case) for r in rows)


def test_a_rival_that_loses_a_change_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "_DIFFERING_SQLITE", "SELECT 1")
    history = inputs.bars(3, 2)
    engine = engines.SqliteEngine(tmp_path)
    engines.fill(engine, "base", history[history["ts"] < history["ts"].max()])
    with pytest.raises(DifferentAnswersError, match=r"cleared.*differ by 3"):
        refresh.one_load(engine, refresh.corrected(history, 1), rounds=1, target=1.0)


def test_without_torch_the_comparison_is_a_row_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecast, "find_spec", lambda _: None)
    rows = forecast.measure(tickers=8, days=6, rounds=1)
    skipped = [r for r in rows if r.value is None]
    assert len(skipped) == 1 and "make setup" in skipped[0].against
    assert_shape([r.as_json() for r in rows])


def test_small_rebalances_are_measured_through_the_function() -> None:
    rows = function.rebalances(names=5, rounds=1)
    assert_shape([r.as_json() for r in rows])
    first, whole, requests = (r.value or 0.0 for r in rows)
    assert 0 < first <= whole < function.LIMIT_SECONDS and requests > 6


def test_the_function_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    (row,) = cold.starts(rounds=1)
    assert row.value is not None and "without torch, darts, skfolio" in row.against


def test_plan_gate_and_journal_are_measured() -> None:
    rows = [*plan.plans(names=40, rounds=1), *journal.costs(names=5, rounds=1, orders=4)]
    assert_shape([r.as_json() for r in rows])
    assert all(r.value is not None and r.value > 0 for r in rows)


def test_a_run_that_fails_is_reported_with_its_last_sentence() -> None:
    with pytest.raises(AstraError, match="astra run must succeed") as raised:
        cycle.measure(["--bars", "no-such.parquet"])
    assert "no-such.parquet" in str(raised.value)


def test_works_take_turns_and_the_median_is_kept() -> None:
    order: list[str] = []
    seconds = iter([9.0, 1.0, 2.0])

    def first() -> Timed:
        order.append("first")
        return Timed(next(seconds), len(order))

    def second() -> Timed:
        return timed(lambda: order.append("second"))

    found, _ = in_turns(3, first, second)
    assert order == ["first", "second"] * 3
    assert found == Timed(2.0, 5)


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
def test_answers_that_differ_stop_the_measurement(difference: float) -> None:
    require_equal(1e-4, 1e-4, "two answers")
    with pytest.raises(DifferentAnswersError, match="two answers must agree"):
        require_equal(difference, 1e-4, "two answers")

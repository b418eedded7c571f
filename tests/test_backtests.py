"""The register of backtests: each trial counts once, and is repeated to the cent."""

from __future__ import annotations

import datetime as dt
import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made_backtest import made_backtest
from typer.testing import CliRunner, Result

from astra.bars import to_arrow
from astra.cli.backtest import Found
from astra.cli.backtests import code_version, courses, differences, trial_id
from astra.cli.commands import app
from astra.cli.findings import study
from astra.errors import DataError
from astra.settings import Settings
from astra.store import Query, Store, open_store
from astra.store.backtests import Course, Trial, digest
from astra.trials import deflate
from model.backtest.spec import Source, Spec
from model.decision import Terms
from model.portfolio.limits import Limits
from sandbox.markets import simulated_bars

T = dt.datetime(2025, 7, 1, 14, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
TRIAL = Trial(
    id="0123456789ab", made_at=T + 1000 * HOUR, market="replay:1", data_hash="f" * 16,
    hours="a" * 16, outcome="b" * 16,
    first_at=T, last_at=T + 2 * HOUR, frequency="1h", policy="measured",
    parameters='{"source": {"kind": "file"}}',
    total_return=0.1 + 0.2, return_0x=0.31, return_2x=0.29, max_drawdown=-0.015, turnover=2.5,
    cost_bp=5.5, winning_trades=3, losing_trades=2, sharpe=1.5,
    sharpe_error=0.9, steps=2, step_sharpe=0.03, skew=-0.4, kurtosis=4.2, model_id="m",
    code_version="0.1.0+abc",
)  # fmt: skip
COURSE = Course(TRIAL, (T, T + HOUR, T + 2 * HOUR), (10_000_000, 10_000_001, 9_999_999))


def test_a_trial_comes_back_as_it_was_kept(store: Store) -> None:
    assert store.backtests.keep([COURSE]) == 1
    assert store.backtests.get(TRIAL.id) == COURSE
    assert store.backtests.list() == (TRIAL,)
    assert store.backtests.courses([TRIAL.id, "nope"]) == (COURSE,)
    assert store.backtests.courses([]) == ()


def test_the_same_trial_again_counts_once_and_changes_nothing(store: Store) -> None:
    store.backtests.keep([COURSE])
    version = store.versions()["books"]
    later = replace(COURSE, trial=replace(TRIAL, made_at=TRIAL.made_at + HOUR))
    assert store.backtests.keep([later]) == 0
    assert store.backtests.list() == (TRIAL,)
    assert store.versions()["books"] == version


def test_a_trial_that_comes_out_otherwise_takes_the_place_of_the_former(store: Store) -> None:
    store.backtests.keep([COURSE])
    version = store.versions()["books"]
    other = replace(TRIAL, sharpe=math.nan, code_version="0.1.0+abd", made_at=TRIAL.made_at + HOUR)
    assert store.backtests.keep([replace(COURSE, trial=other)]) == 1
    (found,) = store.backtests.list()
    assert math.isnan(found.sharpe)
    assert replace(found, sharpe=1.0) == replace(other, sharpe=1.0)
    assert store.versions()["books"] > version


def test_the_newest_trials_come_first_and_those_of_other_hours_can_be_left_out(
    store: Store,
) -> None:
    ids = ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc")
    for hours, name in enumerate(ids):
        over = "0" * 16 if name == ids[1] else TRIAL.hours
        trial = replace(TRIAL, id=name, hours=over, made_at=TRIAL.made_at + hours * HOUR)
        store.backtests.keep([replace(COURSE, trial=trial)])
    assert [trial.id for trial in store.backtests.list()] == [*reversed(ids)]
    assert [trial.id for trial in store.backtests.list(TRIAL.hours)] == [ids[2], ids[0]]


def test_nothing_to_keep_writes_nothing(store: Store) -> None:
    assert store.backtests.keep([]) == 0
    assert store.backtests.list() == ()


def test_an_id_that_nobody_knows_is_one_sentence(store: Store) -> None:
    with pytest.raises(DataError, match=r"found 'nope': astra backtests lists them"):
        store.backtests.get("nope")


def test_backtests_can_be_dumped(store: Store) -> None:
    store.backtests.keep([COURSE])
    columns = ("id", "made_at", "total_return", "winning_trades")
    (row,) = store.dump(Query("backtests", columns)).read_all().to_pylist()
    assert row == {
        "id": TRIAL.id, "made_at": TRIAL.made_at, "total_return": 0.1 + 0.2, "winning_trades": 3,
    }  # fmt: skip


TERMS = Terms("measured", Limits(), 0.05, 2.3, 20.0, 6.0)
SPEC = Spec(
    source=Source("file", path="/here/bars.parquet"), first=None, last=None,
    policies=("measured", "equal"), terms=TERMS, capital=100_000.0, half_spread_bp=2.0,
    slippage_bp=0.0, fee_bp=0.3, min_order_usd=1.0, whole_shares=False, bundle="m",
)  # fmt: skip


def test_a_trial_is_the_same_from_whichever_run_it_comes_and_wherever_its_file_lies() -> None:
    alone = replace(SPEC, policies=("equal",), terms=replace(TERMS, policy="equal"))
    moved = replace(alone, source=Source("file", path="/there/bars.parquet"))
    name = trial_id(SPEC, "equal", "f" * 16)
    assert trial_id(alone, "equal", "f" * 16) == trial_id(moved, "equal", "f" * 16) == name
    others = {
        trial_id(SPEC, "measured", "f" * 16),
        trial_id(SPEC, "equal", "e" * 16),
        trial_id(replace(SPEC, slippage_bp=1.0), "equal", "f" * 16),
        trial_id(replace(SPEC, terms=replace(TERMS, limits=Limits(k=5))), "equal", "f" * 16),
    }
    assert len({name, *others}) == 5


def test_a_sharpe_ratio_is_deflated_by_all_trials_and_by_itself_once() -> None:
    others = [replace(TRIAL, id=str(i), outcome=f"{i:016}", step_sharpe=0.01 * i) for i in range(4)]
    assert deflate(TRIAL, others).trials == deflate(TRIAL, [*others, TRIAL]).trials == 5
    assert deflate(TRIAL, []).trials == 1
    assert deflate(TRIAL, others).probability < deflate(TRIAL, []).probability


def test_copies_and_renamed_days_of_a_trial_count_once() -> None:
    others = [replace(TRIAL, id=str(i), outcome=f"{i:016}", step_sharpe=0.01 * i) for i in range(4)]
    renamed = json.dumps(json.loads(TRIAL.parameters) | {"first": "2025-06-28"})
    copies = [replace(TRIAL, id=f"copy{i}", parameters=renamed) for i in range(20)]
    assert deflate(TRIAL, [*others, *copies]) == deflate(TRIAL, others)


def test_trials_over_other_hours_or_of_another_simulated_market_are_no_measure() -> None:
    simulated = [
        replace(TRIAL, id=str(seed), outcome=f"{seed:016}", step_sharpe=0.5 * seed,
                market=f"simulated:{seed}", parameters=parameters("simulated", edge))
        for seed, edge in ((1, 0.04), (1, 0.0), (2, 0.04))
    ]  # fmt: skip
    short = replace(TRIAL, id="short", hours="c" * 16, outcome="d" * 16, steps=6, step_sharpe=2.0)
    assert deflate(TRIAL, [*simulated, short]).trials == 1
    assert [deflate(one, simulated).trials for one in simulated] == [1, 1, 1]


def test_neither_other_bars_nor_another_file_nor_the_store_hide_a_trial() -> None:
    others = [
        replace(TRIAL, id=str(i), outcome=f"{i:016}", data_hash=f"{i:016}", market=f"replay:{i}",
                step_sharpe=0.01 * i, parameters=parameters(kind, None))
        for i, kind in enumerate(("file", "file", "store"))
    ]  # fmt: skip
    assert deflate(TRIAL, others).trials == 4


def parameters(kind: str, edge: float | None) -> str:
    return json.dumps({"source": {"kind": kind, "edge": edge}})


def test_overfitting_is_judged_among_different_trials_over_the_same_hours(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/a.db")
    result = made_backtest()
    found = Found(SPEC, "replay:1", None, "f" * 16, ("A", "B"), 0, result)
    made = courses(found)
    store = open_store(settings.database_url)
    store.backtests.keep(made)
    assert study(found, settings, is_kept=True).overfitting is None  # six are too few
    copies = [replace(c, trial=replace(c.trial, id=f"again{i}")) for i, c in enumerate(made)]
    other = replace(made[0].trial, id="shorter", hours="0" * 16, outcome="1" * 16)
    store.backtests.keep([*copies, replace(made[0], trial=other, times=made[0].times[1:])])
    told = study(found, settings, is_kept=True)
    assert (told.overfitting, told.trials) == (None, 6), "copies are no other trials"
    store.backtests.keep([drifted(c, f"other{i}") for i, c in enumerate(made)])
    store.close()
    for is_kept in (True, False):
        told = study(found, settings, is_kept)
        assert (told.compared, told.trials) == (12, 12)
        assert told.overfitting is not None
        assert bool(told.ids) == is_kept


def drifted(course: Course, name: str) -> Course:
    """A course that earns a little more each hour."""
    equity = tuple(cents + 100 * i for i, cents in enumerate(course.equity))
    return replace(
        course, equity=equity, trial=replace(course.trial, id=name, outcome=digest(equity))
    )


def test_a_register_that_cannot_be_read_holds_no_trials(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    settings = Settings(_env_file=None, database_url=f"sqlite:///{file}")
    found = Found(SPEC, "replay:1", None, "f" * 16, ("A", "B"), 0, made_backtest())
    for content in (b"", b"no database at all, and long enough to be taken for one" * 100):
        file.write_bytes(content)
        assert study(found, settings, is_kept=False).trials == 6


def test_what_differs_is_said_with_what_may_be_behind_it() -> None:
    assert differences(COURSE, COURSE) == []
    code = replace(COURSE, trial=replace(TRIAL, code_version="0.2.0"))
    assert differences(COURSE, code) == []  # other code, the same to the cent
    off = replace(code, equity=(10_000_000, 10_000_002, 9_999_999))
    assert differences(COURSE, off) == [
        "the equity: 1 of 3 values, the first at 2025-07-01 15:00 UTC: 100,000.01 USD then, "
        "100,000.02 now",
        "the code is another: 0.1.0+abc then, 0.2.0 now",
    ]
    bars = replace(COURSE, trial=replace(TRIAL, data_hash="e" * 16))
    assert differences(COURSE, bars) == [f"the bars have changed: {'f' * 16} then, {'e' * 16} now"]
    fewer = replace(COURSE, trial=replace(TRIAL, steps=1), times=COURSE.times[:2])
    assert differences(COURSE, fewer)[0].startswith("the decisions: 2 to ")


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of bars, and a folder of one's own to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTRA_DATABASE_URL", "sqlite:///a.db")
    for name in ("WEIGHT", "ORDER_WEIGHT", "POSITION_WEIGHT"):
        monkeypatch.setenv(f"ASTRA_MAX_{name}", "0.4")  # of few names, else policies are the same
    write_bars(tmp_path / "bars.parquet", seed=3)
    return tmp_path / "bars.parquet"


def write_bars(
    path: Path, seed: int, last: dt.date = dt.date(2026, 5, 15), names: tuple[str, ...] = ()
) -> None:
    first = dt.date(2026, 4, 15)
    names = ("AAPL", "JPM", "KO", "XOM", "SPY", *names)
    frame = simulated_bars(names, seed=seed, edge=0.1, first=first, last=last)
    pq.write_table(to_arrow(frame), path)


def astra(*words: str) -> Result:
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def backtested(*words: str) -> dict[str, Any]:
    day = ("--from", "2026-05-15", "--to", "2026-05-15", "--policy", "min_variance", "--json")
    found: dict[str, Any] = json.loads(
        astra("backtest", "--bars", "bars.parquet", *day, *words).stdout
    )
    return found


def test_a_backtest_is_kept_listed_shown_and_repeated_to_the_cent(recorded: Path) -> None:
    found = backtested("--policy", "equal", "--report", "out")
    ids = found["ids"]
    assert isinstance(ids, dict)
    assert set(ids) == {"min_variance", "equal"}
    assert found["trials"] == 2
    assert {"report.html", "backtest.json", "return.png"} <= {
        path.name for path in Path("out").iterdir()
    }
    assert backtested()["ids"] == {"min_variance": ids["min_variance"]}  # alone: the same trial
    listed = json.loads(astra("backtests", "--json").stdout)
    assert (listed["stored"], {row["id"] for row in listed["backtests"]}) == (2, {*ids.values()})
    text = astra("backtests").stdout
    assert all(name in text for name in ids.values())
    shown = astra("backtests", "show", ids["equal"]).stdout
    assert "file bars.parquet" in shown
    assert f"astra backtests rerun {ids['equal']}" in shown
    row = json.loads(astra("backtests", "show", ids["equal"], "--json").stdout)
    policies = found["policies"]
    assert isinstance(policies, dict)
    assert row["equity"] == policies["equal"]["equity"]
    assert row["total_return"] == policies["equal"]["total_return"]
    assert row["parameters"]["policies"] == ["equal"]
    again = astra("backtests", "rerun", ids["equal"])
    assert (again.exit_code, "is the same to the cent" in again.stdout) == (0, True)


def test_a_rerun_that_comes_out_otherwise_says_so_and_exits_1(recorded: Path) -> None:
    ids = backtested()["ids"]
    assert isinstance(ids, dict)
    (name,) = ids.values()
    with sqlite3.connect("a.db") as connection:
        (equity,) = connection.execute("SELECT equity FROM backtests").fetchone()
        cents = json.loads(equity)
        cents[-1] -= 1
        connection.execute("UPDATE backtests SET equity = ?", (json.dumps(cents),))
    connection.close()
    again = astra("backtests", "rerun", name, "--json")
    assert again.exit_code == 1
    answer = json.loads(again.stdout)
    assert (answer["same"], len(answer["differs"])) == (False, 1)
    assert answer["differs"][0].startswith("the equity: 1 of 7 values, the first at 2026-05-15")


def test_bars_that_changed_or_moved_are_one_sentence(recorded: Path) -> None:
    ids = backtested()["ids"]
    assert isinstance(ids, dict)
    (name,) = ids.values()
    write_bars(recorded, seed=4)
    again = astra("backtests", "rerun", name)
    assert again.exit_code == 1
    assert "the bars have changed" in again.stdout
    recorded.unlink()
    with pytest.raises(DataError, match=r"bars\.parquet, found no such file: put it back"):
        astra("backtests", "rerun", name)


def test_a_backtest_that_is_not_to_be_kept_leaves_no_trace_and_is_judged_by_what_is_there(
    recorded: Path,
) -> None:
    found = backtested("--no-store")
    assert (found["ids"], found["trials"]) == ({}, 1)
    assert not Path("a.db").exists()
    assert "there is no backtest yet" in astra("backtests").stdout
    kept = backtested("--policy", "equal")
    again = backtested("--no-store", "--costs-bps", "5")
    assert (kept["trials"], again["trials"]) == (2, 3)
    assert json.loads(astra("backtests", "--json").stdout)["stored"] == 2


def test_bars_that_were_appended_and_tickers_that_are_data_only_change_nothing(
    recorded: Path,
) -> None:
    kept = backtested()
    write_bars(recorded, seed=3, last=dt.date(2026, 5, 20), names=("QQQ",))
    again = backtested("--no-store", "--costs-bps", "5")
    assert (again["data_hash"], again["trials"]) == (kept["data_hash"], 2)
    (name,) = kept["ids"].values()
    assert astra("backtests", "rerun", name).exit_code == 0


def test_the_same_hours_asked_for_by_other_days_are_one_trial(recorded: Path) -> None:
    saturday = backtested("--from", "2026-05-09", "--to", "2026-05-11")
    monday = backtested("--from", "2026-05-11", "--to", "2026-05-11")
    assert saturday["ids"] != monday["ids"]
    assert saturday["times"] == monday["times"]
    assert (saturday["trials"], monday["trials"]) == (1, 1)
    assert backtested("--costs-bps", "5")["trials"] == 1, "other hours have trials of their own"


OWN = "def mine(inputs):\n    return [{share} for _ in inputs.tickers]\n"


def test_a_policy_of_ones_own_is_another_trial_after_each_change(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recorded.parent / "own.py"
    own.write_text(OWN.format(share=0.1))
    day = ("--from", "2026-05-15", "--to", "2026-05-15", "--bars", str(recorded), "--json")
    first = json.loads(astra("backtest", "--policy", "own.py:mine", *day).stdout)
    own.write_text(OWN.format(share=0.05))
    second = json.loads(astra("backtest", "--policy", "own.py:mine", *day).stdout)
    assert (first["trials"], second["trials"]) == (1, 2)
    ids = [*first["ids"].values(), *second["ids"].values()]
    monkeypatch.setenv("ASTRA_DATABASE_URL", f"sqlite:///{recorded.parent}/a.db")
    (recorded.parent / "elsewhere").mkdir()
    monkeypatch.chdir(recorded.parent / "elsewhere")
    assert astra("backtests", "rerun", ids[1]).exit_code == 0
    again = astra("backtests", "rerun", ids[0])
    assert again.exit_code == 1
    assert f"the file has changed: {own}" in again.stdout


def test_a_list_of_candidates_that_changed_is_another_trial(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = recorded.parent / "names.csv"
    monkeypatch.setenv("ASTRA_TICKERS", "names.csv")
    names.write_text("ticker,sector\nAAPL,Energy\nKO,Energy\nXOM,Energy\n")
    first = backtested()["ids"]
    names.write_text("ticker,sector\nAAPL,Energy\nKO,Utilities\nXOM,Energy\n")
    second = backtested()["ids"]
    assert isinstance(first, dict) and isinstance(second, dict)
    assert first != second
    again = astra("backtests", "rerun", *first.values())
    assert again.exit_code == 1
    assert f"the file has changed: {names}" in again.stdout


def test_the_code_of_a_trial_is_all_that_a_backtest_runs_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.cli.backtests.HOUSE", tmp_path)
    seen = []
    paths = ("astra/fills.py", "astra/cli/backtest.py", "model/backtest/walk.py", "astra/cli/up.py")
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    for path in (*paths, paths[0]):
        seen.append(code_version.__wrapped__())
        (tmp_path / path).write_text("changed")
    assert len({*seen[:4]}) == 4
    assert seen[4] == seen[3], "the code of other commands is none of it"

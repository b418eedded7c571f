"""The register of backtests: each trial counts once, and is repeated to the cent."""

from __future__ import annotations

import datetime as dt
import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from made_backtest import made_backtest
from typer.testing import CliRunner, Result

from astra.bars import to_arrow
from astra.cli.backtest import Found
from astra.cli.backtests import courses, deflate, differences, trial_id
from astra.cli.commands import app
from astra.cli.findings import study
from astra.errors import DataError
from astra.settings import Settings
from astra.store import Query, Store, open_store
from astra.store.backtests import Course, Trial
from model.backtest.spec import Source, Spec
from model.decision import Terms
from model.portfolio.limits import Limits
from sandbox.market import simulated_bars

T = dt.datetime(2025, 7, 1, 14, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
TRIAL = Trial(
    id="0123456789ab", made_at=T + 1000 * HOUR, market="simulated:1", data_hash="f" * 16,
    hours="a" * 16, outcome="b" * 16,
    first_at=T, last_at=T + 2 * HOUR, frequency="1h", policy="measured", parameters='{"k": 20}',
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
    assert store.backtests.courses(TRIAL.data_hash) == (COURSE,)
    assert store.backtests.courses("e" * 16) == ()


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


def test_the_newest_trials_come_first_and_those_of_other_bars_can_be_left_out(
    store: Store,
) -> None:
    ids = ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc")
    for hours, name in enumerate(ids):
        hashed = "0" * 16 if name == ids[1] else TRIAL.data_hash
        trial = replace(TRIAL, id=name, data_hash=hashed, made_at=TRIAL.made_at + hours * HOUR)
        store.backtests.keep([replace(COURSE, trial=trial)])
    assert [trial.id for trial in store.backtests.list()] == [*reversed(ids)]
    assert [trial.id for trial in store.backtests.list(TRIAL.data_hash)] == [ids[2], ids[0]]


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
    others = [replace(TRIAL, id=str(i), step_sharpe=0.01 * i) for i in range(4)]
    assert deflate(TRIAL, others).trials == deflate(TRIAL, [*others, TRIAL]).trials == 5
    assert deflate(TRIAL, []).trials == 1
    assert deflate(TRIAL, others).probability < deflate(TRIAL, []).probability


def test_overfitting_is_judged_among_trials_over_the_same_hours(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/a.db")
    result = made_backtest()
    found = Found(SPEC, "replay:1", None, "f" * 16, ("A", "B"), 0, result)
    made = courses(found)
    store = open_store(settings.database_url)
    store.backtests.keep(made)
    assert study(found, settings, is_kept=True).overfitting is None  # six are too few
    store.backtests.keep(
        [replace(c, trial=replace(c.trial, id=f"again{i}")) for i, c in enumerate(made)]
    )
    other = replace(made[0], trial=replace(made[0].trial, id="shorter"), times=made[0].times[1:])
    store.backtests.keep([other])
    store.close()
    told = study(found, settings, is_kept=True)
    assert told.compared == 12
    assert told.overfitting is not None
    assert told.trials == 13
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
    write_bars(tmp_path / "bars.parquet", seed=3)
    return tmp_path / "bars.parquet"


def write_bars(path: Path, seed: int) -> None:
    first, last = dt.date(2026, 4, 15), dt.date(2026, 5, 15)
    names = ("AAPL", "JPM", "KO", "XOM", "SPY")
    frame = simulated_bars(names, seed=seed, edge=0.1, first=first, last=last)
    pq.write_table(to_arrow(frame), path)


def astra(*words: str) -> Result:
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def backtested(*words: str) -> dict[str, object]:
    day = ("--from", "2026-05-15", "--to", "2026-05-15", "--policy", "min_variance", "--json")
    found: dict[str, object] = json.loads(
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


def test_a_backtest_that_is_not_to_be_kept_leaves_no_trace(recorded: Path) -> None:
    found = backtested("--no-store")
    assert (found["ids"], found["trials"]) == ({}, 1)
    assert not Path("a.db").exists()
    assert "there is no backtest yet" in astra("backtests").stdout

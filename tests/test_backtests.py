"""The register of backtests: each trial counts once, and is repeated to the cent."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import pytest

from astra.errors import DataError
from astra.store import Query, Store
from astra.store.backtests import Course, Trial

T = dt.datetime(2025, 7, 1, 14, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
TRIAL = Trial(
    id="0123456789ab", made_at=T + 1000 * HOUR, market="simulated:1", data_hash="f" * 16,
    first_at=T, last_at=T + 2 * HOUR, frequency="1h", policy="measured", parameters='{"k": 20}',
    total_return=0.1 + 0.2, max_drawdown=-0.015, winning_trades=3, losing_trades=2, sharpe=1.5,
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

"""`astra db`: what it says of the schema and of what it deleted."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text
from typer.testing import CliRunner

from astra import predictions
from astra.cli import db
from astra.errors import ConfigError
from astra.predictions import QUANTILE_COLUMNS
from astra.sessions import last_sessions
from astra.store import Store, connect, open_store, schema
from tests.seeded_books import MEMBERS, NOW, forecasts_of, seed_store


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTRA_DATABASE_URL", "sqlite:///a.db")
    return "sqlite:///a.db"


def astra_db(*words: str) -> str:
    done = CliRunner().invoke(db.app, list(words))
    if done.exception:
        raise done.exception
    return done.output.strip()


def test_an_upgrade_says_from_where_to_where(url: str, tmp_path: Path) -> None:
    first = astra_db("upgrade")
    after = open_store(url).revision()
    assert after == schema.REVISION  # else a store of the last revision is migrated at each start
    assert first == f"the schema went from nothing to revision {after}"
    assert astra_db("upgrade") == f"the schema is at revision {after}: nothing to do"
    with sqlite3.connect(tmp_path / "a.db") as connection:
        held = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    assert held == (after,)


def test_every_database_can_be_upgraded(store_url: str) -> None:
    opened = connect(store_url)
    opened.migrate()
    assert opened.revision() == "0006"
    opened.close()


def test_forecasts_of_an_earlier_release_stay_and_new_ones_join_them(store_url: str) -> None:
    opened = connect(store_url)
    set_back(opened, "0002")
    row = "('m', 1000, 'A', {step}, 1000, 10, 8, 9, 10, 11, 12)"
    with opened._dialect.writing("schema") as connection:
        for step in (1, 2):
            connection.execute(text(f"INSERT INTO forecasts VALUES {row.format(step=step)}"))  # noqa: S608
    opened.migrate()
    assert opened.revision() == "0006"
    new = {"model_id": "m", "as_of": 1000, "ticker": "A", "step": [2, 3], "ts": 1000, "close": 10.0}
    quantiles = dict(zip(QUANTILE_COLUMNS, range(7, 14), strict=True))
    assert opened.books.record_forecasts(pd.DataFrame(new | quantiles)) == 1
    found = opened.books.read("forecasts").to_pandas().set_index("step").sort_index()
    assert found["q05"].tolist() == [8, 8, 7]
    assert found["q95"].tolist() == [12, 12, 13]
    assert found[["q10", "q90"]].isna().all(axis=1).tolist() == [True, True, False]
    assert found.loc[3, ["q10", "q90"]].tolist() == [8, 12]
    opened.close()


def test_a_file_of_an_earlier_release_is_recorded(store: Store) -> None:
    frame = forecasts_of(dict.fromkeys(MEMBERS, 100.0), NOW, seed=1)
    frame["close"] = frame["q50"]
    written = pd.read_csv(io.BytesIO(predictions.build(frame)))
    old = written.drop(columns=["q10", "q90"]).to_csv(index=False).encode()
    parsed = predictions.parse("p.csv", old, {"as_of": NOW.isoformat(), "model_id": "m"})
    assert store.books.record_forecasts(parsed) == len(frame)
    found = store.books.read("forecasts").to_pandas()
    assert found[["q10", "q90"]].isna().all(axis=None)
    assert np.allclose(found.groupby("ticker")["q95"].max(), frame.groupby("ticker")["q95"].max())


def set_back(store: Store, revision: str) -> None:
    """Make the tables those of an earlier release; they are empty."""
    config = Config()
    folder = Path(__file__).parents[1] / "astra" / "store" / "migrations"
    config.set_main_option("script_location", str(folder))
    with store._dialect.writing("schema") as connection:
        config.attributes["connection"] = connection
        if MigrationContext.configure(connection).get_current_revision() is None:
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)


@pytest.mark.parametrize("wrong", ["oracle://x", "nonsense", "sqlite://"])
def test_a_database_that_cannot_be_is_a_config_error(
    url: str, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("ASTRA_DATABASE_URL", wrong)
    for words in (["upgrade"], ["prune", "--keep-days", "5"]):
        with pytest.raises(ConfigError, match="ASTRA_DATABASE_URL"):
            astra_db(*words)


def test_pruning_says_what_went_and_a_dry_run_what_would(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(url)
    seed_store(store, days=4)
    bars = store.prices.count()
    assert astra_db("prune") == "nothing was deleted: keeping 0 days means keeping all bars"
    would = astra_db("prune", "--keep-days", "3", "--dry-run")
    assert store.prices.count() == bars
    did = astra_db("prune", "--keep-days", "3")
    gone = bars - store.prices.count()
    # Only SPY's first bars are of no use to anybody: all else was traded or decided on.
    assert 0 < gone <= last_sessions(6, NOW)[0].bars * 17
    assert did.startswith(f"deleted {gone:,} bars, 0 revisions and 0 refused bars of ")
    assert would == did.replace("deleted", "would delete", 1)
    assert "from before 2026-11-17" in did
    assert astra_db("prune", "--keep-days", "3").startswith("deleted 0 bars")
    store.close()


def test_an_empty_store_has_nothing_to_prune(url: str) -> None:
    assert astra_db("prune", "--keep-days", "9") == "nothing was deleted: the store has no bars"

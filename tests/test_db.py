"""`astra db`: what it says of the schema and of what it deleted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from astra.cli import db
from astra.errors import ConfigError
from astra.sessions import last_sessions
from astra.store import connect, open_store
from tests.seeded_books import NOW, seed_store


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
    assert first == f"the schema went from nothing to revision {after}"
    assert astra_db("upgrade") == f"the schema is at revision {after}: nothing to do"
    with sqlite3.connect(tmp_path / "a.db") as connection:
        held = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    assert held == (after,)


def test_every_database_can_be_upgraded(store_url: str) -> None:
    opened = connect(store_url)
    opened.migrate()
    assert opened.revision() == "0003"
    opened.close()


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

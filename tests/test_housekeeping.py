"""`/housekeeping`: the universe as the settings say today, old bars gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from astra.settings import Settings
from astra.store import Store, open_store
from astra.web import create_service
from etl_service.housekeeping import routes
from tests.seeded_books import MEMBERS, seed_store


@pytest.fixture
def database(tmp_path: Path) -> Settings:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=f"sqlite:///{tmp_path}/a.db",
        tickers="AAPL|OXY",
        benchmarks="SPY",
    )
    return settings.model_copy(update={"keep_days": 3})  # fewer than can be set, for a small test


@pytest.fixture
def store(database: Settings) -> Store:
    return open_store(database.database_url)


def client(store: Store, settings: Settings) -> FlaskClient:
    app = create_service("etl", settings)
    app.register_blueprint(routes(store, settings))
    return app.test_client()


def test_it_refreshes_the_universe_and_prunes_and_a_second_time_nothing(
    store: Store, database: Settings
) -> None:
    seed_store(store, days=4)
    bars = store.prices.count()
    service = client(store, database)
    first = service.post("/housekeeping").get_json()
    assert {m.ticker for m in store.books.universe()} == {"AAPL", "OXY", "SPY"}
    # All seeded members leave, or come back with today's industry; SPY is new.
    assert first["universe"] == {"changed": len(MEMBERS) + 3, "members": 3}
    gone = bars - store.prices.count()
    assert gone > 0
    assert (first["pruned"]["bars"], first["pruned"]["before"]) == (
        gone,
        "2026-11-17T00:00:00+00:00",
    )
    again = service.post("/housekeeping").get_json()
    assert again["universe"] == {"changed": 0, "members": 3}
    assert (again["pruned"]["bars"], again["pruned"]["tickers"]) == (0, 0)


def test_by_default_every_bar_is_kept(store: Store, database: Settings) -> None:
    seed_store(store, days=2)
    bars = store.prices.count()
    settings = database.model_copy(update={"keep_days": 0})
    answer = client(store, settings).post("/housekeeping").get_json()
    assert (answer["pruned"]["bars"], answer["pruned"]["before"]) == (0, None)
    assert store.prices.count() == bars


def test_before_the_first_load_there_is_no_day_to_keep_house_on(
    store: Store, database: Settings
) -> None:
    answer = client(store, database).post("/housekeeping")
    assert answer.status_code == 409
    assert "POST /load_price_history first" in answer.get_json()["message"]

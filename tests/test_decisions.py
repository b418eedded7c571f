"""The file that a decision drops, in the sandbox's bucket."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from astra.allocation import parse
from astra.gcs import Bucket
from astra.settings import Settings
from model.decisions import Decisions
from sandbox.faults import Faults
from sandbox.markets import simulated_market
from sandbox.serving import Servers
from sandbox.storage import create_app

AS_OF = dt.datetime(2026, 10, 30, 14, 0, tzinfo=dt.UTC)
NAME = "target_20261030-140000_0a1b2c3d.csv"
DECIDED: dict[str, Any] = {
    "object": NAME,
    "policy": "measured",
    "model_id": "m",
    "weights": {"STILL": 0.3, "QUIET": 0.2, "HELD": 0.1, "NEW": 0.05},
    "held": ["HELD", "QUIET", "STILL"],
    "hold": ["HELD"],
    "kept": ["HELD", "QUIET", "STILL"],
    "trained_on": "real",
    "trained_until": "2026-09-30T20:00:00+00:00",
    "coverage": 0.98,
    "skill": {"ic": 0.01, "t": 2.5, "on": True, "used": 0.01},
}


def dropped(document: dict[str, Any], max_names: int) -> Any:
    market = simulated_market(("AAPL",), start=dt.date(2026, 10, 29), at=AS_OF)
    app = create_app(market, Faults(), function_url=None, buckets=("astra-allocations",))
    with Servers({"storage": app}) as urls:
        bucket = Bucket.from_settings(Settings.model_validate({"storage_url": urls["storage"]}))
        Decisions(bucket, "").drop_target(AS_OF, "0a1b2c3d", document)
        found = bucket.read(NAME)
    return parse(found.name, found.content, found.metadata, max_names)


def test_more_unusable_holdings_than_places_are_kept_and_the_file_is_not_refused() -> None:
    found = dropped(DECIDED, max_names=1)
    assert found.weights == {"STILL": 0.3, "QUIET": 0.2, "NEW": 0.05}
    assert found.keep == {"STILL", "QUIET"}, "what is on hold is none of the file's business"
    assert found.coverage == 0.98
    assert found.trained_until == dt.datetime(2026, 9, 30, 20, tzinfo=dt.UTC)


def test_what_was_trained_on_a_simulated_market_does_not_grow_old() -> None:
    assert dropped({**DECIDED, "trained_on": "simulated"}, max_names=3).trained_until is None


def test_a_decision_of_an_earlier_release_keeps_nothing_by_name() -> None:
    earlier = {name: value for name, value in DECIDED.items() if name != "kept"}
    assert dropped(earlier, max_names=3).keep == frozenset()


@pytest.mark.parametrize(
    ("policy", "used", "matters"),
    [
        ("measured", 0.01, True),
        ("measured", 0.0, False),
        ("min_variance", 0.01, False),
        ("risk_parity", 0.0, False),
        ("equal", 0.0, True),  # it takes the highest scores
        ("trust", 0.0, True),
        ("original", 0.0, True),
        ("mine.py:weights", 0.0, True),
    ],
)
def test_the_age_of_a_forecast_matters_where_it_moves_the_weights(
    policy: str, used: float, matters: bool
) -> None:
    skill = {**DECIDED["skill"], "used": used}
    found = dropped({**DECIDED, "policy": policy, "skill": skill}, max_names=3)
    assert found.metadata["forecast"] == ("used" if matters else "unused")
    assert (found.trained_until is not None) is matters

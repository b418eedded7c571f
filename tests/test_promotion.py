"""A promotion, as the running model service takes it: the next decision, and nothing inherited."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from model.forecast.homes import Folder
from model.forecast.registry import Registry, shipped
from tests.test_model_service import TEN, House
from tests.test_model_service import house as house  # the fixture

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The champion we ship, and a copy that says it has learned until now."""
    return Registry(Folder(tmp_path / "bundles"))


def decided(house: House, service: FlaskClient, at: dt.datetime) -> dict[str, Any]:
    house.sandbox.market.clock.step_to(at)
    house.load()
    answer = service.post("/allocate")
    assert answer.status_code == 200, answer.json
    found: dict[str, Any] = answer.json
    return found


def test_a_promoted_network_decides_next_and_starts_without_skill(
    house: House, tmp_path: Path, registry: Registry
) -> None:
    bundle = shipped().load()
    old = registry.register(bundle.spec, bundle.onnx, bundle.weights).id
    until_now = replace(bundle.spec.training, end=TEN, seed=bundle.spec.training.seed + 1)
    spec = replace(bundle.spec, training=until_now)
    new = registry.register(spec, bundle.onnx, bundle.weights).id
    registry.promote_if_first(old, TEN)
    service = house.client(bundles=tmp_path / "bundles")

    first = decided(house, service, TEN)
    assert first["model_id"] == old
    assert first["skill"]["days"] > 10, "it has a past to be measured on"

    registry.promote(new, TEN, "better", over=old)
    assert service.post("/allocate").json == first, "a promotion makes nobody decide twice"
    second = decided(house, service, TEN + HOUR)
    assert second["model_id"] == new
    skill = second["skill"]
    assert (skill["days"], skill["ic"], skill["on"]) == (0, 0.0, False)
    assert service.post("/allocate").json == second

    replayed = service.post("/replay", json={"as_of": first["as_of"]}).json
    assert replayed["same_bars"] and replayed["same_weights"], "by the network that decided"

    registry.rollback(TEN)
    third = decided(house, service, TEN + 2 * HOUR)
    assert third["model_id"] == old
    assert third["skill"]["days"] >= first["skill"]["days"]

"""What the doctor says of the network in use."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from astra.cli.doctor import Check, examine
from astra.settings import Settings
from model.forecast.homes import Folder
from model.forecast.registry import Registry
from tests.bundles import a_spec

NOW = dt.datetime.now(dt.UTC)


def said(folder: Path, **changes: object) -> Check:
    settings = Settings(
        _env_file=None,
        bundles=folder,
        database_url=f"sqlite:///{folder / 'a.db'}",
        **{f"{name}_url": "http://127.0.0.1:9" for name in ("etl", "model", "monitor")},
        **changes,
    )
    (found,) = (check for check in examine(settings) if check.subject == "bundle")
    return found


def in_use(folder: Path, trained_on: str, days: int, key: bytes = b"") -> str:
    spec = a_spec(end=NOW - dt.timedelta(days=days, hours=1))
    spec = dataclasses.replace(
        spec, training=dataclasses.replace(spec.training, trained_on=trained_on)
    )
    registry = Registry(Folder(folder), key)
    name = registry.register(spec, b"network", b"weights").id
    registry.promote_if_first(name, NOW)
    return name


def test_a_network_too_old_needs_you_and_the_doctor_says_what_to_do(tmp_path: Path) -> None:
    name = in_use(tmp_path, "real", 366)
    found = said(tmp_path)
    assert found.ok is False
    assert name in found.finding
    assert "366 days ago, more than ASTRA_MODEL_MAX_AGE_DAYS=365: run astra train" in found.finding
    assert said(tmp_path, model_max_age_days=366).ok
    assert said(tmp_path, model_max_age_days=0).ok


def test_a_network_of_a_simulated_market_does_not_age(tmp_path: Path) -> None:
    in_use(tmp_path, "simulated", 3000)
    assert said(tmp_path).ok


def test_an_unsigned_network_needs_you_where_a_key_is_set(tmp_path: Path) -> None:
    name = in_use(tmp_path, "real", 1)
    assert "signed" not in said(tmp_path).finding
    found = said(tmp_path, bundle_key="a key of our own")
    assert found.ok is False
    assert f"astra models sign {name}" in found.finding
    Registry(Folder(tmp_path), b"a key of our own").sign(name)
    assert (
        "signed and trained on real bars" in said(tmp_path, bundle_key="a key of our own").finding
    )


@pytest.mark.parametrize("others", [0, 2])
def test_other_networks_are_counted(tmp_path: Path, others: int) -> None:
    in_use(tmp_path, "real", 1)
    for seed in range(1, others + 1):
        Registry(Folder(tmp_path)).register(a_spec(seed), b"network", b"weights")
    told = f"{others} more: astra models list" in said(tmp_path).finding
    assert told == (others > 0)

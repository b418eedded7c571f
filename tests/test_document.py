"""What a decision's document says of its network, and of those beside it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from pathlib import Path

from bundles import TRAINED_UNTIL, a_spec

from model.document import card, standings
from model.forecast.homes import Folder
from model.forecast.registry import Registry, Reign, Succession

AT = dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def test_the_card_says_what_the_network_is_and_what_it_learned_from() -> None:
    found = json.loads(json.dumps(card(a_spec()), allow_nan=False))
    assert (found["network"], found["window"], found["horizon"]) == ("nbeats", 60, 12)
    assert found["training"]["end"] == TRAINED_UNTIL.isoformat()
    assert found["training"]["trained_on"] == "simulated"
    assert found["metrics"] == {"ic": 0.01, "pinball_bp": 9.5}


def test_a_figure_that_is_no_number_stops_no_decision() -> None:
    spec = a_spec(metrics={"ic": math.nan, "t": 2.0}, sizes={"dropout": math.inf, "layers": 2})
    found = card(spec)
    assert found["metrics"] == {"t": 2.0} and found["sizes"] == {"layers": 2}
    json.dumps(found, allow_nan=False)


def test_each_bundle_stands_once_champion_first_and_challengers_last() -> None:
    now = Reign("c", "h", AT, "back from d")
    before = (Reign("b", "h", AT - DAY, "better", AT), Reign("a", "h", None, "first", AT - DAY))
    withdrawn = (Reign("d", "h", AT - DAY, "forced", AT), Reign("c", "h", AT - 2 * DAY))
    specs = {name: a_spec(end=TRAINED_UNTIL + n * DAY) for n, name in enumerate("abcdxyz")}
    found = standings(Succession(now, before, withdrawn), specs)
    assert [(one["id"], one["role"]) for one in found] == [
        ("c", "champion"), ("b", "before"), ("a", "before"), ("d", "withdrawn"),
        ("z", "challenger"), ("y", "challenger"), ("x", "challenger"),
    ]  # fmt: skip
    assert found[0]["why"] == "back from d" and found[0]["until"] is None
    assert found[2]["since"] is None
    assert found[-1]["trained_until"] == (TRAINED_UNTIL + 4 * DAY).isoformat()


def test_a_champion_whose_bundle_cannot_be_read_is_still_told_of() -> None:
    (found,) = standings(Succession(Reign("gone", "h", AT, "better")), {})
    assert (found["id"], found["trained_until"], found["metrics"]) == ("gone", None, {})


def test_a_registry_says_what_its_bundles_are_and_reads_each_once(tmp_path: Path) -> None:
    registry = Registry(Folder(tmp_path))
    names = [registry.register(a_spec(seed), b"network", b"weights").id for seed in (1, 2)]
    registry.register(a_spec(3, frequency="1d"), b"network", b"weights")
    found = registry.specs("5m", {})
    assert found == {names[0]: a_spec(1), names[1]: a_spec(2)}
    kept = dataclasses.replace(found[names[0]], members=7)
    assert registry.specs("5m", {names[0]: kept})[names[0]] is kept
    (tmp_path / names[1] / "spec.json").write_text("{")
    assert registry.specs("5m", {}) == {names[0]: found[names[0]]}, "a broken one is left out"

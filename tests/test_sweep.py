"""A sweep: its file, its sets, what is shared, what is kept, and what it says of the best."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import pytest

from astra.cli import grid
from astra.errors import ConfigError
from astra.settings import Settings


def written(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def settings(**named: object) -> Settings:
    return Settings(_env_file=None, **named)  # type: ignore[arg-type,call-arg]


# --- the file


def test_the_sets_are_all_combinations_with_the_last_name_varying_fastest(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[backtest]\nfrom = 2025-06-02\ncapital = 50_000\n"
        '[grid]\npolicy = ["measured", "equal"]\nmax_weight = [0.1, 1]\n',
    )
    found = grid.read(path)
    assert found.fixed == {"from": dt.date(2025, 6, 2), "capital": 50_000.0}
    assert [tuple(s.values()) for s in found.sets] == [
        ("measured", 0.1), ("measured", 1.0), ("equal", 0.1), ("equal", 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("policy = [", "is not TOML"),
        ("", "at least one of policy, k, max_weight, .*, found none"),
        ("grid = 3", r"needs a table \[grid\], found 3"),
        ("[other]\n[grid]\nk = [5]", "has the tables backtest, grid; found other"),
        ("[grid]\nkay = [5]", r"\[grid\] of .* takes policy, k, max_weight, .*; found kay"),
        ("[backtest]\ncost = 2\n[grid]\nk = [5]", "takes bars, store, .* costs_bps.*; found cost"),
        ("[grid]\nk = []", r"needs a list of values for k, found \[\]"),
        ("[grid]\nk = 5", "needs a list of values for k, found 5"),
        ("[grid]\nk = [5, 5]", r"each value of k once, found \[5, 5\]"),
        ("[grid]\nk = [true]", "wrong k, True: input should be a valid integer"),
        ('[grid]\nk = ["5"]', "wrong k, '5': input should be a valid integer"),
        ("[grid]\nk = [5.5]", "wrong k, 5.5: input should be a valid integer"),
        ("[grid]\nmax_weight = [nan]", "wrong max_weight, nan: a finite number is required"),
        ('[grid]\nrisk_model = ["ours"]', "wrong risk_model, 'ours': input should be 'ledoit_wol"),
        ('[backtest]\nfrom = "2025"\n[grid]\nk = [5]', "wrong from, '2025': input should be a v"),
    ],
)
def test_a_file_that_cannot_be_a_sweep_is_refused_in_one_sentence(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        grid.read(written(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_too_many_sets_are_refused_with_how_they_come_about(tmp_path: Path) -> None:
    ks, caps = list(range(1, 203)), [i / 1000 for i in range(1, 51)]
    path = written(tmp_path, f"[grid]\nk = {ks}\nmax_weight = {caps}\n")
    with pytest.raises(ConfigError, match=r"10000 sets at most, .* 10100 \(202 k x 50 max_weight"):
        grid.read(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a sweep is a TOML file, .* cannot be read"):
        grid.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"k": 0}, "the set k 0 cannot be run: ASTRA_K"),
        ({"policy": "clever"}, "the set policy clever cannot be run: .*a policy is one of measur"),
        ({"k": 9, "min_weight": 0.2}, "the set k 9, min_weight 0.2 cannot be run: .*max_weight"),
    ],
)
def test_a_set_that_breaks_a_rule_is_named_before_anything_runs(
    choices: grid.Choices, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        grid.settings_of(choices, settings())


def test_a_set_changes_what_it_names_and_nothing_else() -> None:
    ours = settings(cash_floor=0.07, bundle_key="kept")
    chosen = grid.settings_of({"k": 7, "risk_model": "ewma"}, ours)
    assert (chosen.k, chosen.risk_model) == (7, "ewma")
    same = chosen.model_copy(update={"k": ours.k, "risk_model": ours.risk_model})
    assert same == ours
    assert math.isclose(chosen.cash_floor, 0.07)

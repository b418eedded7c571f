"""Presets: the shipped ones, files of one's own, and what is refused."""

from pathlib import Path

import pytest

from astra.errors import ConfigError
from model.forecast.presets import SIZES, names, of_network, read, seen_at
from model.forecast.target import Scaler

FILE = """
network = "tide"
members = 3
[sizes]
hidden_size = 16
dropout = 0.2
use_layer_norm = true
[plan]
steps = 10
batch = 8
learning_rate = 1e-3
weight_decay = 0
check_every = 5
patience = 2
[sight]
frequency = "5m"
window = 30
horizon = 12
allowed_gaps = 3
[sight.scaler]
warm_up = 20
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_the_shipped_presets_are_those_of_the_manual() -> None:
    assert names() == ["daily", "paper", "small"]
    paper, small, daily = read("paper"), read("small"), read("daily")
    wanted = {"num_stacks": 30, "num_blocks": 1, "num_layers": 4, "layer_widths": 512}
    assert wanted.items() <= dict(paper.sizes).items()
    assert (small.sight.frequency, small.sight.window, small.sight.horizon) == ("5m", 60, 12)
    assert (daily.sight.frequency, daily.sight.window, daily.sight.horizon) == ("1d", 60, 5)
    assert small.sizes == SIZES["nbeats"], "who names nbeats and no sizes gets those of small"


def test_a_file_gives_every_value_with_its_type(tmp_path: Path) -> None:
    preset = read(written(tmp_path, FILE))
    assert preset.sizes == {"hidden_size": 16, "dropout": 0.2, "use_layer_norm": True}
    assert [type(v) for v in preset.sizes.values()] == [int, float, bool]
    assert (preset.members, preset.plan.steps, preset.sight.window) == (3, 10, 30)
    assert preset.sight.scaler == Scaler(warm_up=20)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("steps = 10", "", "a wrong plan.steps"),
        ("steps = 10", 'steps = "many"', "a wrong plan.steps"),
        ("steps = 10", "steps = 10\nepochs = 3", "a wrong plan.epochs"),
        ("warm_up = 20", "cold_start = 20", "a wrong sight.scaler.cold_start"),
        ("members = 3", "member = 3", "a wrong member"),
        ("members = 3", "members = 0", "a members of 1 or more, found 0"),
        ("steps = 10", "steps = 2", "a plan.steps of 3 or more, found 2"),
        ("rate = 1e-3", "rate = inf", "a plan.learning_rate above 0, found inf"),
        ('"5m"', '"1h"', "sight.frequency of 5m, 1d, found '1h'"),
        ('"tide"', '"prophet"', " is one of nbeats, nhits, nlinear, tide, tsmixer, found"),
        ('"tide"', '"lightgbm"', "LightGBM is no network, astra evaluate"),
        ("decay = 0", "decay = -1", "a plan.weight_decay of 0 or more, found -1"),
        ("decay = 0", "decay = inf", "a plan.weight_decay of 0 or more, found inf"),
        ("decay = 0", "decay = nan", "a plan.weight_decay of 0 or more, found nan"),
        ("gaps = 3", "gaps = 30", "a sight.allowed_gaps of 0 to 29, below the window, found 30"),
        ("gaps = 3", "gaps = -1", "a sight.allowed_gaps of 0 to 29, below the window, found -1"),
        ("horizon = 12", "horizon = 1", "a sight.horizon of 2 to 77 bars of 5 minutes, found 1"),
        ("horizon = 12", "horizon = 78", "a sight.horizon of 2 to 77 bars of 5 minutes, found 78"),
        ("warm_up = 20", "warm_up = 0", "a finite sight.scaler.warm_up above 0, found 0"),
        ("warm_up = 20", "clip = inf", "a finite sight.scaler.clip above 0, found inf"),
        ("warm_up = 20", "beta_half_life = -1", "sight.scaler.beta_half_life above 0, found -1"),
        ("members = 3", "location = [0, 0, 0, 2, 0, 0, 0]", "a location of 7 weights that add up"),
        ("members = 3", "location = [1]", "a location of 7 weights that add up to 1, found 1"),
        ("[plan]", "[plan", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_its_key(tmp_path: Path, old: str, new: str, found: str) -> None:
    path = written(tmp_path, FILE.replace(old, new, 1))
    with pytest.raises(ConfigError) as refused:
        read(path)
    assert found in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_refused_with_the_names_that_are() -> None:
    with pytest.raises(ConfigError, match=r"daily, paper, small or a TOML file, large cannot"):
        read("large")


def test_another_frequency_keeps_the_network_and_takes_our_windows() -> None:
    paper = read("paper")
    daily = seen_at(paper, "1d")
    assert daily.sizes == paper.sizes
    assert daily.sight == read("daily").sight
    assert seen_at(paper, "5m") == paper
    with pytest.raises(ConfigError, match="5m, 1d, found '1h'"):
        seen_at(paper, "1h")


def test_another_network_takes_small_sizes_of_its_own() -> None:
    paper = read("paper")
    assert of_network(paper, "nbeats") == paper
    assert of_network(paper, "tide").sizes == SIZES["tide"]
    with pytest.raises(ConfigError, match="LightGBM is no network"):
        of_network(paper, "lightgbm")

"""`astra models`: which networks there are, which is in use, and how that changes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from astra.bars import to_arrow
from astra.cli import models
from astra.cli.models import app
from astra.errors import AstraError, BundleError, InsufficientDataError
from astra.settings import load
from astra.store import open_store
from etl_service.main import create_app
from model.forecast.homes import Folder
from model.forecast.registry import Registry
from model.forecast.target import Scaler
from sandbox.markets import simulated_bars
from sandbox.serving import Servers
from tests.bundles import a_network, a_spec
from tests.test_challenge import FIRST, LAST, TICKERS

Astra = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTRA_BUNDLES", str(tmp_path / "bundles"))
    monkeypatch.setenv("ASTRA_ETL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "bundles"


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "bars.parquet"
    frame = simulated_bars(TICKERS, seed=7, edge=0.04, first=FIRST, last=LAST)
    pq.write_table(to_arrow(frame), path)
    return path


def astra(*words: str) -> str:
    """What it says; our errors come out as they are."""
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, AstraError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def registered(folder: Path, width: float, seed: int = 0, **changes: object) -> str:
    spec = a_spec(seed, **changes)
    return Registry(Folder(folder)).register(spec, a_network(width), b"weights").id


def trained_on(kind: str, seed: int) -> dict[str, object]:
    return {"training": dataclasses.replace(a_spec(seed).training, trained_on=kind)}


def test_an_empty_registry_says_what_to_do(folder: Path) -> None:
    assert "run astra train" in astra("list")
    with pytest.raises(BundleError, match="make train"):
        astra("show")


def test_the_list_marks_the_network_in_use_and_tells_of_broken_ones(folder: Path) -> None:
    first, second, broken = (registered(folder, 1.0, seed) for seed in (1, 2, 3))
    (folder / broken / "spec.json").write_text("{}")
    assert f"promoted {first}, the first of 5m bars" in astra("promote", first)
    lines = astra("list").splitlines()
    (row,) = (line for line in lines if first in line)
    assert row.split()[:4] == ["*", first, "simulated:7", "2023-01-31"]
    assert "9.500" in row and "+0.0100" in row
    (row,) = (line for line in lines if second in line)
    assert row.split()[0] == second, "no mark"
    assert any(f"{broken} cannot be used: spec.json of {broken}" in line for line in lines)
    found = json.loads(astra("list", "--json"))["models"]
    assert {m["id"]: (m["champion"], bool(m["fault"])) for m in found} == {
        first: (True, False),
        second: (False, False),
        broken: (False, True),
    }


def test_show_tells_everything_the_specification_says(folder: Path) -> None:
    name = registered(folder, 1.0, seed=41)
    assert f"a challenger: astra models promote {name}" in astra("show", name)
    astra("promote", name)
    said = astra("show")
    for figure in ("nbeats", "60 bars, 12 bars", "simulated:7", "2023-01-31 21:00", "41",
                   "9.5", "0.05, 0.1, 0.25", "sigma_half_life", "torch"):  # fmt: skip
        assert figure in said, figure
    assert "to this day (the first of its frequency)" in said
    found = json.loads(astra("show", "--json"))
    assert found["spec"] == json.loads(a_spec(41).to_json())
    assert found["in_use"][0]["until"] is None


def test_a_better_challenger_is_promoted_and_a_worse_one_is_not(folder: Path, bars: Path) -> None:
    boastful, honest = registered(folder, 0.2, 1), registered(folder, 1.0, 2)
    astra("promote", boastful)
    said = astra("promote", honest, "--bars", str(bars))
    assert f"promoted {honest} over {boastful}: quantile loss" in said
    assert "nothing is inherited" in said
    assert Registry(Folder(folder)).champion_id() == honest
    with pytest.raises(BundleError, match=f"{boastful} stays a challenger.*--force"):
        astra("promote", boastful, "--bars", str(bars))
    assert Registry(Folder(folder)).champion_id() == honest
    assert f"{honest} is in use already" in astra("promote", honest)


def test_force_promotes_a_worse_one_and_the_registry_writes_it_down(folder: Path) -> None:
    honest, boastful = registered(folder, 1.0, 1), registered(folder, 0.2, 2)
    astra("promote", honest)
    assert f"forced over {honest}" in astra("promote", boastful, "--force")
    assert json.loads((folder / "champion.json").read_text())["why"] == f"forced over {honest}"
    assert f"(forced over {honest})" in astra("show", boastful)


def test_force_does_not_promote_what_does_not_run(folder: Path) -> None:
    good = registered(folder, 1.0, 1)
    astra("promote", good)
    garbage = Registry(Folder(folder)).register(a_spec(2), b"garbage", b"weights").id
    with pytest.raises(BundleError, match="can't load the network"):
        astra("promote", garbage, "--force")
    (folder / garbage / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        astra("promote", garbage, "--force")
    assert Registry(Folder(folder)).champion_id() == good


def test_a_broken_champion_is_no_measure_but_can_be_replaced_by_force(
    folder: Path, bars: Path
) -> None:
    old, new = registered(folder, 1.0, 1), registered(folder, 1.0, 2)
    astra("promote", old)
    (folder / old / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"model\.onnx.*--force promotes"):
        astra("promote", new, "--bars", str(bars))
    astra("promote", new, "--force")
    assert Registry(Folder(folder)).champion_id() == new


def test_too_few_unseen_sessions_are_said_and_change_nothing(
    folder: Path, bars: Path, tmp_path: Path
) -> None:
    old, new = registered(folder, 1.0, 1), registered(folder, 1.0, 2)
    astra("promote", old)
    table = pq.read_table(bars)
    seconds = table["ts"].cast(pa.int64()).to_numpy()
    pq.write_table(table.filter(seconds < np.quantile(seconds, 0.5)), tmp_path / "few.parquet")
    with pytest.raises(InsufficientDataError, match="a promotion needs 20 sessions"):
        astra("promote", new, "--bars", str(tmp_path / "few.parquet"))
    assert Registry(Folder(folder)).champion_id() == old


def test_rollback_returns_to_the_one_before(folder: Path) -> None:
    old, new = registered(folder, 1.0, 1), registered(folder, 1.0, 2)
    astra("promote", old)
    with pytest.raises(BundleError, match="an earlier champion"):
        astra("rollback")
    astra("promote", new, "--force")
    assert f"{old} is in use again" in astra("rollback")
    said = astra("show", new)
    assert "in use from" in said and "to this day" not in said
    assert "to this day" in astra("show", old)


def test_a_network_of_a_simulated_market_contends_on_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.cli.evaluating.SIMULATED_DAYS", {"5m": (FIRST, LAST)})
    monkeypatch.setattr(models, "DEFAULT_TICKERS", 6)
    astra("promote", registered(folder, 0.2, 1))
    assert "on 28 sessions unseen by both" in astra("promote", registered(folder, 1.0, 2))


def test_a_network_of_real_bars_contends_on_the_stored_ones(folder: Path) -> None:
    astra("promote", registered(folder, 1.0, 1))
    real = registered(folder, 1.0, 2, **trained_on("real", 2))
    with pytest.raises(AstraError, match=r"start it \(astra up\)"):
        astra("promote", real)


def test_a_daily_network_contends_on_stored_bars_with_all_the_history_it_looks_back_on(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/astra.db"
    now = dt.datetime(2023, 2, 10, 21, tzinfo=dt.UTC)
    store = open_store(url)
    for first, last in ((dt.date(2022, 2, 14), dt.date(2022, 2, 15)), (now.date(), now.date())):
        bars = simulated_bars(TICKERS, seed=7, edge=0.0, first=first, last=last)
        store.prices.upsert(bars, now)
    store.claim_market("simulated:7")
    store.record_now(now)
    store.close()
    etl = create_app(load(var=tmp_path, database_url=url))
    scaler = Scaler(sigma_half_life=20, beta_half_life=120, warm_up=20)
    training = trained_on("real", 1)
    days = a_spec(1, frequency="1d", horizon=5, scaler=scaler, **training)
    minutes = a_spec(1, **training)
    with Servers({"etl": etl}) as urls:
        settings = load(etl_url=urls["etl"])
        daily = models._panel((minutes, days), None, settings)
        assert daily.frequency == "1d"
        assert daily.sessions[0].date == dt.date(2022, 2, 14), "360 days before, and not 60"
        assert models._panel((minutes, minutes), None, settings).sessions[0].date == now.date()


def test_signing_needs_the_key_and_lets_a_network_be_used_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registered(folder, 1.0)
    with pytest.raises(BundleError, match="set ASTRA_BUNDLE_KEY"):
        astra("sign", name)
    monkeypatch.setenv("ASTRA_BUNDLE_KEY", "a key of our own")
    with pytest.raises(BundleError, match=f"astra models sign {name}"):
        astra("promote", name)
    assert f"signed {name}" in astra("sign", name)
    assert f"promoted {name}" in astra("promote", name)

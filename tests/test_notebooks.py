"""The notebooks run from the first cell to the last, on small data, and hold nothing but calls."""

from __future__ import annotations

import ast
import base64
import datetime as dt
import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.image
import nbformat
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask import Flask
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from astra.cli import notebook as called
from astra.errors import DataError
from astra.settings import HOUSE, Settings
from astra.store import open_store
from etl_service.main import create_app as create_etl
from model.evaluation.fan import fans
from model.forecast.homes import Folder
from model.forecast.record import Forecast, Mark
from model.forecast.registry import Registry, open_registry
from model.panel import Panel, build, daily_of
from sandbox.faults import Faults
from sandbox.market import default_tickers
from sandbox.markets import simulated_bars, simulated_market
from sandbox.serving import Servers
from sandbox.storage import create_app as create_storage

FOLDER = HOUSE / "notebooks"
NAMES = ("daily_forecaster", "strategy_and_backtest", "train_on_gpu")
TICKERS = default_tickers(8)[:8]
TOKEN = "of this test alone"
NOW = dt.datetime(2026, 7, 10, 21, tzinfo=dt.UTC)
MOST_STATEMENTS = 8  # of a cell, the parameters aside
LOGIC = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.Try,
    ast.BinOp, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.IfExp, ast.Match,
)  # fmt: skip
PRESET = """
network = "nbeats"
[sizes]
num_stacks = 1
num_blocks = 1
num_layers = 1
layer_widths = 16
expansion_coefficient_dim = 4
[plan]
steps = 40
batch = 64
learning_rate = 1e-3
weight_decay = 1.0
check_every = 20
patience = 5
"""
FIVE_MINUTES = '[sight]\nfrequency = "5m"\nwindow = 24\nhorizon = 12\nallowed_gaps = 3\n'
DAYS = """[sight]
frequency = "1d"
window = 20
horizon = 5
allowed_gaps = 3
[sight.scaler]
sigma_half_life = 20
beta_half_life = 40
warm_up = 10
"""


def opened(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def executed(name: str, folder: Path, parameters: dict[str, object]) -> NotebookNode:
    """The notebook after a run in `folder`, with `parameters` set after its own."""
    book = opened(name)
    cell = parameters_of(book)
    missing = [key for key in parameters if f"{key} = " not in cell.source]
    assert missing == []
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in parameters.items())
    where = {"metadata": {"path": str(folder)}}
    done: NotebookNode = NotebookClient(book, timeout=120, resources=where).execute()
    return done


def parameters_of(book: NotebookNode) -> NotebookNode:
    (cell,) = [c for c in book.cells if "parameters" in c.metadata.get("tags", ())]
    return cell


def outputs(book: NotebookNode, cell_id: str) -> list[NotebookNode]:
    return [o for cell in book.cells if cell.id == cell_id for o in cell.outputs]


def said(book: NotebookNode, cell_id: str) -> str:
    found = outputs(book, cell_id)
    return "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in found)


def pictures(book: NotebookNode, cell_id: str) -> list[np.ndarray[Any, Any]]:
    """The PNGs below a cell, as pixels."""
    data = [o.get("data", {}).get("image/png") for o in outputs(book, cell_id)]
    return [matplotlib.image.imread(BytesIO(base64.b64decode(png))) for png in data if png]


def require_drawn(found: list[np.ndarray[Any, Any]], count: int) -> None:
    """`count` pictures, each with something on it in the house's blue."""
    assert len(found) == count
    for pixels in found:
        red, green, blue = (pixels[..., k] for k in range(3))
        assert ((blue > red + 0.3) & (blue > green + 0.1)).mean() > 0.001


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(PRESET)
    return path


@pytest.fixture
def etl(tmp_path: Path) -> Flask:
    """A deployed ETL service with six weeks of bars, that asks for a token."""
    url = f"sqlite:///{tmp_path}/astra.db"
    days = {"first": dt.date(2026, 6, 1), "last": dt.date(2026, 7, 10)}
    store = open_store(url)
    store.prices.upsert(simulated_bars(TICKERS, seed=3, edge=0.04, **days), NOW)
    store.claim_market("simulated:3")
    store.record_now(NOW)
    store.close()
    names = "|".join(TICKERS)
    return create_etl(
        Settings(_env_file=None, var=tmp_path, database_url=url, token=TOKEN, tickers=names)  # type: ignore[call-arg]
    )


def test_the_gpu_notebook_goes_from_a_service_to_a_bundle_in_a_bucket(
    tmp_path: Path, preset: Path, etl: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset.write_text(PRESET + FIVE_MINUTES)
    market = simulated_market(("AAPL",), start=NOW.date(), at=NOW)
    storage = create_storage(market, Faults(), function_url=None, buckets=("models",))
    monkeypatch.setenv("ASTRA_TOKEN", TOKEN)
    with Servers({"etl": etl, "storage": storage}) as urls:
        monkeypatch.setenv("ASTRA_STORAGE_URL", urls["storage"])
        book = executed(
            "train_on_gpu", tmp_path,
            {"SERVICE": urls["etl"], "PRESET": str(preset), "UNSEEN": 8,
             "BUNDLES": "gs://models/kept"},
        )  # fmt: skip
        kept = open_registry(called.settings_here(bundles="gs://models/kept")).load()
    assert "8 tickers, 28 sessions of simulated:3, 2026-06-01 to 2026-07-10" in said(book, "bars")
    assert "rank IC" in said(book, "evaluate")
    require_drawn(pictures(book, "evaluate"), 3)
    training = kept.spec.training
    assert (training.trained_on, training.market) == ("simulated", "simulated:3")
    assert training.end.date() == dt.date(2026, 6, 29)  # eight sessions before the last
    assert f"{kept.id} is registered and in use" in said(book, "push")


@pytest.fixture(scope="module")
def daily() -> Panel:
    days = {"first": dt.date(2025, 7, 1), "last": dt.date(2026, 6, 30)}
    return daily_of(build(simulated_bars(TICKERS, seed=3, edge=0.04, **days)))


def test_the_daily_notebook_goes_from_a_file_to_the_next_five_sessions_and_a_bundle(
    tmp_path: Path, preset: Path, daily: Panel
) -> None:
    preset.write_text(PRESET + DAYS)
    bars = tmp_path / "daily.parquet"
    pq.write_table(pa.Table.from_pandas(as_frame(daily)), bars)
    book = executed(
        "daily_forecaster", tmp_path,
        {"BARS": str(bars), "PRESET": str(preset), "UNSEEN": 40, "BUNDLES": "kept",
         "TICKERS": TICKERS[:3]},
    )  # fmt: skip
    assert f"8 tickers, {len(daily.sessions)} sessions of replay:" in said(book, "bars")
    require_drawn(pictures(book, "evaluate"), 3)
    require_drawn(pictures(book, "forecast"), 1)
    (kept,) = Registry(Folder(tmp_path / "kept")).list()
    assert kept.is_champion
    assert kept.spec is not None
    assert (kept.spec.frequency, kept.spec.horizon) == ("1d", 5)
    assert kept.id in said(book, "push")
    assert not list(tmp_path.glob("**/member-*")), "no checkpoint outlives its training"


def as_frame(panel: Panel) -> pd.DataFrame:
    """As a vendor's file of daily bars: one row a ticker and date, unknown ones left out."""
    shape = panel.close.shape
    dates = pd.to_datetime([s.date for s in panel.sessions]).tz_localize("UTC")
    frame = pd.DataFrame(
        {
            "ticker": np.tile(panel.tickers, shape[0]),
            "date": np.repeat(dates, shape[1]),
            "open": panel.open.ravel(),
            "close": panel.close.ravel(),
        }
    )
    return frame.dropna()


def test_the_strategy_notebook_goes_from_a_backtest_to_whole_shares_and_correlations(
    tmp_path: Path,
) -> None:
    book = executed(
        "strategy_and_backtest", tmp_path,
        {"FIRST": "2026-05-26", "LAST": "2026-05-27", "POLICY": "original", "TICKERS": 12},
    )  # fmt: skip
    table = said(book, "backtest")
    assert "SIMULATED, edge planted: IC 0.040" in table
    assert all(name in table for name in ("original", "SPY", "equal weight", "hold"))
    assert len(pictures(book, "backtest")) == 2
    require_drawn(pictures(book, "allocation"), 1)
    require_drawn(pictures(book, "correlation"), 1)
    bought = said(book, "shares")
    assert all(name in bought for name in ("shares", "price", "value", "wanted", "cash"))
    assert (tmp_path / "report" / "report.html").is_file()
    assert not (tmp_path / "var").exists(), "nothing is stored"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_valid_and_kept_without_what_came_of_a_run(name: str) -> None:
    book = opened(name)
    nbformat.validate(book)  # type: ignore[no-untyped-call]
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_calls_and_parameters_but_no_logic(name: str) -> None:
    book = opened(name)
    parameters_of(book)
    for cell in (cell for cell in book.cells if cell.cell_type == "code"):
        tree = ast.parse(TransformerManager().transform_cell(cell.source))
        found = [type(node).__name__ for node in ast.walk(tree) if isinstance(node, LOGIC)]
        assert found == [], f"{cell.id} of {name}"
        branches = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
        assert len(branches) == (cell.id == "install"), f"{cell.id} of {name}"
        if "parameters" in cell.metadata.get("tags", ()):
            assert all(isinstance(node, ast.Assign) for node in tree.body)
        else:
            assert len(tree.body) <= MOST_STATEMENTS, f"{cell.id} of {name}"


def test_the_folder_holds_these_notebooks_alone() -> None:
    assert sorted(path.name for path in FOLDER.iterdir() if path.is_file()) == [
        f"{name}.ipynb" for name in NAMES
    ]


# --- what they call


class UnseenError(Exception):
    """Colab's own: the secret is there, this notebook may not see it."""


class UnknownError(Exception):
    """Colab's own: there is no such secret."""


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | Exception]:
    """Colab's module as it answers; what is put in the dictionary are the secrets."""
    secrets: dict[str, str | Exception] = {}

    def get(name: str) -> str:
        found = secrets.get(name, UnknownError(name))
        if isinstance(found, Exception):
            raise found
        return found

    userdata = ModuleType("google.colab.userdata")
    vars(userdata).update(
        get=get, SecretNotFoundError=UnknownError, NotebookAccessError=UnseenError
    )
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
    return secrets


def test_colabs_secrets_come_before_the_environment_and_after_what_is_named(
    colab: dict[str, str | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    colab["ASTRA_TOKEN"] = "colab"
    monkeypatch.setenv("ASTRA_TOKEN", "environment")
    monkeypatch.setenv("ASTRA_ETL_URL", "http://environment")
    assert called.settings_here(etl_url="").token.get_secret_value() == "colab"
    assert called.settings_here(etl_url="").etl_url == "http://environment"
    assert called.settings_here(etl_url="http://named").etl_url == "http://named"


def test_a_secret_that_colab_keeps_from_the_notebook_is_left_to_the_environment(
    colab: dict[str, str | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    colab["ASTRA_TOKEN"] = UnseenError("ASTRA_TOKEN")
    monkeypatch.setenv("ASTRA_TOKEN", "environment")
    assert called.settings_here().token.get_secret_value() == "environment"


def a_forecast(panel: Panel, marks: tuple[Mark, ...]) -> Forecast:
    levels = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    last = panel.last_close()
    moves = np.outer(np.sqrt(np.arange(1, 6)), np.linspace(-0.02, 0.02, 7))
    moves = moves[None].repeat(len(last), axis=0)
    moves[[mark is Mark.UNUSABLE for mark in marks]] = np.nan
    end = panel.sessions[-1].closes_at
    return Forecast(
        model_id="nbeats-1d-00000000", as_of=end, tickers=panel.tickers, score=moves[:, -1, 3],
        last_close=last, step_ts=int(end.timestamp()) + 86_400 * np.arange(1, 6),
        quantiles=levels, closes=last[:, None, None] * np.exp(moves), volatility=moves[:, -1, -1],
        marks=marks, reasons=("",) * len(last), gaps=np.zeros(len(last), np.int64),
    )  # fmt: skip


def test_a_fan_says_the_move_of_the_last_session_and_how_it_was_found(daily: Panel) -> None:
    marks = (Mark.FORECAST, Mark.BASELINE, Mark.UNUSABLE, *(Mark.FORECAST,) * 5)
    figure = fans(a_forecast(daily, marks), daily, daily.tickers[:3])
    titles = [axes.get_title("left") for axes in figure.axes]
    first, second, third = daily.tickers[:3]
    assert titles == [
        f"{first}   +0.0 % (\N{MINUS SIGN}4.4 to +4.6)",
        f"{second}   +0.0 % (\N{MINUS SIGN}4.4 to +4.6), volatility alone",
        f"{third}   no forecast",
        "",
    ]


def test_a_fan_of_an_unknown_ticker_is_refused(daily: Panel) -> None:
    forecast = a_forecast(daily, (Mark.FORECAST,) * 8)
    with pytest.raises(DataError, match="NONE given: choose among"):
        fans(forecast, daily, ("NONE",))
    with pytest.raises(DataError, match="none given"):
        fans(forecast, daily, ())

"""`astra train` and the bars it studies: files of both frequencies, champion and challenger."""

import dataclasses
import datetime as dt
import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from astra import bars
from astra.cli.panels import from_file, simulated, without_last
from astra.cli.training import Asked, run, show
from astra.errors import ConfigError, DataError, InsufficientDataError
from astra.settings import Settings, load
from model.forecast.registry import open_registry
from model.panel import Panel, build, daily_of
from sandbox.markets import replay_market, simulated_bars

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
QUICK = """
network = "nlinear"
[sizes]
[plan]
steps = 10
batch = 16
learning_rate = 1e-3
weight_decay = 0.01
check_every = 5
patience = 2
[sight]
frequency = "5m"
window = 60
horizon = 12
allowed_gaps = 6
"""


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    first, last = dt.date(2023, 5, 1), dt.date(2023, 5, 12)
    return simulated_bars(TICKERS, seed=7, edge=0.04, first=first, last=last)


@pytest.fixture(scope="module")
def five_minutes(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "five.parquet"
    pq.write_table(bars.to_arrow(frame), path)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(var=tmp_path / "var", bundles=tmp_path / "bundles")


@pytest.fixture
def asked(five_minutes: Path, tmp_path: Path) -> Asked:
    preset = tmp_path / "quick.toml"
    preset.write_text(QUICK)
    return Asked(five_minutes, "5m", str(preset), None, None, 1, 0.04, 8, False)


def test_the_first_is_champion_and_the_next_a_challenger_until_asked_for(
    asked: Asked, settings: Settings
) -> None:
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    registry = open_registry(settings)
    first = run(asked, settings, console)
    assert first.promoted and registry.champion_id() == first.bundle
    second = run(dataclasses.replace(asked, seed=2), settings, console)
    assert not second.promoted and registry.champion_id() == first.bundle
    show(second, console)
    assert f"astra models promote {second.bundle}" in printed.getvalue()
    again = run(dataclasses.replace(asked, seed=2, promote=True), settings, console)
    assert again.bundle == second.bundle, "the same bars, preset and seed"
    assert again.promoted and registry.champion_id() == second.bundle
    assert not list((settings.var / "training").iterdir()), "no checkpoint outlives its training"


def test_an_interrupted_command_says_that_it_goes_on(
    asked: Asked, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.forecast import candidate

    def pull(*_: object) -> bytes:
        raise KeyboardInterrupt

    printed = io.StringIO()
    console = Console(file=printed, width=200)
    with monkeypatch.context() as patched:
        patched.setattr(candidate, "export", pull)  # a person's Ctrl-C after the last step
        with pytest.raises(KeyboardInterrupt):
            run(asked, settings, console)
    assert "going on" not in printed.getvalue()
    assert run(asked, settings, console).promoted
    assert "going on with the training that was interrupted" in printed.getvalue()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"network": "lightgbm"}, "LightGBM is no network"),
        ({"frequency": "1h"}, "a frequency is one of 5m, 1d, found '1h'"),
        ({"preset": "large"}, "daily, paper, small or a TOML file"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_bars_are_read(
    asked: Asked, settings: Settings, changes: dict[str, str], found: str
) -> None:
    nowhere = dataclasses.replace(asked, bars=Path("no such file"), **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=found):
        run(nowhere, settings, Console(file=io.StringIO()))


def test_a_file_of_bars_is_named_as_its_replay(frame: pd.DataFrame, five_minutes: Path) -> None:
    panel, identity = from_file(five_minutes, "5m")
    assert panel.digest() == build(frame).digest()
    assert identity == replay_market(five_minutes, None).identity


def test_five_minute_bars_are_summed_up_for_a_daily_network(
    frame: pd.DataFrame, five_minutes: Path
) -> None:
    panel, _ = from_file(five_minutes, "1d")
    assert panel.frequency == "1d"
    assert panel.digest() == daily_of(build(frame)).digest()


def test_five_minute_bars_without_their_zone_are_refused(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "local.parquet"
    new_york = pd.to_datetime(frame["ts"], unit="s", utc=True).dt.tz_convert("America/New_York")
    frame.assign(ts=new_york).to_parquet(path)
    assert from_file(path, "5m")[0].digest() == build(frame).digest()
    frame.assign(ts=new_york.dt.tz_localize(None)).to_parquet(path)
    with pytest.raises(DataError, match=rf"off the grid.* of {len(frame)}: give ts its zone"):
        from_file(path, "5m")
    frame.assign(high=0.0).to_parquet(path)
    with pytest.raises(DataError, match=f"no valid 5-minute bar: {len(frame)} implausible"):
        from_file(path, "5m")


def test_times_in_milliseconds_are_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "integers.parquet"
    frame.to_parquet(path)
    assert from_file(path, "5m")[0].digest() == build(frame).digest()
    frame.assign(ts=frame["ts"] * 1000).to_parquet(path)
    with pytest.raises(DataError, match=r"times are epoch seconds or timestamps, .* 16"):
        from_file(path, "5m")


def test_a_double_bar_in_a_daily_file_is_named(frame: pd.DataFrame, tmp_path: Path) -> None:
    daily = daily_of(build(frame))
    path = tmp_path / "double.parquet"
    one = pd.DataFrame(
        {"ticker": "AAPL", "ts": daily.ts, "open": daily.open[:, 0], "close": daily.close[:, 0]}
    )
    pd.concat([one, one.tail(1)]).to_parquet(path)
    with pytest.raises(DataError, match="AAPL"):
        from_file(path, "1d")


def test_more_sessions_kept_back_than_there_are_is_an_error(frame: pd.DataFrame) -> None:
    panel = build(frame)
    count = len(panel.sessions)
    assert without_last(panel, 0).digest() == panel.digest()
    assert without_last(panel, count - 1).sessions == panel.sessions[:1]
    with pytest.raises(InsufficientDataError, match=rf"{count} sessions .* have {count} in all"):
        without_last(panel, count)


def test_the_last_sessions_of_a_file_can_be_kept_for_the_evaluation(
    asked: Asked, frame: pd.DataFrame, settings: Settings
) -> None:
    trained = run(dataclasses.replace(asked, keep_back=2), settings, Console(file=io.StringIO()))
    spec = open_registry(settings).spec(trained.bundle)
    assert spec.training.end == build(frame).sessions[-3].closes_at


def test_a_preset_of_ones_own_says_the_frequency_and_an_option_overrules_it(
    asked: Asked, settings: Settings, tmp_path: Path
) -> None:
    days = tmp_path / "daily.parquet"
    bars = simulated_bars(
        TICKERS, seed=7, edge=0.0, first=dt.date(2023, 1, 3), last=dt.date(2023, 4, 28)
    )
    pq.write_table(daily_table(daily_of(build(bars))), days)
    mine = tmp_path / "mine.toml"
    sight = '[sight]\nfrequency = "1d"\nwindow = 15\nhorizon = 3\nallowed_gaps = 2\n'
    scaler = "[sight.scaler]\nsigma_half_life = 10\nbeta_half_life = 20\nwarm_up = 5\n"
    mine.write_text(QUICK.partition("[sight]")[0] + sight + scaler)
    daily = dataclasses.replace(asked, bars=days, frequency=None, preset=str(mine))
    console = Console(file=io.StringIO())
    spec = open_registry(settings).spec(run(daily, settings, console).bundle)
    assert (spec.frequency, spec.window, spec.horizon) == ("1d", 15, 3)
    assert spec.scaler.sigma_half_life == 10
    with pytest.raises(DataError, match="add --frequency 1d"):
        run(dataclasses.replace(daily, frequency="5m"), settings, console)


@pytest.mark.parametrize("named", ["ts", "date"])
def test_daily_bars_are_read_with_times_or_dates(
    frame: pd.DataFrame, tmp_path: Path, named: str
) -> None:
    daily = daily_of(build(frame))
    days = [s.date for s in daily.sessions]
    columns = {"ticker": [], "day": [], "open": [], "close": []}  # type: dict[str, list[object]]
    for k, ticker in enumerate(daily.tickers):
        columns["ticker"] += [ticker] * len(days)
        columns["day"] += days
        columns["open"] += daily.open[:, k].tolist()
        columns["close"] += daily.close[:, k].tolist()
    day = pa.array(columns.pop("day"), pa.date32())
    times = day if named == "date" else day.cast(pa.timestamp("ms", "UTC"))
    path = tmp_path / "daily.parquet"
    pq.write_table(pa.table({**columns, named: times}), path)
    assert from_file(path, "1d")[0].digest() == daily.digest()
    with pytest.raises(DataError, match="holds one bar a day: add --frequency 1d"):
        from_file(path, "5m")


def daily_table(daily: Panel) -> pa.Table:
    """As a vendor's file of daily bars."""
    shape = daily.close.shape
    return pa.table(
        {
            "ticker": list(daily.tickers) * shape[0],
            "ts": daily.ts.repeat(shape[1]),
            "open": daily.open.ravel(),
            "close": daily.close.ravel(),
        }
    )


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ({"ticker": ["A"], "ts": [1], "open": [1.0]}, "a column close"),
        ({"ticker": ["A"], "ts": ["soon"], "open": [1.0], "close": [1.0]}, "times or dates in ts"),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, table: dict[str, list[object]], found: str
) -> None:
    path = tmp_path / "else.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(DataError, match=found):
        from_file(path, "1d")
    path.write_text("ticker,ts\n")
    with pytest.raises(DataError, match="a Parquet file of bars is required"):
        from_file(path, "1d")


def test_the_simulated_market_has_stocks_alone_at_either_frequency() -> None:
    days = dt.date(2023, 5, 1), dt.date(2023, 5, 5)
    panel, identity = simulated("5m", seed=3, edge=0.0, tickers=6, days=days)
    assert identity == "simulated:3"
    assert len(panel.tickers) == 6 and "SPY" not in panel.tickers
    daily, _ = simulated("1d", seed=3, edge=0.0, tickers=6, days=days)
    assert daily.digest() == daily_of(panel).digest()
    with pytest.raises(ConfigError, match="5m, 1d, found '1h'"):
        simulated("1h", seed=3, edge=0.0, tickers=6, days=days)

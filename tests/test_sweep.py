"""A sweep: its file, its sets, what is shared, what is kept, and what it says of the best."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import math
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from astra.cli import backtest as walking
from astra.cli import grid, specifying, sweep, swept
from astra.cli.backtests import courses
from astra.cli.commands import app
from astra.errors import ConfigError, DataError, TemporaryError
from astra.settings import HOUSE, Settings
from astra.store import open_store
from astra.store.backtests import Course

TWO_DAYS = "[backtest]\ntickers = 12\nfrom = 2026-04-06\nto = 2026-04-07\ncosts_bps = 3\n"
SIX_SETS = (
    TWO_DAYS
    + """capital = 20_000
[grid]
policy = ["original", "equal"]
k = [3, 4, 6]
"""
)


def written(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def settings(**named: object) -> Settings:
    return Settings(_env_file=None, **named)  # type: ignore[arg-type,call-arg]


def stored_in(folder: Path, **named: object) -> Settings:
    return settings(database_url=f"sqlite:///{folder}/astra.db", **named)


def swept_over(path: Path, ours: Settings, **asked: object) -> swept.Swept:
    chosen = {"jobs": 1, **asked}
    return sweep.run(sweep.Asked(path, **chosen), ours, Console(quiet=True))  # type: ignore[arg-type]


def outcomes(found: swept.Swept) -> dict[str, tuple[int, ...]]:
    return {grid.named(row.choices): row.made.course.equity for row in found.rows}


def kept(ours: Settings) -> tuple[Course, ...]:
    store = open_store(ours.database_url)
    try:
        return store.backtests.courses(trial.id for trial in store.backtests.list())
    finally:
        store.close()


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


# --- what it finds


def test_a_set_comes_out_as_the_backtest_of_it_alone_to_the_cent(tmp_path: Path) -> None:
    text = TWO_DAYS.replace("04-06", "04-07")
    text += '[grid]\npolicy = ["original", "min_variance"]\nk = [3, 6]\n'
    text += 'risk_model = ["ledoit_wolf", "ewma"]\n'
    ours = stored_in(tmp_path)
    found = swept_over(written(tmp_path, text), ours, is_kept=False)
    assert len({row.made.course.equity for row in found.rows}) > 4, "the sets must differ"
    asked = specifying.Asked(
        first=dt.date(2026, 4, 7), last=dt.date(2026, 4, 7), tickers=12, half_spread_bp=3.0
    )
    bars = walking.bars_of(specifying.specify(asked, ours).source, ours)
    for row in found.rows:
        one = replace(asked, policies=(str(row.choices["policy"]),))
        spec = specifying.specify(one, grid.settings_of(row.choices, ours))
        (alone,) = walking.run_together((spec,), *bars, ours)
        (course,) = courses(alone)
        assert replace(course.trial, made_at=row.trial.made_at) == row.trial
        assert course.equity == row.made.course.equity


def test_the_best_comes_first_and_is_judged_among_all_trials_over_these_hours(
    tmp_path: Path,
) -> None:
    ours = stored_in(tmp_path)
    found = swept_over(written(tmp_path, SIX_SETS), ours)
    ratios = [row.trial.sharpe for row in found.rows]
    assert ratios == sorted(ratios, reverse=True)
    assert (found.walked, found.deflated.trials, found.overfitting) == (6, found.different, None)
    fewer = TWO_DAYS.replace("tickers = 12", "tickers = 9")  # other bars, the same hours
    for is_kept in (False, True, True):  # it counts once, and looks in any case
        more = swept_over(written(tmp_path, fewer + "[grid]\nk = [5]\n"), ours, is_kept=is_kept)
        assert more.deflated.trials == found.different + 1
    assert more.walked == 0
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert plain["best"]["k"] == found.best.choices["k"]
    assert [one["sharpe"] for one in plain["sets"]] == ratios


def test_sets_that_change_nothing_are_no_choice_that_could_overfit(tmp_path: Path) -> None:
    text = (
        TWO_DAYS.replace("2026-04-07", "2026-04-30") + "[grid]\nmodel_max_age_days = [700, 800]\n"
    )
    found = swept_over(written(tmp_path, text), stored_in(tmp_path), is_kept=False)
    assert (len(found.rows), found.different, found.overfitting) == (2, 1, None)
    assert "Only 1 of the 2 courses differ" in told(found)


def test_overfitting_is_judged_where_there_are_hours_enough(tmp_path: Path) -> None:
    text = SIX_SETS.replace("2026-04-07", "2026-04-30").replace("[3, 4, 6]", "[3]")
    found = swept_over(written(tmp_path, text), stored_in(tmp_path))
    assert found.overfitting is not None
    assert 0 <= found.overfitting.probability <= 1
    assert len(found.overfitting.logits) == 252
    said = told(found)
    assert "SIMULATED, edge planted: IC 0.040, measured: IC" in said
    assert "The best of 2: policy" in said
    assert "The best of 2 trials without any skill" in said
    assert "of 252 splits (probability of backtest overfitting" in said


def test_a_row_says_the_return_at_no_costs_and_at_twice_the_assumed_ones(tmp_path: Path) -> None:
    found = swept_over(written(tmp_path, SIX_SETS), stored_in(tmp_path), is_kept=False)
    header, *lines = (line.split() for line in told(found).splitlines()[2:9])
    assert " ".join(header).startswith("policy k Sharpe return 0x costs 2x costs drawdown")
    for line, row in zip(lines, found.rows, strict=True):
        free, twice = row.trial.return_0x, row.trial.return_2x
        assert free > row.trial.total_return > twice
        assert line[6:8] == [f"{free:+.2%}", f"{twice:+.2%}"]


def test_a_narrow_terminal_says_which_columns_it_lacks_and_explains_no_other(
    tmp_path: Path,
) -> None:
    found = swept_over(written(tmp_path, SIX_SETS), stored_in(tmp_path), is_kept=False)
    narrow, wide = told(found, width=70), told(found)
    assert "Too narrow for cost bp, turnover, id; --json has them." in narrow
    assert "Turnover:" not in narrow
    assert "0x and 2x costs:" in narrow
    assert "Turnover:" in wide
    assert "Too narrow" not in wide


def told(found: swept.Swept, width: int = 200) -> str:
    console = Console(width=width, record=True, file=StringIO())
    swept.show(found, console)
    return console.export_text()


# --- what is kept


def test_a_second_start_makes_only_what_is_not_there_yet(tmp_path: Path) -> None:
    ours = stored_in(tmp_path)
    first = swept_over(written(tmp_path, SIX_SETS), ours)
    again = swept_over(written(tmp_path, SIX_SETS), ours)
    assert (first.walked, again.walked) == (6, 0)
    assert outcomes(again) == outcomes(first)
    assert "6 of them made earlier" in told(again)
    assert again.as_json() | {"walked": 6} == first.as_json(), "what is stored is all there is"
    wider = swept_over(written(tmp_path, SIX_SETS.replace("[3, 4, 6]", "[3, 4, 5, 6]")), ours)
    assert (len(wider.rows), wider.walked) == (8, 2)
    assert outcomes(first).items() <= outcomes(wider).items()


def test_what_other_code_has_made_is_made_again(tmp_path: Path) -> None:
    ours = stored_in(tmp_path)
    swept_over(written(tmp_path, SIX_SETS), ours)
    one = kept(ours)[0]
    store = open_store(ours.database_url)
    store.backtests.keep([replace(one, trial=replace(one.trial, code_version="0+former"))])
    store.close()
    assert swept_over(written(tmp_path, SIX_SETS), ours).walked == 1


def test_what_was_finished_before_an_error_is_not_lost(tmp_path: Path) -> None:
    ours, rule = stored_in(tmp_path), tmp_path / "mine.py"
    rule.write_text("def all_in(inputs):\n    return [1.0] * len(inputs.tickers)\n")
    sets = f'[grid]\npolicy = ["equal", "{rule}:all_in"]\n'
    path = written(tmp_path, TWO_DAYS + f"{sets}k = {list(range(2, 2 + sweep.SETS_A_CHUNK))}\n")
    with pytest.raises(DataError, match="weights"):
        swept_over(path, ours)
    assert len(kept(ours)) == sweep.SETS_A_CHUNK
    rule.write_text("def all_in(inputs):\n    return [0.0] * len(inputs.tickers)\n")
    assert swept_over(path, ours).walked == sweep.SETS_A_CHUNK


def test_a_sweep_that_is_not_kept_leaves_no_trace(tmp_path: Path) -> None:
    swept_over(written(tmp_path, SIX_SETS), stored_in(tmp_path), is_kept=False)
    assert not (tmp_path / "astra.db").exists()


def test_a_worker_with_other_bars_is_refused(tmp_path: Path) -> None:
    ours = stored_in(tmp_path)
    swept_over(written(tmp_path, SIX_SETS), ours)
    with pytest.raises(DataError, match="every worker needs our bars and release, other and"):
        sweep.require_alike(kept(ours)[0].trial, "other")


# --- where it runs


@given(st.integers(0, 300), st.integers(1, 64))
def test_chunks_hold_every_set_once_and_keep_every_job_busy(sets: int, jobs: int) -> None:
    numbers = tuple(range(sets))
    found = sweep.chunks(numbers, jobs)  # type: ignore[arg-type]
    assert sum(found, ()) == numbers  # type: ignore[arg-type]
    sizes = {len(chunk) for chunk in found}
    assert max(sizes, default=1) <= sweep.SETS_A_CHUNK
    assert max(sizes, default=1) - min(sizes, default=1) <= 1
    assert len(found) % jobs == 0 or len(found) == sets


def begun(folder: Path, module: str, *words: str) -> subprocess.Popen[bytes]:
    """A process of its own, what it says on stderr in `MODULE.log`."""
    with (folder / f"{module}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env={**os.environ, "ASTRA_DATABASE_URL": f"sqlite:///{folder}/astra.db"},
            cwd=folder, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler's address, with a worker; neither is in this process."""
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("the package distributed is not installed")
    folder = tmp_path_factory.mktemp("cluster")
    place, log = folder / "scheduler.json", folder / "distributed.cli.dask_scheduler.log"
    quiet = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(place))
    scheduler = begun(
        folder, "distributed.cli.dask_scheduler", "--port", "0",
        "--dashboard-address", "127.0.0.1:0", *quiet,
    )  # fmt: skip
    worker = begun(
        folder, "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny",
        "--local-directory", str(folder), *quiet,
    )  # fmt: skip
    try:
        until(lambda: "Register worker" in log.read_text())
        yield json.loads(place.read_text())["address"]
    finally:
        ended(worker)
        ended(scheduler)


def test_two_processes_find_what_one_finds_and_are_gone_then(tmp_path: Path) -> None:
    path, ours = written(tmp_path, SIX_SETS), stored_in(tmp_path, token="of this test alone")
    before = set(multiprocessing.active_children())
    here = outcomes(swept_over(path, ours, is_kept=False))
    assert outcomes(swept_over(path, ours, is_kept=False, jobs=2)) == here
    assert set(multiprocessing.active_children()) == before


def test_a_cluster_finds_what_one_process_finds(tmp_path: Path, cluster: str) -> None:
    path, apart = written(tmp_path, SIX_SETS), tmp_path / "apart"
    apart.mkdir()
    sent = begun(apart, "astra.cli", "backtest", "--sweep", str(path), "--cluster", cluster)
    swept_over(path, stored_in(tmp_path))
    assert sent.wait(120) == 0, (apart / "astra.cli.log").read_text()
    here, there = ({c.trial.id: c.equity for c in kept(stored_in(f))} for f in (tmp_path, apart))
    assert here == there


OWN = """import os, pathlib, signal, time
def killed(inputs):
    os.kill(os.getpid(), signal.SIGKILL)
def waits(inputs):
    pathlib.Path(__file__).with_name(f"{os.getpid()}.pid").touch()
    time.sleep(600)
"""


def own_sets(folder: Path, function: str) -> Path:
    (folder / "mine.py").write_text(OWN)
    mine = f'[grid]\npolicy = ["{folder}/mine.py:{function}"]\nk = [3, 4]\n'
    return written(folder, TWO_DAYS + mine)


def test_a_worker_that_is_killed_is_one_sentence(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(TemporaryError, match=r"one was killed, likely for memory: .*fewer --jobs"):
        swept_over(own_sets(tmp_path, "killed"), stored_in(tmp_path), jobs=2)
    assert set(multiprocessing.active_children()) == before


def test_workers_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    path = own_sets(tmp_path, "waits")
    sweeping = begun(tmp_path, "astra.cli", "backtest", "--sweep", str(path), "--jobs", "2")
    try:
        until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    finally:
        sweeping.kill()
        sweeping.wait()
    until(lambda: not any(lives(int(one.stem)) for one in tmp_path.glob("*.pid")), seconds=20)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("tcp://127.0.0.1:9", TemporaryError, "a Dask scheduler is required at tcp://127.0.0.1:9"),
        ("here", ConfigError, "a cluster's address is like tcp://10.0.0.5:8786, found 'here'"),
        ("tcp://host:port", ConfigError, "a cluster's address is like"),
        ("http://127.0.0.1:9", ConfigError, "a cluster's address is like"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_one_sentence(
    tmp_path: Path, address: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        swept_over(written(tmp_path, SIX_SETS), settings(), is_kept=False, cluster=address)


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2p1\r\n"])
def test_an_open_port_that_is_no_cluster_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, greeting: bytes
) -> None:
    monkeypatch.setattr(sweep, "_CLUSTER_SECONDS", 1)
    before, held = threading.active_count(), list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(2):
                held.append(server.accept()[0])
                with suppress(OSError):  # the first look is closed at once
                    held[-1].sendall(greeting)

        answering = threading.Thread(target=answer)
        answering.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TemporaryError, match="what listens there does not answer as one"):
            swept_over(written(tmp_path, SIX_SETS), settings(), is_kept=False, cluster=address)
        answering.join()
    for one in held:
        one.close()
    assert threading.active_count() == before


# --- the command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--jobs", "2"], "name its file with --sweep FILE"),
        (["--sweep", "FILE", "--seed", "3"], "--seed was given too: write it into"),
        (["--sweep", "FILE", "--policy", "equal"], "--policy was given too"),
    ],
)
def test_choices_beside_the_file_are_refused(tmp_path: Path, words: list[str], said: str) -> None:
    path = str(written(tmp_path, SIX_SETS))
    words = [path if word == "FILE" else word for word in words]
    done = CliRunner().invoke(app, ["backtest", *words])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


def test_the_command_prints_all_sets_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTRA_DATABASE_URL", f"sqlite:///{tmp_path}/astra.db")
    path = written(tmp_path, SIX_SETS)
    done = CliRunner().invoke(app, ["backtest", "--sweep", str(path), "--jobs", "1", "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {(one["policy"], one["k"]) for one in found["sets"]} == {
        (policy, k) for policy in ("original", "equal") for k in (3, 4, 6)
    }


def test_the_example_can_be_read_and_run() -> None:
    found = grid.read(HOUSE / "docs" / "sweep.example.toml")
    assert len(found.sets) == 24
    assert len({one.identity for one in sweep.specify(found, settings())}) == 24

"""A fresh process from its start to its first forecast: seconds, and the most memory it held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from astra.errors import AstraError
from astra.settings import HOUSE
from benchmarks.forecast import serving
from benchmarks.results import Row
from benchmarks.timing import Timed, in_turns, require_equal, timed

CASE = "fresh process to first forecast"
SESSIONS = 3
LIMIT_SECONDS = 300


def ours(tickers: int, days: int, rounds: int) -> list[Row]:
    """Champion read, verified and loaded, then the whole forecast from a panel of bars.

    The bars are those that a look-back and the volatilities before it need at least; what a
    history of `days` sessions takes is said beside.
    """
    with TemporaryDirectory() as few, TemporaryDirectory() as many:
        short, long = in_turns(
            rounds, _astra(Path(few), tickers, SESSIONS), _astra(Path(many), tickers, days)
        )
    case = f"{CASE}, {tickers} tickers of {SESSIONS} sessions"
    megabytes = [one.answer["megabytes"] for one in (short, long)]
    return [
        Row("forecast", case, short.seconds, "s", 1, "lower",
            f"of {days} sessions {long.seconds:.2f} s"),
        Row("forecast", f"{case}, memory", megabytes[0], "MB", 150, "lower",
            f"of {days} sessions {megabytes[1]:.0f} MB"),
    ]  # fmt: skip


def against_darts(tickers: int, rounds: int) -> list[Row]:
    """Ours as above; darts loads the same weights and predicts look-backs that are ready."""
    spec, _, network = serving.trained("small")
    with TemporaryDirectory() as name:
        folder = Path(name)
        model, look_backs = folder / "model.pt", folder / "look_backs.npy"
        serving.in_darts(spec, network).save(str(model))
        np.save(look_backs, serving.look_backs_of(spec, serving.panel_of(tickers, SESSIONS)))
        astra, darts = in_turns(
            rounds,
            _astra(folder, tickers, SESSIONS),
            lambda: _process("first_darts.py", str(model), str(look_backs)),
        )
    served = [one.answer["tickers"] for one in (astra, darts)]
    require_equal(abs(served[0] - served[1]), 0, "the numbers of tickers that got a forecast")
    faster = darts.seconds / astra.seconds
    less = darts.answer["megabytes"] / astra.answer["megabytes"]
    against = "darts, same weights, from look-backs"
    return [
        Row("forecast", f"{CASE}, speed-up over darts", faster, "ratio", 1, "higher", against),
        Row("forecast", f"{CASE}, memory of darts to ours", less, "ratio", 1, "higher", against),
    ]


def _astra(folder: Path, tickers: int, days: int) -> Callable[[], Timed]:
    panel, path = serving.panel_of(tickers, days), folder / "panel.npz"
    arrays = {name: getattr(panel, name) for name in ("ts", "session", "slot", "open", "close")}
    bounds = [[int(t.timestamp()) for t in (s.opens_at, s.closes_at)] for s in panel.sessions]
    np.savez(path, tickers=np.array(panel.tickers), days=np.array(bounds), **arrays)
    return lambda: _process("first_astra.py", str(path))


def _process(script: str, *arguments: str) -> Timed:
    """One run of a script beside this file.

    Raises:
        AstraError: it failed; its last line says why.
    """
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HOUSE)}
    done = timed(
        lambda: subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS,
            check=False,
        )
    )  # fmt: skip
    if done.answer.returncode:
        said = done.answer.stderr.strip().splitlines()
        raise AstraError(
            f"{script} must succeed to be measured, it said: {said[-1] if said else ''}"
        )
    return Timed(done.seconds, json.loads(done.answer.stdout.splitlines()[-1]))

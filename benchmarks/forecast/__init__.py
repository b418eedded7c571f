"""The forecast: answers of a loaded model, the first answer of a fresh process, training speed."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.results import Row


def measure(tickers: int = 500, days: int = 20, rounds: int = 5, steps: int = 200) -> list[Row]:
    """All rows; without torch and darts the rows that need them say so."""
    from benchmarks.forecast import cold, serving

    rows = [*serving.whole(tickers, days, rounds), *cold.ours(tickers, days, rounds)]
    if find_spec("torch") is None or find_spec("darts") is None:
        note = "not measured: torch and darts are not installed, run make setup"
        return [*rows, Row("forecast", "speed-up over darts", None, "ratio", 25, "higher", note)]
    from benchmarks.forecast import training

    return [
        *rows,
        *serving.against_darts("small", tickers, days, rounds, target=25),
        *serving.against_darts("paper", tickers, days, rounds, target=1),
        *cold.against_darts(tickers, rounds),
        *training.measure(tickers, days, steps),
    ]

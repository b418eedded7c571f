"""The ledger in arrays: a portfolio rebalanced each month, against vectorbt and backtrader.

The rivals run in an environment of their own. Equity must agree to the cent on every row: with
vectorbt in fractions of shares, with backtrader in whole ones (targets are rounded towards zero,
not orders). backtrader's case is smaller: it takes minutes for what takes us milliseconds.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from astra.settings import HOUSE
from benchmarks import inputs
from benchmarks.inputs import Floats
from benchmarks.results import Row
from benchmarks.rivals import answer_of
from benchmarks.timing import in_turns, require_equal, timed
from model.backtest.simulate import Simulated, simulate

RIVALS = HOUSE / ".venv-rivals-portfolio" / "bin" / "python"
MONTH, CAPITAL, HALF_SPREAD_BP = 21, 1e6, 2.0
LIMIT_SECONDS = 900
HALF_A_CENT = 0.005


def measure(
    large: tuple[int, int] = (500, 2520), small: tuple[int, int] = (100, 1260), rounds: int = 5
) -> list[Row]:
    """Names and days of our own and vectorbt's case, and of backtrader's."""
    prices, weights, rows = _case(*large)
    gaps = prices.copy()
    gaps[np.random.default_rng(inputs.SEED).random(prices.shape) < 0.02] = np.nan
    fractions, seconds = _ours(prices, weights, rows, rounds)
    vectorbt, note = _rival("ledger_vectorbt.py", prices, weights, rows, fractions.equity)
    prices, weights, rows = _case(*small)
    whole, quick = _ours(prices, weights, rows, rounds, whole_shares=True)
    before_trades = whole.equity.copy()
    before_trades[rows] += whole.cost
    backtrader, other = _rival("ledger_backtrader.py", prices, weights, rows, before_trades)
    case = _named(*large)
    return [
        Row("portfolio", case, 1e3 * seconds, "ms", 60, "lower"),
        Row(
            "portfolio", f"{case}, 2 % of the prices missing, whole shares",
            1e3 * _ours(gaps, *_case(*large)[1:], rounds, whole_shares=True)[1],
            "ms", 60, "lower",
        ),
        Row(
            "portfolio", f"{case}, speed-up", vectorbt and vectorbt / seconds, "ratio", 50,
            "higher", note,
        ),
        Row(
            "portfolio", f"{_named(*small)}, whole shares, speed-up",
            backtrader and backtrader / quick, "ratio", 1000, "higher", other,
        ),
    ]  # fmt: skip


def _named(names: int, days: int) -> str:
    return f"ledger of {names} names over {days:,} days, rebalanced monthly"


def _case(names: int, days: int) -> tuple[Floats, Floats, np.ndarray]:
    """Prices, weights (2 % is kept as cash, more than the costs) and rows of rebalancings."""
    rng = np.random.default_rng(inputs.SEED)
    market = 4e-3 * rng.standard_t(5, days)
    steps = market[:, None] + 1.2e-2 * rng.standard_normal((days, names))
    prices = rng.uniform(20, 400, names) * np.exp(np.cumsum(steps, axis=0))
    rows = np.arange(0, days, MONTH)
    return prices, 0.98 * rng.dirichlet(np.ones(names), len(rows)), rows


def _ours(
    prices: Floats, weights: Floats, rows: np.ndarray, rounds: int, whole_shares: bool = False
) -> tuple[Simulated, float]:
    """What came out, and the median of the seconds it took."""

    def work() -> Simulated:
        return simulate(
            prices, weights, rows, CAPITAL, half_spread_bp=HALF_SPREAD_BP, whole_shares=whole_shares
        )

    (found,) = in_turns(rounds, lambda: timed(work))
    return found.answer, found.seconds


def _rival(
    script: str, prices: Floats, weights: Floats, rows: np.ndarray, equity: Floats
) -> tuple[float | None, str]:
    """Its seconds and its name with version; None and a note without the rivals' environment.

    Raises:
        AstraError: it failed; its last line says why.
        DifferentAnswersError: its equity is not `equity` to the cent.
    """
    if not RIVALS.exists():
        return None, "not measured: run make rivals"
    with TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "asked.npz", Path(folder) / "equity.npy"
        np.savez(
            asked, prices=prices, weights=weights, rows=rows, capital=CAPITAL,
            half_spread=HALF_SPREAD_BP / 1e4,
        )  # fmt: skip
        found = answer_of(RIVALS, script, asked, answer, seconds=LIMIT_SECONDS)
        theirs = np.load(answer)
    name = script.removeprefix("ledger_").removesuffix(".py")
    difference = float(np.abs(theirs - equity).max())
    require_equal(difference, HALF_A_CENT, f"USD of our ledger and {name}'s")
    return found["seconds"], f"{name} {found['version']}, equal to the cent on every day"

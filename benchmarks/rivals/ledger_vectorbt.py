"""vectorbt's ledger on given prices and weights, in an environment of its own.

    python ledger_vectorbt.py ASKED.npz EQUITY.npy

ASKED holds `prices` (T, N), `weights` (R, N), `rows` (R,), `capital` and `half_spread` (a
fraction). Writes equity of shape (T,); prints one JSON line: seconds when warm, and the version.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
import vectorbt as vbt  # type: ignore[import-not-found]  # see above


def main(asked: str, path: str) -> dict[str, float | str]:
    given = np.load(asked)
    prices = pd.DataFrame(given["prices"])
    sizes = np.full(prices.shape, np.nan)
    sizes[given["rows"]] = given["weights"]
    seconds = 0.0
    for _ in range(2):  # the first time it compiles
        began = time.perf_counter()
        book = vbt.Portfolio.from_orders(
            prices, sizes, size_type="targetpercent", group_by=True, cash_sharing=True,
            call_seq="auto", init_cash=float(given["capital"]),
            slippage=float(given["half_spread"]), freq="1D",
        )  # fmt: skip
        equity = book.value().to_numpy()
        seconds = time.perf_counter() - began
    np.save(path, equity)
    return {"seconds": seconds, "version": vbt.__version__}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(main(*sys.argv[1:])))

"""backtrader's broker on given prices and weights, in an environment of its own.

    python ledger_backtrader.py ASKED.npz EQUITY.npy

ASKED holds `prices` (T, N), `weights` (R, N), `rows` (R,), `capital` and `half_spread` (a
fraction). Orders bring each name to weight x equity / price shares, rounded towards zero, and are
filled at the same prices; half the spread is charged as a commission, which comes to the same cash.
Writes equity of shape (T,), before a row's orders; prints one JSON line: seconds, and the version.
"""

import datetime as dt
import json
import sys
import time
import warnings
from typing import Any

import backtrader as bt  # type: ignore[import-not-found]  # see above
import numpy as np


class Closes(bt.feed.DataBase):  # type: ignore[misc]
    """One name's prices from a list: backtrader's own feed of a DataFrame takes half of a run."""

    params: Any = (("prices", ()), ("days", ()))

    def start(self) -> None:
        super().start()
        self.rows = zip(self.p.days, self.p.prices, strict=True)

    def _load(self) -> bool:
        for day, price in self.rows:
            self.lines.datetime[0] = day
            for line in (self.lines.open, self.lines.high, self.lines.low, self.lines.close):
                line[0] = price
            self.lines.volume[0] = self.lines.openinterest[0] = 0.0
            return True
        return False


class Rebalancing(bt.Strategy):  # type: ignore[misc]
    params: Any = (("weights", {}),)

    def __init__(self) -> None:
        self.equity: list[float] = []

    def next(self) -> None:
        equity, row = self.broker.getvalue(), len(self.equity)
        self.equity.append(equity)
        weights = self.p.weights.get(row)
        if weights is None:
            return
        prices = np.array([name.close[0] for name in self.datas])
        held = np.array([self.getposition(name).size for name in self.datas])
        wanted = np.floor(weights * equity / prices)
        for i in np.argsort(wanted > held, kind="stable"):  # sales first
            self.order_target_size(self.datas[i], int(wanted[i]))


def main(asked: str, path: str) -> dict[str, Any]:
    given = np.load(asked)
    cerebro = bt.Cerebro(stdstats=False)
    prices = given["prices"]
    first = bt.date2num(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    days = [first + row for row in range(len(prices))]
    for column in prices.T:
        cerebro.adddata(Closes(prices=column.tolist(), days=days))
    cerebro.addstrategy(
        Rebalancing, weights=dict(zip(given["rows"].tolist(), given["weights"], strict=True))
    )
    cerebro.broker.setcash(float(given["capital"]))
    cerebro.broker.setcommission(commission=float(given["half_spread"]))
    cerebro.broker.set_coc(True)
    began = time.perf_counter()
    strategy = cerebro.run()[0]
    seconds = time.perf_counter() - began
    np.save(path, np.array(strategy.equity))
    return {"seconds": seconds, "version": bt.__version__}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(main(*sys.argv[1:])))

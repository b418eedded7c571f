"""The forecasts of one network: one decision's as they were made, many held against what came."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from astra.predictions import QUANTILE_COLUMNS
from astra.scoring import Tally
from astra.sessions import BAR_SECONDS
from astra.store import rows, schema
from astra.store.dialect import Dialect

if TYPE_CHECKING:  # who trades needs no frames
    import pandas as pd

_COLUMNS = ("ticker", "step", "ts", "close", *QUANTILE_COLUMNS)
# A forecast's median is hardly ever as far from the last close: bars were restated by a split since
SPLIT = 0.10


class Forecasts:
    """Reads table `forecasts` by its key: network, then decision time. It is never read whole."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def made(self, model_id: str, as_of: dt.datetime) -> pd.DataFrame:
        """All forecasts of one decision: ticker, step, ts (UTC), close and quantiles in USD, by
        ticker and step; empty if there are none. q10 and q90 may be NaN in old ones."""
        import pandas as pd

        table = schema.forecasts
        statement = (
            select(*(table.c[name] for name in _COLUMNS))
            .where((table.c.model_id == model_id) & (table.c.as_of == rows.seconds(as_of)))
            .order_by(table.c.ticker, table.c.step)
        )
        with self._dialect.reading() as connection:
            found = connection.execute(statement).all()
        frame = pd.DataFrame.from_records([tuple(row) for row in found], columns=list(_COLUMNS))
        numbers = dict.fromkeys(("close", *QUANTILE_COLUMNS), "float64")
        frame = frame.astype({"ticker": "str", **numbers})
        return frame.assign(ts=pd.to_datetime(frame["ts"], unit="s", utc=True))

    def tallies(
        self, model_id: str, times: Sequence[dt.datetime], tickers: Sequence[str]
    ) -> list[Tally]:
        """The closes that came after each of `times`, counted by decision and step.

        Counted are bars that begin after the decision, of names that printed in the last bar
        before it. A price restated by a split since its forecast is left out, and so are forecasts
        of releases without the 10 % and 90 % quantiles.
        """
        f, p = schema.forecasts, schema.price_history
        last = p.alias("last_bar")
        below = [
            func.sum(case((p.c.close <= f.c[name], 1), else_=0)).label(name)
            for name in QUANTILE_COLUMNS
        ]
        statement = (
            select(
                f.c.as_of,
                f.c.step,
                func.count().label("cases"),
                func.sum(func.abs(p.c.close - f.c.close) / last.c.close).label("error"),
                func.sum(func.abs(p.c.close - last.c.close) / last.c.close).label("naive"),
                *below,
            )
            .join(p, (p.c.ticker == f.c.ticker) & (p.c.ts == f.c.ts))
            .join(last, (last.c.ticker == f.c.ticker) & (last.c.ts == f.c.as_of - BAR_SECONDS))
            .where(
                (f.c.model_id == model_id)
                & f.c.as_of.in_([rows.seconds(t) for t in times])
                & f.c.ticker.in_(list(tickers))
                & (f.c.ts > f.c.as_of)
                & f.c.q10.is_not(None)
                & f.c.q90.is_not(None)
                & (func.abs(f.c.close / last.c.close - 1.0) <= SPLIT)
            )
            .group_by(f.c.as_of, f.c.step)
            .order_by(f.c.as_of, f.c.step)
        )
        with self._dialect.reading() as connection:
            found = connection.execute(statement).all()
        return [
            Tally(
                as_of=rows.moment(row.as_of),
                step=row.step,
                cases=row.cases,
                below=tuple(int(getattr(row, name)) for name in QUANTILE_COLUMNS),
                error=float(row.error),
                naive=float(row.naive),
            )
            for row in found
        ]

"""The file of a decision's forecasts: `predictions_<stamp>_<tag>.csv` in the bucket.

Columns: ticker, step (1 is the next bar), ts (start of the bar forecast, ISO in UTC), close and the
quantiles q05 to q95, all USD. Model and as-of time stand in the object's metadata.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from astra.errors import DataError

if TYPE_CHECKING:  # who serves forecasts needs the names of the quantiles alone
    import pandas as pd

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
QUANTILE_COLUMNS = tuple(f"q{round(100 * q):02d}" for q in QUANTILES)
_SINCE_0_3 = ("q10", "q90")  # earlier releases wrote files without them
COLUMNS = ("ticker", "step", "ts", "close", *QUANTILE_COLUMNS)


def build(frame: pd.DataFrame) -> bytes:
    """The file's content; `frame` has `COLUMNS`, ts in epoch seconds."""
    import pandas as pd

    shown = frame[list(COLUMNS)].copy()
    shown["ts"] = pd.to_datetime(shown["ts"], unit="s", utc=True).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    text: str = shown.to_csv(index=False, float_format="%.6f", lineterminator="\n")
    return text.encode()


def parse(name: str, content: bytes, metadata: Mapping[str, str]) -> pd.DataFrame:
    """The frame of the store's table `forecasts`: `COLUMNS`, model_id and as_of, epoch seconds.

    Quantiles that an earlier release did not forecast are NaN.

    Raises:
        DataError: one sentence naming the object and what is wrong.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(io.BytesIO(content), dtype={"ticker": "str"}, keep_default_na=False)
        as_of = dt.datetime.fromisoformat(metadata["as_of"])
        times = pd.to_datetime(frame["ts"], utc=True).astype("datetime64[s, UTC]")
        frame["ts"] = times.astype("int64")
        for column in _SINCE_0_3:
            if column not in frame:
                frame[column] = float("nan")
        numbers = ["close", *QUANTILE_COLUMNS]
        frame[numbers] = frame[numbers].astype("float64")
    except (ValueError, KeyError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise DataError(f"{name} is no file of forecasts: {error}") from error
    frame["model_id"] = metadata.get("model_id", "")
    frame["as_of"] = int(as_of.timestamp())
    return frame

"""Which bars get in."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra import bars
from astra.errors import DataError

OPEN = int(dt.datetime(2026, 6, 15, 13, 30, tzinfo=dt.UTC).timestamp())
NOW = dt.datetime(2026, 6, 15, 14, 0, tzinfo=dt.UTC)


def frame(*rows: tuple[str, float, float, float, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(bars.COLUMNS))


def good(
    ticker: str = "AAPL", ts: int = OPEN
) -> tuple[str, float, float, float, float, float, float]:
    return (ticker, ts, 10.0, 11.0, 9.0, 10.5, 100.0)


@pytest.mark.parametrize(
    ("row", "counted"),
    [
        (("AAPL", OPEN + 1800, 10.0, 11.0, 9.0, 10.5, 1.0), "forming"),
        (("AAPL", OPEN + 86400 * 42, 10.0, 11.0, 9.0, 10.5, 1.0), "forming"),
        (("AAPL", OPEN + 7, 10.0, 10.0, 10.0, 10.0, 0.0), "off_grid"),
        (("AAPL", OPEN - 300, 10.0, 11.0, 9.0, 10.5, 1.0), "off_grid"),
        (("AAPL", OPEN, float("nan"), 11.0, 9.0, 10.5, 1.0), "missing"),
        (("AAPL", OPEN, 10.0, 11.0, 9.0, 10.5, float("nan")), "missing"),
        (("AAPL", OPEN, 10.0, 10.2, 9.0, 10.5, 1.0), "implausible"),
        (("AAPL", OPEN, 10.0, 11.0, 10.1, 10.5, 1.0), "implausible"),
        (("AAPL", OPEN, -1.0, 11.0, -2.0, 10.5, 1.0), "implausible"),
        (("AAPL", OPEN, 10.0, 11.0, 9.0, 10.5, -5.0), "implausible"),
    ],
)
def test_a_bad_bar_is_left_out_and_counted_by_its_reason(row: tuple, counted: str) -> None:
    kept, rejected = bars.validate(frame(good("MSFT"), row), NOW)
    assert kept["ticker"].tolist() == ["MSFT"]
    assert getattr(rejected, counted) == rejected.total == 1


def test_the_bar_that_closes_right_now_is_closed() -> None:
    kept, rejected = bars.validate(frame(good(ts=OPEN + 1500), good(ts=OPEN + 1800)), NOW)
    assert kept["ts"].tolist() == [OPEN + 1500]
    assert rejected.describe() == "1 forming"


def test_of_two_bars_with_one_key_the_later_wins() -> None:
    later = ("AAPL", OPEN, 10.0, 12.0, 9.0, 11.5, 300.0)
    kept, rejected = bars.validate(frame(good(), later), NOW)
    assert kept["close"].tolist() == [11.5]
    assert rejected.duplicate == 1


def test_what_is_kept_is_sorted_and_typed() -> None:
    kept, _ = bars.validate(frame(good("B"), good("A", OPEN + 300), good("A")), NOW)
    assert list(zip(kept["ticker"], kept["ts"], strict=True)) == [
        ("A", OPEN), ("A", OPEN + 300), ("B", OPEN),
    ]  # fmt: skip
    assert kept["volume"].dtype == np.int64


@given(st.permutations([good("A"), good("B"), good("A", OPEN + 300), good("C", OPEN + 600)]))
def test_the_order_of_the_rows_does_not_matter(rows: list) -> None:
    kept, _ = bars.validate(frame(*rows), NOW)
    expected, _ = bars.validate(frame(*sorted(rows)), NOW)
    pd.testing.assert_frame_equal(kept, expected)


def test_a_frame_survives_the_wire() -> None:
    kept, _ = bars.validate(frame(good("A"), good("BRK.B", OPEN + 300)), NOW)
    pd.testing.assert_frame_equal(bars.from_arrow(bars.to_arrow(kept)), kept)
    assert bars.from_arrow(bars.to_arrow(bars.empty())).empty


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="volume missing"):
        bars.validate(frame(good()).drop(columns="volume"), NOW)
    with pytest.raises(DataError, match="close"):
        bars.from_arrow(pa.table({"ticker": ["A"]}))


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path) -> None:
    path = tmp_path / "bars.parquet"
    path.write_text("not parquet")
    with pytest.raises(DataError, match=r"bars\.parquet"):
        bars.read_parquet(str(path))
    with pytest.raises(DataError, match=r"nowhere\.parquet"):
        bars.read_parquet(str(tmp_path / "nowhere.parquet"))

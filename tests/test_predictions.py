"""The forecast file."""

import datetime as dt
import io

import pandas as pd
import pytest

from astra import predictions
from astra.errors import DataError

AS_OF = dt.datetime(2026, 6, 15, 14, 0, tzinfo=dt.UTC)
META = {"as_of": AS_OF.isoformat(), "model_id": "nbeats-1"}


def frame() -> pd.DataFrame:
    rows = [
        ("BRK.B", step, int(AS_OF.timestamp()) + 300 * (step - 1), 500.0 + step, *range(493, 500))
        for step in range(1, 13)
    ]
    return pd.DataFrame(rows, columns=list(predictions.COLUMNS))


def test_what_is_built_is_parsed_back_with_model_and_time() -> None:
    found = predictions.parse("p.csv", predictions.build(frame()), META)
    assert found["ts"].tolist() == frame()["ts"].tolist()
    assert found["close"].tolist() == frame()["close"].tolist()
    assert set(found["as_of"]) == {int(AS_OF.timestamp())}
    assert set(found["model_id"]) == {"nbeats-1"}
    quantiles = found[list(predictions.QUANTILE_COLUMNS)].drop_duplicates().values.tolist()
    assert quantiles == [[493, 494, 495, 496, 497, 498, 499]]


def of_an_earlier_release() -> bytes:
    """Five quantiles."""
    now = pd.read_csv(io.BytesIO(predictions.build(frame())))
    return now.drop(columns=["q10", "q90"]).to_csv(index=False).encode()


def test_a_file_of_an_earlier_release_lacks_the_quantiles_it_did_not_forecast() -> None:
    assert of_an_earlier_release().startswith(b"ticker,step,ts,close,q05,q25,q50,q75,q95\n")
    found = predictions.parse("p.csv", of_an_earlier_release(), META)
    assert found[["q10", "q90"]].isna().all(axis=None)
    kept = [name for name in found if name not in ("q10", "q90")]
    now = predictions.parse("p.csv", predictions.build(frame()), META)
    pd.testing.assert_frame_equal(found[kept], now[kept])


def test_a_ticker_named_like_a_missing_value_stays_a_ticker() -> None:
    odd = frame().assign(ticker="NA")
    assert set(predictions.parse("p.csv", predictions.build(odd), META)["ticker"]) == {"NA"}


@pytest.mark.parametrize(
    ("content", "metadata"),
    [
        (b"", META),
        (b"ticker,step\nA,1\n", META),
        (predictions.build(frame()), {}),
        (predictions.build(frame()).replace(b"501.0", b"much."), META),
        (of_an_earlier_release().replace(b"501.0", b"much."), META),
        (of_an_earlier_release().replace(b"q95", b"q96"), META),
        (b"\xff\xfe", META),
    ],
)
def test_a_broken_file_is_refused_by_name(content: bytes, metadata: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"^p\.csv is no file of forecasts"):
        predictions.parse("p.csv", content, metadata)

"""The allocation file: what is accepted, and the sentence for what is not."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra import allocation
from astra.errors import DataError

AS_OF = dt.datetime(2026, 6, 15, 14, 0, tzinfo=dt.UTC)
NAME = "target_20260615-140000_0a1b2c3d.csv"


def built(weights: dict[str, float]) -> tuple[str, bytes, dict[str, str]]:
    return allocation.build(
        AS_OF, "0a1b2c3d", weights, policy="measured", model_id="m1", metadata={"coverage": "1.0"}
    )


tickers = st.from_regex(r"[A-Z]{1,4}", fullmatch=True)


@given(st.dictionaries(tickers, st.floats(0.001, 0.05), min_size=1, max_size=20))
def test_what_is_built_is_parsed_back(weights: dict[str, float]) -> None:
    name, content, metadata = built(weights)
    found = allocation.parse(name, content, metadata, max_names=20)
    assert found.as_of == AS_OF
    assert (found.policy, found.model_id) == ("measured", "m1")
    assert found.weights == pytest.approx(weights, abs=1e-9)


def test_a_file_dropped_by_hand_is_manual_and_lives_thirty_minutes() -> None:
    found = allocation.parse(
        "target_20260615-140000_mine.csv", b"ticker,weight\nAAPL,0.5\n", {}, 20
    )
    assert found.policy == "manual"
    assert found.expires_at - found.as_of == dt.timedelta(minutes=30)


def test_other_columns_and_a_byte_order_mark_are_allowed() -> None:
    content = "\ufeffticker,weight,note\nBRK.B,0.25,why not\n".encode()
    assert allocation.parse(NAME, content, {}, 20).weights == {"BRK.B": 0.25}


@pytest.mark.parametrize(
    ("name", "content", "metadata", "sentence"),
    [
        ("target_now.csv", b"ticker,weight\nA,1\n", {}, "is required, found 'target_now.csv'"),
        ("target_20261399-140000_ab.csv", b"ticker,weight\nA,1\n", {}, "no time of the form"),
        (NAME, b"", {}, "found an empty file"),
        (NAME, b"ticker,weight\n", {}, "at least one row"),
        ("target_99991231-235959_ab.csv", b"ticker,weight\nA,1\n", {}, "no time of the form"),
        (NAME, b"ticker,weight\nA,1\n", {"expires_at": "2026-06-15T13:00+00:00"}, "after its"),
        (NAME, b"weight,ticker\n0.1,A\n", {}, "first columns must be ticker,weight"),
        (NAME, b"ticker,weight\nA,0.1\nA,0.2\n", {}, "line 3: A stands there twice"),
        (NAME, b"ticker,weight\nA\n", {}, "A's weight must be in"),
        (NAME, b"ticker,weight\nA,nan\n", {}, "found 'nan'"),
        (NAME, b"ticker,weight\nA,-0.1\n", {}, "found '-0.1'"),
        (NAME, b"ticker,weight\nA,1.5\n", {}, "found '1.5'"),
        (NAME, b"ticker,weight\nA,much\n", {}, "found 'much'"),
        (NAME, b"ticker,weight\nA;DROP,0.1\n", {}, "a ticker like AAPL"),
        (NAME, b"ticker,weight\nA,0.6\nB,0.6\n", {}, "sum to at most 1, found 1.2"),
        (NAME, b"ticker,weight\nA,0.1\nB,0.1\nC,0.1\n", {}, "at most 2 names"),
        (NAME, b"\xff\xfe\x00", {}, "UTF-8"),
        (NAME, b"ticker,weight\nA,0.1\n", {"sha256": "00"}, "don't match the sha256"),
        (NAME, b"ticker,weight\nA,0.1\n", {"expires_at": "soon"}, "must be an ISO time"),
        (NAME, b"ticker,weight\nA,0.1\n", {"expires_at": "2026-06-15T15:00"}, "time zone"),
    ],
)  # fmt: skip
def test_a_malformed_file_gets_one_sentence(
    name: str, content: bytes, metadata: dict[str, str], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        allocation.parse(name, content, metadata, max_names=2)
    assert "\n" not in str(error.value)


def test_a_changed_byte_is_found() -> None:
    name, content, metadata = built({"AAPL": 0.1})
    with pytest.raises(DataError, match="sha256"):
        allocation.parse(name, content.replace(b"0.1", b"0.2"), metadata, 20)


def test_a_file_of_zeros_sells_everything() -> None:
    name, content, metadata = built({"AAPL": 0.0, "JPM": 0.0})
    assert allocation.parse(name, content, metadata, 20).weights == {}
    assert b"AAPL" in content


def test_nothing_lives_longer_than_half_an_hour() -> None:
    far = {"expires_at": "2099-01-01T00:00+00:00"}
    found = allocation.parse(NAME, b"ticker,weight\nA,0.1\n", far, 20)
    assert found.expires_at == AS_OF + dt.timedelta(minutes=30)
    near = {"expires_at": "2026-06-15T14:05+00:00"}
    found = allocation.parse(NAME, b"ticker,weight\nA,0.1\n", near, 20)
    assert found.expires_at == AS_OF + dt.timedelta(minutes=5)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (AS_OF, None),
        (AS_OF - dt.timedelta(seconds=59), None),
        (AS_OF + dt.timedelta(minutes=29, seconds=59), None),
        (AS_OF + dt.timedelta(minutes=30), "expired at"),
        (AS_OF - dt.timedelta(minutes=2), "dated in the future"),
    ],
)
def test_age_is_judged_by_the_markets_clock(now: dt.datetime, why: str | None) -> None:
    name, content, metadata = built({"AAPL": 0.1})
    found = allocation.why_not_now(allocation.parse(name, content, metadata, 20), now)
    assert found is None if why is None else why in (found or "")


def test_identity_changes_with_the_generation_and_nothing_else() -> None:
    first = allocation.allocation_id("b", NAME, 1)
    assert first == allocation.allocation_id("b", NAME, 1)
    assert (
        len({first, allocation.allocation_id("b", NAME, 2), allocation.allocation_id("c", NAME, 1)})
        == 3
    )
    assert len(first) == 16

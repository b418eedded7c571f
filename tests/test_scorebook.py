"""The kept record: rows are only ever added, the first writer wins, the past stays as it was."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.errors import DataError
from astra.gcs import Bucket
from astra.settings import Settings
from model.forecast.keeper import Keeper, name_of
from model.forecast.record import ForecastRecord
from model.forecast.scorebook import Scorebook, empty, from_parquet, to_parquet
from sandbox.faults import Faults
from sandbox.markets import simulated_market
from sandbox.serving import Servers
from sandbox.storage import create_app

MODEL = "nbeats-5m-01234567"
MORNING = dt.datetime(2026, 3, 20, 14, tzinfo=dt.UTC)
NOON = MORNING + dt.timedelta(hours=2)


def book(at: dt.datetime, stamps: list[int], tickers: str, seed: int = 0) -> Scorebook:
    """Rows of the tickers "ABC" at the given times, made at `at`; some scores are NaN."""
    rng = np.random.default_rng(seed)
    score, volatility = rng.standard_normal((2, len(stamps), len(tickers)))
    score[score > 1] = np.nan
    found = np.array(stamps, np.int64)
    record = ForecastRecord(MODEL, found, tuple(tickers), score, np.abs(volatility))
    return Scorebook.of(record, at)


def assert_same(one: Scorebook, other: Scorebook) -> None:
    assert one.record.tickers == other.record.tickers
    np.testing.assert_array_equal(one.known_at, other.known_at)
    for name in ("as_of", "score", "volatility"):
        np.testing.assert_array_equal(getattr(one.record, name), getattr(other.record, name))


stamps = st.lists(st.integers(1, 9).map(lambda h: 3600 * h), unique=True, max_size=5).map(sorted)
names = st.sets(st.sampled_from("ABCDE"), min_size=1).map(lambda found: "".join(sorted(found)))


@given(stamps, names, stamps, names)
def test_rows_added_later_change_nothing_that_was_known(
    early: list[int], held: str, late: list[int], added: str
) -> None:
    before = book(MORNING, early, held, 1)
    after = before.joined(book(NOON, late, added, 2))
    wanted = tuple(sorted({*held, *added}))
    soon = MORNING + dt.timedelta(seconds=1)
    then = after.known(soon).of_tickers(wanted, 0)
    was = before.of_tickers(wanted, 0)
    for k, t in enumerate(then.as_of):
        row = np.flatnonzero(was.as_of == t)
        for name in ("score", "volatility"):
            found = getattr(then, name)[k]
            known = getattr(was, name)[row[0]] if len(row) else np.full(len(wanted), np.nan)
            np.testing.assert_array_equal(found, known)
    assert after.known(soon).complete(tuple(held)) == before.complete(tuple(held))
    assert after.known(MORNING).rows == 0, "who reads the same load makes them itself"


@given(stamps, names, stamps, names)
def test_joining_twice_adds_nothing(one: list[int], a: str, two: list[int], b: str) -> None:
    first, second = book(MORNING, one, a, 1), book(NOON, two, b, 2)
    whole = first.joined(second)
    assert_same(whole.joined(second), whole)
    cells = {(t, n) for t in one for n in a} | {(t, n) for t in two for n in b}
    assert whole.rows == len(cells)


@given(stamps, names)
def test_a_book_comes_back_from_its_file(times: list[int], tickers: str) -> None:
    found = from_parquet(MODEL, to_parquet(book(MORNING, times, tickers)))
    if times:
        assert_same(found, book(MORNING, times, tickers))
    else:
        assert found.rows == 0


def test_a_time_is_complete_once_every_ticker_has_a_row_also_without_a_score() -> None:
    whole = book(MORNING, [3600, 7200], "AB").joined(book(MORNING, [7200], "C"))
    assert whole.complete(("A", "B")) == {3600, 7200}
    assert whole.complete(("A", "B", "C")) == {7200}
    assert whole.complete(("A", "Z")) == frozenset()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    market = simulated_market(("AAPL",), start=dt.date(2026, 10, 29))
    app = create_app(market, Faults(), function_url=None, buckets=("astra-allocations",))
    with Servers({"storage": app}) as urls:
        yield Bucket.from_settings(Settings(_env_file=None, storage_url=urls["storage"]))


def test_of_two_writers_both_rows_stand_and_the_first_ones_win(bucket: Bucket) -> None:
    one, two = Keeper(bucket), Keeper(bucket)
    assert two.read(MODEL).rows == 0
    first, second = book(MORNING, [3600], "AB", 1), book(NOON, [3600, 7200], "ABC", 2)
    one.add(first)
    stands = two.add(second)
    assert stands.rows == 6
    assert_same(stands, first.joined(second))
    assert_same(one.read(MODEL), stands)
    assert_same(stands.known(MORNING), stands.known(MORNING).known(NOON))


class Overtaken(Bucket):
    """The real bucket, where somebody else writes just before the first replacement."""

    def __init__(self, bucket: Bucket, rival: Scorebook) -> None:
        self.__dict__.update(bucket.__dict__)
        self._theirs, self._rival = bucket, rival

    def replace(self, *words: object, **named: object) -> int | None:
        rival, self._rival = self._rival, empty(MODEL)
        if rival.rows:
            Keeper(self._theirs).add(rival)
        return super().replace(*words, **named)  # type: ignore[arg-type]


def test_a_lost_race_is_run_again_on_what_stands_then(bucket: Bucket) -> None:
    ours, theirs = book(NOON, [3600, 7200], "AB", 1), book(MORNING, [3600], "A", 2)
    stands = Keeper(Overtaken(bucket, theirs)).add(ours)
    assert_same(stands, theirs.joined(ours))
    assert_same(Keeper(bucket).read(MODEL), stands)


def test_what_is_there_is_not_written_again(bucket: Bucket) -> None:
    Keeper(bucket).add(book(MORNING, [3600], "AB"))
    (before,) = bucket.list(name_of(MODEL))
    Keeper(bucket).add(book(NOON, [3600], "B", 5))
    assert bucket.list(name_of(MODEL)) == (before,)


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"as_of,ticker\n"])
def test_another_file_in_its_place_is_named_with_the_remedy(bucket: Bucket, content: bytes) -> None:
    bucket.create_once(name_of(MODEL), content, "text/csv", {})
    with pytest.raises(DataError, match=f"record of {MODEL} must be a Parquet file.*delete it"):
        Keeper(bucket).read(MODEL)

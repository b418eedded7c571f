"""The store against a model of it: whatever is loaded, late, twice or pruned, a past stays a past.

The model keeps the versions of each bar as a list, one for each second at which one was seen.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astra.sessions import last_closed_bars
from astra.store import Counts, Offer, Store, open_store
from astra.store.feeds import FEEDS, Feed
from tests.grid import GRID, NOW, frame
from tests.stores import price_rows, set_price_rows

Key = tuple[str, int]  # ticker, number of the bar on the grid
# Two bars of each of three sessions, the last of them the last that had closed.
PLACES = (0, 1, 78, 79, 232, 233)
SECONDS = range(-1, 6)  # after NOW: before the first load, and at each of its times
MIDNIGHTS = [ts - ts % 86_400 for ts in GRID[[0, 78, 156]].tolist()]


class Version(NamedTuple):
    """What was said of a bar, and in which second after NOW it was."""

    second: int
    close: float
    feed: Feed


Step = Mapping[Key, Version] | int  # a load, or a pruning to so many sessions
_SHARED = HealthCheck.function_scoped_fixture  # `check` empties the store

versions = st.builds(
    Version, st.sampled_from(SECONDS[1:]), st.sampled_from([10.0, 11.0]), st.sampled_from(FEEDS[:2])
)
keys = st.tuples(st.sampled_from("AB"), st.sampled_from(PLACES))
loads = st.dictionaries(keys, versions, min_size=1, max_size=8)
prunings = st.integers(1, 2)
operations = st.lists(st.one_of(loads, loads, loads, prunings), max_size=8)


class Model:
    """The versions of each bar, one for each second, ascending."""

    def __init__(self) -> None:
        self.bars: dict[Key, list[Version]] = {}

    def load(self, offered: Mapping[Key, Version]) -> Counts:
        counts = Counts()
        for key, version in offered.items():
            known = self.bars.setdefault(key, [])
            if not known:
                counts += Counts(inserted=1)
            elif version.second >= known[-1].second and version[1:] != known[-1][1:]:
                counts += Counts(updated=1)
            else:
                counts += Counts(unchanged=1)
            if not known or version.second < known[-1].second or version[1:] != known[-1][1:]:
                self.bars[key] = _sorted_in(known, version)
        return counts

    def prune(self, before: int) -> None:
        self.bars = {key: known for key, known in self.bars.items() if GRID[key[1]] >= before}

    def read(self, second: int) -> dict[Key, tuple[float, Feed]]:
        then = {key: [v for v in known if v.second <= second] for key, known in self.bars.items()}
        return {key: known[-1][1:] for key, known in sorted(then.items()) if known}


def _sorted_in(known: list[Version], new: Version) -> list[Version]:
    """Of one second the last arrival counts; what says the same as the one before says nothing."""
    by_second = {v.second: v for v in [*known, new]}
    ordered = [by_second[second] for second in sorted(by_second)]
    if ordered[-1] == new:
        return ordered
    return [v for i, v in enumerate(ordered) if i == 0 or v[1:] != ordered[i - 1][1:]]


def _offers(offered: Mapping[Key, Version]) -> list[Offer]:
    found = []
    for second, feed in sorted({(v.second, v.feed) for v in offered.values()}):
        rows = [
            (*key, v.close) for key, v in offered.items() if (v.second, v.feed) == (second, feed)
        ]
        found.append(Offer(frame(rows), _at(second), feed))
    return found


def _at(second: int) -> dt.datetime:
    return NOW + dt.timedelta(seconds=second)


def _read(store: Store, second: int, last: int | None = None) -> dict[Key, tuple[float, Feed]]:
    columns = ("ticker", "ts", "close", "feed")
    table = store.prices.read(known_at=_at(second), last=last, columns=columns)
    places = np.searchsorted(GRID, table["ts"].cast(pa.int64()).to_numpy()).tolist()
    bars = zip(table["close"].to_pylist(), table["feed"].to_pylist(), strict=True)
    return dict(zip(zip(table["ticker"].to_pylist(), places, strict=True), bars, strict=True))


def check(store: Store, steps: Sequence[Step]) -> None:
    """Do the same to the store and to the model: each says the same of every time."""
    set_price_rows(store)
    model = Model()
    for step in steps:
        before, version = price_rows(store), store.versions()["prices"]
        if isinstance(step, int):
            store.prune(step, dt.datetime.fromtimestamp(int(MIDNIGHTS[2]), dt.UTC))
            model.prune(MIDNIGHTS[2] - step * 86_400)
        else:
            counts = store.prices.upsert_many(_offers(step))
            assert sum(counts.values(), Counts()) == model.load(step)
        assert (price_rows(store) != before) == (store.versions()["prices"] > version)
    for second in SECONDS:
        expected = model.read(second)
        assert _read(store, second) == expected
        assert _read(store, second, last=80) == _last(expected, 80)
    _check_chains(store)


def _last(bars: Mapping[Key, tuple[float, Feed]], count: int) -> dict[Key, tuple[float, Feed]]:
    if not bars:
        return {}
    newest = int(GRID[max(place for _, place in bars)]) + 300
    first = last_closed_bars(count, dt.datetime.fromtimestamp(newest, dt.UTC))[0]
    return {key: bar for key, bar in bars.items() if GRID[key[1]] >= first}


def _check_chains(store: Store) -> None:
    """Each version of a bar ends where the next one begins, and lasted some time."""
    current, replaced = price_rows(store)
    names = ["ticker", "ts", "replaced_at", "open", "high", "low", "close", "volume", "known_from"]
    past = pd.DataFrame(replaced, columns=[*names, "feed"])
    for row in current:
        mine = past[(past["ticker"] == row[0]) & (past["ts"] == row[1])].sort_values("known_from")
        times = [*mine["known_from"], row[7]]
        assert mine["replaced_at"].tolist() == times[1:]
        assert all(a < b for a, b in itertools.pairwise(times))


EXAMPLES: dict[str, Sequence[Step]] = {
    "corrected twice in one second": [
        {("A", 0): Version(0, 10.0, "yahoo")},
        {("A", 0): Version(1, 11.0, "yahoo")},
        {("A", 0): Version(1, 10.0, "yahoo")},
    ],
    "late, twice in one second": [
        {("A", 0): Version(0, 10.0, "yahoo")},
        {("A", 0): Version(4, 10.0, "alpaca-sip")},
        {("A", 0): Version(2, 11.0, "yahoo")},
        {("A", 0): Version(2, 10.0, "alpaca-sip")},
    ],
    "newer bars after the time asked for": [
        {("A", 0): Version(0, 10.0, "yahoo")},
        {("A", 233): Version(5, 10.0, "yahoo")},
    ],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_past_stays_a_past(store: Store, name: str) -> None:
    check(store, EXAMPLES[name])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('history')}/astra.db")
    yield opened
    opened.close()


@settings(max_examples=20, deadline=None)
@given(steps=operations)
def test_whatever_is_loaded_late_or_twice_or_pruned_a_past_stays_a_past(
    file: Store, steps: Sequence[Step]
) -> None:
    check(file, steps)


@settings(max_examples=5, deadline=None, suppress_health_check=[_SHARED])
@given(steps=operations)
def test_every_database_agrees_with_the_model(store: Store, steps: Sequence[Step]) -> None:
    check(store, steps)

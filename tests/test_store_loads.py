"""Loads in any pieces, any order and from many writers: one table, and counts that add up."""

from __future__ import annotations

import multiprocessing
import random
import threading
from itertools import chain

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astra.store import Counts, Store, open_store
from tests.grid import HOUR, NOW, frame, held
from tests.stores import DIALECTS, NewDatabase, Rows, price_rows, set_price_rows

# Observations: at vendor hour h a load shows, for some tickers, a run of bars whose values changed
# at known hours and never come back to an old value.
Load = tuple[int, tuple[str, ...], int, int]
LOADS = st.lists(
    st.tuples(
        st.integers(0, 5), st.sampled_from([("A",), ("B",), ("A", "B")]),
        st.integers(0, 6), st.integers(1, 4),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def seen(hour: int, tickers: tuple[str, ...], first: int, count: int) -> pd.DataFrame:
    rows = [
        (t, i, 10.0 + i + sum(0.5 for h in (2, 4) if hour >= h and (i + h) % 3))
        for t in tickers
        for i in range(first, first + count)
    ]
    return frame(rows)


def load_in_pieces(store: Store, loads: list[Load], chance: random.Random) -> list[Counts]:
    """Each load cut in two, or whole, and all of them in any order, some again."""
    pieces = []
    for hour, tickers, first, count in [*loads, *loads[:2]]:
        whole = seen(hour, tickers, first, count)
        cut = chance.randrange(len(whole))
        pieces += [(part, hour) for part in (whole[:cut], whole[cut:])]
    chance.shuffle(pieces)
    counts = [store.prices.upsert(part, NOW + hour * HOUR) for part, hour in pieces]
    for (part, _), counted in zip(pieces, counts, strict=True):
        assert counted.inserted + counted.updated + counted.unchanged == len(part)
    return counts


def load_in_order(store: Store, loads: list[Load]) -> Rows:
    set_price_rows(store)
    for hour, tickers, first, count in sorted(loads):
        store.prices.upsert(seen(hour, tickers, first, count), NOW + hour * HOUR)
    return price_rows(store)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads=LOADS, chance=st.randoms(use_true_random=False))
def test_any_split_order_repetition_or_overlap_of_loads_gives_the_same_table(
    new_database: NewDatabase, loads: list[Load], chance: random.Random
) -> None:
    store = open_store(new_database("sqlite"))
    expected = load_in_order(store, loads)
    set_price_rows(store)
    counts = load_in_pieces(store, loads, chance)
    assert price_rows(store) == expected
    assert sum(counts, Counts()).inserted == len(expected[0])
    store.close()


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "sqlite"])
def test_the_databases_agree_on_any_loads(dialect: str, new_database: NewDatabase) -> None:
    reference, store = (open_store(new_database(name)) for name in ("sqlite", dialect))

    @settings(max_examples=8)
    @given(loads=LOADS, chance=st.randoms(use_true_random=False))
    def agree(loads: list[Load], chance: random.Random) -> None:
        expected = load_in_order(reference, loads)
        set_price_rows(store)
        counts = load_in_pieces(store, loads, chance)
        assert price_rows(store) == expected
        assert sum(counts, Counts()).inserted == len(expected[0])
        for hour in range(-1, 6):
            assert held(store, NOW + hour * HOUR) == held(reference, NOW + hour * HOUR)

    agree()
    for opened in (reference, store):
        opened.close()


def test_concurrent_loads_of_overlapping_tickers_lose_nothing(store: Store) -> None:
    barrier = threading.Barrier(6)
    counts: list[Counts] = []

    def load(k: int) -> None:
        barrier.wait()
        rows = [(f"T{k % 3}", i, 10.0) for i in range(200)] + [("SHARED", 3, 7.0)]
        counts.append(store.prices.upsert(frame(rows), NOW))

    threads = [threading.Thread(target=load, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(counts, Counts())
    assert total == Counts(601, 0, 605)
    assert store.prices.count() == 601


def load_often(url: str, k: int) -> list[Counts]:
    """Two of five tickers, seen at one of five hours, by one of ten processes."""
    opened = open_store(url)
    opened.claim_market("real")
    tickers = (f"T{k % 5}", f"T{(k + 1) % 5}")
    at = NOW + k % 5 * HOUR
    counts = [opened.prices.upsert(seen(k % 5, tickers, first, 8), at) for first in range(0, 40, 4)]
    opened.close()
    return counts


def test_ten_processes_that_load_at_once_lose_nothing(
    store_url: str, new_database: NewDatabase
) -> None:
    alone = open_store(new_database("sqlite"))
    for k in sorted(range(10), key=lambda k: k % 5):
        load_often(str(alone._dialect.engine.url), k)
    with multiprocessing.get_context("fork").Pool(10) as processes:
        counts = processes.starmap(load_often, [(store_url, k) for k in range(10)], chunksize=1)
    together = open_store(store_url)
    assert price_rows(together) == price_rows(alone)
    assert sum(chain(*counts), Counts()).inserted == together.prices.count() == 5 * 44
    for opened in (alone, together):
        opened.close()

"""Reconciliations in the store."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

from astra.store import Store
from astra.store.reconciliations import Reconciliation

D = Decimal
NOW = dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
EQUAL = Reconciliation("PA1", NOW, "equal", message="equal")


def test_the_last_one_comes_back_as_it_was_recorded(store: Store) -> None:
    known = store.reconciliations
    assert known.latest("PA1") is None
    differs = Reconciliation(
        "PA1", NOW + HOUR, "differs", D("-0.10"), {"A": D("0.5")}, {"a-A-buy-1": "why"}, 1.5, "text"
    )
    known.record(EQUAL)
    known.record(differs)
    assert known.latest("PA1") == differs
    assert known.latest("PA1", NOW + HOUR / 2) == EQUAL
    assert known.latest("PA1", NOW - HOUR) is None
    assert known.latest("PA2") is None
    known.record(replace(differs, status="explained"))
    assert known.latest("PA1") == replace(differs, status="explained")


def test_whether_books_were_ever_equal_is_known(store: Store) -> None:
    store.reconciliations.record(replace(EQUAL, status="differs"))
    assert not store.reconciliations.was_equal("PA1")
    store.reconciliations.record(replace(EQUAL, at=NOW + HOUR))
    assert store.reconciliations.was_equal("PA1")
    assert not store.reconciliations.was_equal("PA2")

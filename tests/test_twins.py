"""Table `twins`: a day that was compared stands."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

from astra.store import Store
from astra.store.twins import COMPARED, NO_BARS, Twin

NINE_THIRTY = dt.datetime(2026, 1, 12, 14, 30, tzinfo=dt.UTC)
LACKING = Twin("PA1", NINE_THIRTY, NINE_THIRTY + dt.timedelta(days=1), NO_BARS, "no bars")
FOUND = replace(
    LACKING,
    status=COMPARED,
    message="0.85 USD better than its twin",
    live=Decimal("10.05"),
    twin=Decimal("9.20"),
    parts={"price": Decimal("1.00"), "fees": Decimal("-0.15")},
    lines={"AAPL": {"price": Decimal("1.00")}, "": {"fees": Decimal("-0.15")}},
)


def test_what_is_written_down_is_read_back(store: Store) -> None:
    assert store.twins.get("PA1", NINE_THIRTY) is None
    assert store.twins.record(FOUND) == FOUND
    assert store.twins.get("PA1", NINE_THIRTY) == FOUND
    assert store.twins.get("PA2", NINE_THIRTY) is None


def test_a_day_that_could_not_be_compared_may_be_later_and_then_stands(store: Store) -> None:
    store.twins.record(LACKING)
    assert store.twins.record(FOUND) == FOUND
    version = store.versions()["books"]
    other = replace(FOUND, live=Decimal("99.00"))
    assert store.twins.record(other) == FOUND
    assert store.twins.record(LACKING) == FOUND
    assert store.twins.get("PA1", NINE_THIRTY) == FOUND
    assert store.versions()["books"] == version

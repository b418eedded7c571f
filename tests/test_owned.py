"""Our part of the account's positions."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from astra.owned import Fill, managed, own_shares
from astra.records import Activity, Position, Side


def test_only_what_our_own_orders_opened_is_ours() -> None:
    theirs = [Position("A", Decimal(10), 5.0, 5.0), Position("B", Decimal(3), 5.0, 5.0)]
    kept = managed(theirs, {"A": Decimal(4), "C": Decimal(9)})
    assert [(p.symbol, p.qty) for p in kept] == [("A", Decimal(4))]


def test_a_split_multiplies_our_part_as_it_multiplies_the_whole() -> None:
    def at(minute: int) -> dt.datetime:
        return dt.datetime(2026, 6, 15, 14, minute, tzinfo=dt.UTC)

    fills = [Fill("A", Decimal(10), at(0)), Fill("A", Decimal(-4), at(30))]
    record = [
        Activity("1", "FILL", at(0), Decimal(-100), "A", Decimal(10), Decimal(10), Side.BUY),
        Activity("2", "FILL", at(1), Decimal(-50), "A", Decimal(5), Decimal(10), Side.BUY),
        Activity("3", "SPLIT", at(2), Decimal(0), "A", Decimal(15)),
        Activity("4", "FILL", at(30), Decimal(20), "A", Decimal(-4), Decimal(5), Side.SELL),
    ]
    assert own_shares(fills, record) == {"A": Decimal(16)}
    assert own_shares(fills, record[:2]) == {"A": Decimal(6)}

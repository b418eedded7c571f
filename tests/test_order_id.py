"""Ids of orders: built once, told from others' at the broker."""

from __future__ import annotations

import pytest

from astra.allocation import allocation_id
from astra.execution.order_id import is_ours, order_id
from astra.records import Side


def test_an_id_names_allocation_symbol_side_and_attempt() -> None:
    assert order_id("0123456789abcdef", "BRK.B", Side.BUY, 2) == "0123456789abcdef-BRK.B-buy-2"


@pytest.mark.parametrize("side", Side)
def test_what_is_built_for_an_allocation_is_told_to_be_ours(side: Side) -> None:
    assert is_ours(order_id(allocation_id("bucket", "target.csv", 1), "AAPL", side, 12))


@pytest.mark.parametrize(
    "theirs", ["", "by-hand", "0123456789abcdeX-A-buy-1", "0123456789abcdef-A-hold-1"]
)
def test_any_other_id_is_not_ours(theirs: str) -> None:
    assert not is_ours(theirs)

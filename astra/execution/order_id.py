"""The id by which an order of ours is known at the broker."""

from __future__ import annotations

import re

from astra.records import Side

_OURS = re.compile(r"[0-9a-f]{16}-.+-(buy|sell)-\d+")


def order_id(allocation_id: str, symbol: str, side: Side, attempt: int) -> str:
    """The same whoever works on the allocation, so that the order leaves once."""
    return f"{allocation_id}-{symbol}-{side.value}-{attempt}"


def is_ours(client_order_id: str) -> bool:
    """Whether an id is built as `order_id` builds it."""
    return _OURS.fullmatch(client_order_id) is not None

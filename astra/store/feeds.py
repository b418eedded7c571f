"""Where a bar comes from: the mark that every stored bar carries."""

from __future__ import annotations

from typing import Literal, get_args

Feed = Literal["yahoo", "alpaca-sip", "alpaca-iex"]
# Stored as the place in this tuple, so new ones go to the end.
FEEDS: tuple[Feed, ...] = get_args(Feed)


def code(feed: Feed) -> int:
    """As it is stored."""
    return FEEDS.index(feed)

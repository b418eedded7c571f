"""How long to wait between two looks at the broker: at first hardly, then longer and longer."""

from __future__ import annotations

from collections.abc import Iterator

_FIRST = 0.05


def pauses(longest: float = 1.0) -> Iterator[float]:
    """Seconds between two looks, doubling from 0.05 up to `longest`, for ever."""
    pause = _FIRST
    while True:
        yield pause
        pause = min(2 * pause, longest)

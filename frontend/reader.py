"""Tables for the sections, asked once for each version of the store instead of once a refresh."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from frontend.feed import Feed


class Reader:
    """Tables as they were at one `Pulse.version`. Raises what `Feed.table` raises."""

    def __init__(self, feed: Feed, version: str) -> None:
        self._feed = feed
        self._version = version

    def table(self, name: str, **filters: str) -> pd.DataFrame:
        """A table's rows; don't change them in place, other readers get the same."""
        key = (self._feed.url, self._version, name, tuple(sorted(filters.items())))
        frame: pd.DataFrame = _read(self._feed, *key)
        return frame


@st.cache_data(max_entries=64, show_spinner=False)  # type: ignore[untyped-decorator]
def _read(
    _feed: Feed, url: str, version: str, name: str, filters: tuple[tuple[str, str], ...]
) -> pd.DataFrame:
    return _feed.table(name, **dict(filters))

"""What the pages read, asked once for each version of the store instead of once a refresh."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Concatenate, ParamSpec, TypeVar

import pandas as pd
import streamlit as st

from astra.store import Query, Store
from astra.store.dump import scope
from frontend.feed import Feed, Pulse

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Tables and answers of the store as they were at one `Pulse`.

    What comes back is shared by all readers and must not be changed in place. Every call raises
    what the store raises: TemporaryError where it does not answer, DataError for what it cannot
    read.
    """

    def __init__(self, feed: Feed, pulse: Pulse) -> None:
        self._feed = feed
        self._versions = {"prices": pulse.prices, "books": pulse.books}

    def table(self, name: str, **filters: Any) -> pd.DataFrame:
        """A table's rows; instants as UTC timestamps, amounts as decimal strings.

        Args:
            filters: see `astra.store.Query`; sequences as tuples.
        """
        query = Query(name, **filters)
        counted = scope(name)
        if counted is None:  # every load writes these, and nobody counts it
            return _table(self._feed.store, query)
        frame: pd.DataFrame = _kept_table(
            self._feed, self._feed.url, self._versions[counted], query
        )
        return frame

    def read(
        self,
        function: Callable[Concatenate[Store, P], T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """`function(store, ...)`, kept until anything in the store changes.

        Args:
            function: a function of a module, which is known by its name.
            arguments, named: hashable.
        """
        name = f"{function.__module__}.{function.__qualname__}"
        asked = (arguments, tuple(sorted(named.items())))
        versions = tuple(self._versions.items())
        found: T = _kept(self._feed, function, self._feed.url, versions, name, asked)
        return found


def _table(store: Store, query: Query) -> pd.DataFrame:
    frame: pd.DataFrame = store.dump(query).read_all().to_pandas()
    # tickers may travel as a dictionary; here they are plain text
    coded = frame.select_dtypes("category").columns
    return frame.astype(dict.fromkeys(coded, "str"))


@st.cache_resource(max_entries=48, show_spinner=False)  # type: ignore[untyped-decorator]
def _kept_table(_feed: Feed, url: str, version: int, query: Query) -> pd.DataFrame:
    return _table(_feed.store, query)


@st.cache_resource(max_entries=48, show_spinner=False)  # type: ignore[untyped-decorator]
def _kept(
    _feed: Feed,
    _function: Callable[..., Any],
    url: str,
    versions: tuple[tuple[str, int], ...],
    name: str,
    asked: tuple[tuple[Hashable, ...], tuple[tuple[str, Hashable], ...]],
) -> Any:
    arguments, named = asked
    return _function(_feed.store, *arguments, **dict(named))

"""What the pages read, asked once for each version of the store instead of once a refresh.

Of each question the newest answer alone is kept: those to a store that has moved on are of no use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
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
        kept: _Kept = _kept(self._feed.url, name, query)
        frame: pd.DataFrame = kept.at(
            self._versions[counted], lambda: _table(self._feed.store, query)
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
        kept: _Kept = _kept(self._feed.url, name, asked)
        found: T = kept.at(
            tuple(self._versions.values()), lambda: function(self._feed.store, *arguments, **named)
        )
        return found


def _table(store: Store, query: Query) -> pd.DataFrame:
    frame: pd.DataFrame = store.dump(query).read_all().to_pandas()
    # tickers may travel as a dictionary; here they are plain text
    coded = frame.select_dtypes("category").columns
    return frame.astype(dict.fromkeys(coded, "str"))


@dataclass(slots=True)
class _Kept:
    """An answer, and the version of the store that gave it."""

    version: Hashable = None
    answer: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, version: Hashable, ask: Callable[[], Any]) -> Any:
        """The answer at that version; whoever comes while it is asked for waits for it."""
        with self._lock:
            if version != self.version:
                self.version = self.answer = None  # let go before the next takes room
                answer = ask()
                self.version, self.answer = version, answer
            return self.answer


@st.cache_resource(max_entries=96, show_spinner=False)  # type: ignore[untyped-decorator]
def _kept(url: str, name: str, asked: Hashable) -> _Kept:
    return _Kept()

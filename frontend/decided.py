"""Which of the decisions on record are an account's."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Any

from astra.store import Query, Store

_SECOND = dt.timedelta(seconds=1)
Row = Mapping[str, Any]


def own(store: Store, account: str) -> frozenset[str]:
    """Objects of the decisions that are the account's.

    These are the ones that name it and, of those that name nobody (made before an account was
    known, or by an earlier release), the ones whose allocation it received: by the file's name, or
    by the as-of time where a decision does not say its file. Where no other account is on record
    all are its own.
    """
    if store.books.accounts().keys() <= {account}:
        return frozenset(store.newest.decisions())
    # A year of documents is long to read, and the shadow books tell whom most of them name.
    booked: dict[dt.datetime, set[str]] = {}
    for row in _rows(store, Query("shadow_books", ("account", "at"))):
        booked.setdefault(row["at"], set()).add(row["account"])
    known = list(_rows(store, Query("decisions", ("object", "as_of"))))
    doubtful = {row["as_of"] for row in known} - {t for t, of in booked.items() if len(of) == 1}
    found = {row["object"] for row in known if booked.get(row["as_of"]) == {account}}
    return frozenset(found | _told(store, account, doubtful))


def _told(store: Store, account: str, times: set[dt.datetime]) -> set[str]:
    """Objects of the account's decisions at these times, as the documents and allocations say."""
    if not times:
        return set()
    received = list(_rows(store, Query("allocations", ("object", "as_of"), account=account)))
    files, traded = ({row[name] for row in received} for name in ("object", "as_of"))
    columns, end = ("object", "as_of", "document"), max(times) + _SECOND
    found = set()
    for row in _rows(store, Query("decisions", columns, start=min(times), end=end)):
        document = json.loads(row["document"])
        file = document.get("object")
        if named := (document.get("books_of") or {}).get("account"):
            is_own = named == account
        else:
            is_own = file in files if file else row["as_of"] in traded
        if is_own and row["as_of"] in times:
            found.add(row["object"])
    return found


def _rows(store: Store, query: Query) -> Iterator[Row]:
    for batch in store.dump(query):
        yield from batch.to_pylist()

"""Which of the decisions on record are an account's."""

from __future__ import annotations

import json

from astra.store import Query, Store


def own(store: Store, account: str) -> frozenset[str]:
    """Objects of the decisions that are the account's.

    These are the ones that name it and, of those that name nobody (made before an account was
    known, or by an earlier release), the ones whose allocation it received: by the file's name, or
    by the as-of time where a decision does not say its file. Where no other account is on record
    all are its own.
    """
    if store.books.accounts().keys() <= {account}:
        return frozenset(store.newest.decisions())
    received = store.dump(Query("allocations", ("object", "as_of"), account=account)).read_all()
    files, times = (set(received[name].to_pylist()) for name in ("object", "as_of"))
    found = set()
    for batch in store.dump(Query("decisions", ("object", "as_of", "document"))):
        for row in batch.to_pylist():
            document = json.loads(row["document"])
            file = document.get("object")
            if named := (document.get("books_of") or {}).get("account"):
                is_own = named == account
            else:
                is_own = file in files if file else row["as_of"] in times
            if is_own:
                found.add(row["object"])
    return frozenset(found)

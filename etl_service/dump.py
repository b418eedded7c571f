"""`/dump_table`: a table of the store, whitelisted, typed and streamed.

An answer carries an ETag of what was asked and of the version of what it was read from, so that
`If-None-Match` asks "anything new?".
"""

from __future__ import annotations

import hashlib
import itertools
import reprlib
from collections.abc import Mapping

from flask import Blueprint, Response, request

from astra import __version__
from astra.errors import DataError
from astra.store import Query, Store
from astra.store.dump import scope
from etl_service.formats import MIME_TYPES, encode
from etl_service.parameters import parameters, read_account, read_last, read_time
from etl_service.universe import parse_tickers

_PARAMETERS = (
    "table", "columns", "ticker", "account", "start", "end", "last", "known_at", "format",
)  # fmt: skip


def routes(store: Store) -> Blueprint:
    """The blueprint that serves `store`."""
    dump = Blueprint("dump", __name__)

    @dump.get("/dump_table")
    def dump_table() -> Response:
        asked = parameters(_PARAMETERS)
        name = asked.get("format", "csv")
        if name not in MIME_TYPES:
            raise DataError(
                f"a format is one of {', '.join(MIME_TYPES)}; found {reprlib.repr(name)}"
            )
        query = _query(asked)
        reader = store.dump(query)  # opens nothing before it is read
        # Before the rows, so that neither version nor times are newer than they are.
        tag = _tag(store, query, name)
        answer = Response(iter(()), content_type=MIME_TYPES[name], headers=about(store))
        if tag is not None:
            answer.set_etag(tag, weak=True)
        if tag is not None and request.if_none_match.contains_weak(tag):
            answer.status_code = 304
        elif request.method == "GET":
            chunks = encode(reader, name)
            # What fails until the first chunk is an error answer, later a broken connection.
            answer.response = itertools.chain([next(chunks)], chunks)
            answer.call_on_close(chunks.close)
        return answer

    return dump


def _query(asked: Mapping[str, str]) -> Query:
    if "table" not in asked:
        raise DataError("a table is required: /dump_table?table=price_history")
    columns = dict.fromkeys(asked["columns"].split(",")) if "columns" in asked else None
    tickers = set(parse_tickers(asked["ticker"])) if "ticker" in asked else None
    return Query(
        table=asked["table"],
        columns=None if columns is None else tuple(columns),
        tickers=None if tickers is None else tuple(sorted(tickers)),
        account=read_account(asked),
        start=read_time(asked, "start", up=True),
        end=read_time(asked, "end", up=True),
        last=read_last(asked),
        known_at=read_time(asked, "known_at"),
    )


def _tag(store: Store, query: Query, name: str) -> str | None:
    """Two answers with the same tag have the same rows; None: that is not known."""
    part = scope(query.table)
    if part is None:
        return None
    asked = repr((query, name, store.market(), __version__))
    return f"{part}-{store.versions()[part]}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"


def about(store: Store) -> dict[str, str]:
    """`X-Astra-Now`: the vendor's last known time; `X-Astra-As-Of`: close of the last bar;
    `X-Astra-Market`: whose bars these are. What is not known yet is absent."""
    times = {"X-Astra-Now": store.now(), "X-Astra-As-Of": store.prices.as_of()}
    found = {name: time.isoformat() for name, time in times.items() if time}
    market = store.market()
    return {**found, "X-Astra-Market": market} if market else found

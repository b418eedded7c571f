"""`/dump_table`: a table of the store, whitelisted, typed and streamed."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response

from astra.errors import DataError
from astra.store import Query, Store
from etl_service.formats import MIME_TYPES, encode
from etl_service.parameters import parameters, read_time
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
            raise DataError(f"a format is one of {', '.join(MIME_TYPES)}; found {name!r}")
        reader = store.dump(_query(asked))
        return Response(encode(reader, name), content_type=MIME_TYPES[name], headers=about(store))

    return dump


def _query(asked: Mapping[str, str]) -> Query:
    if "table" not in asked:
        raise DataError("a table is required: /dump_table?table=price_history")
    last = asked.get("last")
    if last is not None and not (last.isascii() and last.isdigit()):
        raise DataError(f"last is a number of bars, found {last!r}")
    return Query(
        table=asked["table"],
        columns=asked["columns"].split(",") if "columns" in asked else None,
        tickers=parse_tickers(asked["ticker"]) if "ticker" in asked else None,
        account=asked.get("account"),
        start=read_time(asked, "start"),
        end=read_time(asked, "end"),
        last=None if last is None else int(last),
        known_at=read_time(asked, "known_at"),
    )


def about(store: Store) -> dict[str, str]:
    """`X-Astra-Now`: the vendor's last known time; `X-Astra-As-Of`: close of the last bar;
    `X-Astra-Market`: whose bars these are. What is not known yet is absent."""
    times = {"X-Astra-Now": store.now(), "X-Astra-As-Of": store.prices.as_of()}
    found = {name: time.isoformat() for name, time in times.items() if time}
    market = store.market()
    return {**found, "X-Astra-Market": market} if market else found

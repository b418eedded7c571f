"""The ETL service: `/load_price_history` fills the store, `/dump_table` reads it.

Run it with `gunicorn "etl_service.main:create_app()"`.
"""

from __future__ import annotations

import datetime as dt
import logging

from flask import Flask, Response, jsonify, request

from astra import settings as configuration
from astra.errors import DataError
from astra.settings import Settings
from astra.store import Query, Store, open_store
from astra.web import configure_logging, create_service
from etl_service.formats import MIME_TYPES, encode
from etl_service.load import load
from etl_service.universe import members, parse_tickers
from etl_service.yahoo import Yahoo

log = logging.getLogger("etl_service")

_LOAD_PARAMETERS = ("ticker", "period", "interval")
_DUMP_PARAMETERS = (
    "table", "columns", "ticker", "account", "start", "end", "last", "known_at", "format",
)  # fmt: skip
# The universe of an empty store has been valid for ever.
_ALWAYS = dt.datetime.fromtimestamp(0, dt.UTC)


def create_app(settings: Settings | None = None) -> Flask:
    """The service; without settings it reads the environment.

    Raises:
        ConfigError: a setting or the database cannot be used.
    """
    if settings is None:
        configure_logging()
        settings = configuration.load()
    store = open_store(settings.database_url)
    store.books.record_universe(members(settings), store.now() or _ALWAYS)
    source = Yahoo(settings)
    app = create_service("etl", settings)

    @app.route("/load_price_history", methods=["GET", "POST"])
    def load_price_history() -> Response:
        asked = _parameters(_LOAD_PARAMETERS)
        if asked.get("interval", "5m") != "5m":
            raise DataError(f"the interval is 5m, found {asked['interval']!r}")
        if "ticker" in asked:
            tickers = parse_tickers(asked["ticker"])
        else:
            tickers = tuple(member.ticker for member in store.books.universe())
        done = load(store, source, tickers, asked.get("period"))
        for ticker, one in done.tickers.items():
            if one.status in ("error", "rate_limited"):
                log.warning("ticker=%s status=%s message=%s", ticker, one.status, one.message)
        response = jsonify(done.document())
        response.status_code = done.status
        if done.status == 503:
            response.headers["Retry-After"] = str(int(done.retry_after))
        return response

    @app.get("/dump_table")
    def dump_table() -> Response:
        asked = _parameters(_DUMP_PARAMETERS)
        name = asked.get("format", "csv")
        if name not in MIME_TYPES:
            raise DataError(f"a format is one of {', '.join(MIME_TYPES)}; found {name!r}")
        reader = store.dump(_query(asked))
        return Response(encode(reader, name), content_type=MIME_TYPES[name], headers=_about(store))

    return app


def _parameters(known: tuple[str, ...]) -> dict[str, str]:
    """The request's parameters, from its address or its form.

    Raises:
        DataError: an unknown, repeated or misplaced one: a lost filter would read everything.
    """
    if request.is_json and request.get_data():
        raise DataError("parameters belong in the address or a form, found a JSON body")
    unknown = [name for name in request.values if name not in known]
    if unknown:
        raise DataError(f"parameters are {', '.join(known)}; found {', '.join(map(repr, unknown))}")
    given = {name: request.values.getlist(name) for name in known if name in request.values}
    repeated = [name for name, values in given.items() if len(values) > 1]
    if repeated:
        raise DataError(f"each parameter counts once, found {', '.join(repeated)} again")
    return {name: values[0] for name, values in given.items()}


def _query(asked: dict[str, str]) -> Query:
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
        start=_time(asked, "start"),
        end=_time(asked, "end"),
        last=None if last is None else int(last),
        known_at=_time(asked, "known_at"),
    )


def _time(asked: dict[str, str], name: str) -> dt.datetime | None:
    """An ISO 8601 time; UTC if it names no zone."""
    text = asked.get(name)
    if text is None:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(
            f"{name} is an ISO time such as 2026-07-15T15:00:00Z, found {text!r}"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _about(store: Store) -> dict[str, str]:
    """`X-Astra-Now`: the vendor's last known time; `X-Astra-As-Of`: close of the last bar;
    `X-Astra-Market`: whose bars these are. What is not known yet is absent."""
    times = {"X-Astra-Now": store.now(), "X-Astra-As-Of": store.prices.as_of()}
    found = {name: time.isoformat() for name, time in times.items() if time}
    market = store.market()
    return {**found, "X-Astra-Market": market} if market else found

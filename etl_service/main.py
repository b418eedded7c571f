"""The ETL service: `/load_price_history` fills the store, `/dump_table` and `/quality` read it,
`/housekeeping` keeps it.

Run it with `gunicorn "etl_service.main:create_app()"`.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import Callable

from flask import Flask, Response, jsonify

from astra import settings as configuration
from astra.errors import DataError, TemporaryError
from astra.settings import Settings
from astra.store import Store, open_store
from astra.web import configure_logging, create_service
from etl_service import dump, housekeeping, quality
from etl_service.loading.answer import Load
from etl_service.loading.load import Loader, Vendors
from etl_service.loading.plan import Asked, parse_period
from etl_service.loading.priority import parse_part, part_of
from etl_service.parameters import parameters, read_time
from etl_service.universe import members, parse_tickers

log = logging.getLogger("etl_service")

_LOAD_PARAMETERS = ("ticker", "part", "period", "since", "interval")
# The universe of an empty store has been valid for ever.
_ALWAYS = dt.datetime.fromtimestamp(0, dt.UTC)


def create_app(
    settings: Settings | None = None,
    vendors: Callable[[Settings, Store], Vendors] = Vendors.from_settings,
) -> Flask:
    """The service; without settings it reads the environment.

    Raises:
        ConfigError: a setting or the database cannot be used.
    """
    if settings is None:
        configure_logging()
        settings = configuration.load()
    store = open_store(settings.database_url)
    store.books.record_universe(members(settings), store.now() or _ALWAYS)
    loader = Loader(store, vendors(settings, store))
    app = create_service("etl", settings)

    @app.route("/load_price_history", methods=["GET", "POST"])
    def load_price_history() -> Response:
        done = loader.load(_asked(store))
        for (status, message), tickers in _failures(done).items():
            log.warning("status=%s tickers=%s message=%s", status, "|".join(tickers), message)
        document = done.document()
        if done.status == 503:
            document |= {"error": TemporaryError.__name__, "message": done.failure()}
        response = jsonify(document)
        response.status_code = done.status
        if done.status == 503:
            response.headers["Retry-After"] = str(math.ceil(done.retry_after))
        return response

    for blueprint in (
        dump.routes(store),
        quality.routes(store),
        housekeeping.routes(store, settings),
    ):
        app.register_blueprint(blueprint)
    return app


def _failures(done: Load) -> dict[tuple[str, str], list[str]]:
    """Tickers that failed, those for one reason together: a refusal is of hundreds at once."""
    found: dict[tuple[str, str], list[str]] = {}
    for ticker, one in done.tickers.items():
        if one.has_failed:
            found.setdefault((one.status, one.message), []).append(ticker)
    return found


def _asked(store: Store) -> Asked:
    """What the request asks for.

    Raises:
        DataError: a parameter is wrong, or two exclude each other.
    """
    given = parameters(_LOAD_PARAMETERS)
    if given.get("interval", "5m") != "5m":
        raise DataError(f"the interval is 5m, found {given['interval']!r}")
    for one, other in (("ticker", "part"), ("period", "since")):
        if one in given and other in given:
            raise DataError(f"{one} and {other} exclude each other, found both: leave one out")
    days = parse_period(given["period"]) if "period" in given else None
    since = read_time(given, "since")
    if "ticker" in given:
        return Asked(parse_tickers(given["ticker"]), days, since)
    universe = [member.ticker for member in store.books.universe()]
    if "part" in given:
        part = part_of(universe, *parse_part(given["part"]))
        return Asked(part, days, since, is_scheduled=True)
    return Asked(tuple(universe), days, since)

"""The ETL service: `/load_price_history` fills the store, `/dump_table` reads it.

Run it with `gunicorn "etl_service.main:create_app()"`.
"""

from __future__ import annotations

import datetime as dt
import logging

from flask import Flask, Response, jsonify

from astra import settings as configuration
from astra.errors import DataError
from astra.settings import Settings
from astra.store import open_store
from astra.web import configure_logging, create_service
from etl_service import dump
from etl_service.load import load
from etl_service.parameters import parameters
from etl_service.universe import members, parse_tickers
from etl_service.yahoo import Yahoo

log = logging.getLogger("etl_service")

_LOAD_PARAMETERS = ("ticker", "period", "interval")
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
        asked = parameters(_LOAD_PARAMETERS)
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

    app.register_blueprint(dump.routes(store))
    return app

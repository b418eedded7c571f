"""The monitor: saves what the broker and the bucket say, and holds our books against the broker's.

Every route may be called again at any time: what is known stays, what was missed is caught up.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Flask, Response, jsonify, request

from astra import predictions
from astra import settings as astra_settings
from astra.alpaca.account import HISTORY_AT_ONCE
from astra.errors import DataError
from astra.execution.desk import Desk
from astra.execution.halting.trip import trip
from astra.execution.holdings import record_account
from astra.execution.reconciling.look import BRIEF, catch_up
from astra.execution.reconciling.reconcile import duplicates, reconcile
from astra.gcs import Bucket
from astra.records import Position
from astra.services import Services
from astra.settings import Settings
from astra.store.decision_row import decision_row
from astra.web import configure_logging, create_service
from monitor_service import start_page, twin
from monitor_service.actions import actions
from monitor_service.market_time import MarketTime
from monitor_service.metrics import add_metrics
from monitor_service.notices import channels
from monitor_service.runs import Runs
from monitor_service.watch import Look, Watch

log = logging.getLogger("astra.monitor")

_LONGEST_WAIT = 60  # seconds in which books and broker may come to agree
_MOST_DAYS = 36_500
_HISTORY_OVERLAP = dt.timedelta(hours=1)  # a window of the record


def create_app(settings: Settings | None = None) -> Flask:
    """The service; settings from the environment unless given."""
    configure_logging()
    settings = settings or astra_settings.load()
    app = create_service("monitor", settings, pages={"/", *start_page.LINKS})
    desk, bucket = Desk.from_settings(settings), Bucket.from_settings(settings)
    time = MarketTime(desk.broker, desk.store)
    watch = Watch(desk.store, settings, time, channels(settings))
    runs = Runs(desk.store, time, watch.look_quietly)
    monitor = Monitor(desk, bucket)
    app.register_blueprint(actions(desk, bucket, runs))
    app.register_blueprint(twin.routes(desk, Services(settings), runs.watched))
    app.register_blueprint(start_page.routes(watch))
    add_metrics(app, watch.status)
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        "update_account": monitor.update_account,
        "activities": lambda: monitor.activities(_whole("days", 1, _MOST_DAYS)),
        "history": monitor.history,
        "forecasts": monitor.forecasts,
        "reconcile": lambda: monitor.reconcile(_whole("seconds", 0, 86_400)),
    }
    views = {name: _logged(runs.watched, name, job) for name, job in jobs.items()}
    views["alerts"] = _logged(runs.noted, "alerts", lambda: _looked(watch.look()))
    for name, view in views.items():
        app.add_url_rule(f"/{name}", name, view, methods=["GET", "POST"])
    return app


class Monitor:
    """What the routes do."""

    def __init__(self, desk: Desk, bucket: Bucket) -> None:
        self._desk = desk
        self._broker = desk.broker
        self._store = desk.store
        self._bucket = bucket

    def update_account(self) -> dict[str, Any]:
        """Save cash, equity and positions as of the broker's clock, and let the breakers look."""
        catch_up(self._desk, self._broker.account().number, BRIEF)  # splits change our part
        now = self._broker.clock().now
        saved = record_account(self._desk, now)
        return {
            "account": saved.account.number,
            "at": now.isoformat(),
            "cash": str(saved.account.cash),
            "equity": str(saved.account.equity),
            "positions": [_shown(p) for p in saved.positions],
            "stopped": trip(self._desk),
        }

    def activities(self, days: int | None) -> dict[str, Any]:
        """Save fills, fees and all other activities: of `days`, or all that were missed."""
        account = self._broker.account().number
        if days is None:
            return {"account": account, "new": catch_up(self._desk, account)}
        after = self._broker.clock().now - dt.timedelta(days=days)
        new = self._store.books.record_activities(account, self._broker.activities(after))
        return {"account": account, "new": new}

    def history(self) -> dict[str, Any]:
        """Save the broker's own record of the account's value, as far back as it was missed.

        The last point that is known still moved, so it is asked for again. The broker's profit is
        left out: it counts it from the first point of each answer.
        """
        account, now = self._broker.account().number, self._broker.clock().now
        saved: set[dt.datetime] = set()
        start = self._valued_until(account, now) - _HISTORY_OVERLAP
        while start < now:
            points = self._broker.portfolio_history(start=start)
            equity = [replace(point, profit_loss=None) for point in points]
            self._store.books.record_history(account, equity)
            saved |= {point.at for point in points}
            start += HISTORY_AT_ONCE
        return {"account": account, "points": len(saved)}

    def _valued_until(self, account: str, now: dt.datetime) -> dt.datetime:
        """The last point of the value's record; before the first one, the account's opening."""
        newest = self._store.newest
        if (until := newest.valued_at(account)) is not None:
            return until
        catch_up(self._desk, account)
        return newest.opened_at(account) or now

    def forecasts(self) -> dict[str, Any]:
        """Save the forecasts, decisions and shadow books in the bucket that are not known yet."""
        known = set(self._store.newest.decisions())
        new = []
        for name in self._bucket.names("decision_"):
            if name in known:
                continue
            try:
                self._save_decision(name)
            except (DataError, RecursionError) as error:  # one object must not stop the others
                log.warning("object=%s ignored=%s", name, error)
                continue
            new.append(name)
        return {"new": new}

    def reconcile(self, seconds: int | None) -> dict[str, Any]:
        """Our books and journal against the broker's account, and what was filled twice.

        What differs is looked at again for `seconds`, by default as long as the broker may lag.
        Then the breakers look.
        """
        wait = self._desk.confirm_seconds if seconds is None else min(seconds, _LONGEST_WAIT)
        done = reconcile(self._desk, wait)
        found = done.found
        return {
            "account": found.account,
            "at": found.at.isoformat(),
            "status": found.status,
            "cash_diff": float(found.cash_diff),
            "share_diffs": {symbol: float(qty) for symbol, qty in found.share_diffs.items()},
            "order_diffs": dict(found.order_diffs),
            "value_diff": found.value_diff,
            "duplicate_orders": duplicates(self._desk, found.account),
            "halted": done.halted,
            "stopped": trip(self._desk),
            "message": found.message,
        }

    def _save_decision(self, name: str) -> None:
        try:
            document = json.loads(self._bucket.read(name).content)
        except ValueError as error:
            raise DataError(f"{name} is no JSON: {error}") from error
        decision_row(name, document)  # what cannot be kept whole is not kept in part
        file = "predictions_" + name.removeprefix("decision_").removesuffix(".json") + ".csv"
        stored = self._bucket.read(file)
        books = self._store.books
        books.record_forecasts(predictions.parse(file, stored.content, stored.metadata))
        for book in _shadow_books(name, document):
            books.record_shadow_book(*book)
        books.record_decision(name, document)  # last: what is recorded is not read again


def _shadow_books(
    name: str, document: Any
) -> list[tuple[str, str, dt.datetime, Decimal, Decimal, dict[str, Decimal]]]:
    """Account, policy, time, equity, cash and shares of each book that a decision carries.

    Decisions of earlier releases, and those made before an account was known, carry none. Those
    asked for with another k than the settings' have books of their own, which are not recorded:
    one series is kept, that of the account's terms.

    Raises:
        DataError: they are malformed.
    """
    if not isinstance(document, dict) or not document.get("books"):
        return []
    if not document.get("of_settings", True):
        return []
    try:
        account = str(document["books_of"]["account"])
        at = dt.datetime.fromisoformat(document["as_of"])
        return [
            (
                account, policy, at, Decimal(book["equity"]), Decimal(book["cash"]),
                {symbol: Decimal(qty) for symbol, qty in book["shares"].items()},
            )
            for policy, book in document["books"].items()
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise DataError(f"the books of {name} cannot be read: {error!r}") from error


def _logged(
    run: Callable[[str], AbstractContextManager[None]], name: str, job: Callable[[], dict[str, Any]]
) -> Callable[[], Response]:
    def view() -> Response:
        with run(name):
            return jsonify(job())

    return view


def _looked(look: Look) -> dict[str, Any]:
    count = len(look.open)
    return {
        "account": look.status.account,
        "at": look.status.at.isoformat(),
        "alerts": [
            {
                "key": alert.key,
                "severity": alert.severity,
                "message": alert.message,
                "since": alert.opened_at.isoformat(),
            }
            for alert in look.open
        ],
        "changed": look.changed,
        "told": look.told,
        "message": f"{count} alerts are open" if count else "nothing needs anybody",
    }


def _whole(name: str, least: int, most: int) -> int | None:
    """A whole number of the query; None if it is left out."""
    text = request.args.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise DataError(f"{name} must be a whole number from {least} to {most}, found {text!r}")
    return int(text)


def _shown(position: Position) -> dict[str, Any]:
    return {
        "symbol": position.symbol,
        "qty": str(position.qty),
        "price": position.market_price,
        "value": float(position.qty) * position.market_price,
        "average_entry_price": position.average_entry_price,
    }

"""The model service: `POST /allocate` reads bars, decides, and drops the files in the bucket;
`POST /replay` makes a past decision again.

Gather, decide, drop; it never touches the database. The same as-of time and settings are decided
once: a second call reads the first answer back from the bucket.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pandas as pd
from flask import Flask, Response, jsonify, request

from astra import allocation, bars, predictions
from astra import settings as astra_settings
from astra.errors import (
    AstraError,
    BundleError,
    ConfigError,
    DataError,
    InsufficientDataError,
    TemporaryError,
)
from astra.gcs import Bucket
from astra.services import Services
from astra.sessions import last_sessions
from astra.settings import Settings
from astra.universe import identity
from astra.web import configure_logging, create_service
from model.asked import CHOICES, Asked, read_asked
from model.books import Shelf, begin, carried, costs_of, write
from model.decision import Answer, Terms, choose, held_weights
from model.decisions import Decisions
from model.forecast.keeper import Keeper
from model.forecast.record import Forecast, ForecastRecord
from model.forecast.registry import open_registry
from model.forecast.scorebook import Scorebook, empty
from model.forecast.serving import Forecaster
from model.forecast.spec import Training
from model.outlook import HISTORY, Sight, assess, foresee, missing_scores, own_scores
from model.own_policy import find
from model.panel import Panel, build
from model.portfolio.policies import POLICIES
from model.portfolio.records import Policy
from model.replay import compare

FRESH = allocation.LIFETIME
log = logging.getLogger("model")


@dataclass(frozen=True, slots=True)
class Owned:
    """The account as it was last saved: what its own orders hold of the equity that is managed, in
    weights, that equity in USD, and the broker's number of it; "" before the first time."""

    weights: Mapping[str, float]
    equity: Decimal = Decimal(0)
    account: str = ""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the ETL service knew at `known_at`. Sectors name the candidates."""

    panel: Panel
    sectors: Mapping[str, str]
    held: Mapping[str, float]
    market: str
    known_at: dt.datetime


def create_app(settings: Settings | None = None) -> Flask:
    """The service; settings from the environment unless given.

    Raises:
        ConfigError, BundleError: it cannot serve: no bucket, no such policy, no sound bundle.
    """
    if settings is None:
        configure_logging()
        settings = astra_settings.load()
    app = create_service("model", settings)
    allocator = Allocator(settings)

    @app.post("/allocate")
    def _allocate() -> Response:
        return jsonify(allocator.allocate(read_asked(request.get_data(), settings.k)))

    @app.post("/replay")
    def _replay() -> Response:
        asked = read_asked(request.get_data(), settings.k, (*CHOICES, "known_at"))
        return jsonify(allocator.replay(asked))

    return app


class Allocator:
    """Decides and drops. The network is loaded once, and again when another is champion."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._services = Services(settings)
        self._bucket = Bucket.from_settings(settings)
        self._decisions = Decisions(self._bucket, identity(settings.tickers))
        self._policy = find(settings.policy)
        self._keeper = Keeper(self._bucket)
        self._registry = open_registry(settings)
        self._forecaster = Forecaster(self._registry.load())

    def allocate(self, asked: Asked) -> dict[str, Any]:
        """The decision for a decision time, made now or read back.

        Raises:
            InsufficientDataError: no decision is due, bars are missing, too few tickers usable.
            TemporaryError: the ETL service or the bucket is down.
        """
        now = self._services.dump("price_history", columns="ts", last=1).now
        if now is None:
            raise InsufficientDataError("the store has no bars: POST /load_price_history first")
        as_of = asked.as_of or _due(now)
        if as_of > now:
            raise InsufficientDataError(
                f"bars up to {as_of:%Y-%m-%d %H:%M} UTC are required, the store was last loaded at "
                f"{now:%Y-%m-%d %H:%M} UTC: load them first"
            )
        terms = Terms.from_settings(self._settings, asked.policy, asked.k)
        found = self._decisions.find(as_of, terms)
        if found is not None:
            self._drop_target(as_of, *found)
            return found[1]
        forecaster = self._champion()
        tag = self._decisions.tag(as_of, terms, forecaster.bundle.id)
        marks = [time.monotonic()]
        owned = self._owned(as_of)
        gathered = self._gather(as_of, now, owned.weights)
        marks.append(time.monotonic())
        sight = foresee(as_of, gathered.panel, tuple(gathered.sectors), forecaster)
        marks.append(time.monotonic())
        record = self._record(sight, gathered, forecaster, is_kept=True)
        outlook = assess(sight, record, terms.model_max_age_days)
        marks.append(time.monotonic())
        shelf = self._shelf(as_of, terms, owned, gathered.panel)
        marks.append(time.monotonic())
        books = shelf.weights() if shelf else {name: {} for name in POLICIES}
        policy = self._named(terms)
        answer = choose(outlook, gathered.sectors, gathered.held, terms, policy, books)
        marks.append(time.monotonic())
        steps = ("read", "forecast", "skill", "books", "optimize")
        taken = (round(end - start, 3) for start, end in pairwise(marks))
        seconds = dict(zip(steps, taken, strict=True))
        training = sight.spec.training
        document = self._document(answer, gathered, training, as_of, tag, seconds, terms)
        if shelf:
            document |= write(shelf, answer.books, gathered.panel)
        decided = self._drop(as_of, tag, document, sight.forecast)
        self._remember(sight, gathered)
        return decided

    def replay(self, asked: Asked) -> dict[str, Any]:
        """Make a past decision again, on what was known then or at `known_at`; nothing is dropped.

        Returns: the weights of both, and whether they and the bars they rest on are the same.

        Raises:
            DataError: no as_of, nothing was decided then under these settings, or an earlier
                release decided, which did not say what it knew.
        """
        if asked.as_of is None:
            raise DataError('a replay needs the "as_of" of a past decision')
        terms = Terms.from_settings(self._settings, asked.policy, asked.k)
        found = self._decisions.find(asked.as_of, terms)
        if found is None:
            raise DataError(
                f"a decision of {asked.as_of:%Y-%m-%d %H:%M} UTC under these settings is required, "
                "found none in the bucket: replay with the "
                "policy, k, limits, costs and candidates of then"
            )
        decided = found[1]
        lacking = [name for name in ("known_at", "held_weights", "bars") if name not in decided]
        if lacking:
            raise DataError(
                f"a replay needs what was known and held then, the decision of "
                f"{asked.as_of:%Y-%m-%d %H:%M} UTC has no {', '.join(lacking)}: an earlier release "
                "made it, and it cannot be made again"
            )
        known_at = asked.known_at or dt.datetime.fromisoformat(decided["known_at"])
        gathered = self._gather(asked.as_of, known_at, decided["held_weights"])
        forecaster = self._champion()
        if forecaster.bundle.id != decided["model_id"]:
            forecaster = Forecaster(self._registry.load(decided["model_id"]))
        sight = foresee(asked.as_of, gathered.panel, tuple(gathered.sectors), forecaster)
        record = self._record(sight, gathered, forecaster, is_kept=False)
        outlook = assess(sight, record, terms.model_max_age_days)
        answer = choose(outlook, gathered.sectors, gathered.held, terms, self._named(terms))
        skill, digest = answer.document["skill"], gathered.panel.digest()
        return compare(decided, answer.weights, skill, digest, known_at)

    def _champion(self) -> Forecaster:
        """The network in use; a promotion takes effect at the next decision. While the registry
        cannot say who is champion, the one that was verified goes on."""
        try:
            bundle = self._registry.newest(self._forecaster.bundle)
        except (BundleError, TemporaryError) as error:
            log.warning("champion=%s kept reason=%s", self._forecaster.bundle.id, error)
            return self._forecaster
        if bundle is not self._forecaster.bundle:
            self._forecaster = Forecaster(bundle)
        return self._forecaster

    def _record(
        self, sight: Sight, gathered: Gathered, forecaster: Forecaster, *, is_kept: bool
    ) -> ForecastRecord:
        """What was known of past forecasts, with what the record lacks made from the bars at hand.

        Kept is what was made before anything is decided from it: of two decisions that find the
        same hole, both go by the rows that were written first. A record that cannot be read or
        extended costs the time to make it again, never the decision.
        """
        model_id = forecaster.bundle.id
        try:
            book = self._keeper.read(model_id).known(gathered.known_at)
        except (ConfigError, DataError):
            log.exception("model=%s record=unusable", model_id)
            book, is_kept = empty(model_id), False
        made = missing_scores(sight, book, forecaster)
        if made is not None:
            fresh = Scorebook.of(made, gathered.known_at)
            if is_kept:
                try:
                    book = self._keeper.add(fresh.scored()).known(gathered.known_at)
                except (ConfigError, DataError):
                    log.exception("model=%s record=not extended", model_id)
            book = book.joined(fresh)
        return book.of_tickers(sight.names, int(sight.known.ts[0]))

    def _remember(self, sight: Sight, gathered: Gathered) -> None:
        """Add what was forecast now to the record. The decision stands already: what can't be
        added is a hole that a later decision fills."""
        try:
            self._keeper.add(Scorebook.of(own_scores(sight), gathered.known_at))
        except AstraError as error:
            log.warning("as_of=%s record=not extended reason=%s", sight.as_of.isoformat(), error)

    def _shelf(self, as_of: dt.datetime, terms: Terms, owned: Owned, panel: Panel) -> Shelf | None:
        """Each policy's own book: the last decision's, its trades filled. New ones begin with the
        account's equity where there is none to go on from; None before the account is known."""
        if not owned.account or owned.equity <= 0:
            return None
        policies = {*POLICIES, self._settings.policy}
        try:
            earlier = self._decisions.before(as_of, terms, policies)
            if earlier is None:
                note = "no earlier decision under the same settings"
            else:
                shelf = carried(earlier, panel, as_of, costs_of(self._settings))
                if shelf.account == owned.account and shelf.books.keys() == POLICIES.keys():
                    return shelf
                note = "the earlier ones are those of another account or other policies"
        except DataError as error:
            note = str(error)
        return begin(as_of, owned.account, owned.equity, POLICIES, f"new books: {note}")

    def _named(self, terms: Terms) -> Policy:
        return self._policy if terms.policy == self._settings.policy else POLICIES[terms.policy]

    def _gather(
        self, as_of: dt.datetime, known_at: dt.datetime, held: Mapping[str, float]
    ) -> Gathered:
        found = self._services.dump(
            "price_history",
            start=(as_of - HISTORY).isoformat(),
            end=as_of.isoformat(),
            known_at=known_at.isoformat(),
        )
        universe = self._services.dump("universe").table.to_pylist()
        sectors = {
            row["ticker"]: row["sector"]
            for row in universe
            if row["tradable"]
            and row["valid_from"] <= known_at
            and (row["valid_to"] is None or known_at < row["valid_to"])
        }
        return Gathered(build(bars.from_arrow(found.table)), sectors, held, found.market, known_at)

    def _owned(self, as_of: dt.datetime) -> Owned:
        rows = self._services.dump("account_summary").table.to_pylist()
        if not rows:
            return Owned({})
        last, capital = max(rows, key=lambda row: row["at"]), self._settings.capital
        before = [t for s in last_sessions(2, as_of) for t in s.decision_times() if t < as_of]
        if before and last["at"] < before[-1]:
            saved = f"{last['at']:%Y-%m-%d %H:%M}"
            log.warning(
                "as_of=%s account=saved at %s UTC, before the last decision: what it traded since "
                "is not seen, POST /update_account first", as_of.isoformat(), saved,
            )  # fmt: skip
        own = {p["symbol"]: float(p["own_qty"]) * p["price"] for p in json.loads(last["positions"])}
        equity = Decimal(last["equity"])
        managed = min(equity, Decimal(str(capital))) if capital else equity
        return Owned(held_weights(own, float(equity), capital), managed, last["account"])

    def _document(
        self,
        answer: Answer,
        gathered: Gathered,
        training: Training,
        as_of: dt.datetime,
        tag: str,
        seconds: object,
        terms: Terms,
    ) -> dict[str, Any]:
        held = sorted(ticker for ticker, weight in gathered.held.items() if weight > 0)
        document = {**answer.document, "held": held, "hold": list(terms.hold)}
        return {
            **document,
            "held_weights": dict(gathered.held),
            "known_at": gathered.known_at.isoformat(),
            "bars": gathered.panel.digest(),
            "object": f"target_{allocation.stamp(as_of)}_{tag}.csv" if _rows(document) else None,
            "of_settings": terms.limits.k == self._settings.k,
            "market": gathered.market,
            "trained_on": training.trained_on,
            "trained_until": training.end.isoformat(),
            "seconds": seconds,
        }

    def _drop(
        self, as_of: dt.datetime, tag: str, document: dict[str, Any], forecast: Forecast
    ) -> dict[str, Any]:
        """Forecasts, then the decision, then the target, which triggers the trade.

        Returns: the decision that stands in the bucket: of two made at once the first.
        """
        stamp = f"{allocation.stamp(as_of)}_{tag}"
        described = {"as_of": as_of.isoformat(), "model_id": forecast.model_id}
        content = predictions.build(_forecast_rows(forecast))
        self._decisions.keep_first(f"predictions_{stamp}.csv", content, "text/csv", described)
        text = json.dumps(document, allow_nan=False).encode()
        name = f"decision_{stamp}.json"
        stands = self._decisions.keep_first(name, text, "application/json", described)
        decided: dict[str, Any] = json.loads(stands)
        self._drop_target(as_of, tag, decided)
        return decided

    def _drop_target(self, as_of: dt.datetime, tag: str, document: dict[str, Any]) -> None:
        if document["object"] is None:
            return
        skill = document["skill"]
        state = "on" if skill["on"] else "off"
        name, content, metadata = allocation.build(
            as_of,
            tag,
            _rows(document),
            policy=document["policy"],
            model_id=document["model_id"],
            metadata={
                "trained_until": document["trained_until"],
                "coverage": f"{document['coverage']:.4f}",
                "skill": f"ic {skill['ic']:.4f}, t {skill['t']:.2f}, {state}",
            },
        )
        self._bucket.create_once(name, content, "text/csv", metadata)


def _rows(document: Mapping[str, Any]) -> dict[str, float]:
    """What the file tells to trade: the weights decided, or 0 for all that is held; {} for nothing.

    What is on hold is left out: the trader leaves its shares alone, and a file that names it would
    be refused where it is over the limits of a file.
    """
    hold = set(document.get("hold", ()))
    wanted = {t: w for t, w in document["weights"].items() if t not in hold}
    return wanted or {t: 0.0 for t in document["held"] if t not in hold}


def _due(now: dt.datetime) -> dt.datetime:
    """The latest decision time, if it is fresh enough to be traded.

    Raises:
        InsufficientDataError: it is half an hour ago or more.
    """
    past = [t for s in last_sessions(2, now) for t in s.decision_times() if t <= now]
    if not past or now - past[-1] >= FRESH:
        last = f"{past[-1]:%Y-%m-%d %H:%M}" if past else "long ago"
        raise InsufficientDataError(
            f"no decision is due at {now:%Y-%m-%d %H:%M} UTC, the last one was at {last}: "
            "decide within half an hour after it, or name an as_of"
        )
    return past[-1]


def _forecast_rows(forecast: Forecast) -> pd.DataFrame:
    """The forecast in the columns of the forecast file, one row for each ticker and step."""
    n, steps = len(forecast.tickers), len(forecast.step_ts)
    frame = pd.DataFrame(
        forecast.closes.reshape(n * steps, -1), columns=list(predictions.QUANTILE_COLUMNS)
    )
    frame["ticker"] = [t for t in forecast.tickers for _ in range(steps)]
    frame["step"] = list(range(1, steps + 1)) * n
    frame["ts"] = list(forecast.step_ts) * n
    frame["close"] = forecast.close.reshape(-1)
    return frame

"""The model service: `POST /allocate` reads bars, decides, and drops the files in the bucket;
`POST /replay` makes a past decision again, `POST /twin` trades those of a day again.

Gather, decide, drop; it never touches the database. The same as-of time and settings are decided
once: a second call reads the first answer back from the bucket.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from itertools import pairwise
from typing import Any

from flask import Flask, Response, jsonify, request

from astra import allocation
from astra import settings as astra_settings
from astra.errors import (
    BundleError,
    DataError,
    InsufficientDataError,
    TemporaryError,
)
from astra.gcs import Bucket
from astra.services import Services
from astra.settings import Settings
from astra.universe import identity
from astra.web import configure_logging, create_service
from model.asked import CHOICES, Asked, read_asked
from model.books import Shelf, begin, carried, costs_of, write
from model.decision import Answer, Terms, choose
from model.decisions import Decisions, tradable
from model.document import standings
from model.forecast.keeper import Keeper
from model.forecast.registry import open_registry
from model.forecast.serving import Forecaster
from model.forecast.spec import Spec, Training
from model.gathering import Gathered, Gatherer, Owned, due
from model.outlook import assess, foresee
from model.own_policy import find
from model.panel import Panel
from model.past import Past
from model.portfolio.policies import POLICIES
from model.portfolio.records import Policy
from model.replay import compare
from model.twin import routes as twin_routes

log = logging.getLogger("model")


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
    app.register_blueprint(twin_routes(settings))

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
        bucket = Bucket.from_settings(settings)
        self._gatherer = Gatherer(Services(settings), settings.capital)
        self._decisions = Decisions(bucket, identity(settings.tickers))
        self._past = Past(Keeper(bucket))
        self._policy = find(settings.policy)
        self._registry = open_registry(settings)
        self._forecaster = Forecaster(self._registry.load())
        self._specs: dict[str, Spec] = {}

    def allocate(self, asked: Asked) -> dict[str, Any]:
        """The decision for a decision time, made now or read back.

        Raises:
            InsufficientDataError: no decision is due, bars are missing, too few tickers usable.
            TemporaryError: the ETL service or the bucket is down.
        """
        now = self._gatherer.now()
        as_of = asked.as_of or due(now)
        if as_of > now:
            raise InsufficientDataError(
                f"bars up to {as_of:%Y-%m-%d %H:%M} UTC are required, the store was last loaded at "
                f"{now:%Y-%m-%d %H:%M} UTC: load them first"
            )
        terms = Terms.from_settings(self._settings, asked.policy, asked.k)
        found = self._decisions.find(as_of, terms)
        if found is not None:
            self._decisions.drop_target(as_of, *found)
            return found[1]
        forecaster = self._champion()
        tag = self._decisions.tag(as_of, terms, forecaster.bundle.id)
        marks = [time.monotonic()]
        owned = self._gatherer.account(as_of)
        gathered = self._gatherer.bars(as_of, now, owned.weights)
        marks.append(time.monotonic())
        sight = foresee(as_of, gathered.panel, tuple(gathered.sectors), forecaster)
        marks.append(time.monotonic())
        record = self._past.known(sight, gathered.known_at, forecaster, is_kept=True)
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
        document["bundles"] = self._standings(sight.spec.frequency)
        decided = self._decisions.drop(as_of, tag, document, sight.forecast)
        self._past.remember(sight, gathered.known_at)
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
        gathered = self._gatherer.bars(asked.as_of, known_at, decided["held_weights"])
        forecaster = self._champion()
        if forecaster.bundle.id != decided["model_id"]:
            forecaster = Forecaster(self._registry.load(decided["model_id"]))
        sight = foresee(asked.as_of, gathered.panel, tuple(gathered.sectors), forecaster)
        record = self._past.known(sight, gathered.known_at, forecaster, is_kept=False)
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

    def _standings(self, frequency: str) -> list[dict[str, Any]]:
        """Champion and challengers, for whoever reads the decision; empty while the registry cannot
        say: no decision depends on it."""
        try:
            found = self._registry.succession(frequency)
            self._specs = self._registry.specs(frequency, self._specs)
        except (BundleError, TemporaryError) as error:
            log.warning("standings=unknown reason=%s", error)
            return []
        return standings(found, self._specs) if found else []

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
            "object": f"target_{allocation.stamp(as_of)}_{tag}.csv" if tradable(document) else None,
            "of_settings": terms.limits.k == self._settings.k,
            "market": gathered.market,
            "trained_on": training.trained_on,
            "trained_until": training.end.isoformat(),
            "seconds": seconds,
        }

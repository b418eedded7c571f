"""The model service: `POST /allocate` reads bars, decides, and drops the files in the bucket.

Gather, decide, drop; it never touches the database. The same as-of time and settings are decided
once: a second call reads the first answer back from the bucket.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from flask import Flask, Response, jsonify, request

from astra import allocation, bars, predictions
from astra import settings as astra_settings
from astra.errors import DataError, InsufficientDataError
from astra.gcs import Bucket
from astra.services import Services
from astra.sessions import decision_times_between, last_sessions
from astra.settings import Settings
from astra.web import configure_logging, create_service
from model.decision import HISTORY, Answer, Terms, choose, foresee, held_weights
from model.forecast.bundle import load_bundle
from model.forecast.record import Forecast
from model.forecast.serving import Forecaster
from model.own_policy import find
from model.panel import Panel, build
from model.portfolio.policies import POLICIES

FRESH = allocation.LIFETIME


@dataclass(frozen=True, slots=True)
class Asked:
    """What the body of /allocate asks for; None = as in the settings."""

    as_of: dt.datetime | None = None
    k: int | None = None
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the ETL service knows at a decision time. Sectors name the candidates."""

    panel: Panel
    sectors: Mapping[str, str]
    held: Mapping[str, float]
    market: str


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
        return jsonify(allocator.allocate(_asked(request.get_data(), settings.k)))

    return app


class Allocator:
    """Decides and drops. The network is loaded once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._services = Services(settings)
        self._bucket = Bucket.from_settings(settings)
        self._policy = find(settings.policy)
        self._forecaster = Forecaster(load_bundle(settings.bundles))

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
        choices = {**terms.as_choices(), "candidates": self._settings.tickers}
        tag = allocation.tag(as_of, self._forecaster.bundle.id, choices)
        decided = self._bucket.read_or_none(f"decision_{allocation.stamp(as_of)}_{tag}.json")
        if decided is not None:
            document: dict[str, Any] = json.loads(decided.content)
            self._drop_target(as_of, tag, document)
            return document
        began = time.monotonic()
        gathered = self._gather(as_of)
        loaded = time.monotonic()
        outlook = foresee(as_of, gathered.panel, tuple(gathered.sectors), self._forecaster)
        seen = time.monotonic()
        policy = self._policy if terms.policy == self._settings.policy else POLICIES[terms.policy]
        answer = choose(outlook, gathered.sectors, gathered.held, terms, policy)
        seconds = {
            "read": round(loaded - began, 3),
            "forecast": round(seen - loaded, 3),
            "optimize": round(time.monotonic() - seen, 3),
        }
        document = self._document(answer, gathered, as_of, tag, seconds)
        return self._drop(as_of, tag, document, outlook.forecast)

    def _gather(self, as_of: dt.datetime) -> Gathered:
        found = self._services.dump(
            "price_history", start=(as_of - HISTORY).isoformat(), end=as_of.isoformat()
        )
        universe = self._services.dump("universe").table.to_pylist()
        sectors = {
            row["ticker"]: row["sector"]
            for row in universe
            if row["tradable"] and row["valid_to"] is None
        }
        return Gathered(build(bars.from_arrow(found.table)), sectors, self._held(), found.market)

    def _held(self) -> dict[str, float]:
        """What the account's own orders hold, as it was last saved, of the equity that is managed;
        nothing before the first time."""
        rows = self._services.dump("account_summary").table.to_pylist()
        if not rows:
            return {}
        last = max(rows, key=lambda row: row["at"])
        positions = json.loads(last["positions"])
        own = {p["symbol"]: float(p["own_qty"]) * p["price"] for p in positions}
        return held_weights(own, float(last["equity"]), self._settings.capital)

    def _document(
        self, answer: Answer, gathered: Gathered, as_of: dt.datetime, tag: str, seconds: object
    ) -> dict[str, Any]:
        training = self._forecaster.bundle.spec.training
        held = sorted(ticker for ticker, weight in gathered.held.items() if weight > 0)
        is_empty = not answer.weights and not held
        return {
            **answer.document,
            "held": held,
            "object": None if is_empty else f"target_{allocation.stamp(as_of)}_{tag}.csv",
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
        self._first(f"predictions_{stamp}.csv", content, "text/csv", described)
        text = json.dumps(document, allow_nan=False).encode()
        stands = self._first(f"decision_{stamp}.json", text, "application/json", described)
        decided: dict[str, Any] = json.loads(stands)
        self._drop_target(as_of, tag, decided)
        return decided

    def _first(self, name: str, content: bytes, kind: str, metadata: dict[str, str]) -> bytes:
        """Write an object unless it is there; the content that stands."""
        try:
            self._bucket.create_once(name, content, kind, metadata)
        except DataError:
            return self._bucket.read(name).content
        return content

    def _drop_target(self, as_of: dt.datetime, tag: str, document: dict[str, Any]) -> None:
        if document["object"] is None:
            return
        skill = document["skill"]
        state = "on" if skill["on"] else "off"
        name, content, metadata = allocation.build(
            as_of,
            tag,
            document["weights"] or dict.fromkeys(document["held"], 0.0),
            policy=document["policy"],
            model_id=document["model_id"],
            metadata={
                "trained_until": document["trained_until"],
                "coverage": f"{document['coverage']:.4f}",
                "skill": f"ic {skill['ic']:.4f}, t {skill['t']:.2f}, {state}",
            },
        )
        self._bucket.create_once(name, content, "text/csv", metadata)


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


def _asked(raw: bytes, most: int) -> Asked:
    """The request's body, whatever type it claims; `most` names may be asked for.

    Raises:
        DataError: it is neither empty nor a JSON object of what can be asked for.
    """
    try:
        body = json.loads(raw) if raw.strip() else {}
    except ValueError as error:
        raise DataError(f"the body must be a JSON object: {error}") from error
    if not isinstance(body, dict) or set(body) - {"as_of", "k", "policy"}:
        raise DataError('the body may hold "as_of", "k" and "policy", nothing else')
    as_of, k, policy = body.get("as_of"), body.get("k"), body.get("policy")
    if k is not None and (not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= most):
        raise DataError(f"k must be a whole number from 1 to ASTRA_K, {most}; found {k!r}")
    if policy is not None and policy not in POLICIES:
        raise DataError(f"policy must be one of {', '.join(POLICIES)}, found {policy!r}")
    if as_of is None:
        return Asked(None, k, policy)
    try:
        time_of = dt.datetime.fromisoformat(as_of)
    except (TypeError, ValueError) as error:
        raise DataError(f"as_of must be an ISO time, found {as_of!r}") from error
    if time_of.tzinfo is None:
        raise DataError(f"as_of needs a time zone, found {as_of!r}")
    if not decision_times_between(time_of, time_of + dt.timedelta(seconds=1)):
        raise DataError(f"as_of must be a decision time (hourly from 10:00 New York): {as_of}")
    return Asked(time_of.astimezone(dt.UTC), k, policy)


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

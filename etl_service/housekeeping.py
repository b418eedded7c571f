"""`/housekeeping`: once a day the universe is asked for again and old bars are forgotten."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from astra.errors import InsufficientDataError
from astra.settings import Settings
from astra.store import Store
from astra.store.retention import Pruned
from etl_service.universe import members


def routes(store: Store, settings: Settings) -> Blueprint:
    """The blueprint that keeps `store` as `settings` say."""
    blueprint = Blueprint("housekeeping", __name__)

    @blueprint.post("/housekeeping")
    def _housekeeping() -> Response:
        now = store.now()
        if now is None:
            raise InsufficientDataError("the store has no bars: POST /load_price_history first")
        found = members(settings)
        changed = store.books.record_universe(found, now)
        pruned = store.prune(settings.keep_days, now)
        return jsonify(
            universe={"changed": changed, "members": len(found)}, pruned=_document(pruned)
        )

    return blueprint


def _document(pruned: Pruned) -> dict[str, object]:
    before: dt.datetime | None = pruned.before
    return asdict(pruned) | {"before": None if before is None else before.isoformat()}

"""The record of past forecasts as a decision finds it and leaves it."""

from __future__ import annotations

import datetime as dt
import logging

from astra.errors import AstraError, ConfigError, DataError
from model.forecast.keeper import Keeper
from model.forecast.record import ForecastRecord
from model.forecast.scorebook import Scorebook, empty
from model.forecast.serving import Forecaster
from model.outlook import Sight, missing_scores, own_scores

log = logging.getLogger("model")


class Past:
    """What was forecast before, kept in the bucket; what is lacking is made from the bars."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def known(
        self, sight: Sight, known_at: dt.datetime, forecaster: Forecaster, *, is_kept: bool
    ) -> ForecastRecord:
        """What was known of past forecasts, with what the record lacks made from the bars at hand.

        Kept is what was made before anything is decided from it: of two decisions that find the
        same hole, both go by the rows that were written first. A record that cannot be read or
        extended costs the time to make it again, never the decision.
        """
        model_id = forecaster.bundle.id
        try:
            book = self._keeper.read(model_id).known(known_at)
        except (ConfigError, DataError):
            log.exception("model=%s record=unusable", model_id)
            book, is_kept = empty(model_id), False
        made = missing_scores(sight, book, forecaster)
        if made is not None:
            fresh = Scorebook.of(made, known_at)
            if is_kept:
                try:
                    book = self._keeper.add(fresh.scored()).known(known_at)
                except (ConfigError, DataError):
                    log.exception("model=%s record=not extended", model_id)
            book = book.joined(fresh)
        return book.of_tickers(sight.names, int(sight.known.ts[0]))

    def remember(self, sight: Sight, known_at: dt.datetime) -> None:
        """Add what was forecast now to the record. The decision stands already: what can't be
        added is a hole that a later decision fills."""
        try:
            self._keeper.add(Scorebook.of(own_scores(sight), known_at))
        except AstraError as error:
            log.warning("as_of=%s record=not extended reason=%s", sight.as_of.isoformat(), error)

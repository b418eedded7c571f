"""The decisions in the bucket: how their objects are named, dropped, and which of them stands."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from astra import allocation, predictions
from astra.errors import DataError
from astra.gcs import Bucket, ObjectInfo
from model.decision import Terms
from model.forecast.record import Forecast
from model.outlook import HISTORY

BLIND = frozenset({"min_variance", "risk_parity"})  # policies that read no forecast


class Decisions:
    """Documents by as-of time, terms and network; `candidates` is the identity of their list."""

    def __init__(self, bucket: Bucket, candidates: str) -> None:
        self._bucket = bucket
        self._candidates = candidates

    def tag(self, as_of: dt.datetime, terms: Terms, model_id: str) -> str:
        choices = {**terms.as_choices(), "candidates": self._candidates}
        return allocation.tag(as_of, model_id, choices)

    def find(self, as_of: dt.datetime, terms: Terms) -> tuple[str, dict[str, Any]] | None:
        """The decision as it stands, with its tag; of several networks' the first, so that a
        promotion does not make anybody decide twice."""
        stamp = allocation.stamp(as_of)
        standing = self._bucket.list(f"decision_{stamp}_")
        for found in sorted(standing, key=lambda info: info.created_at):
            tag = self.tag(as_of, terms, found.metadata.get("model_id", ""))
            if found.name == _name(stamp, tag):
                return tag, self._document(found.name)
        return None

    def before(
        self, as_of: dt.datetime, terms: Terms, policies: Iterable[str]
    ) -> dict[str, Any] | None:
        """The last decision before `as_of` under the same terms, whichever of `policies` was
        traded; None if there is none in as many days as a decision's bars reach back."""
        own = [replace(terms, policy=policy) for policy in policies]
        for month in _months(as_of - HISTORY, as_of):
            infos = self._bucket.list(f"decision_{month}")
            past = [i for i in infos if i.name < f"decision_{allocation.stamp(as_of)}"]
            for info in sorted(past, key=lambda i: (_stamp(i.name), -i.created_at.timestamp()))[
                ::-1
            ]:
                if self._is_of(info, own):
                    return self._document(info.name)
        return None

    def drop(
        self, as_of: dt.datetime, tag: str, document: dict[str, Any], forecast: Forecast
    ) -> dict[str, Any]:
        """Forecasts, then the decision, then the target, which triggers the trade.

        Returns: the decision that stands in the bucket: of two made at once the first.
        """
        stamp = f"{allocation.stamp(as_of)}_{tag}"
        described = {"as_of": as_of.isoformat(), "model_id": forecast.model_id}
        content = predictions.build(_forecast_rows(forecast))
        self._keep_first(f"predictions_{stamp}.csv", content, "text/csv", described)
        text = json.dumps(document, allow_nan=False).encode()
        name = f"decision_{stamp}.json"
        stands = self._keep_first(name, text, "application/json", described)
        decided: dict[str, Any] = json.loads(stands)
        self.drop_target(as_of, tag, decided)
        return decided

    def drop_target(self, as_of: dt.datetime, tag: str, document: Mapping[str, Any]) -> None:
        """The allocation file of a decision that stands, if there is anything to trade."""
        if document["object"] is None:
            return
        skill = document["skill"]
        state = "on" if skill["on"] else "off"
        weights = tradable(document)
        name, content, metadata = allocation.build(
            as_of,
            tag,
            weights,
            keep=weights.keys() & document.get("kept", ()),
            policy=document["policy"],
            model_id=document["model_id"],
            metadata={
                "trained_until": document["trained_until"],
                "trained_on": document["trained_on"],
                "forecast": allocation.USED if _rests_on_it(document) else allocation.UNUSED,
                "coverage": f"{document['coverage']:.4f}",
                "skill": f"ic {skill['ic']:.4f}, t {skill['t']:.2f}, {state}",
            },
        )
        self._bucket.create_once(name, content, "text/csv", metadata)

    def _keep_first(self, name: str, content: bytes, kind: str, metadata: dict[str, str]) -> bytes:
        """Write an object unless it is there; the content that stands."""
        try:
            self._bucket.create_once(name, content, kind, metadata)
        except DataError:
            return self._bucket.read(name).content
        return content

    def _is_of(self, info: ObjectInfo, terms: Iterable[Terms]) -> bool:
        stamp = _stamp(info.name)
        try:
            as_of = dt.datetime.strptime(stamp, "%Y%m%d-%H%M%S").replace(tzinfo=dt.UTC)
        except ValueError:
            return False
        model_id = info.metadata.get("model_id", "")
        return info.name in {_name(stamp, self.tag(as_of, t, model_id)) for t in terms}

    def _document(self, name: str) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(self._bucket.read(name).content)
        except ValueError as error:
            raise DataError(f"{name} must be JSON, it is not: {error}; take it away") from error
        return document


def tradable(document: Mapping[str, Any]) -> dict[str, float]:
    """What the file tells to trade: the weights decided, or 0 for all that is held; {} for nothing.

    What is on hold is left out: the trader leaves its shares alone, and a file that names it would
    be refused where it is over the limits of a file.
    """
    hold = set(document.get("hold", ()))
    wanted = {t: w for t, w in document["weights"].items() if t not in hold}
    return wanted or {t: 0.0 for t in document["held"] if t not in hold}


def _rests_on_it(document: Mapping[str, Any]) -> bool:
    """Whether the forecast moves the weights: `measured` as far as it was right before, the others
    at face value or by its order; a policy of the user's own may."""
    if document["policy"] == "measured":
        return bool(document["skill"]["used"] != 0)
    return document["policy"] not in BLIND


def _name(stamp: str, tag: str) -> str:
    return f"decision_{stamp}_{tag}.json"


def _stamp(name: str) -> str:
    return name.removeprefix("decision_").partition("_")[0]


def _months(first: dt.datetime, last: dt.datetime) -> list[str]:
    """YYYYMM of every month from `last` back to `first`."""
    days = range((last.date() - first.date()).days + 1)
    return list(dict.fromkeys(f"{last - dt.timedelta(days=d):%Y%m}" for d in days))


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

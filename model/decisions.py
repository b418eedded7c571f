"""The decisions in the bucket: how their objects are named, and which of them stands."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from astra import allocation
from astra.errors import DataError
from astra.gcs import Bucket, ObjectInfo
from model.decision import Terms
from model.outlook import HISTORY


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

    def keep_first(self, name: str, content: bytes, kind: str, metadata: dict[str, str]) -> bytes:
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


def _name(stamp: str, tag: str) -> str:
    return f"decision_{stamp}_{tag}.json"


def _stamp(name: str) -> str:
    return name.removeprefix("decision_").partition("_")[0]


def _months(first: dt.datetime, last: dt.datetime) -> list[str]:
    """YYYYMM of every month from `last` back to `first`."""
    days = range((last.date() - first.date()).days + 1)
    return list(dict.fromkeys(f"{last - dt.timedelta(days=d):%Y%m}" for d in days))

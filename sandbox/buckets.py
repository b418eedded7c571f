"""The buckets of the sandbox's Cloud Storage, in memory: what is written, found, listed, deleted.

One lock guards them: a precondition and the write it guards are one step. No HTTP and no events.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sandbox.objects import (
    WRITABLE,
    ApiError,
    Conditions,
    Resource,
    StoredObject,
    metadata_of,
    rfc3339,
    settings_of,
    verify,
)

_ALREADY_YOURS = (
    "Your previous request to create the named bucket succeeded and you already own it."
)


@dataclass(slots=True)
class _Bucket:
    created_at: datetime
    objects: dict[str, StoredObject] = field(default_factory=dict)


class Store:
    """All buckets of the sandbox. `now` stamps what is written; `finalized` hears of each new one.

    Only the live generation of an object is kept, as in a bucket without versioning.
    """

    def __init__(
        self, now: Callable[[], datetime], finalized: Callable[[StoredObject], None]
    ) -> None:
        self._now = now
        self._finalized = finalized
        self._lock = threading.RLock()
        self._buckets: dict[str, _Bucket] = {}
        self._last_generation = 0

    def create_bucket(self, name: str) -> Resource:
        """Raises:
        ApiError: 400 without a name, 409 if the bucket exists.
        """
        if not name:
            raise ApiError(400, "required", "Required")
        with self._lock:
            if name in self._buckets:
                raise ApiError(409, "conflict", _ALREADY_YOURS)
            self._buckets[name] = _Bucket(self._now())
            return self.bucket(name)

    def bucket(self, name: str) -> Resource:
        """The bucket as JSON (`storage#bucket`).

        Raises:
            ApiError: 404 if it does not exist.
        """
        created_at = rfc3339(self._bucket(name).created_at)
        return {
            "kind": "storage#bucket",
            "id": name,
            "name": name,
            "projectNumber": "1",
            "location": "US",
            "locationType": "multi-region",
            "storageClass": "STANDARD",
            "metageneration": "1",
            "etag": "CAE=",
            "timeCreated": created_at,
            "updated": created_at,
        }

    def bucket_names(self) -> tuple[str, ...]:
        """Ascending."""
        with self._lock:
            return tuple(sorted(self._buckets))

    def delete_bucket(self, name: str) -> None:
        """Raises:
        ApiError: 404 if it does not exist, 409 if it holds objects.
        """
        with self._lock:
            if self._bucket(name).objects:
                message = "The bucket you tried to delete is not empty."
                raise ApiError(409, "conflict", message)
            del self._buckets[name]

    def objects(self, bucket: str) -> tuple[StoredObject, ...]:
        """The live objects of a bucket, by name ascending."""
        with self._lock:
            found = self._bucket(bucket).objects
            return tuple(found[name] for name in sorted(found))

    def rows(self) -> list[dict[str, object]]:
        """All live objects without their content, for `/sandbox/state`."""
        return [
            {
                "bucket": found.bucket,
                "name": found.name,
                "generation": found.generation,
                "size": len(found.content),
                "metadata": dict(found.metadata),
            }
            for bucket in self.bucket_names()
            for found in self.objects(bucket)
        ]

    def check(self, bucket: str, name: str, conditions: Conditions) -> None:
        """Check the preconditions of a write that has yet to come."""
        with self._lock:
            conditions.check(self._bucket(bucket).objects.get(name))

    def get(
        self,
        bucket: str,
        name: str,
        generation: int | None = None,
        conditions: Conditions | None = None,
    ) -> StoredObject:
        """The live object, or the given generation if it is still the live one.

        Raises:
            ApiError: 404 if it is not there, 412 if a condition does not hold.
        """
        with self._lock:
            found = self._bucket(bucket).objects.get(name)
            if found is None or generation not in (None, found.generation):
                raise ApiError(404, "notFound", f"No such object: {bucket}/{name}")
            if conditions:
                conditions.check(found)
            return found

    def put(
        self,
        bucket: str,
        name: str,
        content: bytes,
        given: Mapping[str, object],
        conditions: Conditions,
    ) -> StoredObject:
        """Write a new generation; `given` is the resource as the caller sent it.

        Raises:
            ApiError: 412 if a condition does not hold, 400 if a checksum in `given` differs.
        """
        verify(content, given)
        with self._lock:
            objects = self._bucket(bucket).objects
            conditions.check(objects.get(name))
            now = self._now()
            made = StoredObject(
                bucket=bucket, name=name, generation=self._next_generation(now), content=content,
                settings=settings_of(given), metadata=metadata_of(given),
                created_at=now, updated_at=now,
            )  # fmt: skip
            objects[name] = made
        self._finalized(made)
        return made

    def patch(
        self, found: StoredObject, given: Mapping[str, object], *, whole: bool
    ) -> StoredObject:
        """Change the settings and metadata of `found`: a null removes, `whole` replaces all.

        Raises:
            ApiError: 412 if another change came first.
        """
        seen = Conditions(
            generation_match=found.generation, metageneration_match=found.metageneration
        )
        settings: dict[str, object] = {} if whole else dict(found.settings)
        metadata: dict[str, object] = {} if whole else dict(found.metadata)
        settings.update({key: given[key] for key in WRITABLE if key in given})
        if "metadata" in given:
            changes = given["metadata"]
            metadata = {**metadata, **changes} if isinstance(changes, Mapping) else {}
        with self._lock:
            self.check(found.bucket, found.name, seen)
            changed = replace(
                found,
                settings=settings_of(settings),
                metadata=metadata_of({"metadata": metadata}),
                metageneration=found.metageneration + 1,
                updated_at=self._now(),
            )
            self._bucket(found.bucket).objects[found.name] = changed
            return changed

    def delete(
        self, bucket: str, name: str, generation: int | None, conditions: Conditions
    ) -> None:
        """Raises:
        ApiError: 404 if it is not there, 412 if a condition does not hold.
        """
        with self._lock:
            self.get(bucket, name, generation, conditions)
            del self._bucket(bucket).objects[name]

    def _bucket(self, name: str) -> _Bucket:
        with self._lock:
            if name not in self._buckets:
                raise ApiError(404, "notFound", "The specified bucket does not exist.")
            return self._buckets[name]

    def _next_generation(self, now: datetime) -> int:
        # Google's are microseconds too; a stepped clock may stand still, they must not.
        self._last_generation = max(self._last_generation + 1, int(now.timestamp() * 1_000_000))
        return self._last_generation


@dataclass(frozen=True, slots=True)
class Listing:
    """What a listing asks for: names from `start` (inclusive) to `end` (exclusive), by `prefix`.

    With a `delimiter`, names are folded into the prefixes that end at its next occurrence.
    """

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; `token` leads to the next, "" on the last."""

    objects: tuple[StoredObject, ...]
    prefixes: tuple[str, ...]
    token: str


def page(objects: Iterable[StoredObject], wanted: Listing, token: str, length: int) -> Page:
    """The `length` entries (objects and folded prefixes) after `token`, by name ascending.

    Raises:
        ApiError: 400 if `token` is none of ours.
    """
    entries: dict[str, StoredObject | None] = {}
    for item in objects:
        name = item.name
        if name < wanted.start or (wanted.end and name >= wanted.end):
            continue
        if not name.startswith(wanted.prefix):
            continue
        cut = name.find(wanted.delimiter, len(wanted.prefix)) if wanted.delimiter else -1
        if cut < 0:
            entries[name] = item
        else:
            entries[name[: cut + len(wanted.delimiter)]] = None
    after = _name_of(token) if token else None
    names = sorted(name for name in entries if after is None or name > after)
    shown = names[:length]
    return Page(
        tuple(found for name in shown if (found := entries[name])),
        tuple(name for name in shown if entries[name] is None),
        _token_of(shown[-1]) if len(names) > length else "",
    )


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name_of(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise ApiError(400, "invalid", "Invalid value for page token.") from error

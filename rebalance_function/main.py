"""The Cloud Function: an allocation file was dropped, trade to it.

A file that cannot be traded is recorded, copied under `failure/` and answered 2xx, so that it is
not delivered again; only a passing fault answers 503, and then the event comes back.
"""

from __future__ import annotations

import logging
from functools import lru_cache

import functions_framework
from cloudevents.http import CloudEvent
from werkzeug.exceptions import ServiceUnavailable

from astra import settings as astra_settings
from astra.allocation import allocation_id, is_allocation
from astra.errors import DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.gcs import Bucket
from astra.web import configure_logging

log = logging.getLogger("astra.rebalance")
configure_logging()

MOST_BYTES = 1_000_000  # of an allocation file; twenty rows have a thousand
_LONGEST_NAME, _LARGEST_GENERATION = 200, 2**63 - 1


@lru_cache(maxsize=1)
def _house() -> tuple[Bucket, Executor]:
    """Connected at the first event, not at import, and kept for the next ones."""
    settings = astra_settings.load()
    bucket = Bucket.from_settings(settings)
    return bucket, Executor(Desk.from_settings(settings), bucket)


@functions_framework.cloud_event  # type: ignore[untyped-decorator]
def rebalance(event: CloudEvent) -> None:
    """Entry point for `google.cloud.storage.object.v1.finalized`.

    Raises:
        ServiceUnavailable: 503, deliver it again: the fault is not the file's. Until the settings
            are right or the vendor is back, and the file has expired at the latest.
    """
    try:
        source, name, generation = _object_of(event)
    except DataError as error:
        log.warning("event=%s ignored=%s", event.get("id"), error)
        return
    if not is_allocation(name):
        log.info("object=%s ignored=not an allocation", name)
        return
    try:
        _trade(source, name, generation)
    except TemporaryError as error:
        log.warning("object=%s generation=%d again=%s", name, generation, error)
        raise _unavailable(error) from error
    except Exception as error:  # the settings', or one that nobody expected
        log.exception("object=%s generation=%d again=%s", name, generation, type(error).__name__)
        raise _unavailable(error) from error


def _trade(source: str, name: str, generation: int) -> None:
    bucket, executor = _house()
    if source != bucket.name:
        log.warning("object=%s ignored=it lies in the bucket %s, not ours", name, source)
        return
    ended = executor.take_up(allocation_id(source, name, generation))
    if ended is None:
        delivered = _read(bucket, name, generation)
        if delivered is None:
            # Overwritten or deleted since: a newer event speaks for what is there now.
            log.warning("object=%s generation=%d ignored=it is not there", name, generation)
            return
        ended = executor.execute(delivered)
    log.info("allocation=%s status=%s reason=%s", ended.id, ended.status, ended.reason)


def _read(bucket: Bucket, name: str, generation: int) -> Delivered | None:
    """The file as it was delivered; None if that generation is there no longer."""
    try:
        stored = bucket.read_or_none(name, generation, most=MOST_BYTES)
    except DataError as error:
        return Delivered(bucket.name, name, generation, b"", {}, problem=str(error))
    if stored is None:
        return None
    return Delivered(bucket.name, name, generation, stored.content, stored.metadata)


def _object_of(event: CloudEvent) -> tuple[str, str, int]:
    """Bucket, name and generation; a body that is no JSON object reaches a function as bytes."""
    body = event.get_data() if hasattr(event, "get_data") else event.data
    if not isinstance(body, dict):
        raise DataError(f"an object resource is required, found {type(body).__name__}")
    bucket, name, given = (body.get(key) for key in ("bucket", "name", "generation"))
    try:
        generation = int(str(given))
    except ValueError:
        generation = 0
    is_named = isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_NAME
    if not (isinstance(bucket, str) and is_named and 0 < generation <= _LARGEST_GENERATION):
        raise DataError(
            f"bucket, name (of {_LONGEST_NAME} printable characters at most) and generation are "
            f"required, found {bucket!r:.60}, {name!r:.60} and {given!r:.60}"
        )
    return bucket, str(name), generation


def _unavailable(error: Exception) -> ServiceUnavailable:
    retry_after = getattr(error, "retry_after", None)
    return ServiceUnavailable(
        str(error), retry_after=None if retry_after is None else int(retry_after)
    )

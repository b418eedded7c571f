"""The Cloud Function: an allocation file was dropped, trade to it.

A file that cannot be traded is recorded, copied under `failure/` and answered 2xx, so that it is
not delivered again; only a passing fault answers 5xx, and then the event comes back.
"""

from __future__ import annotations

import logging
from functools import lru_cache

import functions_framework
from cloudevents.http import CloudEvent

from astra import settings as astra_settings
from astra.allocation import is_allocation
from astra.errors import DataError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.gcs import Bucket
from astra.web import configure_logging

log = logging.getLogger("astra.rebalance")
configure_logging()


@lru_cache(maxsize=1)
def _house() -> tuple[Bucket, Executor]:
    """Connected at the first event, not at import, and kept for the next ones."""
    settings = astra_settings.load()
    return Bucket.from_settings(settings), Executor(Desk.from_settings(settings))


@functions_framework.cloud_event  # type: ignore[untyped-decorator]
def rebalance(event: CloudEvent) -> None:
    """Entry point for `google.cloud.storage.object.v1.finalized`."""
    try:
        source, name, generation = _object_of(event)
    except DataError as error:
        log.warning("event=%s ignored=%s", event.get("id"), error)
        return
    if not is_allocation(name):
        log.info("object=%s ignored=not an allocation", name)
        return
    bucket, executor = _house()
    if source != bucket.name:
        log.warning("object=%s ignored=it lies in the bucket %s, not ours", name, source)
        return
    try:
        stored = bucket.read(name, generation)
    except DataError as error:
        # Overwritten or deleted since: a newer event speaks for what is there now.
        log.warning("object=%s generation=%d ignored=%s", name, generation, error)
        return
    delivered = Delivered(source, name, generation, stored.content, stored.metadata)
    ended = executor.execute(delivered)
    log.info("allocation=%s status=%s reason=%s", ended.id, ended.status, ended.reason)
    if ended.status in ("refused", "superseded"):
        bucket.copy(name, f"failure/{name}")


def _object_of(event: CloudEvent) -> tuple[str, str, int]:
    """Bucket, name and generation; a body that is no JSON object reaches a function as bytes."""
    body = event.get_data() if hasattr(event, "get_data") else event.data
    if not isinstance(body, dict):
        raise DataError(f"an object resource is required, found {type(body).__name__}")
    try:
        return str(body["bucket"]), str(body["name"]), int(body["generation"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"bucket, name and generation are required: {error!r}") from error

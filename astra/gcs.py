"""Buckets on Google Cloud Storage, of allocations and of models: the only importer of its client.

Objects are written once, or replaced only where nobody else was faster. Vendor exceptions end here;
every call has a time-out and a bounded time for its retries.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import google_crc32c
import requests

from astra.errors import AstraError, ConfigError, DataError, TemporaryError
from astra.settings import Settings

with warnings.catch_warnings():
    # google-api-core 2 asks for grpcio-status where it finds gRPC; we speak HTTP only.
    warnings.simplefilter("ignore", ImportWarning)
    from google.api_core.client_options import ClientOptions
    from google.api_core.exceptions import (
        GoogleAPICallError,
        NotFound,
        PreconditionFailed,
        RetryError,
    )
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud import storage
    from google.cloud.storage.exceptions import DataCorruption
    from google.cloud.storage.retry import DEFAULT_RETRY

# Seconds for a call with its retries: an hour's cycle must hear of an outage, not wait it out.
RETRY_DEADLINE = 30.0
# What Google says when it is the bucket that is missing, not the object.
_NO_BUCKET = "bucket does not exist"
_PASSING = (408, 429, 500, 502, 503, 504)
_FAILURES = (
    GoogleAPICallError, RetryError, GoogleAuthError, DataCorruption, requests.RequestException,
    ConnectionError,
)  # fmt: skip

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One generation of an object with its content."""

    name: str
    generation: int
    content: bytes
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object without its content; `created_at` is UTC, of this generation."""

    name: str
    generation: int
    created_at: datetime
    metadata: Mapping[str, str]


class Bucket:
    """Objects of one bucket.

    Every method raises TemporaryError when the vendor cannot be reached or fails for now, and
    ConfigError when the bucket does not exist or the credentials may not use it.
    """

    def __init__(
        self,
        client: storage.Client,
        name: str,
        *,
        timeout: float,
        retry_deadline: float = RETRY_DEADLINE,
    ) -> None:
        self.name = name
        self._bucket = client.bucket(name)
        retry = DEFAULT_RETRY.with_timeout(retry_deadline).with_delay(initial=0.2, maximum=5.0)
        self._limits: dict[str, Any] = {"timeout": timeout, "retry": retry}

    @classmethod
    def from_settings(cls, settings: Settings, *, retry_deadline: float = RETRY_DEADLINE) -> Bucket:
        """The bucket that ASTRA_BUCKET names; nothing is asked of it yet.

        Raises:
            ConfigError: there are no Google credentials, and no ASTRA_STORAGE_URL either.
        """
        client, timeout = connect(settings), settings.vendor_timeout
        return cls(client, settings.bucket, timeout=timeout, retry_deadline=retry_deadline)

    @property
    def url(self) -> str:
        """gs://<bucket>."""
        return f"gs://{self.name}"

    def create_once(
        self, name: str, content: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> int:
        """Write an object that does not exist yet; its generation.

        Doing it again with the same content changes nothing and returns the first generation,
        also when only the answer to the first attempt was lost.

        Raises:
            DataError: the object exists with other content; it is left as it is.
        """
        written = self._put(name, content, content_type, metadata, 0)
        return self._written_before(name, content) if written is None else written

    def replace(
        self,
        name: str,
        content: bytes,
        content_type: str,
        metadata: Mapping[str, str],
        generation: int,
    ) -> int | None:
        """Write over one generation of an object; 0 stands for "no such object yet".

        Returns: the new generation; None where another one stands there by now, which is left as
        it is: read it, decide again. If only the answer to the first attempt was lost, the object
        is found to be ours.
        """
        written = self._put(name, content, content_type, metadata, generation)
        if written is not None:
            return written
        found = self.read_or_none(name)
        return found.generation if found is not None and found.content == content else None

    def read(self, name: str, generation: int | None = None) -> StoredObject:
        """An object's live generation, or the given one, its content checked against its hash.

        Raises:
            DataError: there is no such object or generation.
        """
        found = self.read_or_none(name, generation)
        if found is None:
            which = f"{self.url}/{name}" + (f" of generation {generation}" if generation else "")
            raise DataError(f"an object was expected at {which}, none is there")
        return found

    def read_or_none(
        self, name: str, generation: int | None = None, *, most: int | None = None
    ) -> StoredObject | None:
        """As `read`; None if there is no such object or generation.

        Raises:
            DataError: it is larger than `most` bytes; none of them was fetched.
        """
        blob = self._bucket.blob(name, generation=generation)
        try:
            self._ask(lambda: blob.reload(**self._limits))
        except NotFound:
            return None
        # From here the generation is pinned: content, size and metadata belong to the same one.
        if most is not None and blob.size > most:
            raise DataError(
                f"{self.url}/{name} may have {most:,} bytes, found {blob.size:,}: "
                "it was not fetched"
            )
        try:
            content = self._ask(lambda: blob.download_as_bytes(**self._limits))
        except NotFound:  # replaced or deleted in between
            return self.read_or_none(name, generation, most=most)
        if _checksum(content) != blob.crc32c:
            raise TemporaryError(
                f"{self.url}/{name} did not arrive whole: {blob.size:,} bytes with the checksum "
                f"{blob.crc32c} are required, found {len(content):,}"
            )
        return StoredObject(name, int(blob.generation), content, dict(blob.metadata or {}))

    def names(self, prefix: str = "") -> tuple[str, ...]:
        """Names that begin with `prefix`, ascending; empty if there are none."""
        return tuple(found.name for found in self.list(prefix))

    def list(self, prefix: str = "") -> tuple[ObjectInfo, ...]:
        """Objects whose names begin with `prefix`, by name ascending; empty if there are none."""
        blobs = self._ask(
            lambda: tuple(self._bucket.list_blobs(prefix=prefix or None, **self._limits))
        )
        infos = (
            ObjectInfo(b.name, int(b.generation), b.time_created, dict(b.metadata or {}))
            for b in blobs
        )
        return tuple(sorted(infos, key=lambda info: info.name))

    def copy(self, name: str, new_name: str, generation: int | None = None) -> int:
        """Copy an object (its live generation, or the given one) with its metadata, over whatever
        `new_name` holds; the new generation.

        Raises:
            DataError: there is no object `name`, or no such generation of it.
        """
        bucket, blob = self._bucket, self._bucket.blob(name)
        limits = {**self._limits, "source_generation": generation}
        try:
            made = self._ask(lambda: bucket.copy_blob(blob, bucket, new_name, **limits))
        except NotFound as error:
            message = f"an object to copy was expected at {self.url}/{name}, none is there"
            raise DataError(message) from error
        return int(made.generation)

    def _put(
        self,
        name: str,
        content: bytes,
        content_type: str,
        metadata: Mapping[str, str],
        generation: int,
    ) -> int | None:
        blob = self._bucket.blob(name)
        blob.metadata = dict(metadata)
        limits = self._limits
        try:
            self._ask(
                lambda: blob.upload_from_string(
                    content, content_type=content_type, if_generation_match=generation, **limits
                )
            )
        except PreconditionFailed:
            return None
        return int(blob.generation)

    def _written_before(self, name: str, content: bytes) -> int:
        found = self.read_or_none(name)
        if found is None:
            raise TemporaryError(f"{self.url}/{name} was deleted while it was being written")
        if found.content != content:
            raise DataError(
                f"{self.url}/{name} is written once, but it exists with other content "
                f"(generation {found.generation}); it was left as it is"
            )
        return found.generation

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        """Our error for each of the vendor's, except what only the caller can judge: a missing
        object (NotFound) and one that exists already (PreconditionFailed)."""
        try:
            return call()
        except _FAILURES as error:
            is_callers = isinstance(error, NotFound | PreconditionFailed)
            if is_callers and _NO_BUCKET not in str(error):
                raise
            raise self._ours(error) from error

    def _ours(self, error: Exception) -> AstraError:
        status = error.code if isinstance(error, GoogleAPICallError) else None
        refused = isinstance(error, GoogleAuthError) and not isinstance(error, TransportError)
        if status == 404:
            return ConfigError(
                f"the bucket {self.url} does not exist: create it, or name another in ASTRA_BUCKET "
                "(allocations) or ASTRA_BUNDLES (models)"
            )
        if status in (401, 403) or refused:
            return ConfigError(
                f"Google refused these credentials for {self.url} ({status or 'no token'}): grant "
                "them roles/storage.objectUser on the bucket, or set GOOGLE_APPLICATION_CREDENTIALS"
            )
        if status is None or status in _PASSING:
            cause = getattr(error, "cause", None) or error
            return TemporaryError(
                f"{self.url} could not be reached or failed for now ({type(cause).__name__})"
            )
        return DataError(f"{self.url} refused a request with status {status}")


def _checksum(content: bytes) -> str:
    """As Google's metadata has it. Its client checks none where it took a broken download up
    again (google-cloud-storage 3.4), and would hand out part of an allocation."""
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def connect(settings: Settings) -> storage.Client:
    """Google's client: at ASTRA_STORAGE_URL without credentials, else at Google with the default
    ones of this environment.

    Raises:
        ConfigError: Google's own address needs credentials, and there are none.
    """
    client = _client(settings)
    # Only traces need it: after each missing object it asks for the bucket too, in a thread that
    # outlives the call and tries again for two minutes (google-cloud-storage 3.17).
    client._bucket_metadata_cache = None
    return client


def _client(settings: Settings) -> storage.Client:
    if settings.storage_url:
        return storage.Client(
            project="sandbox",
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=settings.storage_url),
        )
    try:
        return storage.Client()
    except (GoogleAuthError, OSError) as error:  # OSError: there is no project to be found
        raise ConfigError(
            "no usable Google credentials were found for Cloud Storage: run `gcloud auth "
            "application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or set "
            "ASTRA_STORAGE_URL for the sandbox"
        ) from error

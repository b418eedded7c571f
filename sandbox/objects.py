"""One object of the sandbox's Cloud Storage: its resource as JSON, checksums and preconditions.

As the reference of Google's JSON API words them; no HTTP, no events, no buckets.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

import google_crc32c

Resource = dict[str, object]
# What a caller may set in an object's resource; everything else in it is ours to compute.
WRITABLE = ("contentType", "contentEncoding", "contentDisposition", "contentLanguage",
            "cacheControl", "customTime")  # fmt: skip
CONDITIONS_MISSED = "At least one of the pre-conditions you specified did not hold."


class ApiError(Exception):
    """A refusal as Google words it: HTTP status, reason code and message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    def body(self) -> Resource:
        """The JSON body of the answer."""
        detail: Resource = {"message": str(self), "domain": "global", "reason": self.reason}
        if self.reason == "conditionNotMet":
            detail |= {"locationType": "header", "location": "If-Match"}
        return {"error": {"code": self.status, "message": str(self), "errors": [detail]}}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Preconditions of a request; generation 0 stands for "no such object"."""

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None

    def check(self, found: StoredObject | None) -> None:
        """Raises:
        ApiError: 412 if a condition does not hold for `found`.
        """
        generation = found.generation if found else 0
        metageneration = found.metageneration if found else 0
        missed = (
            self.generation_match not in (None, generation)
            or self.generation_not_match == generation
            or self.metageneration_match not in (None, metageneration)
            or self.metageneration_not_match == metageneration
        )
        if missed:
            raise ApiError(412, "conditionNotMet", CONDITIONS_MISSED)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One live generation of an object.

    Attributes:
        settings: the WRITABLE fields that were given.
        md5, crc32c: of the content, base64, as `md5Hash` and `crc32c` (big-endian) carry them.
    """

    bucket: str
    name: str
    generation: int
    content: bytes
    settings: Mapping[str, str]
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    metageneration: int = 1
    md5: str = field(init=False)
    crc32c: str = field(init=False)

    def __post_init__(self) -> None:
        # Once, not with every listing.
        object.__setattr__(self, "md5", _md5(self.content))
        object.__setattr__(self, "crc32c", _crc32c(self.content))

    @property
    def etag(self) -> str:
        """Changes with every change of content or metadata."""
        return base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode()

    def resource(self, root: str) -> Resource:
        """The object as JSON (`storage#object`); its links start with `root`."""
        path = f"/b/{self.bucket}/o/{quote(self.name, safe='')}"
        generation = str(self.generation)
        body: Resource = {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{generation}",
            "selfLink": f"{root}/storage/v1{path}",
            "mediaLink": f"{root}/download/storage/v1{path}?generation={generation}&alt=media",
            "name": self.name,
            "bucket": self.bucket,
            "generation": generation,
            "metageneration": str(self.metageneration),
            "storageClass": "STANDARD",
            "size": str(len(self.content)),
            "md5Hash": self.md5,
            "crc32c": self.crc32c,
            "etag": self.etag,
            "timeCreated": rfc3339(self.created_at),
            "updated": rfc3339(self.updated_at),
            "timeStorageClassUpdated": rfc3339(self.created_at),
            "timeFinalized": rfc3339(self.created_at),
        }
        if self.metadata:
            body["metadata"] = dict(self.metadata)
        return body | dict(self.settings)


def rfc3339(at: datetime) -> str:
    """A UTC time as Google writes it, to the millisecond."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def settings_of(given: Mapping[str, object]) -> dict[str, str]:
    """The WRITABLE fields of a resource as a caller sent it."""
    return {key: str(given[key]) for key in WRITABLE if given.get(key) is not None}


def metadata_of(given: Mapping[str, object]) -> dict[str, str]:
    """The custom metadata of a resource as a caller sent it; nulls are left out."""
    found = given.get("metadata")
    if not isinstance(found, Mapping):
        return {}
    return {str(key): str(value) for key, value in found.items() if value is not None}


def verify(content: bytes, given: Mapping[str, object]) -> None:
    """Raises:
    ApiError: 400 if a checksum in `given` is not the content's.
    """
    for key, label, computed in (("crc32c", "CRC32C", _crc32c), ("md5Hash", "MD5 hash", _md5)):
        claimed, found = given.get(key), computed(content)
        if claimed is not None and claimed != found:
            message = f'Provided {label} "{claimed}" doesn\'t match calculated {label} "{found}".'
            raise ApiError(400, "invalid", message)


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()

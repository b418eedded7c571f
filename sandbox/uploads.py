"""Uploads to the sandbox's Cloud Storage: in one request, and resumable in chunks.

What arrives becomes an object only once it is whole and its checksums agree.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from werkzeug.http import parse_options_header

from sandbox.buckets import Store
from sandbox.objects import ApiError, Conditions, Resource, StoredObject

CHUNK_UNIT = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(slots=True)
class _Session:
    bucket: str
    name: str
    given: Resource
    conditions: Conditions
    kept: bytearray = field(default_factory=bytearray)
    made: StoredObject | None = None


class Uploads:
    """The resumable uploads under way in `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}

    def begin(self, bucket: str, name: str, given: Resource, conditions: Conditions) -> str:
        """The upload's id.

        Raises:
            ApiError: 404 without the bucket, 412 if a condition does not hold already now.
        """
        self._store.check(bucket, name, conditions)
        upload_id = secrets.token_urlsafe(24)
        with self._lock:
            self._sessions[upload_id] = _Session(bucket, name, given, conditions)
        return upload_id

    def add(
        self, upload_id: str, content_range: str, body: bytes, checksums: Mapping[str, str]
    ) -> StoredObject | int:
        """Take a chunk, or none to ask how far it is: the finished object, or the bytes kept.

        Bytes that are here already are skipped, and a finished upload answers with its object, so
        a chunk may be sent again.

        Raises:
            ApiError: 404 for an unknown upload; 400 for a gap, a short chunk that is not the last,
                or a wrong checksum; 412 if a condition no longer holds.
        """
        with self._lock:
            session = self._sessions.get(upload_id)
            if session is None:
                raise ApiError(404, "notFound", "The upload does not exist or has ended.")
            if session.made is None and _extend(session.kept, content_range, body):
                session.given.update(checksums)
                session.made = self._finish(upload_id, session)
            return session.made or len(session.kept)

    def _finish(self, upload_id: str, session: _Session) -> StoredObject:
        try:
            return self._store.put(
                session.bucket, session.name, bytes(session.kept), session.given,
                session.conditions,
            )  # fmt: skip
        except ApiError:
            del self._sessions[upload_id]
            raise
        finally:
            session.kept.clear()


def multipart(content_type: str, body: bytes) -> tuple[Resource, bytes]:
    """The resource and the content of a `multipart/related` body (RFC 2387), in this order.

    Raises:
        ApiError: 400 if it is not made of these two parts.
    """
    delimiter = b"--" + parse_options_header(content_type)[1].get("boundary", "").encode()
    _, opened, rest = body.partition(delimiter + b"\r\n")
    first, split, rest = rest.partition(b"\r\n" + delimiter + b"\r\n")
    second, closed, _ = rest.rpartition(b"\r\n" + delimiter + b"--")
    if len(delimiter) == 2 or not (opened and split and closed):
        raise ApiError(400, "badRequest", "Malformed multipart body.")
    resource = parsed(first.partition(b"\r\n\r\n")[2])
    head, _, content = second.partition(b"\r\n\r\n")
    kind = re.search(rb"(?im)^content-type:\s*([^\r\n]+)", head)
    if kind:
        resource.setdefault("contentType", kind[1].decode("latin-1"))
    return resource, content


def parsed(body: bytes) -> Resource:
    """A resource as a caller sends it; empty for an empty body.

    Raises:
        ApiError: 400 if it is not a JSON object.
    """
    try:
        resource = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError(400, "parseError", "Parse Error") from error
    if not isinstance(resource, dict):
        raise ApiError(400, "parseError", "Parse Error")
    return resource


def checksums_of(header: str) -> dict[str, str]:
    """`X-Goog-Hash: crc32c=...,md5=...` under the names they have in a resource."""
    names = {"crc32c": "crc32c", "md5": "md5Hash"}
    pairs = (part.strip().partition("=") for part in header.split(","))
    return {names[key]: value for key, _, value in pairs if key in names}


def _extend(kept: bytearray, content_range: str, body: bytes) -> bool:
    """Append what is new in `body`; whether the upload is whole."""
    first, last, total = _range(content_range, len(body))
    if first is not None:
        if first > len(kept) or last != first + len(body) - 1:
            raise ApiError(400, "badRequest", f"Invalid Content-Range after {len(kept)} bytes.")
        is_last = total is not None and last + 1 == total
        if not is_last and len(body) % CHUNK_UNIT:
            raise ApiError(400, "badRequest", f"A chunk is a multiple of {CHUNK_UNIT} bytes.")
        kept += body[len(kept) - first :]
    return total is not None and len(kept) == total


def _range(header: str, length: int) -> tuple[int | None, int | None, int | None]:
    """First and last byte of this chunk and the bytes in all; None for what is not said."""
    if not header:
        return (0, length - 1, length) if length else (None, None, 0)
    match = _CONTENT_RANGE.fullmatch(header)
    if match is None:
        raise ApiError(400, "badRequest", f"Failed to parse Content-Range header: {header}")
    first, last, total = (int(g) if g and g != "*" else None for g in match.groups())
    return first, last, total

"""The sandbox's Google Cloud Storage: the JSON API as the unchanged client library speaks it.

Buckets, uploads in one piece and resumable, downloads with ranges, metadata, listing, copies and
preconditions; each finished object is announced to a function as a CloudEvent. Nothing is kept
beyond the process, and no credential is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from sandbox import faults as faulty
from sandbox.buckets import Listing, Store, page
from sandbox.events import Backoff, Courier, Event
from sandbox.fault import ON_EVENT, ON_READING
from sandbox.faults import Faults
from sandbox.market import Market
from sandbox.objects import ApiError, Conditions, Resource, StoredObject, rfc3339
from sandbox.serving import date_answers
from sandbox.uploads import Uploads, checksums_of, multipart, parsed

_OBJECT = "/storage/v1/b/<bucket>/o/<object:name>"
_TO = "/b/<new_bucket>/o/<object:new_name>"
_PAGE = 1000
api = Blueprint("storage", __name__)


def create_app(
    market: Market,
    faults: Faults,
    *,
    function_url: str | None,
    buckets: Sequence[str] = ("astra-allocations",),
    backoff: Backoff | None = None,
) -> Flask:
    """The vendor's app, with `buckets` in it; finished objects are announced at `function_url`.

    `extensions["state"]()` tells objects and deliveries, `extensions["stop"]()` ends deliveries.
    """
    app = Flask("sandbox.storage")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.converters["object"] = _ObjectName
    app.url_map.merge_slashes = False
    courier = Courier(function_url, backoff) if function_url else None
    store = Store(market.clock.now, lambda made: _announce(made, courier, faults))
    for name in buckets:
        store.create_bucket(name)
    app.extensions["store"] = store
    app.extensions["faults"] = faults
    app.extensions["uploads"] = Uploads(store)
    app.extensions["state"] = lambda: {
        "objects": store.rows(),
        "deliveries": courier.rows() if courier else [],
    }
    app.extensions["stop"] = courier.stop if courier else lambda: None

    # Registered before the faults, so that it runs after them and dates their answers too.
    date_answers(app, market.clock.now)
    faulty.install(app, "storage", faults)
    app.register_error_handler(ApiError, _refused)
    app.register_error_handler(HTTPException, _unknown)
    app.register_blueprint(api)
    return app


class _ObjectName(BaseConverter):
    # Unlike `path`, it may begin with a slash.
    regex = ".+?"
    part_isolating = False


@api.get("/storage/v1/b")
def _buckets() -> Response:
    prefix = request.args.get("prefix", "")
    names = [name for name in _store().bucket_names() if name.startswith(prefix)]
    return jsonify(kind="storage#buckets", items=[_store().bucket(name) for name in names])


@api.post("/storage/v1/b")
def _create_bucket() -> Response:
    return jsonify(_store().create_bucket(str(parsed(request.get_data()).get("name", ""))))


@api.get("/storage/v1/b/<bucket>")
def _bucket(bucket: str) -> Response:
    return jsonify(_store().bucket(bucket))


@api.delete("/storage/v1/b/<bucket>")
def _delete_bucket(bucket: str) -> Response:
    _store().delete_bucket(bucket)
    return Response(status=204)


@api.get("/storage/v1/b/<bucket>/o")
def _list(bucket: str) -> Response:
    asked = request.args
    wanted = Listing(
        prefix=asked.get("prefix", ""),
        delimiter=asked.get("delimiter", ""),
        start=asked.get("startOffset", ""),
        end=asked.get("endOffset", ""),
    )
    length = min(_PAGE, asked.get("maxResults", _PAGE, int) or _PAGE)
    found = page(_store().objects(bucket), wanted, asked.get("pageToken", ""), length)
    body: Resource = {"kind": "storage#objects"}
    if found.objects:
        body["items"] = [item.resource(_root()) for item in found.objects]
    if found.prefixes:
        body["prefixes"] = list(found.prefixes)
    if found.token:
        body["nextPageToken"] = found.token
    return jsonify(body)


@api.post("/upload/storage/v1/b/<bucket>/o")
def _upload(bucket: str) -> Response:
    kind, body = request.args.get("uploadType"), request.get_data()
    if kind == "resumable":
        return _begin(bucket, parsed(body))
    if kind == "multipart":
        given, content = multipart(request.headers.get("Content-Type", ""), body)
    else:
        given, content = {"contentType": request.headers.get("Content-Type")}, body
    name = _name(given)
    return _shown(_store().put(bucket, name, content, given, _conditions()))


@api.put("/upload/storage/v1/b/<bucket>/o")
def _chunk(bucket: str) -> Response:
    answer = _uploads().add(
        request.args.get("upload_id", ""),
        request.headers.get("Content-Range", ""),
        request.get_data(),
        checksums_of(request.headers.get("X-Goog-Hash", "")),
    )
    if isinstance(answer, StoredObject):
        return _shown(answer)
    return Response(status=308, headers={"Range": f"bytes=0-{answer - 1}"} if answer else {})


@api.get(_OBJECT)
@api.get(f"/download{_OBJECT}")
def _get(bucket: str, name: str) -> Response:
    found = _store().get(bucket, name, _generation(), _conditions())
    if request.args.get("alt") != "media":
        return _shown(found)
    kind = found.settings.get("contentType", "application/octet-stream")
    answer = Response(found.content, content_type=kind, headers=_media_headers(found))
    answer.make_conditional(request, accept_ranges=True, complete_length=len(found.content))
    return _arrived(answer)


@api.patch(_OBJECT)
@api.put(_OBJECT)
def _patch(bucket: str, name: str) -> Response:
    found = _store().get(bucket, name, _generation(), _conditions())
    given = parsed(request.get_data())
    return _shown(_store().patch(found, given, whole=request.method == "PUT"))


@api.delete(_OBJECT)
def _delete(bucket: str, name: str) -> Response:
    _store().delete(bucket, name, _generation(), _conditions())
    return Response(status=204)


@api.post(f"{_OBJECT}/copyTo{_TO}")
def _copy(bucket: str, name: str, new_bucket: str, new_name: str) -> Response:
    return _shown(_copied(bucket, name, new_bucket, new_name))


@api.post(f"{_OBJECT}/rewriteTo{_TO}")
def _rewrite(bucket: str, name: str, new_bucket: str, new_name: str) -> Response:
    made = _copied(bucket, name, new_bucket, new_name)
    size = str(len(made.content))
    return jsonify(
        kind="storage#rewriteResponse",
        totalBytesRewritten=size,
        objectSize=size,
        done=True,
        resource=made.resource(_root()),
    )


def _begin(bucket: str, given: Resource) -> Response:
    name, kind = _name(given), request.headers.get("X-Upload-Content-Type")
    if kind:
        given.setdefault("contentType", kind)
    upload_id = _uploads().begin(bucket, name, given, _conditions())
    query = f"uploadType=resumable&upload_id={upload_id}"
    where = f"{_root()}/upload/storage/v1/b/{bucket}/o?{query}"
    return Response(status=200, headers={"Location": where, "X-GUploader-UploadID": upload_id})


def _copied(bucket: str, name: str, new_bucket: str, new_name: str) -> StoredObject:
    generation = request.args.get("sourceGeneration", type=int)
    source = _store().get(bucket, name, generation, _conditions("ifSource"))
    # A resource in the request replaces the source's settings and metadata as a whole.
    given = parsed(request.get_data()) or {**source.settings, "metadata": source.metadata}
    return _store().put(new_bucket, new_name, source.content, given, _conditions())


def _announce(made: StoredObject, courier: Courier | None, faults: Faults) -> None:
    if courier is None:
        return
    event = Event(
        id=str(made.generation),
        bucket=made.bucket,
        name=made.name,
        time=rfc3339(made.created_at),
        resource=made.resource(_root()),
    )
    fault = faults.take("storage", request.method, request.path, ON_EVENT)
    for _ in range(2 if fault and fault.duplicate_event else 1):
        courier.send(event, after=fault.late_event if fault else 0.0)


def _arrived(answer: Response) -> Response:
    """What a reader gets of an object's bytes; the checksums told with it are of all of them."""
    faults: Faults = current_app.extensions["faults"]
    fault = faults.take("storage", request.method, request.path, ON_READING)
    if fault is not None and fault.truncate is not None:
        content = answer.get_data()
        answer.set_data(content[: int(len(content) * fault.truncate)])
    return answer


def _shown(found: StoredObject) -> Response:
    answer = jsonify(found.resource(_root()))
    answer.headers["ETag"] = found.etag
    return answer


def _media_headers(found: StoredObject) -> dict[str, str]:
    return {
        "ETag": f'"{found.etag}"',
        "X-Goog-Generation": str(found.generation),
        "X-Goog-Metageneration": str(found.metageneration),
        "X-Goog-Hash": f"crc32c={found.crc32c},md5={found.md5}",
        "X-Goog-Storage-Class": "STANDARD",
        "X-Goog-Stored-Content-Encoding": "identity",
        "X-Goog-Stored-Content-Length": str(len(found.content)),
    }


def _name(given: Resource) -> str:
    name = request.args.get("name") or given.get("name")
    if not isinstance(name, str) or not name:
        raise ApiError(400, "required", "Required")
    return name


def _generation() -> int | None:
    return request.args.get("generation", type=int)


def _conditions(start: str = "if") -> Conditions:
    def asked(name: str) -> int | None:
        return request.args.get(f"{start}{name}", type=int)

    return Conditions(
        generation_match=asked("GenerationMatch"),
        generation_not_match=asked("GenerationNotMatch"),
        metageneration_match=asked("MetagenerationMatch"),
        metageneration_not_match=asked("MetagenerationNotMatch"),
    )


def _store() -> Store:
    store: Store = current_app.extensions["store"]
    return store


def _uploads() -> Uploads:
    uploads: Uploads = current_app.extensions["uploads"]
    return uploads


def _root() -> str:
    return request.host_url.rstrip("/")


def _refused(error: ApiError) -> tuple[Response, int]:
    return jsonify(error.body()), error.status


def _unknown(error: HTTPException) -> tuple[Response, int]:
    status = error.code or 500
    return jsonify(ApiError(status, "invalid", error.description or error.name).body()), status

"""The sandbox's Cloud Storage, through Google's own client and a real functions-framework app."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, strategies

# First, because it imports Google's client without the warning that comes with it.
from astra.gcs import connect  # isort: split

import functions_framework
from google.api_core.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from google.cloud.storage import Bucket, Client

from astra.settings import Settings
from sandbox.buckets import Listing, page
from sandbox.events import Backoff
from sandbox.faults import Faults
from sandbox.market import Market
from sandbox.markets import simulated_market
from sandbox.objects import StoredObject
from sandbox.serving import Servers
from sandbox.storage import create_app
from sandbox.uploads import multipart

AS_OF = dt.datetime(2026, 10, 30, 14, 0, tzinfo=dt.UTC)
# Appends each event to a file, and fails as often as another file says.
FUNCTION = """
import json
from pathlib import Path

import functions_framework

HOUSE = Path(__file__).parent


@functions_framework.cloud_event
def rebalance(event):
    failures = HOUSE / "failures"
    left = int(failures.read_text()) if failures.exists() else 0
    if left:
        failures.write_text(str(left - 1))
        raise RuntimeError("not yet")
    with (HOUSE / "events").open("a") as out:
        out.write(json.dumps({**event.get_attributes(), "data": event.get_data()}) + "\\n")
"""


@dataclass
class Sandbox:
    """One storage app on its port, with all it needs to be judged."""

    url: str
    client: Client
    faults: Faults
    market: Market
    state: Callable[[], dict[str, Any]]

    @property
    def bucket(self) -> Bucket:
        return self.client.bucket("astra-allocations")

    def wait_for_deliveries(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found: list[dict[str, Any]] = self.state()["deliveries"]
            if len(found) == count and all(d["done"] or d["given_up"] for d in found):
                return found
            time.sleep(0.02)
        pytest.fail(f"{count} deliveries were expected to end: {self.state()['deliveries']}")


@contextmanager
def serving(function_url: str | None = None, backoff: Backoff | None = None) -> Iterator[Sandbox]:
    market = simulated_market(("AAPL",), start=dt.date(2026, 10, 29), at=AS_OF)
    faults = Faults()
    app = create_app(market, faults, function_url=function_url, backoff=backoff)
    with Servers({"storage": app}) as urls:
        settings = Settings.model_validate({"storage_url": urls["storage"]})
        client = connect(settings)
        try:
            yield Sandbox(urls["storage"], client, faults, market, app.extensions["state"])
        finally:
            app.extensions["stop"]()
            client.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with serving() as found:
        yield found


@pytest.fixture
def bucket(sandbox: Sandbox) -> Bucket:
    return sandbox.bucket


def put(bucket: Bucket, name: str, content: bytes = b"ticker,weight\n", **given: Any) -> int:
    blob = bucket.blob(name)
    blob.metadata = given.pop("metadata", None)
    blob.upload_from_string(content, **given)
    return int(blob.generation)


# Objects


def test_an_upload_answers_with_the_resource_google_promises(bucket: Bucket) -> None:
    content = b"123456789"  # the check value of CRC catalogues: CRC-32C is e3069283
    put(bucket, "a/b.csv", content, content_type="text/csv", metadata={"policy": "trust"})
    blob = bucket.get_blob("a/b.csv")
    assert (blob.size, blob.content_type, blob.metageneration) == (len(content), "text/csv", 1)
    assert blob.metadata == {"policy": "trust"}
    assert base64.b64decode(blob.crc32c).hex() == "e3069283"
    assert base64.b64decode(blob.md5_hash).hex() == "25f9e794323b453885f5181f1b624d0b"
    assert blob.time_created == blob.updated == AS_OF
    assert blob.etag
    assert blob.id == f"astra-allocations/a/b.csv/{blob.generation}"


def test_generations_rise_even_while_the_clock_stands_still(sandbox: Sandbox) -> None:
    bucket = sandbox.bucket
    found = [put(bucket, name) for name in ("a", "b", "a")]
    assert found == sorted(set(found))
    assert found[0] == int(AS_OF.timestamp() * 1_000_000)
    sandbox.market.clock.step_to(AS_OF + dt.timedelta(hours=1))
    assert put(bucket, "a") == found[0] + 3_600_000_000


def test_a_precondition_that_does_not_hold_answers_412_in_googles_words(sandbox: Sandbox) -> None:
    generation = put(sandbox.bucket, "a", if_generation_match=0)
    with pytest.raises(PreconditionFailed, match="At least one of the pre-conditions"):
        put(sandbox.bucket, "a", b"other", if_generation_match=0)
    answer = requests.get(
        f"{sandbox.url}/storage/v1/b/astra-allocations/o/a",
        params={"ifGenerationMatch": generation + 1},
        timeout=5,
    )
    assert answer.status_code == 412
    error = answer.json()["error"]
    assert error["code"] == 412
    assert error["errors"][0]["reason"] == "conditionNotMet"
    assert put(sandbox.bucket, "a", b"other", if_generation_match=generation) > generation


def test_of_many_writers_at_once_one_wins(sandbox: Sandbox) -> None:
    def attempt(i: int) -> bool:
        try:
            put(connect_to(sandbox.url), "a", b"%d" % i, if_generation_match=0)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as writers:
        assert sum(writers.map(attempt, range(8))) == 1


@pytest.mark.parametrize("chunk_size", [None, 1 << 20])
def test_more_than_eight_mebibytes_go_up_in_chunks(bucket: Bucket, chunk_size: int | None) -> None:
    content = b"0123456789abcdef" * (9 << 16) + b"the end"
    blob = bucket.blob("big", chunk_size=chunk_size)
    blob.metadata = {"k": "v"}
    blob.upload_from_string(content, if_generation_match=0, content_type="text/plain")
    again = bucket.get_blob("big")
    assert (again.size, again.metadata, again.content_type) == (
        len(content), {"k": "v"}, "text/plain",
    )  # fmt: skip
    assert again.download_as_bytes() == content


def test_chunks_may_come_again_but_leave_no_gap(sandbox: Sandbox) -> None:
    where = begin_resumable(sandbox, "big")
    unit = 256 * 1024
    first, rest = b"a" * unit, b"b" * 10
    total = unit + 10

    def send(body: bytes, content_range: str) -> requests.Response:
        headers = {"Content-Range": content_range}
        return requests.put(where, data=body, headers=headers, timeout=5)

    empty = send(b"", "bytes */*")
    assert empty.status_code == 308
    assert "Range" not in empty.headers
    assert send(rest, f"bytes {unit}-{total - 1}/{total}").status_code == 400
    assert send(b"short", "bytes 0-4/*").status_code == 400
    for _ in range(2):
        answer = send(first, f"bytes 0-{unit - 1}/*")
        assert (answer.status_code, answer.headers["Range"]) == (308, f"bytes=0-{unit - 1}")
    assert sandbox.bucket.get_blob("big") is None
    made = [send(rest, f"bytes {unit}-{total - 1}/{total}") for _ in range(2)]
    assert [m.status_code for m in made] == [200, 200]
    assert made[0].json() == made[1].json()
    assert sandbox.bucket.blob("big").download_as_bytes() == first + rest


def test_a_resumable_upload_checks_its_precondition_at_the_end_too(sandbox: Sandbox) -> None:
    where = begin_resumable(sandbox, "a", ifGenerationMatch="0")
    put(sandbox.bucket, "a", b"came first")
    answer = requests.put(where, data=b"late", timeout=5)
    assert answer.status_code == 412
    assert sandbox.bucket.blob("a").download_as_bytes() == b"came first"


def test_content_that_does_not_match_its_checksum_is_refused(bucket: Bucket) -> None:
    blob = bucket.blob("a")
    blob.md5_hash = base64.b64encode(hashlib.md5(b"other").digest()).decode()  # noqa: S324
    with pytest.raises(BadRequest, match="doesn't match calculated MD5"):
        blob.upload_from_string(b"content")
    assert bucket.get_blob("a") is None


@pytest.mark.parametrize(
    ("start", "end", "part"), [(3, 5, b"345"), (7, None, b"789"), (0, 0, b"0")]
)
def test_a_range_of_the_content_is_served(
    bucket: Bucket, start: int, end: int | None, part: bytes
) -> None:
    put(bucket, "a", b"0123456789")
    assert bucket.blob("a").download_as_bytes(start=start, end=end) == part


def test_a_range_beyond_the_end_is_416(sandbox: Sandbox) -> None:
    put(sandbox.bucket, "a", b"0123456789")
    answer = requests.get(
        f"{sandbox.url}/download/storage/v1/b/astra-allocations/o/a",
        params={"alt": "media"}, headers={"Range": "bytes=10-"}, timeout=5,
    )  # fmt: skip
    assert answer.status_code == 416


def test_metadata_is_merged_by_patch_and_replaced_by_update(bucket: Bucket) -> None:
    generation = put(bucket, "a", content_type="text/csv", metadata={"x": "1", "y": "2"})
    blob = bucket.get_blob("a")
    blob.metadata = {"x": None, "z": "3"}
    blob.patch()
    patched = bucket.get_blob("a")
    assert patched.metadata == {"y": "2", "z": "3"}
    assert (patched.generation, patched.metageneration) == (generation, 2)
    assert patched.content_type == "text/csv"
    patched.metadata = {"only": "this"}
    patched.update()
    assert bucket.get_blob("a").metadata == {"only": "this"}
    with pytest.raises(PreconditionFailed):
        patched.patch(if_metageneration_match=1)


def test_a_listing_folds_at_the_delimiter_and_goes_on_page_by_page(bucket: Bucket) -> None:
    for name in ("failure/a", "failure/b", "predictions_1", "target_1", "target_2", "z/y/x"):
        put(bucket, name)
    listed = bucket.list_blobs(delimiter="/", page_size=2)
    pages = [([b.name for b in p], sorted(p.prefixes)) for p in listed.pages]
    assert pages == [
        (["predictions_1"], ["failure/"]),
        (["target_1", "target_2"], []),
        ([], ["z/"]),
    ]
    names = [b.name for b in bucket.list_blobs(prefix="failure/", max_results=1)]
    assert names == ["failure/a"]
    between = bucket.list_blobs(start_offset="predictions_1", end_offset="target_2")
    assert [b.name for b in between] == ["predictions_1", "target_1"]


NAMES = strategies.text("ab/", min_size=1, max_size=5)


@given(
    names=strategies.sets(NAMES, max_size=12),
    prefix=strategies.text("ab/", max_size=2),
    delimiter=strategies.sampled_from(["", "/", "b"]),
    length=strategies.integers(1, 4),
)
def test_pages_together_hold_every_name_once(
    names: set[str], prefix: str, delimiter: str, length: int
) -> None:
    objects = [stored(name) for name in names]
    wanted, token, entries = Listing(prefix=prefix, delimiter=delimiter), "", []
    while True:
        found = page(objects, wanted, token, length)
        entries += sorted([o.name for o in found.objects] + list(found.prefixes))
        token = found.token
        if not token:
            break
    expected = set()
    for name in names:
        if name.startswith(prefix):
            head, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            expected.add(prefix + head + cut if cut else name)
    assert entries == sorted(expected)


def test_a_copy_and_a_rewrite_keep_what_was_written(bucket: Bucket) -> None:
    generation = put(bucket, "a/b", b"content", content_type="text/csv", metadata={"x": "1"})
    bucket.copy_blob(bucket.blob("a/b"), bucket, "failure/a/b")
    bucket.blob("c").rewrite(bucket.blob("a/b"), if_generation_match=0)
    for name in ("failure/a/b", "c"):
        made = bucket.get_blob(name)
        assert made.download_as_bytes() == b"content"
        assert (made.content_type, made.metadata) == ("text/csv", {"x": "1"})
        assert made.generation > generation
    with pytest.raises(PreconditionFailed):
        bucket.copy_blob(bucket.blob("a/b"), bucket, "d", if_source_generation_match=generation + 1)


def test_what_was_deleted_is_gone(bucket: Bucket) -> None:
    generation = put(bucket, "a")
    with pytest.raises(PreconditionFailed):
        bucket.blob("a").delete(if_generation_match=generation + 1)
    bucket.blob("a").delete(if_generation_match=generation)
    with pytest.raises(NotFound, match="No such object: astra-allocations/a"):
        bucket.blob("a").download_as_bytes()
    with pytest.raises(NotFound):
        bucket.blob("a").delete()


def test_an_old_generation_is_not_served_as_the_new_one(bucket: Bucket) -> None:
    old, new = put(bucket, "a", b"old"), put(bucket, "a", b"new")
    assert bucket.blob("a", generation=new).download_as_bytes() == b"new"
    with pytest.raises(NotFound):
        bucket.blob("a", generation=old).download_as_bytes()


def test_a_bucket_exists_once_it_was_created_and_not_before(sandbox: Sandbox) -> None:
    client = sandbox.client
    assert client.lookup_bucket("mine") is None
    with pytest.raises(NotFound, match="The specified bucket does not exist"):
        put(client.bucket("mine"), "a")
    client.create_bucket("mine")
    with pytest.raises(Conflict, match="you already own it"):
        client.create_bucket("mine")
    assert [b.name for b in client.list_buckets()] == ["astra-allocations", "mine"]
    put(client.get_bucket("mine"), "a")
    with pytest.raises(Conflict, match="not empty"):
        client.bucket("mine").delete()
    client.bucket("mine").blob("a").delete()
    client.bucket("mine").delete()
    assert client.lookup_bucket("mine") is None


def test_answers_carry_the_markets_time(sandbox: Sandbox) -> None:
    answer = requests.get(f"{sandbox.url}/storage/v1/b/astra-allocations", timeout=5)
    assert answer.headers["Date"] == "Fri, 30 Oct 2026 14:00:00 GMT"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/upload/storage/v1/b/astra-allocations/o?uploadType=multipart", b"no parts", 400),
        ("POST", "/upload/storage/v1/b/astra-allocations/o?uploadType=media", b"no name", 400),
        ("POST", "/upload/storage/v1/b/astra-allocations/o?uploadType=resumable", b"[1]", 400),
        ("PUT", "/upload/storage/v1/b/astra-allocations/o?upload_id=unknown", b"", 404),
        ("GET", "/storage/v1/b/astra-allocations/o?pageToken=%FF", b"", 400),
        ("POST", "/storage/v1/b", b"{not json", 400),
        ("POST", "/storage/v1/b", b"{}", 400),
        ("GET", "/storage/v2/else", b"", 404),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_as_json(
    sandbox: Sandbox, method: str, path: str, body: bytes, status: int
) -> None:
    answer = requests.request(method, sandbox.url + path, data=body, timeout=5)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status


@given(content=strategies.binary(max_size=40) | strategies.sampled_from([b"\r\n--x", b"--x--"]))
def test_a_multipart_body_gives_back_any_content(content: bytes) -> None:
    body = b'--x1\r\ncontent-type: application/json\r\n\r\n{"name": "a"}\r\n--x1\r\n'
    body += b"content-type: text/csv\r\n\r\n" + content + b"\r\n--x1--"
    resource, found = multipart('multipart/related; boundary="x1"', body)
    assert resource == {"name": "a", "contentType": "text/csv"}
    assert found == content


# Events


@dataclass
class Function:
    """A functions-framework app: what it was told, and how often it is to fail first."""

    url: str
    house: Path

    def events(self) -> list[dict[str, Any]]:
        log = self.house / "events"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def fail(self, times: int) -> None:
        (self.house / "failures").write_text(str(times))


def function_servers(house: Path) -> Servers:
    source = house / "main.py"
    source.write_text(FUNCTION)
    return Servers({"function": functions_framework.create_app("rebalance", str(source))})


@pytest.fixture
def function(tmp_path: Path) -> Iterator[Function]:
    with function_servers(tmp_path) as urls:
        yield Function(urls["function"], tmp_path)


QUICK = Backoff(first=0.02, longest=0.05, attempts=100)


def test_a_finished_object_reaches_the_function_as_google_would_send_it(
    function: Function,
) -> None:
    with serving(function.url) as sandbox:
        generation = put(sandbox.bucket, "target_1.csv", b"content", metadata={"policy": "trust"})
        (delivery,) = sandbox.wait_for_deliveries(1)
    (event,) = function.events()
    assert event["type"] == "google.cloud.storage.object.v1.finalized"
    assert event["source"] == "//storage.googleapis.com/projects/_/buckets/astra-allocations"
    assert event["subject"] == "objects/target_1.csv"
    assert event["time"].startswith("2026-10-30T14:00:00")
    assert (event["specversion"], event["id"]) == ("1.0", delivery["event"])
    assert event["data"]["bucket"] == "astra-allocations"
    assert event["data"]["name"] == "target_1.csv"
    assert event["data"]["generation"] == str(generation)
    assert event["data"]["metadata"] == {"policy": "trust"}
    assert delivery["attempts"] == [200]


def test_a_function_that_fails_is_asked_again_until_it_succeeds(function: Function) -> None:
    function.fail(2)
    with serving(function.url, QUICK) as sandbox:
        put(sandbox.bucket, "a")
        (delivery,) = sandbox.wait_for_deliveries(1)
    assert delivery["attempts"] == [500, 500, 200]
    assert delivery["done"]
    assert len(function.events()) == 1


def test_an_event_armed_to_come_twice_comes_twice_with_one_id(function: Function) -> None:
    with serving(function.url) as sandbox:
        sandbox.faults.arm({"vendor": "storage", "duplicate_event": True})
        put(sandbox.bucket, "a")
        put(sandbox.bucket, "b")
        sandbox.wait_for_deliveries(3)
    events = sorted(function.events(), key=lambda e: str(e["id"]))
    assert [e["data"]["name"] for e in events] == ["a", "a", "b"]
    assert events[0] == events[1]


def test_a_late_event_comes_after_one_that_was_sent_after_it(function: Function) -> None:
    with serving(function.url) as sandbox:
        sandbox.faults.arm({"vendor": "storage", "late_event": 0.5})
        put(sandbox.bucket, "late")
        put(sandbox.bucket, "prompt")
        sandbox.wait_for_deliveries(2)
    assert [e["data"]["name"] for e in function.events()] == ["prompt", "late"]


def test_an_object_arrives_cut_with_the_checksum_of_the_whole(
    sandbox: Sandbox, bucket: Bucket
) -> None:
    put(bucket, "a", b"123456789")
    sandbox.faults.arm({"vendor": "storage", "duplicate_event": True})  # not a reader's
    sandbox.faults.arm({"vendor": "storage", "truncate": 0.5})
    url = f"{sandbox.url}/storage/v1/b/astra-allocations/o/a?alt=media"
    cut, whole = (requests.get(url, timeout=5) for _ in range(2))
    assert (cut.content, whole.content) == (b"1234", b"123456789")
    assert cut.headers["X-Goog-Hash"] == whole.headers["X-Goog-Hash"]
    assert len(sandbox.faults.armed()) == 1


def test_a_function_that_is_not_up_yet_gets_its_event_once_it_is(tmp_path: Path) -> None:
    port = free_port()
    with serving(f"http://127.0.0.1:{port}", QUICK) as sandbox:
        put(sandbox.bucket, "a")
        while not sandbox.state()["deliveries"][0]["attempts"]:
            time.sleep(0.01)
        servers = function_servers(tmp_path)
        servers.start(port)
        try:
            (delivery,) = sandbox.wait_for_deliveries(1)
        finally:
            servers.stop()
    assert delivery["attempts"][0] == "error"
    assert delivery["attempts"][-1] == 200
    assert [e["data"]["name"] for e in Function("", tmp_path).events()] == ["a"]


def test_an_upload_whose_answer_was_lost_is_announced_once(function: Function) -> None:
    with serving(function.url) as sandbox:
        sandbox.faults.arm({"vendor": "storage", "method": "POST", "status": 504, "after": True})
        with pytest.raises(PreconditionFailed):  # the client's own second attempt
            put(sandbox.bucket, "a", if_generation_match=0)
        sandbox.wait_for_deliveries(1)
    assert len(function.events()) == 1


def test_copies_and_chunked_uploads_are_announced_changes_of_metadata_are_not(
    function: Function,
) -> None:
    with serving(function.url) as sandbox:
        put(sandbox.bucket, "a", b"0" * (9 << 20))
        sandbox.bucket.copy_blob(sandbox.bucket.blob("a"), sandbox.bucket, "b")
        blob = sandbox.bucket.get_blob("a")
        blob.metadata = {"x": "1"}
        blob.patch()
        blob.delete()
        sandbox.wait_for_deliveries(2)
    assert sorted(e["data"]["name"] for e in function.events()) == ["a", "b"]


def test_a_name_beyond_ascii_reaches_the_function(function: Function) -> None:
    with serving(function.url) as sandbox:
        put(sandbox.bucket, "Grüße 1.csv")
        (delivery,) = sandbox.wait_for_deliveries(1)
    assert delivery["attempts"] == [200]
    assert function.events()[0]["data"]["name"] == "Grüße 1.csv"


def test_a_hopeless_event_is_given_up_and_that_shows() -> None:
    gives_up = Backoff(first=0.01, longest=0.02, attempts=3)
    with serving(f"http://127.0.0.1:{free_port()}", gives_up) as sandbox:
        put(sandbox.bucket, "a")
        (delivery,) = sandbox.wait_for_deliveries(1)
    assert delivery["attempts"] == ["error"] * 3
    assert (delivery["done"], delivery["given_up"]) == (False, True)


def test_nothing_is_sent_after_the_stop(function: Function) -> None:
    with serving(function.url) as sandbox:
        sandbox.faults.arm({"vendor": "storage", "late_event": 0.2})
        put(sandbox.bucket, "a")
    time.sleep(0.3)
    assert function.events() == []
    assert not [t for t in threading.enumerate() if t.name.startswith("delivery-")]


def test_the_state_tells_objects_without_their_content(sandbox: Sandbox) -> None:
    generation = put(sandbox.bucket, "a", b"content", metadata={"x": "1"})
    assert sandbox.state() == {
        "objects": [
            {
                "bucket": "astra-allocations",
                "name": "a",
                "generation": generation,
                "size": 7,
                "metadata": {"x": "1"},
            }
        ],
        "deliveries": [],
    }


def test_pauses_double_up_to_their_cap() -> None:
    assert [Backoff().pause(n) for n in (1, 2, 3, 7, 19)] == [0.2, 0.4, 0.8, 10.0, 10.0]


def connect_to(url: str) -> Bucket:
    client = connect(Settings.model_validate({"storage_url": url}))
    return client.bucket("astra-allocations")


def begin_resumable(sandbox: Sandbox, name: str, **conditions: str) -> str:
    answer = requests.post(
        f"{sandbox.url}/upload/storage/v1/b/astra-allocations/o",
        params={"uploadType": "resumable", **conditions}, json={"name": name}, timeout=5,
    )  # fmt: skip
    assert answer.status_code == 200
    return answer.headers["Location"]


def stored(name: str) -> StoredObject:
    return StoredObject("b", name, 1, b"", {}, {}, AS_OF, AS_OF)


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    return port

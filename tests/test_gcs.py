"""The bucket adapter, against the sandbox's Cloud Storage over loopback HTTP."""

from __future__ import annotations

import datetime as dt
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import request
from hypothesis import HealthCheck, given, settings, strategies

from astra.errors import ConfigError, DataError, TemporaryError
from astra.gcs import Bucket, connect
from astra.settings import Settings
from sandbox.faults import Faults
from sandbox.market import Market
from sandbox.markets import simulated_market
from sandbox.serving import Servers
from sandbox.storage import create_app

AS_OF = dt.datetime(2026, 10, 30, 14, 0, tzinfo=dt.UTC)
NAME = "target_20261030-140000_0a1b2c3d.csv"
CONTENT = b"ticker,weight\nAAPL,0.1\n"
UPLOADS = "/upload/storage/v1/b/astra-allocations/o"


@pytest.fixture(scope="module")
def market() -> Market:
    return simulated_market(("AAPL",), start=dt.date(2026, 10, 29), at=AS_OF)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def url(market: Market, faults: Faults) -> Iterator[str]:
    app = create_app(market, faults, function_url=None, buckets=("astra-allocations", "other"))
    with Servers({"storage": app}) as urls:
        yield urls["storage"]


@pytest.fixture
def bucket(url: str) -> Bucket:
    return _bucket(url)


def _bucket(url: str, *, retry_deadline: float = 5.0, **changes: object) -> Bucket:
    wanted = Settings.model_validate({"storage_url": url, "vendor_timeout": 2.0, **changes})
    return Bucket.from_settings(wanted, retry_deadline=retry_deadline)


def test_an_object_is_read_back_as_it_was_written(bucket: Bucket) -> None:
    generation = bucket.create_once(NAME, CONTENT, "text/csv", {"policy": "measured"})
    found = bucket.read(NAME)
    assert (found.name, found.generation) == (NAME, generation)
    assert (found.content, found.metadata) == (CONTENT, {"policy": "measured"})
    assert bucket.url == "gs://astra-allocations"


def test_nothing_is_asked_but_for_the_object_itself(market: Market, faults: Faults) -> None:
    app = create_app(market, faults, function_url=None, buckets=("astra-allocations",))
    asked: list[str] = []
    app.before_request(lambda: asked.append(request.path))
    with Servers({"storage": app}) as urls:
        bucket = _bucket(urls["storage"])
        bucket.create_once(NAME, CONTENT, "text/csv", {})
        assert bucket.read_or_none("nothing.csv") is None
        time.sleep(0.3)  # for a thread that would ask on
    assert asked
    assert not [path for path in asked if path.endswith("/b/astra-allocations")]


def test_writing_the_same_again_changes_nothing(bucket: Bucket) -> None:
    first = bucket.create_once(NAME, CONTENT, "text/csv", {"policy": "measured"})
    assert bucket.create_once(NAME, CONTENT, "text/csv", {"policy": "trust"}) == first
    assert bucket.read(NAME, first).metadata == {"policy": "measured"}


def test_other_content_under_a_name_in_use_is_refused_and_the_first_kept(bucket: Bucket) -> None:
    bucket.create_once(NAME, CONTENT, "text/csv", {})
    with pytest.raises(DataError, match="written once"):
        bucket.create_once(NAME, b"ticker,weight\nMSFT,0.1\n", "text/csv", {})
    assert bucket.read(NAME).content == CONTENT


def test_of_two_who_replace_the_same_generation_one_wins(bucket: Bucket) -> None:
    first = bucket.replace(NAME, b"first", "text/plain", {}, 0)
    assert first is not None
    assert bucket.replace(NAME, b"late", "text/plain", {}, 0) is None
    second = bucket.replace(NAME, b"second", "text/plain", {}, first)
    assert second is not None and second > first
    assert bucket.replace(NAME, b"late", "text/plain", {}, first) is None
    assert bucket.read(NAME).content == b"second"


def test_a_lost_answer_to_a_replacement_is_no_lost_race(bucket: Bucket, faults: Faults) -> None:
    first = bucket.create_once(NAME, CONTENT, "text/csv", {})
    faults.arm({"vendor": "storage", "method": "POST", "status": 503, "after": True})
    second = bucket.replace(NAME, b"other", "text/csv", {}, first)
    assert second is not None and bucket.read(NAME, second).content == b"other"


def test_an_object_beyond_the_allowed_size_is_not_fetched(bucket: Bucket, faults: Faults) -> None:
    bucket.create_once(NAME, b"12345", "text/plain", {})
    found = bucket.read_or_none(NAME, most=5)
    assert found is not None and found.content == b"12345"
    faults.arm({"vendor": "storage", "method": "GET", "path": "/download", "status": 403})
    with pytest.raises(DataError, match="may have 4 bytes, found 5"):
        bucket.read_or_none(NAME, most=4)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_lost_answer_to_a_write_ends_in_one_object(
    bucket: Bucket, faults: Faults, status: int
) -> None:
    faults.arm({"vendor": "storage", "method": "POST", "status": status, "after": True})
    generation = bucket.create_once(NAME, CONTENT, "text/csv", {})
    assert [(o.name, o.generation) for o in bucket.list()] == [(NAME, generation)]


def test_an_object_beyond_eight_mebibytes_survives_a_lost_last_chunk(
    bucket: Bucket, faults: Faults
) -> None:
    content = bytes(range(256)) * (9 * 4096)
    faults.arm({"vendor": "storage", "method": "PUT", "status": 503, "after": True})
    generation = bucket.create_once("bars.bin", content, "application/octet-stream", {"a": "b"})
    found = bucket.read("bars.bin")
    assert found.content == content
    assert (found.generation, found.metadata) == (generation, {"a": "b"})
    assert faults.armed() == []


def test_a_missing_object_is_a_data_error_that_names_it(bucket: Bucket) -> None:
    assert bucket.read_or_none(NAME) is None
    with pytest.raises(DataError, match=f"gs://astra-allocations/{NAME}, none"):
        bucket.read(NAME)
    with pytest.raises(DataError, match="to copy"):
        bucket.copy(NAME, f"failure/{NAME}")


def test_a_generation_that_was_replaced_is_not_read_as_another(bucket: Bucket) -> None:
    bucket.create_once("a", b"first", "text/plain", {})
    old = bucket.create_once("b", b"second", "text/plain", {})
    new = bucket.copy("a", "b")
    assert new > old
    assert bucket.read_or_none("b", old) is None
    assert bucket.read("b", new).content == b"first"


def test_a_copy_carries_content_and_metadata(bucket: Bucket) -> None:
    bucket.create_once(NAME, CONTENT, "text/csv", {"policy": "measured"})
    copied = bucket.read(f"failure/{NAME}", bucket.copy(NAME, f"failure/{NAME}"))
    assert (copied.content, copied.metadata) == (CONTENT, {"policy": "measured"})
    assert bucket.names() == (f"failure/{NAME}", NAME)


def test_objects_are_listed_by_prefix_in_ascending_order(bucket: Bucket) -> None:
    for name in ("target_2", "decision_1", "target_1", "target_3"):
        bucket.create_once(name, name.encode(), "text/plain", {"is": name})
    assert bucket.names("target_") == ("target_1", "target_2", "target_3")
    assert bucket.names("nothing_") == ()
    found = bucket.list("decision_")
    assert [(o.name, o.created_at, o.metadata) for o in found] == [
        ("decision_1", AS_OF, {"is": "decision_1"})
    ]


def test_buckets_are_apart(url: str, bucket: Bucket) -> None:
    bucket.create_once(NAME, CONTENT, "text/csv", {})
    assert _bucket(url, bucket="other").names() == ()


def test_a_bucket_that_does_not_exist_is_a_config_error_wherever_it_shows(url: str) -> None:
    missing = _bucket(url, bucket="nobody-made-this")
    calls = (
        missing.names,
        lambda: missing.read_or_none(NAME),
        lambda: missing.copy(NAME, "b"),
        lambda: missing.create_once(NAME, CONTENT, "text/csv", {}),
    )
    for call in calls:
        with pytest.raises(
            ConfigError, match=r"gs://nobody-made-this does not exist.*ASTRA_BUCKET"
        ):
            call()


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (401, ConfigError, "grant"),
        (403, ConfigError, "roles/storage.objectUser"),
        (400, DataError, "status 400"),
        (429, TemporaryError, "gs://astra-allocations"),
        (503, TemporaryError, "for now"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_refusal_becomes_our_error_by_what_has_to_be_done(
    url: str, faults: Faults, method: str, status: int, error: type[Exception], says: str
) -> None:
    bucket = _bucket(url, retry_deadline=0.3)
    faults.arm({"vendor": "storage", "method": method, "status": status, "times": None})
    with pytest.raises(error, match=says):
        if method == "POST":
            bucket.create_once(NAME, CONTENT, "text/csv", {})
        else:
            bucket.read(NAME)


def test_a_passing_failure_is_waited_out(bucket: Bucket, faults: Faults) -> None:
    bucket.create_once(NAME, CONTENT, "text/csv", {})
    faults.arm({"vendor": "storage", "method": "GET", "status": 503, "times": 2})
    assert bucket.read(NAME).content == CONTENT


def test_an_address_where_nobody_listens_is_a_temporary_error_within_the_deadline() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="could not be reached"):
            _bucket(url, retry_deadline=0.5).names()
    assert time.monotonic() - began < 3


def test_a_vendor_that_does_not_answer_is_a_temporary_error(url: str, faults: Faults) -> None:
    faults.arm({"vendor": "storage", "method": "GET", "delay_s": 0.6, "times": None})
    slow = _bucket(url, vendor_timeout=0.1, retry_deadline=0.3)
    with pytest.raises(TemporaryError):
        slow.names()


def test_without_credentials_googles_own_address_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="ASTRA_STORAGE_URL"):
        connect(Settings.model_validate({}))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=strategies.binary(max_size=64) | strategies.sampled_from([b"\r\n--", b"--\r\n\r\n"]),
    name=strategies.text(
        strategies.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=20
    ).filter(lambda n: n not in (".", "..")),
)
def test_any_content_under_any_name_comes_back(bucket: Bucket, name: str, content: bytes) -> None:
    existing = bucket.read_or_none(name)
    if existing is None:
        bucket.create_once(name, content, "application/octet-stream", {})
        existing = bucket.read(name)
        assert existing.content == content
    assert name in bucket.names(name)


@pytest.mark.parametrize(("share", "times"), [(0, 1), (0.7, 1), (0.7, 2), (0.7, None)])
def test_an_object_that_arrives_cut_is_never_handed_out(
    bucket: Bucket, faults: Faults, share: float, times: int | None
) -> None:
    bucket.create_once(NAME, CONTENT, "text/csv", {})
    faults.arm({"vendor": "storage", "method": "GET", "truncate": share, "times": times})
    try:
        assert bucket.read(NAME).content == CONTENT
    except TemporaryError:
        assert times != 1
    faults.disarm()
    assert bucket.read(NAME).content == CONTENT

"""The registry, in a folder and in a bucket: what stands in it is whole, and who is champion."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from astra.cli.sandboxed import environment
from astra.errors import BundleError, ConfigError, TemporaryError
from astra.settings import HOUSE, Settings
from model.forecast.bundle import FILES, MANIFEST, SIGNATURE
from model.forecast.homes import Folder
from model.forecast.registry import Registry, open_registry, shipped
from sandbox.buckets import Store
from sandbox.faults import Faults
from sandbox.markets import simulated_market
from sandbox.objects import Conditions
from sandbox.serving import Servers
from sandbox.storage import create_app
from tests.bundles import a_spec

AT = dt.datetime(2026, 10, 30, 14, 0, tzinfo=dt.UTC)
LATER = AT + dt.timedelta(days=1)
LATEST = AT + dt.timedelta(days=2)
POINTERS = ("champion.json", "champion-1d.json")


@dataclass(frozen=True)
class Place:
    """A home from behind: its files as somebody else may leave them."""

    settings: Settings
    names: Callable[[], list[str]]
    read: Callable[[str], bytes]
    write: Callable[[str, bytes], object]
    remove: Callable[[str], object]

    def registry(self, key: str = "") -> Registry:
        changed = {"bundle_key": key, "bundles": str(self.settings.bundles)}
        return open_registry(Settings(_env_file=None, **{**self.settings.model_dump(), **changed}))


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, faults: Faults) -> Iterator[Place]:
    if request.param == "folder":
        yield in_folder(tmp_path / "bundles")
        return
    market = simulated_market(("AAPL",), start=dt.date(2026, 10, 29), at=AT)
    app = create_app(market, faults, function_url=None, buckets=("models",))
    with Servers({"storage": app}) as urls:
        yield in_bucket(urls["storage"], app.extensions["store"])


def in_folder(root: Path) -> Place:
    def write(name: str, content: bytes) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return Place(
        Settings(_env_file=None, bundles=root),
        lambda: sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()),
        lambda name: (root / name).read_bytes(),
        write,
        lambda name: (root / name).unlink(),
    )


def in_bucket(url: str, store: Store) -> Place:
    home = "team/models/"
    settings = Settings(
        _env_file=None, bundles="gs://models/team/models", storage_url=url, vendor_timeout=2.0
    )
    return Place(
        settings,
        lambda: [o.name.removeprefix(home) for o in store.objects("models")],
        lambda name: store.get("models", home + name).content,
        lambda name, content: store.put("models", home + name, content, {}, Conditions()),
        lambda name: store.delete("models", home + name, None, Conditions()),
    )


def registered(registry: Registry, seed: int = 0, **changes: Any) -> str:
    return registry.register(a_spec(seed, **changes), b"network", b"weights").id


def test_what_was_registered_is_loaded_and_is_not_yet_champion(place: Place) -> None:
    registry = place.registry()
    bundle = registry.register(a_spec(), b"network", b"weights")
    assert registry.load(bundle.id) == bundle
    assert (bundle.spec, bundle.onnx, bundle.weights) == (a_spec(), b"network", b"weights")
    assert place.names() == sorted(f"{bundle.id}/{name}" for name in (*FILES, MANIFEST))
    with pytest.raises(BundleError, match=r"champion\.json.*make train.*astra models promote"):
        registry.load()
    assert registry.promote_if_first(bundle.id, AT)
    assert registry.load() == bundle
    assert registry.champion_id() == bundle.id


def test_registering_again_changes_nothing(place: Place) -> None:
    registry = place.registry()
    registered(registry)
    before = {name: place.read(name) for name in place.names()}
    registered(registry)
    assert {name: place.read(name) for name in place.names()} == before


def test_the_first_of_a_frequency_becomes_champion_and_no_other(place: Place) -> None:
    registry = place.registry()
    first, second = (registered(registry, seed) for seed in (1, 2))
    daily = registered(registry, 3, frequency="1d")
    assert registry.promote_if_first(first, AT)
    assert not registry.promote_if_first(second, LATER)
    assert registry.promote_if_first(daily, AT)
    assert registry.champion_id() == first
    assert registry.champion_id("1d") == registry.load(frequency="1d").id == daily
    assert {n for n in place.names() if "/" not in n} == set(POINTERS)


def test_the_pointer_says_who_was_champion_when_and_why(place: Place) -> None:
    registry = place.registry()
    first, second, third = (registered(registry, seed) for seed in (1, 2, 3))
    registry.promote_if_first(first, AT)
    registry.promote(second, LATER, "forced", over=first)
    registry.promote(third, LATEST, "better")
    found = registry.succession()
    assert found is not None
    assert [(r.id, r.since, r.why) for r in (found.champion, *found.before)] == [
        (third, LATEST, "better"),
        (second, LATER, "forced"),
        (first, AT, "the first of its frequency"),
    ]
    written = json.loads(place.read("champion.json"))
    assert written["id"] == third and written["since"] == LATEST.isoformat()
    assert written["before"][0]["why"] == "forced"


def test_a_rollback_returns_to_the_one_before_and_a_second_one_further(place: Place) -> None:
    registry = place.registry()
    names = [registered(registry, seed) for seed in (1, 2, 3)]
    for name in names:
        registry.promote(name, AT, "better")
    assert registry.rollback(LATER).id == names[1]
    assert registry.load().id == names[1]
    assert registry.rollback(LATEST).id == names[0]
    with pytest.raises(BundleError, match=r"an earlier champion of 5m bars.*astra models promote"):
        registry.rollback(LATEST)
    found = registry.succession()
    assert found is not None
    assert [(r.id, r.since, r.until) for r in found.withdrawn] == [
        (names[1], LATER, LATEST),
        (names[0], AT, AT),
        (names[2], AT, LATER),
        (names[1], AT, AT),
    ]
    assert registry.promote(names[2], LATEST, "again").since == LATEST


def test_a_rollback_begins_a_new_reign_and_leaves_the_old_one_its_end(place: Place) -> None:
    registry = place.registry()
    names = [registered(registry, seed) for seed in (1, 2, 3)]
    days = [AT + dt.timedelta(days=k) for k in range(6)]
    for name, day in zip(names, days, strict=False):
        registry.promote(name, day, "better")
    back = registry.rollback(days[3])
    assert (back.id, back.since, back.until) == (names[1], days[3], None)
    assert back.why == f"back from {names[2]}"
    assert registry.load().id == names[1]
    registry.promote(names[2], days[4], "forced")
    found = registry.succession()
    assert found is not None
    reigns = [(r.id, r.since, r.until) for r in (found.champion, *found.before, *found.withdrawn)]
    assert reigns == [
        (names[2], days[4], None),
        (names[1], days[3], days[4]),
        (names[0], days[0], days[1]),
        (names[2], days[2], days[3]),
        (names[1], days[1], days[2]),
    ]


def test_a_pointer_that_names_no_ends_has_them_from_who_followed(tmp_path: Path) -> None:
    registry = Registry(Folder(tmp_path))
    first, second, third = (registered(registry, seed) for seed in (1, 2, 3))
    for name, day in ((first, AT), (second, LATER), (third, LATEST)):
        registry.promote(name, day, "better")
    pointer = json.loads((tmp_path / "champion.json").read_text())
    for reign in pointer["before"]:
        del reign["until"]
    (tmp_path / "champion.json").write_text(json.dumps(pointer))
    found = registry.succession()
    assert found is not None
    assert [(r.id, r.until) for r in found.before] == [(second, LATEST), (first, LATER)]


def test_a_champion_of_five_minute_bars_forecasts_the_horizon_that_decisions_use(
    place: Place,
) -> None:
    registry = place.registry()
    good, far = registered(registry, 1), registered(registry, 2, horizon=24)
    said = f"a champion of 5m bars must forecast 12 bars, {far} forecasts 24: train it with that"
    with pytest.raises(BundleError, match=said):
        registry.promote_if_first(far, AT)
    registry.promote(good, AT, "better")
    with pytest.raises(BundleError, match=said):
        registry.promote(far, LATER, "forced")
    assert registry.champion_id() == good
    daily = registered(registry, 3, frequency="1d", horizon=5)
    assert registry.promote_if_first(daily, AT)


class TwoFaced(Folder):
    """A folder whose manifest is another one, of the same eight digits, when read again."""

    def __init__(self, root: Path, first: bytes, then: bytes) -> None:
        super().__init__(root)
        self.faces = [first, then]

    def read(self, name: str, most: int) -> bytes | None:
        if not name.endswith(MANIFEST):
            return super().read(name, most)
        return self.faces.pop(0) if len(self.faces) > 1 else self.faces[0]


def two_faced(root: Path) -> tuple[TwoFaced, str, bytes]:
    """The home, the bundle's id, and the manifest that fits its files."""
    name = registered(Registry(Folder(root)))
    honest = (root / name / MANIFEST).read_bytes()
    listed = json.loads(honest)
    listed["files"]["model.onnx"] = "0" * 64
    other = json.dumps(listed).encode()
    digits: dict[str, bytes] = {}
    for k in range(200_000):  # a birthday: spaces at the end until eight digits agree
        spaces = f"{k:b}".replace("0", " ").replace("1", "\t").encode()
        digits[hashlib.sha256(honest + spaces).hexdigest()[:8]] = honest + spaces
        found = hashlib.sha256(other + spaces).hexdigest()[:8]
        if found in digits:
            alias = f"nbeats-5m-{found}"
            shutil.copytree(root / name, root / alias)
            return TwoFaced(root, digits[found], other + spaces), alias, digits[found]
    raise AssertionError("no two manifests share eight digits")


def test_the_pointer_names_the_manifest_that_was_verified(tmp_path: Path) -> None:
    home, name, honest = two_faced(tmp_path)
    reign = Registry(home).promote(name, AT, "better")
    assert reign.manifest_sha256 == hashlib.sha256(honest).hexdigest()


def test_a_manifest_that_changes_while_it_is_verified_is_not_signed(tmp_path: Path) -> None:
    home, name, _ = two_faced(tmp_path)
    with pytest.raises(BundleError, match=f"the manifest of {name} changed while"):
        Registry(home, b"a key of our own").sign(name)
    assert not (tmp_path / name / SIGNATURE).exists()


def test_a_rollback_to_a_broken_bundle_is_refused_and_the_champion_stays(place: Place) -> None:
    registry = place.registry()
    first, second = (registered(registry, seed) for seed in (1, 2))
    for name in (first, second):
        registry.promote(name, AT, "better")
    place.write(f"{first}/model.onnx", b"other")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        registry.rollback(LATER)
    assert registry.load().id == second


def test_a_rollback_to_another_manifest_of_the_same_name_is_refused(place: Place) -> None:
    registry = place.registry()
    first, second = (registered(registry, seed) for seed in (1, 2))
    for name in (first, second):
        registry.promote(name, AT, "better")
    pointer = json.loads(place.read("champion.json"))
    pointer["before"][0]["manifest_sha256"] = first[-8:] + "0" * 56
    place.write("champion.json", json.dumps(pointer).encode())
    with pytest.raises(BundleError, match="not the one that was promoted"):
        registry.rollback(LATER)


def test_promoting_the_champion_again_changes_nothing(place: Place) -> None:
    registry = place.registry()
    name = registered(registry)
    registry.promote(name, AT, "better")
    before = place.read("champion.json")
    assert registry.promote(name, LATER, "forced").since == AT
    assert place.read("champion.json") == before


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_broken_bundle_is_neither_loaded_nor_promoted_nor_hidden(place: Place, name: str) -> None:
    registry = place.registry()
    good, broken = (registered(registry, seed) for seed in (1, 2))
    registry.promote(good, AT, "better")
    place.write(f"{broken}/{name}", place.read(f"{broken}/{name}")[:-1])
    with pytest.raises(BundleError, match=rf"{name[:8]}.* of {broken}|{broken}.*{name[:8]}"):
        registry.load(broken)
    with pytest.raises(BundleError):
        registry.promote(broken, LATER, "forced")
    assert registry.load().id == good
    listed = {found.id: found for found in registry.list()}
    assert listed[good].is_champion and not listed[broken].is_champion
    assert bool(listed[broken].fault) == (name in ("spec.json", MANIFEST))


def test_an_upload_that_ended_half_way_is_not_there_and_is_completed_later(place: Place) -> None:
    registry = place.registry()
    name = registered(registry)
    place.remove(f"{name}/{MANIFEST}")  # it is written last
    place.remove(f"{name}/weights.safetensors")
    assert registry.list() == ()
    with pytest.raises(BundleError, match=r"manifest\.json, which cannot be read"):
        registry.load(name)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        registry.promote_if_first(name, AT)
    assert not set(POINTERS) & set(place.names())
    assert registered(registry) == name
    assert registry.load(name).weights == b"weights"


def test_a_file_in_the_way_of_a_bundle_is_left_as_it_is_and_named(place: Place) -> None:
    registry = place.registry()
    name = registered(registry)
    place.remove(f"{name}/{MANIFEST}")
    place.write(f"{name}/model.onnx", b"something else")
    with pytest.raises(BundleError, match=r"model\.onnx is written once"):
        registered(registry)
    assert place.read(f"{name}/model.onnx") == b"something else"


def test_a_file_beyond_its_size_is_not_read(place: Place) -> None:
    registry = place.registry()
    name = registered(registry)
    registry.promote(name, AT, "better")
    place.write(f"{name}/spec.json", b" " * (2**20 + 1))
    with pytest.raises(BundleError, match=r"spec\.json may have 1,048,576 bytes, found 1,048,577"):
        registry.load()
    place.write("champion.json", b" " * (2**20 + 1))
    with pytest.raises(BundleError, match=r"champion\.json may have 1,048,576 bytes"):
        registry.champion_id()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"id": 3, "manifest_sha256": 4}',
        "\x80",
        '{"id": "nbeats-5m-0123abcd"}',
        '{"id": "../secret", "manifest_sha256": "0"}',
        '{"id": "nbeats-1d-0123abcd", "manifest_sha256": "0"}',
        '{"id": "nbeats-5m-0123abcd", "manifest_sha256": "0", "before": {"id": "x"}}',
        '{"id": "nbeats-5m-0123abcd", "manifest_sha256": "0", "since": "yesterday"}',
        "[" * 100_000,
    ],
)
def test_a_broken_pointer_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "champion.json").write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match=r"champion\.json|a bundle's id is"):
        Registry(Folder(tmp_path)).champion_id()


def test_a_pointer_of_the_first_release_is_still_understood(tmp_path: Path) -> None:
    registry = Registry(Folder(tmp_path))
    old, new = (registered(registry, seed) for seed in (1, 2))
    registry.promote(old, AT, "better")
    whole = json.loads((tmp_path / "champion.json").read_text())
    first = {key: whole[key] for key in ("id", "manifest_sha256")}
    (tmp_path / "champion.json").write_text(json.dumps(first))
    assert registry.load().id == old
    registry.promote(new, LATER, "better")
    assert registry.rollback(LATEST).id == old


def test_a_pointer_to_another_manifest_of_the_same_name_is_refused(place: Place) -> None:
    registry = place.registry()
    name = registered(registry)
    registry.promote(name, AT, "better")
    pointer = json.loads(place.read("champion.json"))
    pointer["manifest_sha256"] = pointer["manifest_sha256"][:8] + "0" * 56
    place.write("champion.json", json.dumps(pointer).encode())
    with pytest.raises(BundleError, match="not the one that was promoted"):
        registry.load()


def test_of_two_who_promote_at_once_one_wins_and_the_other_is_told(place: Place) -> None:
    registry = place.registry()
    champion, *challengers = (registered(registry, seed) for seed in range(5))
    registry.promote(champion, AT, "the first")
    start = threading.Barrier(4)

    def promote(name: str) -> str:
        start.wait()
        try:
            return place.registry().promote(name, LATER, "better", over=champion).id
        except TemporaryError as error:
            assert "another one was faster; nothing was changed" in str(error)
            return ""

    with ThreadPoolExecutor(4) as pool:
        winners = [name for name in pool.map(promote, challengers) if name]
    assert winners == [registry.load().id]
    found = registry.succession()
    assert found is not None and [r.id for r in found.before] == [champion]


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    home, seen = Folder(tmp_path), None
    with ThreadPoolExecutor(8) as pool:
        for round_ in range(40):
            start = threading.Barrier(8)

            def write(
                content: bytes, seen: bytes | None = seen, start: threading.Barrier = start
            ) -> bool:
                start.wait()
                return home.replace("champion.json", content, seen)

            contents = [f"{round_} {writer}".encode() for writer in range(8)]
            won = [c for c, has in zip(contents, pool.map(write, contents), strict=True) if has]
            seen = (tmp_path / "champion.json").read_bytes()
            assert won == [seen]


def test_a_challenger_measured_against_another_champion_is_not_promoted(place: Place) -> None:
    registry = place.registry()
    old, new, challenger = (registered(registry, seed) for seed in (1, 2, 3))
    registry.promote(old, AT, "the first")
    registry.promote(new, AT, "better")
    with pytest.raises(TemporaryError, match=f"{old} was champion when"):
        registry.promote(challenger, LATER, "better", over=old)
    assert registry.champion_id() == new


def test_a_promotion_is_seen_by_who_holds_the_old_champion(place: Place) -> None:
    registry, service = place.registry(), place.registry()
    old, new = (registered(registry, seed) for seed in (1, 2))
    daily = registered(registry, 3, frequency="1d")
    registry.promote(old, AT, "the first")
    registry.promote(daily, AT, "the first")
    held = service.load()
    assert service.newest(held) is held
    registry.promote(new, LATER, "better")
    assert service.newest(held).id == new
    registry.rollback(LATEST)
    assert service.newest(held) is held
    held_daily = service.load(frequency="1d")
    assert service.newest(held_daily) is held_daily


def test_with_a_key_bundles_are_signed_and_unsigned_ones_refused_until_they_are(
    place: Place,
) -> None:
    plain = place.registry()
    unsigned = registered(plain, 1)
    plain.promote(unsigned, AT, "the first")
    keyed = place.registry("a key of our own")
    with pytest.raises(BundleError, match=f"is not signed.*astra models sign {unsigned}"):
        keyed.load()
    assert "not signed" in keyed.list()[0].fault
    signed = registered(keyed, 2)
    assert f"{signed}/{SIGNATURE}" in place.names()
    keyed.sign(unsigned)
    assert keyed.load().id == unsigned
    with pytest.raises(BundleError, match="not made with this ASTRA_BUNDLE_KEY"):
        place.registry("another key").load(signed)
    place.registry("another key").sign(signed)
    assert place.registry("another key").load(signed).id == signed
    with pytest.raises(BundleError, match="set ASTRA_BUNDLE_KEY"):
        plain.sign(unsigned)


def test_what_was_tampered_with_is_not_signed(place: Place) -> None:
    keyed = place.registry("a key of our own")
    name = registered(place.registry())
    place.write(f"{name}/model.onnx", b"other")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        keyed.sign(name)
    assert f"{name}/{SIGNATURE}" not in place.names()


def test_a_symbolic_link_or_a_pipe_in_a_bundle_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "bundles"
    registry = Registry(Folder(root))
    name = registered(registry)
    network = root / name / "model.onnx"
    network.rename(tmp_path / "elsewhere.onnx")
    network.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx is behind a symbolic link"):
        registry.load(name)
    network.unlink()
    os.mkfifo(network)
    with pytest.raises(BundleError, match=r"model\.onnx must be a file"):
        registry.load(name)
    network.unlink()
    (tmp_path / "elsewhere.onnx").rename(network)
    shutil.move(root / name, tmp_path / name)
    (root / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match="is behind a symbolic link"):
        registry.load(name)


def test_a_network_beyond_its_size_is_not_read_from_a_folder(tmp_path: Path) -> None:
    registry = Registry(Folder(tmp_path))
    name = registered(registry)
    with (tmp_path / name / "model.onnx").open("r+b") as file:
        file.truncate(256 * 2**20 + 1)
    with pytest.raises(BundleError, match=r"model\.onnx may have 268,435,456 bytes"):
        registry.load(name)


KILLED = """
import os, sys
from pathlib import Path
from model.forecast.homes import Folder
from model.forecast.registry import Registry
from tests.bundles import a_spec

stop_at, writes = int(sys.argv[2]), 0
replace = Path.replace

def replace_or_die(self, target):
    global writes
    if writes == stop_at:
        os.kill(os.getpid(), 9)
    writes += 1
    return replace(self, target)

Path.replace = replace_or_die
registry = Registry(Folder(Path(sys.argv[1])))
import datetime as dt
bundle = registry.register(a_spec(2), b"network", b"weights")
registry.promote(bundle.id, dt.datetime(2026, 10, 31, tzinfo=dt.UTC), "better")
"""


@pytest.mark.parametrize("stop_at", [0, 2, 3, 4])
def test_killed_before_any_write_the_old_champion_stands_whole(
    tmp_path: Path, stop_at: int
) -> None:
    registry = Registry(Folder(tmp_path))
    old = registered(registry, 1)
    registry.promote(old, AT, "the first")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(stop_at)],
        cwd=HOUSE, env={**os.environ, "PYTHONPATH": str(HOUSE)}, check=False,
    )  # fmt: skip
    assert done.returncode == -9
    assert registry.load().id == old
    whole = {found.id for found in registry.list() if not found.fault}
    assert len(whole) == (2 if stop_at == 4 else 1), "a bundle is there when its manifest is"
    for name in whole:
        assert registry.load(name).onnx == b"network"
    new = registered(registry, 2)
    assert registry.promote(new, LATER, "better").id == new


def test_a_promotion_whose_answer_was_lost_is_no_lost_race(faults: Faults) -> None:
    market = simulated_market(("AAPL",), start=dt.date(2026, 10, 29), at=AT)
    app = create_app(market, faults, function_url=None, buckets=("models",))
    with Servers({"storage": app}) as urls:
        registry = in_bucket(urls["storage"], app.extensions["store"]).registry()
        name = registered(registry)
        faults.arm({"vendor": "storage", "method": "POST", "status": 503, "after": True})
        assert registry.promote(name, AT, "better").id == name
        assert faults.armed() == []


def test_a_sandbox_runs_on_a_copy_of_the_champion_in_the_bucket(
    place: Place, tmp_path: Path
) -> None:
    registry = place.registry("a key of our own")
    name = registered(registry)
    registry.promote(name, AT, "better")
    settings = place.settings.model_copy(update={"bundle_key": SecretStr("a key of our own")})
    urls = dict.fromkeys(("yahoo", "storage", "alpaca", "etl", "model", "monitor"), "http://there")
    found = environment(settings, tmp_path, urls)
    if isinstance(settings.bundles, Path):
        assert "ASTRA_BUNDLES" not in found
        return
    copied = settings.model_copy(update={"bundles": Path(found["ASTRA_BUNDLES"])})
    assert open_registry(copied).load() == registry.load()
    assert tmp_path in Path(found["ASTRA_BUNDLES"]).parents


def test_a_folder_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="ASTRA_BUNDLES"):
        registered(Registry(Folder(tmp_path / "file" / "bundles")))


def test_an_installed_package_keeps_what_it_came_with(tmp_path: Path) -> None:
    for package in ("astra", "model"):
        ignored = shutil.ignore_patterns("__pycache__", "cli", "backtest")
        shutil.copytree(HOUSE / package, tmp_path / package, ignore=ignored)
    code = (
        "from model.forecast.registry import shipped\n"
        "bundle = shipped().load()\n"
        "shipped().register(bundle.spec, bundle.onnx, bundle.weights)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "ConfigError" in done.stderr and "ASTRA_BUNDLES" in done.stderr
    assert str(tmp_path) in done.stderr, "it was the copy that ran"


def test_what_comes_with_the_program_is_opened_by_default() -> None:
    settings = Settings(_env_file=None)
    assert open_registry(settings).load() == shipped().load()

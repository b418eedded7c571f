"""Bundles: what is packed is what is unpacked, and nothing else is."""

import datetime as dt
import hashlib
import json

import pytest

from astra.errors import BundleError
from model.forecast import bundle as bundles
from model.forecast.bundle import (
    BUNDLES,
    FILES,
    MANIFEST,
    SIGNATURE,
    pack,
    signature,
    unpack,
    unpack_spec,
)
from model.forecast.registry import shipped
from tests.bundles import a_spec

Files = dict[str, bytes]


class Shelf:
    """The files of one bundle, in memory, and which of them were read."""

    def __init__(self, files: Files) -> None:
        self.files, self.asked = files, []

    def __call__(self, name: str, most: int) -> bytes:
        self.asked.append(name)
        if name not in self.files:
            raise BundleError(f"{name} is not there")
        if len(self.files[name]) > most:
            raise BundleError(f"{name} is too large")
        return self.files[name]


@pytest.fixture
def packed() -> tuple[str, Files]:
    return pack(a_spec(), b"network", b"weights")


def covered_up(files: Files, name: str, content: bytes) -> tuple[str, Files]:
    """One file changed, and the manifest and the id that fit the change."""
    listed = json.loads(files[MANIFEST])
    listed["files"][name] = hashlib.sha256(content).hexdigest()
    return renamed(files | {name: content}, json.dumps(listed).encode())


def renamed(files: Files, manifest: bytes) -> tuple[str, Files]:
    digest = hashlib.sha256(manifest).hexdigest()
    return f"nbeats-5m-{digest[:8]}", files | {MANIFEST: manifest}


def test_what_was_packed_is_unpacked(packed: tuple[str, Files]) -> None:
    bundle_id, files = packed
    found = unpack(bundle_id, Shelf(files))
    assert (found.id, found.spec) == (bundle_id, a_spec())
    assert (found.onnx, found.weights) == (b"network", b"weights")
    assert found.manifest_sha256 == hashlib.sha256(files[MANIFEST]).hexdigest()
    assert list(files)[-1] == MANIFEST, "a bundle is there when its manifest is"
    shelf = Shelf(files)
    assert unpack_spec(bundle_id, shelf) == a_spec()
    assert set(shelf.asked) == {MANIFEST, "spec.json"}, "its network stays where it is"


def test_a_bundle_is_named_by_its_content(packed: tuple[str, Files]) -> None:
    assert pack(a_spec(), b"network", b"weights") == packed
    others = (
        pack(a_spec(seed=1), b"network", b"weights"),
        pack(a_spec(), b"Network", b"weights"),
        pack(a_spec(), b"network", b"Weights"),
    )
    assert len({packed[0], *(bundle_id for bundle_id, _ in others)}) == 4


@pytest.mark.parametrize("name", FILES)
def test_a_changed_or_cut_file_is_refused_by_its_name(packed: tuple[str, Files], name: str) -> None:
    bundle_id, files = packed
    changed = bytearray(files[name])
    changed[len(changed) // 2] ^= 1
    for content in (bytes(changed), files[name][:-1], b""):
        with pytest.raises(BundleError, match=rf"{name} of .* was changed.*run make train"):
            unpack(bundle_id, Shelf(files | {name: content}))


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_refused_by_its_name(packed: tuple[str, Files], name: str) -> None:
    bundle_id, files = packed
    with pytest.raises(BundleError, match=name):
        unpack(bundle_id, Shelf({k: v for k, v in files.items() if k != name}))


def test_nothing_is_parsed_before_it_is_verified(packed: tuple[str, Files]) -> None:
    bundle_id, files = packed
    deep = b"[" * 500_000
    for name in ("spec.json", MANIFEST):
        with pytest.raises(BundleError, match="was changed after training"):
            unpack(bundle_id, Shelf(files | {name: deep}))
    with pytest.raises(BundleError, match="is not JSON"):
        unpack(*_shelved(renamed(files, deep)))
    with pytest.raises(BundleError, match="nested too deep"):
        unpack(*_shelved(covered_up(files, "spec.json", deep)))


def _shelved(named: tuple[str, Files]) -> tuple[str, Shelf]:
    return named[0], Shelf(named[1])


def test_a_file_too_large_to_be_loaded_is_not_packed_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(bundles.FILES, "model.onnx", 6)
    with pytest.raises(BundleError, match=r"model\.onnx may have 6 bytes, found 7"):
        pack(a_spec(), b"network", b"weights")


def test_a_manifest_that_fits_changed_files_is_not_the_named_one(
    packed: tuple[str, Files],
) -> None:
    bundle_id, files = packed
    other_id, other = covered_up(files, "model.onnx", b"other")
    with pytest.raises(BundleError, match=r"manifest of .* was changed after training"):
        unpack(bundle_id, Shelf(other))
    promised = hashlib.sha256(files[MANIFEST]).hexdigest()
    with pytest.raises(BundleError, match="not the one that was promoted"):
        unpack(other_id, Shelf(other), promised=promised)


def test_a_bundle_under_the_name_of_another_kind_is_refused(packed: tuple[str, Files]) -> None:
    bundle_id, files = packed
    digits = bundle_id[-8:]
    for name in (f"nbeats-1d-{digits}", f"nlinear-5m-{digits}"):
        with pytest.raises(BundleError, match="nbeats network for 5m bars under another name"):
            unpack(name, Shelf(files))
    with pytest.raises(BundleError, match="was changed after training"):
        unpack("nbeats-5m-00000000", Shelf(files))


@pytest.mark.parametrize(
    "bundle_id", ["../secret", "nbeats-5m-..", "", "nbeats-5m-0000000G", "nbeats-5m-00000000\n"]
)
def test_what_is_no_id_is_never_looked_for(bundle_id: str) -> None:
    shelf = Shelf({})
    with pytest.raises(BundleError, match="a bundle's id is"):
        unpack(bundle_id, shelf)
    assert shelf.asked == []


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (b'{"files": {}, "version": 1}', "of an unknown version"),
        (b'{"files": {"../x": "0"}, "version": 1}', "of an unknown version"),
        (b'{"version": 0}', "of an unknown version"),
        (b'{"version": 2}', "made by a newer release .*: update the program"),
        (b'{"files": [], "version": 1}', "of an unknown version"),
        (b"[]", "must hold one object"),
        (b"\x80", "is not JSON"),
    ],
)
def test_an_unknown_manifest_is_refused(
    packed: tuple[str, Files], manifest: bytes, sentence: str
) -> None:
    with pytest.raises(BundleError, match=sentence):
        unpack(*_shelved(renamed(packed[1], manifest)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "reads bundles of version 2"),
        ({"version": 3}, "update the program or run make train"),
        ({"target": "raw prices"}, "reads bundles of version 2"),
        ({"surprise": 1}, "wrong field"),
        ({"window": None}, "wrong field"),
        ({"sizes": 3}, "wrong field"),
        ({"scaler": {"clip": "6"}}, "wrong field"),
        ({"training": []}, "wrong field"),
        ({"reference": {}}, "wrong field"),
        ({"quantiles": [0.05, 0.5, 0.95]}, "quantiles must be"),
        ({"quantiles": []}, "quantiles must be"),
        ({"location": [1.0]}, "location must give each"),
        ({"location": [0.2, 0.2, 0.2, 0.2, 0.1, 0.0, 0.0]}, "location must add up to 1"),
        ({"horizon": 0}, "at least 1"),
        ({"members": 51}, "members must be"),
        ({"allowed_gaps": 60}, "allowed_gaps must be below"),
        ({"frequency": "1h"}, "frequency must be"),
    ],
)
def test_a_specification_of_another_kind_is_refused(
    packed: tuple[str, Files], change: dict[str, object], message: str
) -> None:
    content = json.dumps(json.loads(packed[1]["spec.json"]) | change).encode()
    with pytest.raises(BundleError, match=message):
        unpack(*_shelved(covered_up(packed[1], "spec.json", content)))


def test_with_a_key_only_what_it_signed_is_loaded(packed: tuple[str, Files]) -> None:
    bundle_id, files = packed
    signed = files | {SIGNATURE: signature(files[MANIFEST], b"key")}
    assert unpack(bundle_id, Shelf(signed), key=b"key") == unpack(bundle_id, Shelf(files))
    with pytest.raises(BundleError, match=f"is not signed.*astra models sign {bundle_id}"):
        unpack(bundle_id, Shelf(files), key=b"key")
    with pytest.raises(BundleError, match="not made with this ASTRA_BUNDLE_KEY"):
        unpack(bundle_id, Shelf(signed), key=b"other key")


def test_a_signature_is_of_one_manifest_alone(packed: tuple[str, Files]) -> None:
    _, files = packed
    other_id, other = covered_up(files, "model.onnx", b"other")
    stolen = other | {SIGNATURE: signature(files[MANIFEST], b"key")}
    with pytest.raises(BundleError, match="not made with this ASTRA_BUNDLE_KEY"):
        unpack(other_id, Shelf(stolen), key=b"key")
    assert unpack(other_id, Shelf(other)).onnx == b"other", "without a key it could not be told"


def test_a_signature_is_hmac_sha256_as_rfc_4231_has_it() -> None:
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signature(b"what do ya want for nothing?", b"Jefe") == expected.encode() + b"\n"


def test_the_champion_we_ship_is_whole_small_and_older_than_2024() -> None:
    bundle = shipped().load()
    files = [p for p in BUNDLES.rglob("*") if p.is_file()]
    assert {p.name for p in files} >= {*FILES, MANIFEST, "champion.json"}
    assert sum(p.stat().st_size for p in files) <= 2_000_000
    assert bundle.spec.training.trained_on == "simulated"
    assert bundle.spec.training.end < dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert bundle.spec.metrics["mae_bp"] <= bundle.spec.metrics["naive_mae_bp"]


def test_the_network_we_ship_says_nothing_about_the_machine_it_was_made_on() -> None:
    onnx = shipped().load().onnx
    for trace in (b"site-packages", b".py", b"/home", b"/root", b"stack_trace"):
        assert trace not in onnx

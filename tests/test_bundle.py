"""Bundles: what is registered is what is loaded, and nothing else is."""

import datetime as dt
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from astra.errors import BundleError
from model.forecast.bundle import BUNDLES, FILES, Bundle, load_bundle, promote, register
from model.forecast.spec import QUANTILES, Architecture, Spec, Training
from model.forecast.target import Scaler


def a_spec(seed: int = 0) -> Spec:
    training = Training(
        trained_on="simulated",
        market="simulated:7",
        start=dt.datetime(2023, 1, 3, 14, 30, tzinfo=dt.UTC),
        end=dt.datetime(2023, 1, 31, 21, 0, tzinfo=dt.UTC),
        tickers=3,
        windows=10,
        steps=1,
        batch=1,
        learning_rate=0.1,
        weight_decay=0.0,
        seed=seed,
    )
    return Spec(
        architecture=Architecture(),
        scaler=Scaler(),
        window=60,
        horizon=12,
        allowed_gaps=6,
        quantiles=QUANTILES,
        location=(0.0, 0.0, 1.0, 0.0, 0.0),
        training=training,
        versions={"torch": "2"},
        metrics={"ic": 0.01},
    )


@pytest.fixture
def champion(tmp_path: Path) -> Bundle:
    bundle = register(tmp_path, a_spec(), b"network", b"weights")
    promote(tmp_path, bundle)
    return bundle


def rewrite(bundle: Bundle, name: str, content: bytes, *, trail: bool) -> Path:
    """Change one file; with `trail`, cover it up in manifest, folder name and champion."""
    (bundle.folder / name).write_bytes(content)
    if not trail:
        return bundle.folder.parent
    manifest = json.loads((bundle.folder / "manifest.json").read_bytes())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    return rename(bundle, json.dumps(manifest).encode())


def rename(bundle: Bundle, manifest: bytes) -> Path:
    (bundle.folder / "manifest.json").write_bytes(manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    home = bundle.folder.rename(bundle.folder.with_name("nbeats-5m-" + digest[:8]))
    named = {"id": home.name, "manifest_sha256": digest}
    (home.parent / "champion.json").write_text(json.dumps(named))
    return home.parent


def test_what_was_registered_is_loaded(champion: Bundle, tmp_path: Path) -> None:
    loaded = load_bundle(tmp_path)
    assert loaded == champion
    assert (loaded.spec, loaded.onnx) == (a_spec(), b"network")
    assert (loaded.folder / "weights.safetensors").read_bytes() == b"weights"


def test_a_bundle_is_named_by_its_content(champion: Bundle, tmp_path: Path) -> None:
    assert register(tmp_path, a_spec(), b"network", b"weights").id == champion.id
    other = register(tmp_path, a_spec(seed=1), b"network", b"weights")
    assert other.id != champion.id
    assert load_bundle(tmp_path).id == champion.id, "registered, not promoted"
    assert load_bundle(tmp_path, other.id).spec.training.seed == 1
    promote(tmp_path, other)
    assert load_bundle(tmp_path).id == other.id
    assert {p.name for p in tmp_path.iterdir()} == {champion.id, other.id, "champion.json"}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_refused(champion: Bundle, tmp_path: Path, name: str) -> None:
    content = bytearray((champion.folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    rewrite(champion, name, bytes(content), trail=False)
    with pytest.raises(BundleError, match=rf"{name} was changed after training.*make train"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_refused(champion: Bundle, tmp_path: Path, name: str) -> None:
    (champion.folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}, which cannot be read: run make train"):
        load_bundle(tmp_path)


def test_no_champion_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"champion\.json, which cannot be read: run make train"):
        load_bundle(tmp_path)


def test_a_manifest_that_fits_changed_files_is_not_the_promised_one(
    champion: Bundle, tmp_path: Path
) -> None:
    (champion.folder / "model.onnx").write_bytes(b"other")
    manifest = json.loads((champion.folder / "manifest.json").read_bytes())
    manifest["files"]["model.onnx"] = hashlib.sha256(b"other").hexdigest()
    (champion.folder / "manifest.json").write_text(json.dumps(manifest))
    for bundle_id in (None, champion.id):
        with pytest.raises(BundleError, match=r"manifest of .* was changed after training"):
            load_bundle(tmp_path, bundle_id)


def test_a_champion_moved_under_another_name_is_refused(champion: Bundle, tmp_path: Path) -> None:
    shutil.copytree(champion.folder, tmp_path / "nbeats-5m-00000000")
    with pytest.raises(BundleError, match="was changed after training"):
        load_bundle(tmp_path, "nbeats-5m-00000000")


@pytest.mark.parametrize("bundle_id", ["../secret", "nbeats-5m-..", "", "nbeats-5m-0000000G"])
def test_an_id_never_leaves_the_folder(champion: Bundle, tmp_path: Path, bundle_id: str) -> None:
    with pytest.raises(BundleError, match="a bundle's id is"):
        load_bundle(tmp_path, bundle_id)
    (tmp_path / "champion.json").write_text(
        json.dumps({"id": bundle_id, "manifest_sha256": "0" * 64})
    )
    with pytest.raises(BundleError, match="a bundle's id is"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 3, "manifest_sha256": 4}', "\x80"])
def test_a_broken_champion_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "champion.json").write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match=r"champion\.json"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [b'{"files": {}, "version": 1}', b'{"version": 2}', b'{"files": [], "version": 1}', b"[]"],
)
def test_an_unknown_manifest_is_refused(champion: Bundle, manifest: bytes) -> None:
    folder = rename(champion, manifest)
    with pytest.raises(BundleError, match="manifest"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "reads bundles of version 1"),
        ({"target": "raw prices"}, "reads bundles of version 1"),
        ({"surprise": 1}, "wrong field"),
        ({"window": None}, "wrong field"),
        ({"architecture": {"stacks": 1, "depth": 9}}, "wrong field"),
        ({"scaler": {"clip": "6"}}, "wrong field"),
        ({"training": []}, "wrong field"),
        ({"quantiles": [0.05, 0.5, 0.95]}, "quantiles must be"),
        ({"quantiles": []}, "quantiles must be"),
        ({"location": [1.0]}, "location must give each"),
        ({"location": [0.2, 0.2, 0.2, 0.2, 0.1]}, "location must add up to 1"),
        ({"horizon": 0}, "at least 1"),
        ({"allowed_gaps": 60}, "allowed_gaps must be below"),
    ],
)
def test_a_specification_of_another_kind_is_refused(
    champion: Bundle, change: dict[str, object], message: str
) -> None:
    content = json.loads((champion.folder / "spec.json").read_bytes()) | change
    folder = rewrite(champion, "spec.json", json.dumps(content).encode(), trail=True)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


def test_the_champion_we_ship_is_whole_small_and_older_than_2024() -> None:
    bundle = load_bundle(BUNDLES)
    files = [p for p in BUNDLES.rglob("*") if p.is_file()]
    assert {p.name for p in files} >= {*FILES, "manifest.json", "champion.json"}
    assert sum(p.stat().st_size for p in files) <= 2_000_000
    assert bundle.spec.training.trained_on == "simulated"
    assert bundle.spec.training.end < dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert bundle.spec.metrics["mae_bp"] <= bundle.spec.metrics["naive_mae_bp"]


def test_the_network_we_ship_says_nothing_about_the_machine_it_was_made_on() -> None:
    onnx = load_bundle(BUNDLES).onnx
    for trace in (b"site-packages", b".py", b"/home", b"/root", b"stack_trace"):
        assert trace not in onnx

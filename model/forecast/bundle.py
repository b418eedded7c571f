"""Model bundles on disk: registered once, named by their content, verified before they are parsed.

    <folder>/champion.json            {"id": ..., "manifest_sha256": ...}, written last
    <folder>/<id>/manifest.json       {"files": {name: sha256}, "version": 1}
    <folder>/<id>/model.onnx          what is served: one file, any batch size
    <folder>/<id>/weights.safetensors the weights of record
    <folder>/<id>/spec.json           see `spec.Spec`

Nothing is ever unpickled. A hash beside its file finds corruption and mix-ups, not an attacker who
can write the folder: keep the folder read-only where it is served.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astra.errors import BundleError
from model.forecast.spec import Spec

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"
FILES = ("model.onnx", "spec.json", "weights.safetensors")
_VERSION = 1
_ID = re.compile(r"[a-z0-9]+-(5m|1d)-([0-9a-f]{8})")
_REMEDY = "run make train, or restore the folder from version control"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its id, what it says about itself, and the bytes of its network."""

    id: str
    spec: Spec
    onnx: bytes
    folder: Path


def load_bundle(folder: Path = BUNDLES, bundle_id: str | None = None) -> Bundle:
    """The champion of `folder`, or the bundle of that id.

    Raises:
        BundleError: there is none, a file is missing, changed or unknown, or the version is.
    """
    promised: str | None = None
    if bundle_id is None:
        bundle_id, promised = _champion(folder)
    if (named := _ID.fullmatch(bundle_id)) is None:
        raise BundleError(
            f"a bundle's id is a network, a frequency and 8 hex digits, such as "
            f"nbeats-5m-0123abcd, found {bundle_id!r}"
        )
    home = folder / bundle_id
    manifest = _read(home / "manifest.json")
    if not _sha256(manifest).startswith(named[2]) or (
        promised is not None and _sha256(manifest) != promised
    ):
        raise BundleError(f"the manifest of {bundle_id} was changed after training: {_REMEDY}")
    listed = _parse(manifest, home / "manifest.json")
    if listed.get("version") != _VERSION or set(listed.get("files", {})) != set(FILES):
        raise BundleError(f"the manifest of {bundle_id} is of an unknown version: {_REMEDY}")
    contents = {name: _verified(home / name, listed["files"][name]) for name in FILES}
    return Bundle(bundle_id, Spec.from_json(contents["spec.json"]), contents["model.onnx"], home)


def register(folder: Path, spec: Spec, onnx: bytes, weights: bytes) -> Bundle:
    """Write a bundle under the name of its content; it is complete or not there at all."""
    contents = {
        "model.onnx": onnx,
        "spec.json": spec.to_json().encode(),
        "weights.safetensors": weights,
    }
    listed = {name: _sha256(content) for name, content in contents.items()}
    manifest = _json({"files": listed, "version": _VERSION})
    bundle_id = f"{spec.network}-{spec.frequency}-{_sha256(manifest)[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".staged-", dir=folder))
    try:
        for name, content in (contents | {"manifest.json": manifest}).items():
            (staged / name).write_bytes(content)
        staged.chmod(0o755)
        if not (folder / bundle_id).exists():
            staged.rename(folder / bundle_id)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return load_bundle(folder, bundle_id)


def promote(folder: Path, bundle: Bundle) -> None:
    """Make `bundle` the champion of `folder`, in one step."""
    manifest = _read(folder / bundle.id / "manifest.json")
    staged = folder / ".champion.json"
    staged.write_bytes(_json({"id": bundle.id, "manifest_sha256": _sha256(manifest)}))
    os.replace(staged, folder / "champion.json")  # noqa: PTH105  # atomic, and over an old one


def _champion(folder: Path) -> tuple[str, str]:
    path = folder / "champion.json"
    named = _parse(_read(path), path)
    bundle_id, promised = named.get("id"), named.get("manifest_sha256")
    if not isinstance(bundle_id, str) or not isinstance(promised, str):
        raise BundleError(f"{path} must name a bundle and its manifest's hash: {_REMEDY}")
    return bundle_id, promised


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"a model bundle needs {path}, which cannot be read: {_REMEDY}"
        ) from error


def _verified(path: Path, promised: object) -> bytes:
    content = _read(path)
    if _sha256(content) != promised:
        raise BundleError(f"{path} was changed after training (its hash differs): {_REMEDY}")
    return content


def _parse(content: bytes, path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {_REMEDY}") from error
    if not isinstance(parsed, dict):
        raise BundleError(f"{path} must hold one object: {_REMEDY}")
    return parsed


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

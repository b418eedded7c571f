"""A model bundle: its files, the name its content gives it, and how it is verified before parsing.

    <id>/model.onnx           what is served: one file, any batch size
    <id>/spec.json            see `spec.Spec`
    <id>/weights.safetensors  the weights of record
    <id>/manifest.hmac        HMAC-SHA256 of the manifest, where a key is set
    <id>/manifest.json        {"files": {name: sha256}, "version": 1}; its own hash is in the id

Sizes are looked at before anything is read, hashes and signature before anything is parsed, and
nothing is ever unpickled. Where bundles are kept is the registry's matter.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astra.errors import BundleError
from model.forecast.spec import Spec

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"
MANIFEST, SIGNATURE = "manifest.json", "manifest.hmac"
MOST_JSON = 2**20  # bytes
FILES = {"model.onnx": 256 * 2**20, "spec.json": MOST_JSON, "weights.safetensors": 512 * 2**20}
REMEDY = "run make train, or restore it from where it was made"
_VERSION = 1
_ID = re.compile(r"([a-z0-9]+)-(5m|1d)-([0-9a-f]{8})")

# A file of the bundle by its name, of at most so many bytes; BundleError if it can't be had.
Read = Callable[[str, int], bytes]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its id, what it says about itself, its network and its weights.

    Attributes:
        manifest_sha256: of the manifest it was verified by; empty if it was not unpacked.
    """

    id: str
    spec: Spec
    onnx: bytes
    weights: bytes
    manifest_sha256: str = ""


def is_id(name: str) -> bool:
    """Whether a bundle could be called so; such a name holds no dot and no slash."""
    return _ID.fullmatch(name) is not None


def frequency_of(bundle_id: str) -> str:
    """5m or 1d.

    Raises:
        BundleError: that is no bundle's id.
    """
    return _named(bundle_id)[2]


def pack(spec: Spec, onnx: bytes, weights: bytes) -> tuple[str, dict[str, bytes]]:
    """The id that this content has, and its files by name, the manifest last.

    Raises:
        BundleError: a file is larger than what would be loaded again.
    """
    contents = {
        "model.onnx": onnx,
        "spec.json": spec.to_json().encode(),
        "weights.safetensors": weights,
    }
    for name, content in contents.items():
        if len(content) > FILES[name]:
            raise BundleError(
                f"{name} may have {FILES[name]:,} bytes, found {len(content):,}: train a smaller "
                "network"
            )
    listed = {name: sha256(content) for name, content in contents.items()}
    manifest = as_json({"files": listed, "version": _VERSION})
    bundle_id = f"{spec.network}-{spec.frequency}-{sha256(manifest)[:8]}"
    _named(bundle_id)
    return bundle_id, contents | {MANIFEST: manifest}


def signature(manifest: bytes, key: bytes) -> bytes:
    """What `manifest.hmac` holds: 64 hex digits and a line's end."""
    return hmac.digest(key, manifest, "sha256").hex().encode() + b"\n"


def unpack(bundle_id: str, read: Read, *, key: bytes = b"", promised: str | None = None) -> Bundle:
    """The bundle behind `read`, verified.

    Args:
        key: if not empty, the manifest must be signed with it.
        promised: the manifest's whole hash, where the champion's pointer gives it.

    Raises:
        BundleError: a file is missing, too large, changed, unsigned or of an unknown version.
    """
    listed, digest = _listed(bundle_id, read, key, promised)
    contents = {name: _verified(bundle_id, name, read, listed) for name in FILES}
    spec = _spec(bundle_id, contents["spec.json"])
    return Bundle(bundle_id, spec, contents["model.onnx"], contents["weights.safetensors"], digest)


def unpack_spec(bundle_id: str, read: Read, *, key: bytes = b"") -> Spec:
    """Only what the bundle says about itself, as well verified. Raises as `unpack`."""
    listed, _ = _listed(bundle_id, read, key)
    return _spec(bundle_id, _verified(bundle_id, "spec.json", read, listed))


def manifest_of(bundle_id: str, read: Read) -> bytes:
    """The manifest that the id names, its signature not looked at. Raises as `unpack`."""
    digits = _named(bundle_id)[3]
    manifest = read(MANIFEST, MOST_JSON)
    if not sha256(manifest).startswith(digits):
        raise BundleError(f"the manifest of {bundle_id} was changed after training: {REMEDY}")
    return manifest


def parse(content: bytes, place: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BundleError: it is none.
    """
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{place} is not JSON: {REMEDY}") from error
    if not isinstance(parsed, dict):
        raise BundleError(f"{place} must hold one object: {REMEDY}")
    return parsed


def as_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _named(bundle_id: str) -> re.Match[str]:
    if (named := _ID.fullmatch(bundle_id)) is None:
        raise BundleError(
            f"a bundle's id is a network, a frequency and 8 hex digits, such as "
            f"nbeats-5m-0123abcd, found {bundle_id!r}"
        )
    return named


def _listed(
    bundle_id: str, read: Read, key: bytes, promised: str | None = None
) -> tuple[dict[str, object], str]:
    """The files' hashes, from a manifest that is the named, promised and signed one; and its own.

    The manifest is read once: what was verified is what its hash stands for.
    """
    manifest = manifest_of(bundle_id, read)
    digest = sha256(manifest)
    if promised is not None and digest != promised:
        raise BundleError(f"the manifest of {bundle_id} is not the one that was promoted: {REMEDY}")
    if key:
        _require_signature(bundle_id, manifest, read, key)
    parsed = parse(manifest, f"the manifest of {bundle_id}")
    version, files = parsed.get("version"), parsed.get("files")
    if isinstance(version, int) and version > _VERSION:
        raise BundleError(
            f"{bundle_id} was made by a newer release (manifest version {version}, this one reads "
            f"{_VERSION}): update the program, or name an older bundle"
        )
    if version != _VERSION or not isinstance(files, dict) or set(files) != set(FILES):
        raise BundleError(f"the manifest of {bundle_id} is of an unknown version: {REMEDY}")
    return files, digest


def _require_signature(bundle_id: str, manifest: bytes, read: Read, key: bytes) -> None:
    try:
        found = read(SIGNATURE, MOST_JSON)
    except BundleError as error:
        raise BundleError(
            f"ASTRA_BUNDLE_KEY is set, but {bundle_id} is not signed ({error}): if you trust it, "
            f"run astra models sign {bundle_id}"
        ) from error
    if not hmac.compare_digest(found, signature(manifest, key)):
        raise BundleError(
            f"{SIGNATURE} of {bundle_id} was not made with this ASTRA_BUNDLE_KEY: set the key that "
            f"signed it, or, if you trust the bundle, run astra models sign {bundle_id}"
        )


def _verified(bundle_id: str, name: str, read: Read, listed: dict[str, object]) -> bytes:
    content = read(name, FILES[name])
    if sha256(content) != listed[name]:
        raise BundleError(
            f"{name} of {bundle_id} was changed after training (its hash differs): {REMEDY}"
        )
    return content


def _spec(bundle_id: str, content: bytes) -> Spec:
    try:
        spec = Spec.from_json(content)
    except RecursionError as error:
        raise BundleError(f"spec.json of {bundle_id} is nested too deep: {REMEDY}") from error
    if not bundle_id.startswith(f"{spec.network}-{spec.frequency}-"):
        raise BundleError(
            f"{bundle_id} is a {spec.network} network for {spec.frequency} bars under another "
            f"name: {REMEDY}"
        )
    return spec

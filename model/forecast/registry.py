"""The registry of trained networks: bundles written once, and who is champion of each frequency.

    <home>/<id>/...          a bundle, see `bundle`; it is there when its manifest is
    <home>/champion.json     of 5-minute bars; `champion-1d.json` of daily ones; written last

A pointer names the champion by id and manifest hash, says since when and why, and keeps those
before it for a way back. A home is a folder or a prefix in a bucket.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astra.errors import BundleError, TemporaryError
from astra.sessions import HORIZON_BARS
from model.forecast.bundle import (
    BUNDLES,
    MANIFEST,
    MOST_JSON,
    REMEDY,
    SIGNATURE,
    Bundle,
    Read,
    as_json,
    frequency_of,
    is_id,
    manifest_of,
    pack,
    parse,
    sha256,
    signature,
    unpack,
    unpack_spec,
)
from model.forecast.homes import Folder, Home, Prefix
from model.forecast.spec import FREQUENCIES, Spec

if TYPE_CHECKING:
    from astra.settings import Settings

_POINTERS = {"5m": "champion.json", "1d": "champion-1d.json"}
_KEPT = 200  # earlier champions that a pointer remembers


@dataclass(frozen=True, slots=True)
class Reign:
    """One bundle's time as champion.

    Attributes:
        since: None in a pointer of the first release.
        until: None as long as it lasts; in a pointer without it, when the next one began.
        why: how it came to be champion.
    """

    id: str
    manifest_sha256: str
    since: dt.datetime | None = None
    why: str = ""
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Succession:
    """What a pointer says.

    Attributes:
        champion: now.
        before: those a rollback returns to, the last one first.
        withdrawn: those a rollback took away, the last one first, each followed by the earlier
            reign of the one that came back for it.
    """

    champion: Reign
    before: tuple[Reign, ...] = ()
    withdrawn: tuple[Reign, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A bundle of the registry; `spec` is None and `fault` says why where it can't be used."""

    id: str
    spec: Spec | None
    is_champion: bool
    fault: str = ""


class Registry:
    """The bundles of a home. Nothing is kept in memory: each call reads what stands there now.

    Every method raises BundleError where what it needs is missing, changed, unsigned or unknown,
    and a bucket's TemporaryError where it is down.

    Args:
        key: if not empty, only bundles signed with it are loaded, and new ones are signed.
    """

    def __init__(self, home: Home, key: bytes = b"") -> None:
        self._home = home
        self._key = key

    def champion_id(self, frequency: str = "5m") -> str:
        """Who is champion: one small read."""
        return self._champion(frequency).id

    def load(self, bundle_id: str | None = None, frequency: str = "5m") -> Bundle:
        """The bundle of that id, or the champion of `frequency`."""
        if bundle_id is not None:
            return unpack(bundle_id, self._reader(bundle_id), key=self._key)
        champion = self._champion(frequency)
        promised = champion.manifest_sha256
        return unpack(champion.id, self._reader(champion.id), key=self._key, promised=promised)

    def newest(self, loaded: Bundle) -> Bundle:
        """`loaded` itself while it is champion, else the one that is: for a service to call before
        each decision, so that a promotion takes effect without a restart.
        """
        frequency = loaded.spec.frequency
        return loaded if self.champion_id(frequency) == loaded.id else self.load(None, frequency)

    def succession(self, frequency: str = "5m") -> Succession | None:
        """The champion and those before; None where there never was one."""
        content = self._home.read(_POINTERS[frequency], MOST_JSON)
        return None if content is None else self._parsed(content, frequency)

    def list(self) -> tuple[Listed, ...]:
        """All bundles whose manifest is there, by id, the unusable ones with their fault."""
        ends = f"/{MANIFEST}"
        names = (name.removesuffix(ends) for name in self._home.names() if name.endswith(ends))
        champions = {
            found.champion.id for f in FREQUENCIES if (found := self.succession(f)) is not None
        }
        return tuple(self._listed(name, name in champions) for name in names if is_id(name))

    def specs(self, frequency: str, known: Mapping[str, Spec]) -> dict[str, Spec]:
        """What the usable bundles of a frequency say about themselves, by id; those in `known`,
        from an earlier call, are not read again, as a bundle never changes."""
        ends = f"/{MANIFEST}"
        names = (name.removesuffix(ends) for name in self._home.names() if name.endswith(ends))
        ours = [name for name in names if is_id(name) and frequency_of(name) == frequency]
        found = {name: known.get(name) or self._listed(name, False).spec for name in ours}
        return {name: spec for name, spec in found.items() if spec is not None}

    def spec(self, bundle_id: str) -> Spec:
        """What a bundle says about itself, without its network."""
        return unpack_spec(bundle_id, self._reader(bundle_id), key=self._key)

    def register(self, spec: Spec, onnx: bytes, weights: bytes) -> Bundle:
        """Write a bundle under the name of its content, the manifest last, and load it again.

        Doing it again changes nothing, and completes what a killed attempt began.

        Raises:
            ConfigError: the home may not be written to.
        """
        bundle_id, files = pack(spec, onnx, weights)
        for name, content in files.items():
            if name == MANIFEST and self._key:
                self._sign(bundle_id, content)
            self._home.create(f"{bundle_id}/{name}", content)
        return self.load(bundle_id)

    def sign(self, bundle_id: str) -> None:
        """Sign a bundle that is here already: whoever holds the key vouches for it.

        Raises:
            BundleError: also if no key is set.
        """
        if not self._key:
            raise BundleError("signing needs a key, found none: set ASTRA_BUNDLE_KEY")
        read = self._reader(bundle_id)
        verified = unpack(bundle_id, read).manifest_sha256
        manifest = manifest_of(bundle_id, read)
        if sha256(manifest) != verified:
            raise BundleError(
                f"the manifest of {bundle_id} changed while it was verified; nothing was signed: "
                f"{REMEDY}"
            )
        self._sign(bundle_id, manifest)

    def promote(
        self, bundle_id: str, at: dt.datetime, why: str, *, over: str | None = None
    ) -> Reign:
        """Make a bundle the champion of its frequency, once it has loaded.

        The rule of promotion is not asked here, see `challenge`.

        Args:
            at: UTC; written down, nothing depends on it.
            why: written down.
            over: the champion that it was measured against; default: whoever it is.

        Returns: its reign; of the present champion the one that lasts.

        Raises:
            TemporaryError: another promotion was faster; this one changed nothing.
        """
        content, found = self._seen(frequency_of(bundle_id))
        if over is not None and (found is None or found.champion.id != over):
            raise _overtaken(over)
        if found is not None and found.champion.id == bundle_id:
            return found.champion
        return self._crown(bundle_id, at, why, content, found)

    def promote_if_first(self, bundle_id: str, at: dt.datetime) -> bool:
        """Make a bundle champion if its frequency has none; whether it did. Raises as `promote`."""
        content, found = self._seen(frequency_of(bundle_id))
        if found is None:
            self._crown(bundle_id, at, "the first of its frequency", content, None)
        return found is None

    def rollback(self, at: dt.datetime, frequency: str = "5m") -> Reign:
        """Return to the champion before, which must load; both reigns that ended stay written down.

        Doing it again goes one further back.

        Returns: the reign that begins with it.

        Raises:
            BundleError: there is none before.
            TemporaryError: another promotion was faster; this one changed nothing.
        """
        content, found = self._seen(frequency)
        if found is None or not found.before:
            raise BundleError(
                f"a rollback needs an earlier champion of {frequency} bars, {self._home.place()} "
                "has none: promote another with astra models promote"
            )
        old, *before = found.before
        promised = old.manifest_sha256
        _require_horizon(unpack(old.id, self._reader(old.id), key=self._key, promised=promised))
        reign = replace(old, since=at, why=f"back from {found.champion.id}", until=None)
        withdrawn = (replace(found.champion, until=at), old, *found.withdrawn)
        self._point(Succession(reign, tuple(before), withdrawn), content, found.champion.id)
        return reign

    def _crown(
        self,
        bundle_id: str,
        at: dt.datetime,
        why: str,
        content: bytes | None,
        found: Succession | None,
    ) -> Reign:
        bundle = self.load(bundle_id)
        _require_horizon(bundle)
        reign = Reign(bundle_id, bundle.manifest_sha256, at, why)
        before = (replace(found.champion, until=at), *found.before) if found else ()
        withdrawn = found.withdrawn if found else ()
        over = found.champion.id if found else None
        self._point(Succession(reign, before, withdrawn), content, over)
        return reign

    def _point(self, now: Succession, seen: bytes | None, over: str | None) -> None:
        name = _POINTERS[frequency_of(now.champion.id)]
        document = {
            **_as_document(now.champion),
            "before": [_as_document(reign) for reign in now.before[:_KEPT]],
            "withdrawn": [_as_document(reign) for reign in now.withdrawn[:_KEPT]],
        }
        if not self._home.replace(name, as_json(document), seen):
            raise _overtaken(over)

    def _champion(self, frequency: str) -> Reign:
        found = self.succession(frequency)
        if found is None:
            place = self._home.place(_POINTERS[frequency])
            raise BundleError(
                f"a champion of {frequency} bars needs {place}, which cannot be read: run make "
                "train, or name one with astra models promote"
            )
        return found.champion

    def _seen(self, frequency: str) -> tuple[bytes | None, Succession | None]:
        content = self._home.read(_POINTERS[frequency], MOST_JSON)
        return content, None if content is None else self._parsed(content, frequency)

    def _parsed(self, content: bytes, frequency: str) -> Succession:
        place = self._home.place(_POINTERS[frequency])
        raw = parse(content, place)
        try:
            champion = _reign(raw)
            before, withdrawn = (
                tuple(map(_reign, raw.get(k, ()))) for k in ("before", "withdrawn")
            )
            found = Succession(champion, _ended(champion, before), withdrawn)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{place} must name a bundle, its manifest's hash and those before it, found "
                f"something else ({error}): {REMEDY}"
            ) from error
        if frequency_of(found.champion.id) != frequency:
            raise BundleError(
                f"{place} must name a bundle for {frequency} bars, found {found.champion.id}: "
                "promote one with astra models promote"
            )
        return found

    def _listed(self, bundle_id: str, is_champion: bool) -> Listed:
        try:
            return Listed(bundle_id, self.spec(bundle_id), is_champion)
        except BundleError as error:
            return Listed(bundle_id, None, is_champion, str(error))

    def _sign(self, bundle_id: str, manifest: bytes) -> None:
        name = f"{bundle_id}/{SIGNATURE}"
        seen = self._home.read(name, MOST_JSON)
        wanted = signature(manifest, self._key)
        if seen != wanted and not self._home.replace(name, wanted, seen):
            raise TemporaryError(f"{bundle_id} is being signed by someone else: try again")

    def _reader(self, bundle_id: str) -> Read:
        return partial(self._file, bundle_id)

    def _file(self, bundle_id: str, name: str, most: int) -> bytes:
        content = self._home.read(f"{bundle_id}/{name}", most)
        if content is None:
            place = self._home.place(f"{bundle_id}/{name}")
            others = " (astra models list shows which there are)" if name == MANIFEST else ""
            raise BundleError(
                f"a model bundle needs {place}, which cannot be read: {REMEDY}{others}"
            )
        return content


def open_registry(settings: Settings, *, retry_deadline: float | None = None) -> Registry:
    """The registry that ASTRA_BUNDLES names; nothing is read yet.

    Args:
        retry_deadline: seconds for a call to a bucket with its retries; default: those of a job.

    Raises:
        ConfigError: it is a bucket, and there are no credentials for one.
    """
    key = settings.bundle_key.get_secret_value().encode()
    if isinstance(settings.bundles, Path):
        return Registry(Folder(settings.bundles), key)
    # Google's client takes half a second to load: only for those who keep bundles there.
    from astra.gcs import RETRY_DEADLINE, Bucket, connect

    name, _, prefix = settings.bundles.removeprefix("gs://").partition("/")
    bucket = Bucket(
        connect(settings),
        name,
        timeout=settings.vendor_timeout,
        retry_deadline=retry_deadline or RETRY_DEADLINE,
    )
    return Registry(Prefix(bucket, f"{prefix.strip('/')}/".lstrip("/")), key)


def shipped() -> Registry:
    """The registry that comes with the program: one champion, of a simulated market."""
    return Registry(Folder(BUNDLES))


def _require_horizon(bundle: Bundle) -> None:
    """Decisions, skill and drift of 5-minute bars all reckon with `HORIZON_BARS`.

    Raises:
        BundleError: it forecasts another number of bars.
    """
    if bundle.spec.frequency == "5m" and bundle.spec.horizon != HORIZON_BARS:
        raise BundleError(
            f"a champion of 5m bars must forecast {HORIZON_BARS} bars, {bundle.id} forecasts "
            f"{bundle.spec.horizon}: train it with that horizon"
        )


def _ended(champion: Reign, before: tuple[Reign, ...]) -> tuple[Reign, ...]:
    """Those before, each with its end: when the next one began, unless a rollback came between."""
    followers = (champion, *before)
    return tuple(
        replace(reign, until=reign.until or follower.since)
        for reign, follower in zip(before, followers, strict=False)
    )


def _reign(raw: dict[str, Any]) -> Reign:
    """Raises: AttributeError, KeyError, TypeError, ValueError."""
    bundle_id, digest, why = raw["id"], raw["manifest_sha256"], raw.get("why", "")
    if not all(isinstance(text, str) for text in (bundle_id, digest, why)):
        raise TypeError("id, manifest_sha256 and why must be text")
    frequency_of(bundle_id)
    return Reign(bundle_id, digest, _time(raw.get("since")), why, _time(raw.get("until")))


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)


def _as_document(reign: Reign) -> dict[str, Any]:
    raw = asdict(reign)
    times = {
        k: raw[k].isoformat(timespec="seconds") if raw[k] else None for k in ("since", "until")
    }
    return {k: v for k, v in (raw | times).items() if v is not None}


def _overtaken(over: str | None) -> TemporaryError:
    return TemporaryError(
        f"{over or 'no bundle'} was champion when this promotion began and is not any more, as "
        "another one was faster; nothing was changed: look at astra models list and try again"
    )

"""Where bundles are kept: a folder, or a prefix in a bucket, with the same names in both.

A home knows files, not bundles: it creates one once, replaces one for who has seen the last
content, and never hands out half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from astra.errors import BundleError, ConfigError, DataError
from model.forecast.bundle import BUNDLES

if TYPE_CHECKING:
    from astra.gcs import Bucket

_CHECKOUT = BUNDLES.parent.parent / "pyproject.toml"


class Home(Protocol):
    """Names are `<file>` or `<bundle id>/<file>`.

    Every method raises ConfigError where the home may not be used so, and a bucket's methods
    TemporaryError where it is down.
    """

    def place(self, name: str = "") -> str:
        """What a person calls it: a path or a URL."""

    def names(self) -> tuple[str, ...]:
        """Of all files, ascending."""

    def read(self, name: str, most: int) -> bytes | None:
        """A file of at most `most` bytes; None if there is none.

        Raises:
            BundleError: it is larger, a symbolic link, or no plain file.
        """

    def create(self, name: str, content: bytes) -> None:
        """Write a file that is not there yet; the same content again changes nothing.

        Raises:
            BundleError: it is there with other content, and was left as it is.
        """

    def replace(self, name: str, content: bytes, seen: bytes | None) -> bool:
        """Write over a file that holds `seen` (None: that is absent) to this moment; whether so."""


class Folder:
    """A folder on this machine. Symbolic links in it are refused."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def place(self, name: str = "") -> str:
        return str(self._root / name)

    def names(self) -> tuple[str, ...]:
        found = (*self._root.glob("*"), *self._root.glob("*/*"))
        return tuple(sorted(p.relative_to(self._root).as_posix() for p in found if p.is_file()))

    def read(self, name: str, most: int) -> bytes | None:
        path = self._root / name
        if path.is_symlink() or (path.parent != self._root and path.parent.is_symlink()):
            raise BundleError(f"{path} is behind a symbolic link: put the file itself there")
        try:
            # A pipe without a writer would make us wait for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error.strerror}): {_ALLOW}") from error
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise BundleError(f"{path} must be a file, found something else: remove it")
            if found.st_size > most:
                raise BundleError(
                    f"{path} may have {most:,} bytes, found {found.st_size:,}: it was not read"
                )
            return file.read(most)

    def create(self, name: str, content: bytes) -> None:
        with self._written(name, content) as (staged, path), self._locked():
            if not path.exists():
                staged.replace(path)
        if path.read_bytes() != content:
            raise _taken(str(path))

    def replace(self, name: str, content: bytes, seen: bytes | None) -> bool:
        with self._written(name, content) as (staged, path), self._locked():
            found = path.read_bytes() if path.exists() else None
            if found == seen:
                staged.replace(path)
        return found == seen

    @contextlib.contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[tuple[Path, Path]]:
        """The content on the disk under another name, and where it belongs."""
        path = self._root / name
        self._require_ours()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, staged = tempfile.mkstemp(prefix=".staged-", dir=self._root)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                Path(staged).chmod(0o644)
                yield Path(staged), path
            finally:
                Path(staged).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written ({error.strerror}): name a folder of yours or a bucket "
                "in ASTRA_BUNDLES"
            ) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; a killed one lets go."""
        descriptor = os.open(self._root, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _require_ours(self) -> None:
        if self._root.resolve() == BUNDLES and not _CHECKOUT.exists():
            raise ConfigError(
                f"{BUNDLES} belongs to the installed package and goes with its next version: name "
                "a folder of yours or a bucket in ASTRA_BUNDLES"
            )


class Prefix:
    """Objects of a bucket whose names begin with `prefix`, which is empty or ends in a slash."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix

    def place(self, name: str = "") -> str:
        return f"{self._bucket.url}/{self._prefix}{name}"

    def names(self) -> tuple[str, ...]:
        return tuple(n.removeprefix(self._prefix) for n in self._bucket.names(self._prefix))

    def read(self, name: str, most: int) -> bytes | None:
        try:
            found = self._bucket.read_or_none(self._prefix + name, most=most)
        except DataError as error:
            raise BundleError(str(error)) from error
        return None if found is None else found.content

    def create(self, name: str, content: bytes) -> None:
        try:
            self._bucket.create_once(self._prefix + name, content, _KIND, {})
        except DataError as error:
            raise _taken(self.place(name)) from error

    def replace(self, name: str, content: bytes, seen: bytes | None) -> bool:
        found = self._bucket.read_or_none(self._prefix + name)
        if (found.content if found else None) != seen:
            return False
        generation = found.generation if found else 0
        written = self._bucket.replace(self._prefix + name, content, _KIND, {}, generation)
        return written is not None


_ALLOW = "let this user read it"
_KIND = "application/octet-stream"


def _taken(place: str) -> BundleError:
    return BundleError(
        f"{place} is written once, but is there with other content: remove its bundle and "
        "register it again"
    )

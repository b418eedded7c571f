"""A folder for files that nobody needs after this process, whatever way it ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from astra.errors import ConfigError


class OwnFolder:
    """A folder in `parent` for one owner, made by `made`, gone with `remove` or at exit.

    What a killed process left behind goes when the next one makes its own: an owner holds a lock
    on its folder, which the system lets go of when the owner dies.

    Raises:
        ConfigError: `parent` is no place to write in.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent.absolute()
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._removal: Callable[[], object] = lambda: None
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self._parent).close()
        except OSError as error:
            raise ConfigError(f"ASTRA_VAR must be a folder to write in: {error}") from error

    def made(self) -> Path:
        """The folder, made if it is not there."""
        with self._lock:
            if self._path is None:
                with _locked(self._parent):  # nobody else makes or sweeps one meanwhile
                    _sweep(self._parent)
                    self._path = Path(tempfile.mkdtemp(dir=self._parent))
                    owned = os.open(self._path, os.O_RDONLY)
                    fcntl.flock(owned, fcntl.LOCK_EX)
                self._removal = weakref.finalize(self, _remove, self._path, owned)
            return self._path

    def remove(self) -> None:
        """Remove it; harmless when it was never made."""
        with self._lock:
            self._path = None
            self._removal()


def _remove(path: Path, owned: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(owned)


def _sweep(parent: Path) -> None:
    for folder in [entry for entry in parent.iterdir() if entry.is_dir()]:
        try:
            with _locked(folder, fcntl.LOCK_NB):
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue  # its owner lives


@contextmanager
def _locked(folder: Path, how: int = 0) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(held)

"""Starts the services of the house as child processes on loopback, and stops them all.

Knows commands, ports and logs; what flows between the services is none of its business.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import requests

from astra.errors import (
    AstraError,
    BundleError,
    ConfigError,
    DataError,
    InsufficientDataError,
    TemporaryError,
)
from astra.settings import HOUSE, child_environment

HOST = "127.0.0.1"
START_SECONDS = 90.0
STOP_SECONDS = 10.0
_KINDS: dict[str, type[AstraError]] = {
    kind.__name__: kind
    for kind in (ConfigError, DataError, InsufficientDataError, BundleError, TemporaryError)
}
_ERROR = re.compile(rf"^(?:astra\.errors\.)?({'|'.join(_KINDS)}): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Service:
    """One child process: `name` as in the job file, `health` the path that answers when up."""

    name: str
    command: tuple[str, ...]
    port: int
    health: str = "/health"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def flask_service(name: str, module: str, port: int) -> Service:
    """A Flask service under gunicorn, as its image runs it."""
    command = (
        sys.executable, "-m", "gunicorn", "--bind", f"{HOST}:{port}", "--workers", "1",
        "--threads", "8", "--timeout", "600", "--graceful-timeout", "5", "--log-level", "warning",
        "--no-control-socket", f"{module}:create_app()",
    )  # fmt: skip
    return Service(name, command, port)


def function_service(port: int) -> Service:
    """The rebalance function under functions-framework, as Google runs it."""
    source = HOUSE / "rebalance_function" / "main.py"
    command = (
        sys.executable, "-m", "functions_framework", "--source", str(source), "--target",
        "rebalance", "--signature-type", "cloudevent", "--host", HOST, "--port", str(port),
    )  # fmt: skip
    # Any path but POST / answers 4xx or 405: the port answering is its health.
    return Service("rebalance", command, port, "/robots.txt")


def page_service(port: int) -> Service:
    command = (
        sys.executable, "-m", "streamlit", "run", str(HOUSE / "frontend" / "app.py"),
        "--server.address", HOST, "--server.port", str(port), "--server.headless", "true",
        "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none",
    )  # fmt: skip
    return Service("page", command, port, "/_stcore/health")


def sandbox_service(port: int, options: Sequence[str]) -> Service:
    command = (sys.executable, "-m", "astra.cli", "sandbox", "--port", str(port), *options)
    return Service("sandbox", command, port, "/sandbox/state")


def free_ports(count: int) -> list[int]:
    """Ports in a row that nobody listens on right now.

    Below the range from which the system takes ports for outgoing connections (from 32768 on
    Linux), so that none of them is gone by the time a service binds it.
    """
    for _ in range(100):
        first = secrets.randbelow(12_000) + 20_000
        if all(is_free(first + i) for i in range(count)):
            return [first + i for i in range(count)]
    raise ConfigError(
        f"{count} free ports in a row are required on {HOST}, found none: stop others"
    )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class House:
    """The running child processes; leaving the context stops them, newest first."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        """`environment` is put over ours for every child; logs go to `logs`/<service>.log."""
        self._logs = logs
        self._environment = dict(environment)
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> House:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stop()

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """For children started from now on."""
        self._environment.update(environment)

    def start(self, services: Sequence[Service]) -> None:
        """Start them all, then wait until each answers.

        Raises:
            ConfigError: a port is taken.
            AstraError: a service did not come up: its own error, or the end of its log.
        """
        for service in services:
            if not is_free(service.port):
                raise ConfigError(
                    f"{service.name} needs port {service.port} on {HOST}, which is taken: "
                    "stop what listens there or choose another port"
                )
        for service in services:
            with _signals.deferred(), (self._logs / f"{service.name}.log").open("ab") as out:
                child = subprocess.Popen(
                    service.command,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=child_environment(self._environment),
                    start_new_session=True,
                )
                self._running.append((service, child))
        deadline = time.monotonic() + START_SECONDS
        for service, child in self._running[-len(services) :]:
            self._wait(service, child, deadline)

    def _wait(self, service: Service, child: subprocess.Popen[bytes], deadline: float) -> None:
        while time.monotonic() < deadline and child.poll() is None:
            with contextlib.suppress(requests.RequestException):
                if requests.get(service.url + service.health, timeout=5).status_code < 500:
                    return
            time.sleep(0.05)
        raise self._failure(service.name, "did not come up")

    def _failure(self, name: str, what: str) -> AstraError:
        """The error of ours that ended a service, else what its log says last."""
        said = _ERROR.findall((self._logs / f"{name}.log").read_text(errors="replace"))
        if said:
            kind, message = said[-1]
            return _KINDS[kind](f"the {name} service {what}: {message}")
        return TemporaryError(f"the {name} service {what}; its log ends:\n{self.log_end(name)}")

    def log_end(self, name: str, lines: int = 15) -> str:
        path = self._logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raise if a child has died.

        Raises:
            AstraError: names it, with its own error or the end of its log.
        """
        for service, child in self._running:
            if child.poll() is not None:
                raise self._failure(service.name, f"stopped by itself (exit {child.returncode})")

    def stop(self) -> None:
        """Ask every child to end, newest first; kill what has not ended after ten seconds."""
        with _signals.deferred():
            self._stop()

    def _stop(self) -> None:
        for _, child in reversed(self._running):
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for _, child in reversed(self._running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.1, deadline - time.monotonic()))
            # Its own children included; a zombie nobody reaps must not hold us up.
            given_up = time.monotonic() + 2.0
            while _signal(child, signal.SIGKILL) and time.monotonic() < given_up:
                child.poll()
                time.sleep(0.01)
        self._running.clear()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Send to the child and its children; False if none of them is left."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return False
    return True


class _Signals:
    """SIGINT and SIGTERM as KeyboardInterrupt, but not between a child's birth and our noting it.

    SIGINT is handled, too: a process started in the background inherits it as ignored.
    """

    def __init__(self) -> None:
        self._is_deferring = False
        self._came = False

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        before = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        self._is_deferring = True
        try:
            yield
        finally:
            self._is_deferring = False
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        if not self._is_deferring:
            raise KeyboardInterrupt
        self._came = True


_signals = _Signals()


def ends_on_signals() -> contextlib.AbstractContextManager[None]:
    """SIGINT and SIGTERM end the block as Ctrl-C does, so that the children are stopped."""
    return _signals.handled()

"""The page as a person starts it, in Debian's Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright

APP = Path(__file__).resolve().parent.parent / "frontend" / "app.py"
CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
START_SECONDS, PATIENCE_MS = 60, 90_000
# All is there: the script has run, nothing is a grey bar, each chart and table that is not folded
# away is drawn.
DRAWN = """heading => {
  const app = document.querySelector('[data-testid="stApp"]');
  const all = (name, inner) => [...document.querySelectorAll(`[data-testid="${name}"]`)]
    .every(e => e.querySelector(inner) || !e.checkVisibility({visibilityProperty: true}));
  const title = document.querySelector('h1');
  return app?.dataset.testScriptState === 'notRunning' && title?.textContent === heading
    && !document.querySelector('[data-testid="stSkeleton"], [data-stale="true"]')
    && all('stPlotlyChart', '.main-svg') && all('stDataFrame', 'canvas');
}"""


@dataclass(frozen=True, slots=True)
class Served:
    """A running page."""

    url: str
    pid: int


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def served(
    database_url: str,
    log: Path,
    *,
    app: Path = APP,
    port: int | None = None,
    options: Sequence[str] = (),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """The page on that database, with default settings but for `settings`, which are variables of
    the environment; what it prints goes to `log`."""
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(app), "--server.address", "127.0.0.1",
               "--server.port", str(port), "--server.headless", "true", *options]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ASTRA_")}
    environment |= {"ASTRA_DATABASE_URL": database_url, "OMP_NUM_THREADS": "1", **settings}
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as out:
        child = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=out, stderr=out)
        try:
            yield Served(f"http://127.0.0.1:{port}", child.pid)
        finally:
            child.terminate()
            child.wait(20)


def chromium(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))


def open_first(tab: Page, url: str) -> None:
    """Open an address of a server that may still be starting. Raises as `wait_for`."""
    wait_for(url)
    tab.goto(url, timeout=PATIENCE_MS)


def wait_for(url: str) -> None:
    """Wait for a server that may still be starting.

    Raises:
        TimeoutError: it has not answered in a minute.
    """
    end = time.monotonic() + START_SECONDS
    address = urlsplit(url)
    while True:
        try:
            socket.create_connection((address.hostname, address.port)).close()
            break
        except ConnectionRefusedError as error:
            if time.monotonic() > end:
                raise TimeoutError(f"the page did not start in {START_SECONDS} s") from error
            time.sleep(0.1)


def drawn(tab: Page, heading: str) -> None:
    """Wait until the page of that heading is there, its last chart too."""
    tab.wait_for_function(DRAWN, arg=heading, timeout=PATIENCE_MS)


def is_ours(address: str, url: str) -> bool:
    """Whether a request stays with the server at `url`."""
    own = url.removeprefix("http")
    return address.removeprefix("http").startswith(own) or address.startswith(
        ("ws" + own, "data:", "blob:")
    )

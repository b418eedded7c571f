"""The page as tests run it: on a database of theirs, out of reach of any `.env`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astra.store import Store, open_store
from frontend.words import JOINER

if TYPE_CHECKING:  # a second of imports that most files don't need
    from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parent.parent / "frontend" / "app.py"
Runner = Callable[..., "AppTest"]


@dataclass(frozen=True)
class House:
    """A store and its address."""

    store: Store
    url: str


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """An empty store of today's schema."""
    url = f"sqlite:///{folder}/astra.db"
    store = open_store(url)
    yield House(store, url)
    store.close()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runner:
    """`page(database_url, "Decisions")`: that page, run once; the first one by default."""
    from streamlit import config
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    # Streamlit leaves the page as the main module: whatever multiprocessing started later would
    # run it first.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.chdir(tmp_path)
    config.set_option("server.address", "127.0.0.1")  # as `astra up` starts it

    def run(database_url: str, name: str = "") -> AppTest:
        monkeypatch.setenv("ASTRA_DATABASE_URL", database_url)
        app = AppTest.from_file(str(APP), default_timeout=60)
        if name:  # AppTest.switch_page finds pages that are files only (streamlit 1.67)
            app._page_hash = calc_hash(name.lower())
        return app.run()

    return run


def said(app: AppTest) -> str:
    """All the page says in text."""
    assert not app.exception
    kinds = (app.title, app.header, app.subheader, app.caption, app.markdown, app.info,
             app.warning, app.error)  # fmt: skip
    text = "\n".join(str(e.value) for kind in kinds for e in kind)
    return text.replace("\\", "").replace(JOINER, "")


def top(app: AppTest) -> str:
    """What stands at the top in HTML."""
    return "".join(h.proto.body for h in app.get("html"))


def metrics(app: AppTest) -> dict[str, str]:
    """Values by label."""
    return {m.label: m.value for m in app.metric}

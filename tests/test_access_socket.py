"""What a program can ask of the page that speaks streamlit's own protocol instead of a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import served, wait_for
from seeded_books import seed_store
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from astra.store import open_store
from frontend.access import MOST_ATTEMPTS

PASSWORD = "0042"
_LAST = {ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY}


@dataclass
class Visitor:
    """One session; `ids` are the elements of the login by kind, `fragment` is the page's part that
    refreshes by itself."""

    socket: ClientConnection
    ids: dict[str, str] = field(default_factory=dict)
    fragment: str = ""

    def send(self, message: BackMsg) -> None:
        self.socket.send(message.SerializeToString())

    def look(self) -> str:
        """Run the page and read all labels and sentences."""
        message = BackMsg()
        message.rerun_script.query_string = ""
        return self._run(message)

    def refresh(self) -> str:
        """What the part says that refreshes by itself, and the page if that is run by it."""
        message = BackMsg()
        message.rerun_script.fragment_id = self.fragment
        return self._run(message)

    def give(self, password: str) -> str:
        """Log in; what the page says to that."""
        message = BackMsg()
        message.rerun_script.query_string = ""
        widgets = message.rerun_script.widget_states.widgets
        widgets.add(id=self.ids["text_input"], string_value=password)
        widgets.add(id=self.ids["button"], trigger_value=True)
        return self._run(message)

    def _run(self, message: BackMsg) -> str:
        self.send(message)
        said = []
        while True:
            found = ForwardMsg()
            found.ParseFromString(self.socket.recv(60))
            kind = found.WhichOneof("type")
            if kind == "script_finished" and found.script_finished in _LAST:
                return "\n".join(said)
            self.fragment = found.delta.fragment_id or self.fragment
            element = found.delta.new_element if kind == "delta" else None
            match element and element.WhichOneof("type"):
                case "text_input" | "button" as name:
                    self.ids[name] = getattr(element, name).id
                    said.append(getattr(element, name).label)
                case "alert":
                    said.append(element.alert.body)
                case "metric":
                    said.append(element.metric.label)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A page that asks for a password."""
    url = f"sqlite:///{tmp_path}/astra.db"
    store = open_store(url)
    seed_store(store, days=1)
    store.close()
    (tmp_path / ".env").write_text(f"ASTRA_PAGE_PASSWORD={PASSWORD}")
    with served(url, tmp_path / "log") as page:
        wait_for(page.url)
        yield page.url


@contextmanager
def visiting(address: str) -> Iterator[Visitor]:
    where = f"ws://{urlsplit(address).netloc}/_stcore/stream"
    with connect(where, origin=address, subprotocols=["streamlit"], max_size=None) as socket:
        visitor = Visitor(socket)
        visitor.look()
        yield visitor


def test_nobody_guesses_on_by_clearing_the_caches_or_another_visit(address: str) -> None:
    for guess in range(MOST_ATTEMPTS):
        with visiting(address) as stranger:
            said = stranger.give(f"{guess:04d}")
            stranger.send(BackMsg(clear_cache=True))
    assert "Too many wrong passwords" in said
    with visiting(address) as stranger:
        assert "Too many wrong passwords" in stranger.give(PASSWORD)


def test_no_visitor_clears_what_all_of_them_share(address: str) -> None:
    with visiting(address) as friend:
        assert "Account value" in friend.give(PASSWORD)
        friend.send(BackMsg(clear_cache=True))  # would log this session out as well
        friend.send(BackMsg(load_git_info=True))
        assert "Account value" in friend.look()


def test_a_page_that_is_left_open_asks_for_a_new_password_at_its_next_refresh(
    address: str, tmp_path: Path
) -> None:
    with visiting(address) as friend:
        friend.give(PASSWORD)
        assert "Password" not in friend.refresh()
        (tmp_path / ".env").write_text("ASTRA_PAGE_PASSWORD=another")
        said = friend.refresh()
        assert "Password" in said and "Account value" not in said

"""A vendor's answers, word for word, over loopback HTTP: for what the sandbox does not do."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from werkzeug.http import http_date

NOW = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
_DATED = (("Date", http_date(NOW)),)


@dataclass(frozen=True)
class Reply:
    """One answer; a header may come twice."""

    body: Any
    status: int = 200
    headers: tuple[tuple[str, str], ...] = _DATED


@dataclass
class StandIn:
    """Where it listens, and what it was asked for: URLs with their queries."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def standing_in(answer: Callable[[str, dict[str, str]], Reply]) -> Iterator[StandIn]:
    """A server that answers a GET of a path and its query as `answer` says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            found.asked.append(self.path)
            parts = urlsplit(self.path)
            reply = answer(parts.path, dict(parse_qsl(parts.query)))
            content = json.dumps(reply.body).encode()
            self.send_response_only(reply.status)
            for name, value in (*reply.headers, ("Content-Length", str(len(content)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = StandIn(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def bars_in_pages(
    rows: dict[str, list[dict[str, Any]]], size: int
) -> Callable[[str, dict[str, str]], Reply]:
    """Alpaca's bars: those of the symbols asked for, `size` a page, by symbol and then by time."""

    def answer(path: str, query: dict[str, str]) -> Reply:
        if path != "/v2/stocks/bars":
            return Reply({"trades": {}})
        symbols = sorted(query["symbols"].split(","))
        flat = [(symbol, row) for symbol in symbols for row in rows.get(symbol, ())]
        first = int(query.get("page_token", 0))
        page: dict[str, list[dict[str, Any]]] = {}
        for symbol, row in flat[first : first + size]:
            page.setdefault(symbol, []).append(row)
        more = str(first + size) if first + size < len(flat) else None
        return Reply({"bars": page, "next_page_token": more})

    return answer

"""Flask apps on loopback ports, one threaded server each, in this process."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import threading
from collections.abc import Callable, Mapping

from flask import Flask, Response
from werkzeug.http import http_date
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from astra.errors import ConfigError

_HOST = "127.0.0.1"


class Servers:
    """Starts and stops `apps` together; a context manager over free ports."""

    def __init__(self, apps: Mapping[str, Flask]) -> None:
        self._apps = dict(apps)
        self._running: list[tuple[BaseWSGIServer, threading.Thread]] = []

    def __enter__(self) -> dict[str, str]:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, port: int = 0) -> dict[str, str]:
        """Serve on ports in a row from `port`, or on free ones for 0; the URL of each app.

        Raises:
            ConfigError: a port is taken; nothing is served then.
        """
        sockets = _listen(port, len(self._apps))
        for app, listener in zip(self._apps.values(), sockets, strict=True):
            with listener:  # the server works on a duplicate
                server = make_server(
                    _HOST, 0, app, threaded=True, request_handler=_Quiet, fd=listener.fileno()
                )
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            self._running.append((server, thread))
        ports = (server.port for server, _ in self._running)
        return {name: f"http://{_HOST}:{p}" for name, p in zip(self._apps, ports, strict=True)}

    def stop(self) -> None:
        """Stop serving; harmless when already stopped."""
        running, self._running = self._running, []
        for server, thread in running:
            with contextlib.suppress(OSError):  # wakes a server that waits for requests
                server.socket.shutdown(socket.SHUT_RDWR)
            server.shutdown()
            thread.join()
            server.server_close()


class _Quiet(WSGIRequestHandler):
    """No line per request; and no 40 ms per answer waiting for the header's acknowledgement."""

    disable_nagle_algorithm = True

    def send_response(self, code: int, message: str | None = None) -> None:
        self.send_response_only(code, message)  # without a second Date, the machine's

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def date_answers(app: Flask, now: Callable[[], dt.datetime]) -> None:
    """Stamp the answers of `app` that have no `Date` yet: its clients take "now" from there."""

    @app.after_request
    def _date(response: Response) -> Response:
        response.headers.setdefault("Date", http_date(now()))
        return response


def name_market(app: Flask, identity: str) -> None:
    """Stamp the answers of `app` with the market that they are of: bars are never mixed."""

    @app.after_request
    def _identify(response: Response) -> Response:
        response.headers["X-Astra-Market"] = identity
        return response


def _listen(base: int, count: int) -> list[socket.socket]:
    """Listening sockets on ports in a row from `base`, or on free ones for 0."""
    found: list[socket.socket] = []
    for offset in range(count):
        port = base + offset if base else 0
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
            listener.listen(128)
        except (OSError, OverflowError) as error:
            for opened in found:
                opened.close()
            last = base + count - 1
            raise ConfigError(
                f"the sandbox needs the ports {base} to {last} on {_HOST}, {port} cannot be used "
                f"({error}): choose another base port or stop what listens there"
            ) from error
    return found

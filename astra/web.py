"""What all Flask services share: errors as JSON, the credential, `/health`, logs.

A service is `create_app(settings)` in its `main.py`; routes stay with the service. No arithmetic
and no decision belongs here.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import sys
import time
import uuid
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from astra import __version__
from astra.errors import AstraError, TemporaryError
from astra.settings import Settings

log = logging.getLogger("astra.web")

MOST_BYTES = 100_000  # of a request's body: the longest that a service takes is a few hundred


def create_service(name: str, settings: Settings, pages: Collection[str] = ()) -> Flask:
    """A Flask app named `name` with our error answers, credential check and `/health`.

    Args:
        pages: paths that a browser may read, with the credential as its password. A browser sends
            that by itself, also where another site leads it, so nothing may be changed there.
    """
    app = Flask(name)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    token = settings.token.get_secret_value()

    @app.before_request
    def _admit() -> tuple[Response, int] | None:
        g.started = time.monotonic()
        g.request_id = request.headers.get("X-Request-Id") or uuid.uuid4().hex[:12]
        is_page = request.path in pages and request.method in ("GET", "HEAD")
        if request.path == "/health":
            return None
        if refused := _refused(is_page, bool(token)):
            return _problem(refused, 403)
        if not token:
            return None
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and hmac.compare_digest(given.encode(), token.encode()):
            return None
        if is_page and _has_password(token):
            return None
        body, status = _problem("a bearer token is required: send Authorization: Bearer ...", 401)
        if is_page:
            body.headers["WWW-Authenticate"] = 'Basic realm="ASTrA: any name, the token"'
        return body, status

    @app.after_request
    def _log(response: Response) -> Response:
        if request.path != "/health":
            seconds = time.monotonic() - g.started
            log.info(
                "service=%s request=%s method=%s path=%s status=%d seconds=%.3f",
                name, quote(g.request_id[:64]), request.method, quote(request.path),
                response.status_code, seconds,
            )  # fmt: skip
        return response

    @app.errorhandler(AstraError)
    def _ours(error: AstraError) -> tuple[Response, int]:
        log.warning("service=%s error=%s message=%s", name, error.kind, error)
        body, status = _problem(str(error), error.status, error.kind)
        if isinstance(error, TemporaryError) and error.retry_after:
            body.headers["Retry-After"] = str(int(error.retry_after))
        return body, status

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> tuple[Response, int]:
        return _problem(_sentence(error), error.code or 500)

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> tuple[Response, int]:
        log.error("service=%s unexpected=%s", name, type(error).__name__, exc_info=error)
        return _problem("an error nobody expected; the service's log has it", 500)

    @app.get("/health")
    def _health() -> Response:
        return jsonify(service=name, version=__version__, status="ok")

    return app


def _refused(is_page: bool, has_token: bool) -> str:
    """Why a request may be another web site's doing, in the browser of whoever is here; "" if not.

    A browser says in Origin and Sec-Fetch-Site that a site asks, unless that site's name was made
    to lead to this machine (DNS rebinding): then the name is the Host.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    if not is_page and ("Origin" in request.headers or site not in ("none", "same-origin")):
        return "a program's request is required, found one that a web site made in a browser"
    if not has_token and not _is_this_machine(request.host):
        return (
            "without ASTRA_TOKEN only requests to 127.0.0.1 or localhost are taken, found one to "
            f"{request.host:.100}"
        )
    return ""


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _sentence(error: HTTPException) -> str:
    """What Flask refuses, in our words."""
    match error:
        case NotFound():
            return f"a route of this service is required, found {request.path:.100}"
        case MethodNotAllowed():
            taken = {"GET", "POST"} & set(error.valid_methods or ())
            return f"{request.path} takes {' or '.join(sorted(taken))}, found {request.method}"
        case RequestEntityTooLarge():
            return f"a body of {MOST_BYTES:,} bytes at most is required, found more"
    return error.description or error.name


def _has_password(token: str) -> bool:
    found = request.authorization
    given = (found.password if found and found.type == "basic" else None) or ""
    return hmac.compare_digest(given.encode(), token.encode())


def _problem(message: str, status: int, kind: str | None = None) -> tuple[Response, int]:
    return jsonify(error=kind or HTTPStatus(status).phrase, message=message), status


def configure_logging() -> None:
    """`key=value` lines on stderr, once per process."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="time=%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
    )
    # One line per vendor request is theirs to print, not ours.
    for noisy in ("urllib3", "google", "yfinance", "peewee", "exchange_calendars", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

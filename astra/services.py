"""HTTP client of our own services, for the command line, the model service and the page.

Their error answers come back as the errors of `astra.errors`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import requests

from astra.errors import (
    AstraError,
    BundleError,
    ConfigError,
    DataError,
    InsufficientDataError,
    TemporaryError,
)
from astra.settings import Settings

CONNECT_SECONDS = 5.0
READ_SECONDS = 900.0  # a first load of many tickers
_BY_NAME = {
    kind.__name__: kind for kind in (ConfigError, DataError, InsufficientDataError, BundleError)
}


@dataclass(frozen=True, slots=True)
class Dump:
    """A table from /dump_table.

    `now` is the vendor's time, `as_of` the last stored bar's close, `market` the store's identity.
    """

    table: pa.Table
    now: dt.datetime | None
    as_of: dt.datetime | None
    market: str


class Services:
    """The services at the addresses of the settings."""

    def __init__(self, settings: Settings, read_seconds: float = READ_SECONDS) -> None:
        self._read_seconds = read_seconds
        self._urls = {
            "etl": settings.etl_url,
            "model": settings.model_url,
            "monitor": settings.monitor_url,
        }
        self._session = requests.Session()
        self._session.trust_env = False  # our own services are never behind the user's proxy
        if token := settings.token.get_secret_value():
            self._session.headers["Authorization"] = f"Bearer {token}"

    def dump(self, table: str, **filters: str | int) -> Dump:
        """Rows of a table; filters as in /dump_table.

        Raises:
            DataError: the table or a filter is unknown.
            TemporaryError: the ETL service is down.
        """
        query: dict[str, str | int] = {"table": table, "format": "arrow", **filters}
        answer = self._ask("GET", "etl", "/dump_table", params=query)
        try:
            with pa.ipc.open_stream(answer.content) as reader:
                found = reader.read_all()
        except pa.ArrowInvalid as error:
            raise DataError(
                f"an Arrow stream is required from {self._urls['etl']}/dump_table, found something "
                "else: check ASTRA_ETL_URL"
            ) from error
        now, as_of = _time(answer, "X-Astra-Now"), _time(answer, "X-Astra-As-Of")
        return Dump(found, now, as_of, answer.headers.get("X-Astra-Market", ""))

    def post(
        self, service: str, path: str, body: Mapping[str, object] | None = None, **query: str
    ) -> dict[str, Any]:
        """POST and read the JSON answer; 207 (some tickers failed) is an answer, not an error."""
        found: dict[str, Any] = self._ask("POST", service, path, params=query, json=body).json()
        return found

    def get(self, service: str, path: str, **query: str) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", service, path, params=query).json()
        return found

    def _ask(self, method: str, service: str, path: str, **rest: Any) -> requests.Response:
        url = self._urls[service].rstrip("/") + path
        try:
            timeout = (CONNECT_SECONDS, self._read_seconds)
            answer = self._session.request(method, url, timeout=timeout, **rest)
        except requests.RequestException as error:
            raise TemporaryError(
                f"the {service} service does not answer at {url} ({type(error).__name__}): "
                "start it (astra up) or correct its address in the settings"
            ) from error
        if answer.status_code >= 400:
            raise _error(service, path, answer)
        return answer


def _error(service: str, path: str, answer: requests.Response) -> AstraError:
    try:
        body = answer.json()
        message, kind = str(body["message"]), str(body["error"])
    except (ValueError, KeyError, TypeError):
        message, kind = answer.text[:200], ""
    text = f"{service}{path}: {message}"
    if kind in _BY_NAME:
        return _BY_NAME[kind](text)
    if answer.status_code in (401, 403):
        return ConfigError(f"{text} (set ASTRA_TOKEN to the service's token)")
    if answer.status_code in (429, 502, 503, 504):
        after = answer.headers.get("Retry-After", "")
        return TemporaryError(text, float(after) if after.isdigit() else None)
    return DataError(text) if answer.status_code < 500 else AstraError(text)


def _time(answer: requests.Response, header: str) -> dt.datetime | None:
    text = answer.headers.get(header)
    return dt.datetime.fromisoformat(text) if text else None

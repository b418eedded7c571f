"""HTTP client of our own services, for the command line, the model service and the page.

Their error answers come back as the errors of `astra.errors`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
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
# pyarrow takes a stream without it for a whole one; a proxy may end an answer between two batches.
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_BY_NAME = {
    kind.__name__: kind for kind in (ConfigError, DataError, InsufficientDataError, BundleError)
}


@dataclass(frozen=True, slots=True)
class Pulse:
    """What /dump_table says before the rows.

    `now` is the vendor's time, `as_of` the last stored bar's close, `market` the store's identity;
    `etag` is another one when the rows may have changed.
    """

    now: dt.datetime | None
    as_of: dt.datetime | None
    market: str
    etag: str


@dataclass(frozen=True, slots=True)
class Dump(Pulse):
    """A table from /dump_table, in plain types: no dictionaries."""

    table: pa.Table


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
            TemporaryError: the ETL service is down, or its answer was cut short.
        """
        return self._dumped(self._ask_dump("GET", table, filters))

    def dump_if_new(self, etag: str, table: str, **filters: str | int) -> Dump | None:
        """As `dump`, or None if nothing has changed since the answer with this `etag`.

        The etag belongs to the same table and filters. Raises as `dump`.
        """
        answer = self._ask_dump("GET", table, filters, {"If-None-Match": etag})
        return None if answer.status_code == HTTPStatus.NOT_MODIFIED else self._dumped(answer)

    def pulse(self, table: str, **filters: str | int) -> Pulse:
        """What `dump` would say before the rows; no row is read. Raises as `dump`."""
        return Pulse(**_pulse(self._ask_dump("HEAD", table, filters)))

    def _ask_dump(
        self,
        method: str,
        table: str,
        filters: Mapping[str, str | int],
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        query = {"table": table, "format": "arrow", **filters}
        return self._ask(method, "etl", "/dump_table", params=query, headers=headers)

    def _dumped(self, answer: requests.Response) -> Dump:
        where = f"{self._urls['etl']}/dump_table"
        try:
            stream = pa.ipc.open_stream(answer.content)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"an Arrow stream is required from {where}, found something else: check "
                "ASTRA_ETL_URL"
            ) from error
        cut = f"a whole table is required from {where}, found one that was cut short: ask again"
        try:
            found = stream.read_all()
        except (pa.ArrowInvalid, OSError) as error:
            raise TemporaryError(cut) from error
        if not answer.content.endswith(_END_OF_STREAM):
            raise TemporaryError(cut)
        return Dump(**_pulse(answer), table=_plain(found))

    def post(
        self, service: str, path: str, body: Mapping[str, object] | None = None, **query: str
    ) -> dict[str, Any]:
        """POST and read the JSON answer; 207 (some tickers failed) is an answer, not an error.

        Raises:
            TemporaryError: the service is down, or answers something else than a JSON object.
            AstraError: its own refusal.
        """
        return _object(service, path, self._ask("POST", service, path, params=query, json=body))

    def get(self, service: str, path: str, **query: str) -> dict[str, Any]:
        """GET and read the JSON answer. Raises as `post`."""
        return _object(service, path, self._ask("GET", service, path, params=query))

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


def _object(service: str, path: str, answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TemporaryError(
            f"{service}{path}: a JSON object is required, found something else with status "
            f"{answer.status_code}: look whether it was done, and whether the {service} service "
            "is at its address in the settings"
        )
    return found


def _error(service: str, path: str, answer: requests.Response) -> AstraError:
    try:
        body = answer.json()
        message, kind = str(body["message"]), str(body.get("error", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        message, kind = answer.text[:200] or answer.reason, ""
    text = f"{service}{path}: {message}"
    if kind in _BY_NAME:
        return _BY_NAME[kind](text)
    if answer.status_code in (401, 403):
        return ConfigError(f"{text} (set ASTRA_TOKEN to the service's token)")
    if answer.status_code in (429, 502, 503, 504):
        after = answer.headers.get("Retry-After", "")
        return TemporaryError(text, float(after) if after.isdigit() else None)
    return DataError(text) if answer.status_code < 500 else AstraError(text)


def _pulse(answer: requests.Response) -> dict[str, Any]:
    return {
        "now": _time(answer, "X-Astra-Now"),
        "as_of": _time(answer, "X-Astra-As-Of"),
        "market": answer.headers.get("X-Astra-Market", ""),
        "etag": answer.headers.get("ETag", ""),
    }


def _plain(table: pa.Table) -> pa.Table:
    """Tickers travel as dictionaries."""
    kinds = {
        field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in table.schema
    }
    return table.cast(pa.schema(kinds))


def _time(answer: requests.Response, header: str) -> dt.datetime | None:
    text = answer.headers.get(header)
    return dt.datetime.fromisoformat(text) if text else None

"""The page's only source: tables over HTTP from the ETL service. Nothing is decided here."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import requests

from astra.errors import ConfigError, DataError, TemporaryError
from astra.settings import Settings


@dataclass(frozen=True, slots=True)
class Pulse:
    """What there is to read right now.

    `version` changes when a table that the page shows changed; `now` is the market's time and
    `as_of` that of the newest bar, both None before the first load.
    """

    version: str
    now: dt.datetime | None
    as_of: dt.datetime | None
    accounts: tuple[str, ...]


class Feed:
    """Reads tables from the ETL service.

    Every call raises TemporaryError when the service is down or busy, ConfigError when it refuses
    our credential, DataError when it does not know what was asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.etl_url.rstrip("/")
        self._timeout = settings.vendor_timeout
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment is not for our own services
        token = settings.token.get_secret_value()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def pulse(self) -> Pulse:
        """Ask the two tables that every hour adds to, keys only; cheap enough for every refresh."""
        books = self._get("account_summary", {"columns": "account,at"})
        made = self._get("decisions", {"columns": "object,as_of"})
        headers = books.headers
        now, as_of = headers.get("X-Astra-Now", ""), headers.get("X-Astra-As-Of", "")
        known = hashlib.sha256(books.content + made.content + as_of.encode()).hexdigest()[:16]
        frame = _frame(books).sort_values("at", ascending=False)
        accounts = tuple(dict.fromkeys(frame["account"]))
        return Pulse(known, _instant(now), _instant(as_of), accounts)

    def table(self, name: str, **filters: str) -> pd.DataFrame:
        """A table's rows; instants as UTC timestamps, amounts as decimal strings."""
        return _frame(self._get(name, filters))

    def _get(self, table: str, filters: dict[str, str]) -> requests.Response:
        query = {"table": table, "format": "arrow", **filters}
        try:
            answer = self._session.get(
                f"{self.url}/dump_table", params=query, timeout=self._timeout
            )
        except requests.RequestException as error:
            raise TemporaryError(
                f"the ETL service at {self.url} does not answer: start it with `astra up`, "
                "or set ASTRA_ETL_URL to where it is"
            ) from error
        if answer.status_code in (401, 403):
            raise ConfigError(
                f"the ETL service at {self.url} wants a credential: set ASTRA_TOKEN to its token"
            )
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TemporaryError(
                f"the ETL service at {self.url} failed on table {table} "
                f"({answer.status_code}): its log says why; the page tries again by itself"
            )
        if not answer.ok:
            raise DataError(f"the ETL service refused table {table}: {_message(answer)}")
        return answer


def _frame(answer: requests.Response) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pa.ipc.open_stream(answer.content).read_all().to_pandas()
    except pa.ArrowInvalid as error:
        raise TemporaryError(
            f"an Arrow stream was expected from {answer.url}, found something else or a part of it:"
            " check ASTRA_ETL_URL"
        ) from error
    # tickers may travel as a dictionary; here they are plain text
    coded = frame.select_dtypes("category").columns
    return frame.astype(dict.fromkeys(coded, "str"))


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason}"


def _instant(text: str) -> dt.datetime | None:
    if not text:
        return None
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)

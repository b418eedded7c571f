"""The only importer of alpaca-py: one request, its answer, and its failure as one of our errors.

What the answers mean is the other modules' business. Written against alpaca-py 0.44.0, which sets
no timeout, retries POST on 429 and 504 by itself and answers in models that reject unknown words:
so requests carry a timeout, its retries are off, and bodies stay raw. Of the library its REST
client is enough: the ones of trading and data bring pandas and streams along, half a second of
each start. What may be repeated is repeated here, in one loop with one deadline: urllib3's own
`Retry` knows neither the vendor's counters nor an end in time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import requests
from alpaca.common.enums import BaseURL
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from requests.adapters import HTTPAdapter

from astra.alpaca.failures import (
    RateLimitError,
    TimedOutError,
    UnreachableError,
    failure,
    told_wait,
)
from astra.alpaca.limiter import Limiter
from astra.errors import AstraError, TemporaryError
from astra.settings import Settings

SYMBOLS_A_REQUEST = 250  # keeps the URL under 2 KB
CONNECT_SECONDS = 5.0  # at most, and never longer than a request may last
PATIENCE = 30.0  # seconds from which on a request is not tried again; half a lease
# Whoever sends an order has just looked at its lease and at the account's state.
POST_PATIENCE = 2.0
RESERVE = 0.1  # of the trading API's budget, kept for orders and cancels
_PAUSES = (0.1, 0.5)  # seconds before a read is tried again that failed in passing
_LIMITED_PAUSE = 1.0  # after a 429 that does not say how long
_LIMITED_TRIES = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request brought.

    Attributes:
        body: the JSON, {} where there is none.
        now: Alpaca's time of the answer, None if it has no date.
        market: identity of the market behind it; the real Alpaca names none: `real`.
    """

    body: Any
    now: datetime | None
    market: str


class Api:
    """One of Alpaca's two APIs. Safe to share between threads."""

    def __init__(
        self, client: RESTClient, timeout: float, *, patience: float, reserve: float = 0.0
    ) -> None:
        """Takes `client` over; alpaca-py 0.44.0 lets only its private names be set.

        Args:
            timeout: seconds for one request.
            patience: seconds from which on it is not tried again; 0 = one try.
            reserve: share of the budget of requests that reads leave alone.
        """
        self._client = client
        self._patience = patience
        self._limiter = Limiter(reserve)
        self._heard = threading.local()
        client._retry = 0  # else 3 times 3 s, POST included
        _resolve_once(client)
        client._session.hooks["response"].append(self._hear)
        for scheme in ("https://", "http://"):
            client._session.mount(scheme, _Timeout(timeout))

    def call(self, method: str, path: str, content: Mapping[str, object] | None = None) -> Answer:
        """One request; `content` is its query, or its JSON body where it is a POST.

        It is tried again after 429, which is certainly not done, and a GET also after 5xx and a
        broken connection; nothing else is, least of all a POST.

        Raises:
            TemporaryError: no answer (UnreachableError), 429 (RateLimitError) or 5xx.
            ConfigError: the keys are wrong.
            RefusedError: anything else.
        """
        patience = min(self._patience, POST_PATIENCE) if method == "POST" else self._patience
        deadline, tries = time.monotonic() + patience, 0
        while True:
            self._await_turn(method, deadline)
            try:
                return self._once(method, path, content)
            except TemporaryError as error:
                pause = _pause(method, tries, error)
                if pause is None or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            tries += 1

    def _await_turn(self, method: str, deadline: float) -> None:
        """A turn that would come after the deadline is taken now: the vendor has the last word."""
        while pause := self._limiter.pause(is_read=method == "GET"):
            if time.monotonic() + pause > deadline:
                return
            time.sleep(pause)

    def _once(self, method: str, path: str, content: Mapping[str, object] | None) -> Answer:
        asked = f"Alpaca {method} {path}"
        sent: Any = dict(content) if content else None
        if sent and method != "POST":  # commas as they are: three bytes each would be too many
            sent = urlencode({k: v for k, v in sent.items() if v is not None}, safe=",:")
        try:
            body = self._client._request(method, path, sent)
        except APIError as error:
            raise _failure(asked, error) from error
        except requests.RequestException as error:
            raise _silent(error)(
                f"{asked} got no usable answer ({type(error).__name__}): try again"
            ) from error
        if body is None and method == "GET":  # the connection broke before the body
            raise TemporaryError(f"{asked} got an empty answer: try again")
        return Answer({} if body is None else body, self._heard.now, self._heard.market)

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """The body of a GET; errors as `call`."""
        return self.call("GET", path, query).body

    @property
    def now(self) -> datetime | None:
        """The vendor's time of the last answer that this thread got; None before the first."""
        return getattr(self._heard, "now", None)

    def _hear(self, response: requests.Response, **_: object) -> None:
        """Keep what the headers say: alpaca-py hands out the body only."""
        self._heard.now = now = _dated(response)
        self._limiter.hear(response.headers, None if now is None else now.timestamp())
        self._heard.market = response.headers.get("X-Astra-Market") or "real"


def trading_api(settings: Settings) -> Api:
    """Accounts, orders, clock. Connects nothing yet.

    Raises:
        ConfigError: key or secret are missing.
    """
    url = settings.trading_url.rstrip("/")
    client = RESTClient(url, *_keys(settings), raw_data=True)
    return Api(client, settings.vendor_timeout, patience=PATIENCE, reserve=RESERVE)


def data_api(settings: Settings, *, patience: float = PATIENCE) -> Api:
    """Bars, trades and quotes; `patience` as `Api`. Connects nothing yet.

    Raises:
        ConfigError: key or secret are missing.
    """
    url = settings.alpaca_data_url.rstrip("/") or BaseURL.DATA.value
    client = RESTClient(url, *_keys(settings), raw_data=True)
    return Api(client, settings.vendor_timeout, patience=patience)


def _keys(settings: Settings) -> tuple[str, str]:
    settings.require("alpaca_key", "alpaca_secret")
    return settings.alpaca_key, settings.alpaca_secret.get_secret_value()


def _resolve_once(client: RESTClient) -> None:
    """Proxies and certificates of the environment, which requests 2.34 else looks up, with a
    `.netrc`, for each request anew: a fifth of what one costs. All go to one host."""
    session = client._session
    found = session.merge_environment_settings(str(client._base_url), {}, None, None, None)
    session.proxies, session.verify = found["proxies"], found["verify"]
    session.trust_env = False


class _Timeout(HTTPAdapter):
    """Gives every request a timeout, which alpaca-py 0.44 leaves out: to connect and to read."""

    def __init__(self, seconds: float) -> None:
        self._seconds = (min(CONNECT_SECONDS, seconds), seconds)
        super().__init__()

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = self._seconds
        return super().send(*args, **kwargs)


def _pause(method: str, tries: int, error: TemporaryError) -> float | None:
    """Seconds until a failed request may be tried again; None = not at all."""
    if isinstance(error, RateLimitError):
        wait = _LIMITED_PAUSE if error.retry_after is None else error.retry_after
        return wait if tries < _LIMITED_TRIES else None
    if method != "GET" or isinstance(error, TimedOutError) or tries >= len(_PAUSES):
        return None
    return max(_PAUSES[tries], error.retry_after or 0.0)


def _silent(error: requests.RequestException) -> type[TemporaryError]:
    if isinstance(error, requests.Timeout):
        return TimedOutError
    return UnreachableError if isinstance(error, requests.ConnectionError) else TemporaryError


def _failure(asked: str, error: APIError) -> AstraError:
    response, status = error.response, error.status_code or 0
    if response is None:
        return failure(asked, status, str(error), None)
    now = _dated(response)
    wait = told_wait(status, response.headers, None if now is None else now.timestamp())
    return failure(asked, status, str(error), wait)


def _dated(response: requests.Response) -> datetime | None:
    """The vendor's time: the last `Date`, as a server in front may put its own before."""
    dates = response.raw.headers.getlist("Date")
    try:
        found = parsedate_to_datetime(dates[-1])
    except (IndexError, ValueError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

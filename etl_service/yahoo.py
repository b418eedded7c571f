"""Yahoo's 5-minute bars through yfinance; the only module that imports it.

yfinance keeps one session, one crumb and one cache for the whole process, so fetches take turns.
Its own "now" is the machine's clock: every request here ends at Yahoo's time instead, taken from
the `Date` of its answers.
"""

from __future__ import annotations

import atexit
import datetime as dt
import os
import shutil
import threading
import warnings
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import yfinance as yf
from curl_cffi.requests import Session
from curl_cffi.requests.session import RetryStrategy
from werkzeug.http import parse_date
from yfinance.data import YfData
from yfinance.exceptions import (
    YFDataException,
    YFException,
    YFPricesMissingError,
    YFRateLimitError,
)

from astra import bars
from astra.errors import ConfigError, TemporaryError
from astra.settings import Settings

Status = Literal["ok", "empty", "error", "rate_limited"]
# Yahoo refuses requests for 5-minute bars of more than 60 days; the margin is for the time that
# passes, on a fast clock too, between learning Yahoo's time and asking.
REACH = dt.timedelta(days=60) - dt.timedelta(hours=1)
RETRY_AFTER = 60.0
_TIME_URL = "https://query1.finance.yahoo.com/v1/test/getcrumb"  # small, and any answer is dated
_ZONE = "America/New_York"
_COLUMNS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
_taking_turns = threading.Lock()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one request for one ticker brought.

    Attributes:
        frame: offered bars with the columns of `astra.bars.COLUMNS`, forming one included: to be
            validated at `now`.
        now: Yahoo's time of the answer.
        has_split: a split lies in the window, so older stored bars are on another scale.
        message: one sentence if the status is not ok.
        passes: the failure passes, the same request may succeed later.
        unreachable: there was no answer at all.
    """

    ticker: str
    status: Status
    frame: pd.DataFrame
    now: dt.datetime
    message: str = ""
    has_split: bool = False
    passes: bool = False
    unreachable: bool = False


class Yahoo:
    """A source of bars: from a ticker and a start to `Fetched`.

    Raises:
        ConfigError: there is no place for yfinance's caches.
    """

    def __init__(self, settings: Settings) -> None:
        self._session = _Session(settings.yahoo_url, settings.vendor_timeout)
        yf.set_tz_cache_location(str(_own_folder(settings.var)))
        yf.config.debug.hide_exceptions = False

    @property
    def market(self) -> str:
        """Identity of the market that answered last; a real vendor names none."""
        return self._session.market or "real"

    @property
    def retry_after(self) -> float:
        """Seconds after which Yahoo wants to be asked again."""
        return self._session.retry_after or RETRY_AFTER

    def ask_now(self) -> dt.datetime:
        """Yahoo's time, by one small request.

        Raises:
            TemporaryError: no answer, or one without a date.
        """
        with _taking_turns:
            return self._ask_now()

    def fetch(self, ticker: str, start: dt.datetime | None = None) -> Fetched:
        """Bars of `ticker` from `start` (None, or too old: as far back as Yahoo reaches) to now."""
        with _taking_turns:
            now = self._session.now or self._ask_now()
            begin = max(start or now - REACH, now - REACH)
            if begin >= now:
                return Fetched(ticker, "empty", bars.empty(), now)
            try:
                quotes = self._quotes(ticker, begin, now)
            except YFRateLimitError:
                message = "Yahoo limits our requests: ask again later and for less"
                return self._failed(ticker, "rate_limited", message, passes=True)
            except (YFException, LookupError, ValueError, TypeError, AttributeError) as error:
                return self._explained(ticker, error)
            except OSError as error:
                message = f"Yahoo cannot be reached: {error}"
                return self._failed(ticker, "error", message, passes=True, unreachable=True)
            answered_at = self._session.now or now
        if quotes.empty:
            return Fetched(ticker, "empty", bars.empty(), answered_at)
        has_split = bool((quotes["Stock Splits"] != 0).any())
        return Fetched(ticker, "ok", _offered(ticker, quotes), answered_at, has_split=has_split)

    def _ask_now(self) -> dt.datetime:
        try:
            self._session.get(_TIME_URL)
        except OSError as error:
            raise TemporaryError(
                f"Yahoo cannot be reached: {error}", retry_after=RETRY_AFTER
            ) from error
        if self._session.now is None:
            raise TemporaryError("Yahoo's answer has no date", retry_after=RETRY_AFTER)
        return self._session.now

    def _quotes(self, ticker: str, begin: dt.datetime, end: dt.datetime) -> pd.DataFrame:
        YfData.cache_get.cache_clear()  # answers to past ranges stay in it, a 500 included
        listed = yf.Ticker(ticker.replace(".", "-"), session=self._session)
        listed._tz = _ZONE  # saves one request per ticker; all our tickers are listed there
        with warnings.catch_warnings():
            # yfinance 1.7 assigns with `inplace`, which pandas 3 announces to drop.
            warnings.filterwarnings("ignore", module="yfinance")
            quotes: pd.DataFrame = listed.history(
                start=begin, end=end, interval="5m", prepost=False, auto_adjust=False, actions=True
            )
        return quotes

    def _explained(self, ticker: str, error: Exception) -> Fetched:
        status = self._session.status
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return self._failed(ticker, "error", f"Yahoo answered {status}", passes=True)
        if isinstance(error, YFPricesMissingError):
            if status < HTTPStatus.BAD_REQUEST:
                return self._failed(ticker, "empty", "")
            return self._failed(ticker, "error", f"Yahoo: {error.rationale}")
        message = f"Yahoo's answer cannot be read: {type(error).__name__} {error}"
        is_down = isinstance(error, YFDataException)  # Yahoo's page for it, with status 200
        return self._failed(ticker, "error", message, passes=is_down)

    def _failed(
        self,
        ticker: str,
        status: Status,
        message: str,
        *,
        passes: bool = False,
        unreachable: bool = False,
    ) -> Fetched:
        now = self._session.now or dt.datetime.fromtimestamp(0, dt.UTC)
        return Fetched(
            ticker, status, bars.empty(), now, message, passes=passes, unreachable=unreachable
        )


class _Session(Session):  # type: ignore[misc]  # curl_cffi is not followed, so its base is Any
    """What yfinance sends its requests with; keeps what the last answer's headers said."""

    def __init__(self, base: str, timeout: float) -> None:
        super().__init__(impersonate="chrome", retry=RetryStrategy(count=1, delay=0.2))
        self._base = urlsplit(base)
        self._seconds = timeout
        self.now: dt.datetime | None = None
        self.market = ""
        self.status = 0
        self.retry_after = 0.0

    def request(self, method: str, url: str, **options: Any) -> Any:
        """Send it, to the configured address if there is one, never without a time-out."""
        options["timeout"] = self._seconds
        answer = super().request(method, self._addressed(url), **options)
        self.status = answer.status_code
        if self.status < HTTPStatus.INTERNAL_SERVER_ERROR:  # else maybe a gateway's words
            self.market = answer.headers.get("X-Astra-Market", "")
        wait = answer.headers.get("Retry-After", "")
        self.retry_after = float(wait) if wait.isdigit() else 0.0
        dates = answer.headers.get_list("Date")  # a server in front may put its own before
        self.now = parse_date(dates[-1] if dates else None) or self.now
        return answer

    def _addressed(self, url: str) -> str:
        parts = urlsplit(url)
        if not self._base.netloc or not (parts.hostname or "").endswith("yahoo.com"):
            return url
        path = self._base.path.rstrip("/") + parts.path
        return urlunsplit((self._base.scheme, self._base.netloc, path, parts.query, ""))


def _own_folder(var: Path) -> Path:
    """For this process's caches: workers that share a file lock each other out (yfinance #2557)."""
    folder = var / "yfinance" / str(os.getpid())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"ASTRA_VAR must be a folder to write in: {error}") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _offered(ticker: str, quotes: pd.DataFrame) -> pd.DataFrame:
    index = pd.DatetimeIndex(quotes.index)
    columns = {ours: quotes[theirs].to_numpy() for ours, theirs in _COLUMNS.items()}
    return pd.DataFrame(
        {"ticker": pd.Series([ticker] * len(quotes), dtype="str"), "ts": index.as_unit("s").asi8}
        | columns
    )

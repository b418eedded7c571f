"""Yahoo's 5-minute bars through yfinance; the only module that imports it.

yfinance keeps one session, one crumb and one cache for the whole process, so this is the work of
one worker process and `yahoo_workers` runs several; nothing else should import it. yfinance's own
"now" is the machine's clock: every request here ends at Yahoo's time instead.
"""

from __future__ import annotations

import copy
import datetime as dt
import logging
import math
import warnings
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
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
from astra.sessions import BAR_SECONDS
from etl_service.sources.source import Fetched, Status

_ZONE = "America/New_York"
_INTERVAL = "5m"
_COLUMNS = ["Open", "High", "Low", "Close", "Volume"]
_CHARTS = "/v8/finance/chart/"
_DOMAIN = ".yahoo.com"
# Refusals of this ticker or this window; any other is of us, or of everybody.
_ABOUT_THE_ASKED = (
    HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY,
)  # fmt: skip
_TICKER = pd.StringDtype("pyarrow", na_value=np.nan)  # what "str" is by default


class Client:
    """Asks Yahoo, one ticker after the other. One for a process, used by one thread.

    Args:
        url: replaces Yahoo's own addresses; "" for none.
        timeout: seconds for one request.
        folder: for yfinance's caches: processes that share one lock each other out (yfinance
            #2557).
    """

    def __init__(self, url: str, timeout: float, folder: Path) -> None:
        self.session = _Session(url, timeout)
        yf.set_tz_cache_location(str(folder))
        yf.config.debug.hide_exceptions = False
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # what fails is told as a status
        # yfinance handles small frames by column names: 15 instead of 20 ms of CPU a ticker.
        pd.set_option("mode.string_storage", "python")

    def fetch(self, ticker: str, begin: dt.datetime, end: dt.datetime) -> Fetched:
        """Bars of `ticker` that start in [begin, end); `end` is Yahoo's time."""
        self.session.forget(end)
        if begin >= end:
            return Fetched(ticker, "empty", bars.empty(), end)
        try:
            quotes = self._quotes(ticker, begin, end)
        except YFRateLimitError:
            message = "Yahoo limits our requests: ask again later and for less"
            return self._failed(ticker, "rate_limited", message, passes=True)
        except (YFException, LookupError, ValueError, TypeError, AttributeError) as error:
            return self._explained(ticker, error)
        except OSError as error:
            message = f"Yahoo cannot be reached: {error}"
            return self._failed(ticker, "error", message, passes=True, unreachable=True)
        frame = _settled(_offered(ticker, quotes), end, self.session.now)
        status: Status = "empty" if frame.empty else "ok"
        return Fetched(ticker, status, frame, self.session.now, split=_split(quotes))

    def _quotes(self, ticker: str, begin: dt.datetime, end: dt.datetime) -> pd.DataFrame:
        """yfinance's frame, null rows included.

        Raises:
            ValueError: it is about something else than US 5-minute bars of the ticker.
        """
        YfData.cache_get.cache_clear()  # answers to past ranges stay in it, a 500 included
        symbol = ticker.replace(".", "-")
        listed = yf.Ticker(symbol, session=self.session)
        listed._tz = _ZONE  # saves one request per ticker; all our tickers are listed there
        with warnings.catch_warnings():
            # yfinance 1.7 assigns with `inplace`, which pandas 3 announces to drop.
            warnings.filterwarnings("ignore", module="yfinance")
            quotes: pd.DataFrame = listed.history(
                start=begin, end=end, interval=_INTERVAL, auto_adjust=False, keepna=True
            )
        required = {"symbol": symbol, "dataGranularity": _INTERVAL, "currency": "USD"}
        found = {name: listed.history_metadata[name] for name in required}
        if found != required:
            raise ValueError(f"{required} were asked for, found {found}")
        return quotes

    def _explained(self, ticker: str, error: Exception) -> Fetched:
        status = self.session.status
        reason = error.yahoo_reason if isinstance(error, YFPricesMissingError) else None
        if status >= HTTPStatus.BAD_REQUEST and (reason is None or status not in _ABOUT_THE_ASKED):
            message = f"Yahoo answered {status}"
            return self._failed(ticker, "error", message, passes=True, unreachable=True)
        if reason is not None:
            unknown = status == HTTPStatus.NOT_FOUND
            return self._failed(ticker, "error", f"Yahoo: {reason}", unknown=unknown)
        if isinstance(error, YFPricesMissingError):
            return self._failed(ticker, "empty", "")
        message = f"Yahoo's answer cannot be read: {type(error).__name__} {error}"
        is_down = isinstance(error, YFDataException)  # Yahoo's page for it, with status 200
        return self._failed(ticker, "error", message, passes=is_down, unreachable=is_down)

    def _failed(self, ticker: str, status: Status, message: str, **marks: bool) -> Fetched:
        return Fetched(ticker, status, bars.empty(), self.session.now, message, **marks)


class _Session(Session):  # type: ignore[misc]  # curl_cffi is not followed, so its base is Any
    """What yfinance sends its requests with; keeps what the last answers' headers said.

    Attributes:
        now: the last answer's `Date`.
        market: what it was named by the last answer, "" if it has no name, None without answer.
        status: of the last chart, 0 without answer.
        retry_after: seconds, 0 if Yahoo named none.
    """

    def __init__(self, base: str, timeout: float) -> None:
        super().__init__(impersonate="chrome", retry=RetryStrategy(count=1, delay=0.2))
        self._base = urlsplit(base)
        self._seconds = timeout

    def forget(self, now: dt.datetime) -> None:
        """Start anew, at `now`, for the next ticker."""
        self.now = now
        self.market: str | None = None
        self.status = 0
        self.retry_after = 0.0

    def request(self, method: str, url: str, **options: Any) -> Any:
        """Send it, to the configured address if there is one, never without a time-out."""
        options["timeout"] = self._seconds
        address = self._addressed(url)
        answer = super().request(method, address, **options)
        if _CHARTS in url:
            self.status = answer.status_code
        if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:  # else maybe a gateway's words
            self.market = answer.headers.get("X-Astra-Market", "")
        wait = answer.headers.get("Retry-After", "")
        self.retry_after = float(wait) if wait.isdigit() else 0.0
        dates = answer.headers.get_list("Date")  # a server in front may put its own before
        self.now = parse_date(dates[-1] if dates else None) or self.now
        if address != url:
            self._own_cookies()
        return answer

    def _addressed(self, url: str) -> str:
        parts = urlsplit(url)
        if not self._base.netloc or not (parts.hostname or "").endswith(_DOMAIN[1:]):
            return url
        path = self._base.path.rstrip("/") + parts.path
        return urlunsplit((self._base.scheme, self._base.netloc, path, parts.query, ""))

    def _own_cookies(self) -> None:
        """Cookies of the configured address count as Yahoo's: yfinance asks for one before every
        request as long as it finds none under that name."""
        jar = self.cookies.jar
        for cookie in [c for c in jar if not c.domain.endswith(_DOMAIN)]:
            twin = copy.copy(cookie)
            twin.domain = _DOMAIN
            jar.set_cookie(twin)


def _offered(ticker: str, quotes: pd.DataFrame) -> pd.DataFrame:
    """As bars to be validated, less what Yahoo shows beside bars: nulls where nobody traded, and
    the live point. A null volume beside prices arrives as 0: yfinance fills it."""
    ts = pd.DatetimeIndex(quotes.index).as_unit("s").asi8
    values = quotes[_COLUMNS].to_numpy(np.float64)
    prices, volume = values[:, :4], values[:, 4]
    is_traded = ~np.isnan(prices).all(axis=1) | (volume > 0)
    is_live = (ts % BAR_SECONDS != 0) & (volume == 0) & (np.ptp(prices, axis=1) == 0)
    is_live[:-1] = False  # the last element only
    kept = is_traded & ~is_live
    columns = dict(zip(bars.COLUMNS[2:], values[kept].T, strict=True))
    tickers = pd.array([ticker], dtype=_TICKER).repeat(kept.sum())
    return pd.DataFrame({"ticker": tickers, "ts": ts[kept], **columns})


def _settled(frame: pd.DataFrame, asked_at: dt.datetime, now: dt.datetime) -> pd.DataFrame:
    """Without bars that closed between question and answer: they may show what was before."""
    closes = frame["ts"].to_numpy() + BAR_SECONDS
    is_doubtful = (closes > asked_at.timestamp()) & (closes <= now.timestamp())
    return frame[~is_doubtful].reset_index(drop=True) if is_doubtful.any() else frame


def _split(quotes: pd.DataFrame) -> float | None:
    ratios = quotes["Stock Splits"].to_numpy(np.float64)
    found = ratios[(ratios > 0) & np.isfinite(ratios)].tolist()
    return math.prod(found) if found else None

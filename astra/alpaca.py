"""The broker: the only importer of alpaca-py. Asks Alpaca, answers in our nouns and our errors.

No decision and no journal belongs here. Written against alpaca-py 0.44.0, which sets no timeout,
retries POST on 429 and 504 by itself and answers in models that reject unknown words: so requests
carry a timeout, its retries are off, and raw bodies are read by `astra.alpaca_bodies`.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter

from astra.alpaca_bodies import (
    EquityPoint,
    read_account,
    read_activity,
    read_asset,
    read_clock,
    read_history,
    read_order,
    read_position,
)
from astra.errors import AstraError, ConfigError, DataError, OrderError, TemporaryError
from astra.records import Account, Activity, Asset, MarketClock, Order, Position, Side
from astra.settings import Settings

with warnings.catch_warnings():
    # alpaca-py 0.44.0 imports its streams, and with them the deprecated websockets.legacy.
    warnings.filterwarnings("ignore", "websockets", DeprecationWarning)
    from alpaca.common.exceptions import APIError
    from alpaca.common.rest import RESTClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.trading.client import TradingClient

log = logging.getLogger("astra.alpaca")

_ORDER_PAGE = 500  # Alpaca's largest
_ACTIVITY_PAGE = 100  # Alpaca's largest
Timeframe = Literal["5Min", "15Min", "1H"]
_WINDOWS = {"5Min": timedelta(minutes=5), "15Min": timedelta(minutes=15), "1H": timedelta(hours=1)}
_SYMBOLS_A_REQUEST = 250  # keeps the URL under 2 KB


class Alpaca:
    """One account at Alpaca. Safe to share between threads."""

    def __init__(
        self, trading: TradingClient, data: StockHistoricalDataClient, live_number: str | None
    ) -> None:
        """`live_number` is the account number that real money needs; None on paper."""
        self._trading = trading
        self._data = data
        self._live_number = live_number
        self._is_admitted = False
        self._assets: dict[str, Asset] | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Alpaca:
        """Connects nothing yet.

        Raises:
            ConfigError: key or secret are missing.
        """
        settings.require("alpaca_key", "alpaca_secret")
        key, secret = settings.alpaca_key, settings.alpaca_secret.get_secret_value()
        trading = TradingClient(
            key, secret, raw_data=True, url_override=settings.trading_url.rstrip("/")
        )
        data_url = settings.alpaca_data_url.rstrip("/") or None
        data = StockHistoricalDataClient(key, secret, raw_data=True, url_override=data_url)
        for client in (trading, data):
            _bound(client, settings.vendor_timeout)
        live = None if settings.alpaca_paper else settings.live_trading
        return cls(trading, data, live)

    def account(self) -> Account:
        """The account.

        Raises:
            ConfigError: real money, and the account is not the one named by ASTRA_LIVE_TRADING.
        """
        account = read_account(self._get("/account"))
        if self._live_number is not None and account.number != self._live_number:
            raise ConfigError(
                f"live trading is allowed for account {self._live_number} only, these keys open "
                f"{account.number}: correct ASTRA_LIVE_TRADING or the keys"
            )
        return account

    def positions(self) -> tuple[Position, ...]:
        return tuple(read_position(body) for body in self._get("/positions"))

    def clock(self) -> MarketClock:
        return read_clock(self._get("/clock"))

    def asset(self, symbol: str) -> Asset | None:
        """None if Alpaca does not know the symbol."""
        if self._assets is not None and symbol in self._assets:
            return self._assets[symbol]
        body = self._find(f"/assets/{quote(symbol, safe='')}")
        return None if body is None else read_asset(body)

    def assets(self, symbols: Iterable[str]) -> dict[str, Asset]:
        """Those of `symbols` that Alpaca lists as active; asked once, then remembered."""
        if self._assets is None:
            query = {"status": "active", "asset_class": "us_equity"}
            found = (read_asset(body) for body in self._get("/assets", query))
            self._assets = {asset.symbol: asset for asset in found}
        return {s: self._assets[s] for s in symbols if s in self._assets}

    def latest_prices(self, symbols: Iterable[str]) -> dict[str, float]:
        """Price of each symbol's latest trade, USD; symbols without one are absent."""
        wanted = sorted(set(symbols))
        prices: dict[str, float] = {}
        for i in range(0, len(wanted), _SYMBOLS_A_REQUEST):
            query = {"symbols": ",".join(wanted[i : i + _SYMBOLS_A_REQUEST])}
            body = _call(self._data, "GET", "/stocks/trades/latest", query)
            for symbol, trade in (body.get("trades") or {}).items():
                price = (trade or {}).get("p")
                if price is not None and float(price) > 0:
                    prices[symbol] = float(price)
        return prices

    def submit(self, symbol: str, side: Side, qty: Decimal, client_order_id: str) -> Order:
        """Send a market order for the day, at most once for one `client_order_id`.

        Whenever the answer leaves a doubt (timeout, broken connection, 5xx, "id must be unique"),
        the order is looked up by its id: it either is at the broker, or may be sent again.

        Raises:
            TemporaryError: not at the broker as far as can be known: send again with the same id.
            OrderError: refused, with the broker's code and sentence.
        """
        self._admit()
        ticket = {
            "symbol": symbol,
            "side": side.value,
            "qty": format(qty, "f"),  # the client's own models would send a float
            "type": "market",
            "time_in_force": "day",
            "client_order_id": client_order_id,
        }
        try:
            return read_order({**ticket, **_call(self._trading, "POST", "/orders", ticket)})
        except _RefusedError as refusal:
            if not refusal.is_duplicate_id:
                raise OrderError(
                    f"{side.value} {qty} {symbol}: {refusal}", refusal.code
                ) from refusal
            doubt: AstraError = refusal
        except TemporaryError as error:
            if isinstance(error, _RateLimitError):
                raise
            doubt = error
        log.warning("order=%s outcome=unknown reason=%s", client_order_id, doubt)
        found = self.order(client_order_id)
        if found is None:
            raise TemporaryError(
                f"unknown outcome of order {client_order_id}: {doubt}; "
                "it is not at the broker now, send it again with the same id"
            ) from doubt
        return found

    def order(self, client_order_id: str) -> Order | None:
        """The order with our id, or None if the broker has never seen it."""
        body = self._find("/orders:by_client_order_id", {"client_order_id": client_order_id})
        return None if body is None else read_order(body)

    def orders(self, status: str = "open", after: datetime | None = None) -> tuple[Order, ...]:
        """Orders submitted after `after`, oldest first; `status` is open, closed or all."""
        query: dict[str, object] = {"status": status, "direction": "asc", "limit": _ORDER_PAGE}
        since = None if after is None else after.isoformat()
        found: dict[str, Order] = {}
        while True:
            page = self._get("/orders", query if since is None else {**query, "after": since})
            fresh = [order for order in map(read_order, page) if order.id not in found]
            found.update((order.id, order) for order in fresh)
            if len(page) < _ORDER_PAGE or not fresh:
                return tuple(found.values())
            since = page[-1].get("submitted_at")

    def cancel(self, order_id: str) -> None:
        """Ask to cancel by the broker's id; an order that is final already stays as it is."""
        self._admit()
        try:
            _call(self._trading, "DELETE", f"/orders/{quote(order_id, safe='')}")
        except _RefusedError as refusal:
            if refusal.http_status not in (404, 422):
                raise

    def cancel_all(self) -> None:
        """Ask to cancel every open order of the account."""
        self._admit()
        _call(self._trading, "DELETE", "/orders")

    def activities(
        self, after: datetime | None = None, kinds: Iterable[str] = ()
    ) -> Iterator[Activity]:
        """Lines of the account's record since `after`, oldest first, page by page: all kinds, or
        those named (FILL, FEE, DIV, SPLIT, ...).

        Fills of one moment may appear one by one, so `after` is asked for with a millisecond of
        overlap: the caller tells lines apart by their id.
        """
        query: dict[str, object] = {"direction": "asc", "page_size": _ACTIVITY_PAGE}
        if named := ",".join(kinds):
            query["activity_types"] = named
        if after is not None:
            query["after"] = (after - timedelta(milliseconds=1)).isoformat()
        while True:
            page = self._get("/account/activities", query)
            yield from map(read_activity, page)
            query["page_token"] = page[-1].get("id") if page else None
            if len(page) < _ACTIVITY_PAGE or query["page_token"] is None:
                return

    def portfolio_history(
        self, period: str = "1M", timeframe: Timeframe = "1H"
    ) -> tuple[EquityPoint, ...]:
        """The account's value over `period` (1D, 1W, 1M, 1A, all), at the end of each window of
        `timeframe` that is over."""
        query = {"period": period, "timeframe": timeframe}
        points = read_history(self._get("/account/portfolio/history", query), _WINDOWS[timeframe])
        now = self.clock().now
        return tuple(point for point in points if point.at <= now)

    def _admit(self) -> None:
        """Before anything is changed at a live account: it is the one the settings name."""
        if self._live_number is not None and not self._is_admitted:
            self.account()
            self._is_admitted = True

    def _get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        return _call(self._trading, "GET", path, query)

    def _find(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """As `_get`; None on 404."""
        try:
            return self._get(path, query)
        except _RefusedError as refusal:
            if refusal.http_status == 404:
                return None
            raise


class _RefusedError(DataError):
    """Alpaca understood the request and said no."""

    def __init__(self, message: str, http_status: int, code: int | None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = http_status if code is None else code

    @property
    def is_duplicate_id(self) -> bool:
        text = str(self)
        return self.http_status == 422 and "client_order_id" in text and "unique" in text


class _RateLimitError(TemporaryError):
    """429: certainly not done."""


class _Timeout(HTTPAdapter):
    """Gives every request a timeout, which alpaca-py 0.44 leaves out."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        super().__init__()

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = self._seconds
        return super().send(*args, **kwargs)


def _bound(client: RESTClient, timeout: float) -> None:
    """Timeouts on, alpaca-py's blind retries (3 times 3 s, POST included) off.

    Its constructors take no retry settings and no session: these are private names of 0.44.0.
    """
    client._retry = 0
    for scheme in ("https://", "http://"):
        client._session.mount(scheme, _Timeout(timeout))


def _call(
    client: RESTClient, method: str, path: str, content: Mapping[str, object] | None = None
) -> Any:
    """One request; its body, or {} where there is none.

    Raises:
        TemporaryError: no answer, 5xx or 429.
        ConfigError: the keys are wrong.
        _RefusedError: anything else.
    """
    asked = f"Alpaca {method} {path}"
    try:
        body = client._request(method, path, dict(content) if content else None)
    except APIError as error:
        raise _translated(asked, error) from error
    except requests.RequestException as error:
        raise TemporaryError(
            f"{asked} got no usable answer ({type(error).__name__}): try again"
        ) from error
    return {} if body is None else body


def _translated(asked: str, error: APIError) -> AstraError:
    status = error.status_code or 0
    code, sentence = _said(str(error))
    if status == 429:
        return _RateLimitError(f"{asked} is rate limited: wait and try again", _wait(error))
    if status >= 500 or status == 408:
        return TemporaryError(f"{asked} failed with {status} {sentence}: try again", _wait(error))
    # 40310000 speaks of the order; 40110000, or a 403 without a code, of the keys.
    if status == 401 or (status == 403 and (code is None or str(code).startswith("401"))):
        return ConfigError(
            f"{asked} was not authorised ({status} {sentence}): check ASTRA_ALPACA_KEY and "
            "ASTRA_ALPACA_SECRET, and that they belong to the same paper or live account"
        )
    return _RefusedError(f"{asked} was refused ({status}): {sentence}", status, code)


def _said(text: str) -> tuple[int | None, str]:
    """Code and sentence of an error body; gateways answer in HTML, so neither may be there."""
    try:
        body = json.loads(text)
    except ValueError:
        return None, ""
    if not isinstance(body, dict):
        return None, ""
    code = body.get("code")
    sentence = str(body.get("message") or "")
    reason = body.get("reject_reason")
    return code if isinstance(code, int) else None, f"{sentence} ({reason})" if reason else sentence


def _wait(error: APIError) -> float | None:
    """Seconds to wait by the vendor's own clock: Retry-After, or X-RateLimit-Reset less Date."""
    headers = getattr(error.response, "headers", None) or {}
    try:
        if "Retry-After" in headers:
            return max(0.0, float(headers["Retry-After"]))
        reset, now = headers["X-RateLimit-Reset"], parsedate_to_datetime(headers["Date"])
        return max(0.0, float(reset) - now.timestamp())
    except (KeyError, ValueError):
        return None

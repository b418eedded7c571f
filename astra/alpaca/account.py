"""One account at Alpaca: asks, and answers in our nouns and our errors.

No decision and no journal belongs here, and nothing is changed at the broker: that is
`astra.alpaca.orders`' business.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from astra.alpaca.bodies import (
    EquityPoint,
    read_account,
    read_activity,
    read_asset,
    read_clock,
    read_history,
    read_order,
    read_position,
)
from astra.alpaca.transport import (
    SYMBOLS_A_REQUEST,
    Api,
    RefusedError,
    data_api,
    trading_api,
)
from astra.errors import ConfigError
from astra.records import Account, Activity, Asset, MarketClock, Order, Position
from astra.settings import Settings

log = logging.getLogger("astra.alpaca")

_ORDER_PAGE = 500  # Alpaca's largest
_ACTIVITY_PAGE = 100  # Alpaca's largest
Timeframe = Literal["5Min", "15Min", "1H"]
_WINDOWS = {"5Min": timedelta(minutes=5), "15Min": timedelta(minutes=15), "1H": timedelta(hours=1)}


class Alpaca:
    """One account at Alpaca. Safe to share between threads."""

    def __init__(self, trading: Api, data: Api, live_number: str | None) -> None:
        """`live_number` is the account number that real money needs; None on paper."""
        self.trading = trading
        self._data = data
        self.live_number = live_number
        self._assets: dict[str, Asset] | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Alpaca:
        """Connects nothing yet.

        Raises:
            ConfigError: key or secret are missing.
        """
        live = None if settings.alpaca_paper else settings.live_trading
        return cls(trading_api(settings), data_api(settings), live)

    def account(self) -> Account:
        """The account.

        Raises:
            ConfigError: real money, and the account is not the one named by ASTRA_LIVE_TRADING.
        """
        account = read_account(self._get("/account"))
        if self.live_number is not None and account.number != self.live_number:
            raise ConfigError(
                f"live trading is allowed for account {self.live_number} only, these keys open "
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
        for i in range(0, len(wanted), SYMBOLS_A_REQUEST):
            query = {"symbols": ",".join(wanted[i : i + SYMBOLS_A_REQUEST])}
            body = self._data.get("/stocks/trades/latest", query)
            for symbol, trade in (body.get("trades") or {}).items():
                price = (trade or {}).get("p")
                if price is not None and float(price) > 0:
                    prices[symbol] = float(price)
        return prices

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

    def _get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        return self.trading.get(path, query)

    def _find(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """As `_get`; None on 404."""
        try:
            return self._get(path, query)
        except RefusedError as refusal:
            if refusal.http_status == 404:
                return None
            raise

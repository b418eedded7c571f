"""One account at Alpaca: asks, and answers in our nouns and our errors.

No decision and no journal belongs here, and nothing is changed at the broker: that is
`astra.alpaca.orders`' business.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from astra.alpaca.bodies import (
    EquityPoint,
    read_account,
    read_activity,
    read_asset,
    read_clock,
    read_earlier,
    read_history,
    read_order,
    read_position,
    read_quote,
    read_trade,
    says_what_moved,
)
from astra.alpaca.failures import RefusedError
from astra.alpaca.transport import (
    SYMBOLS_A_REQUEST,
    Api,
    data_api,
    trading_api,
)
from astra.alpaca.values import Body, read_list, read_object
from astra.errors import ConfigError, DataError, TemporaryError
from astra.records import Account, Activity, Asset, MarketClock, Order, Position, Quote, Trade
from astra.settings import Settings

log = logging.getLogger("astra.alpaca")

_ORDER_PAGE = 500  # Alpaca's largest
_ACTIVITY_PAGE = 100  # Alpaca's largest
_ASSETS_SECONDS = 3600.0
HISTORY_AT_ONCE = timedelta(days=30)
Timeframe = Literal["5Min", "15Min", "1H"]
_WINDOWS = {"5Min": timedelta(minutes=5), "15Min": timedelta(minutes=15), "1H": timedelta(hours=1)}


class Alpaca:
    """One account at Alpaca. Safe to share between threads."""

    def __init__(self, trading: Api, data: Api, live_number: str | None) -> None:
        """`live_number` is the account number that real money needs; None on paper."""
        self.trading = trading
        self._data = data
        self.live_number = live_number
        self.is_admitted = live_number is None  # else once the account has said that it is the one
        self._malformed: set[str] = set()  # symbols that Alpaca has refused by name
        self._assets: Mapping[str, Asset] = {}
        self._assets_until = 0.0  # monotonic wall time

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
        account = read_account(read_object(self._get("/account"), "account"))
        if self.live_number is not None and account.number != self.live_number:
            raise ConfigError(
                f"live trading is allowed for account {self.live_number} only, these keys open "
                f"{account.number}: correct ASTRA_LIVE_TRADING or the keys"
            )
        self.is_admitted = True
        return account

    def positions(self) -> tuple[Position, ...]:
        """All positions, each once however often it is told.

        Raises:
            DataError: one of them cannot be read: a holding is never taken for flat.
            TemporaryError: a symbol is told twice with different quantities.
        """
        found: dict[str, Position] = {}
        for position in map(read_position, read_list(self._get("/positions"), "positions")):
            known = found.setdefault(position.symbol, position)
            if known.qty != position.qty:
                raise TemporaryError(
                    f"one position of {position.symbol} is required from Alpaca, found one of "
                    f"{known.qty:f} and one of {position.qty:f} shares: ask again"
                )
        return tuple(found.values())

    def clock(self) -> MarketClock:
        return read_clock(read_object(self._get("/clock"), "clock"))

    def asset(self, symbol: str) -> Asset | None:
        """None if Alpaca does not know the symbol; asked by itself each time."""
        body = self._find(f"/assets/{quote(symbol, safe='')}")
        return None if body is None else _readable([read_object(body, "asset")]).get(symbol)

    def assets(self, symbols: Iterable[str]) -> dict[str, Asset]:
        """Those of `symbols` that Alpaca knows.

        The list of all active ones is asked for once an hour of wall time; a symbol that is not in
        it (new, or no longer active) is asked for by itself. An asset that cannot be read is left
        out: what is not listed is not traded.
        """
        listed = self._listed()
        found = ((symbol, listed.get(symbol) or self.asset(symbol)) for symbol in symbols)
        return {symbol: asset for symbol, asset in found if asset is not None}

    def _listed(self) -> Mapping[str, Asset]:
        if not self._assets or time.monotonic() >= self._assets_until:
            query = {"status": "active", "asset_class": "us_equity"}
            self._assets = _readable(read_list(self._get("/assets", query), "assets"))
            self._assets_until = time.monotonic() + _ASSETS_SECONDS
        return self._assets

    def latest_prices(self, symbols: Iterable[str]) -> dict[str, float]:
        """Price of each symbol's latest trade, USD; symbols without one are absent."""
        return {symbol: trade.price for symbol, trade in self.last_trades(symbols).items()}

    def last_trades(self, symbols: Iterable[str]) -> dict[str, Trade]:
        """Each symbol's latest trade; symbols without one are absent."""
        bodies = self._latest("trades", symbols)
        return {symbol: trade for symbol, body in bodies if (trade := read_trade(body))}

    def quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        """Each symbol's latest quote, however old; symbols without one are absent."""
        bodies = self._latest("quotes", symbols)
        return {symbol: found for symbol, body in bodies if (found := read_quote(body))}

    def earlier_prices(self, symbols: Iterable[str]) -> dict[str, Trade]:
        """Each symbol's close of the session before, its open of today where it is new; symbols
        without either are absent."""
        bodies = self._by_symbol("/stocks/snapshots", symbols)
        return {symbol: found for symbol, body in bodies if (found := read_earlier(body))}

    def order(self, client_order_id: str) -> Order | None:
        """The order with our id, or None if the broker has never seen it."""
        body = self._find("/orders:by_client_order_id", {"client_order_id": client_order_id})
        if body is None:
            return None
        return read_order({**read_object(body, "order"), "client_order_id": client_order_id})

    def orders(self, status: str = "open", after: datetime | None = None) -> tuple[Order, ...]:
        """Orders submitted after `after`, oldest first; `status` is open, closed or all.

        Alpaca goes on strictly after a time, and several orders may share one: so each page is
        asked for with a microsecond of overlap.

        Raises:
            DataError: an order cannot be read, or a whole page of them came within a microsecond:
                those after them could not be asked for.
        """
        query: dict[str, object] = {"status": status, "direction": "asc", "limit": _ORDER_PAGE}
        since, found = after, dict[str, Order]()
        while True:
            asked = query if since is None else {**query, "after": since.isoformat()}
            page = [read_order(row) for row in read_list(self._get("/orders", asked), "orders")]
            fresh = [order for order in page if order.id not in found]
            found.update((order.id, order) for order in fresh)
            if len(page) < _ORDER_PAGE:
                return tuple(found.values())
            last = page[-1].submitted_at
            if not fresh or last is None:
                raise DataError(
                    f"fewer than {_ORDER_PAGE} orders within a microsecond are required to list "
                    f"them all, found more at {last}: ask for those after it"
                )
            since = last - timedelta(microseconds=1)

    def activities(
        self, after: datetime | None = None, kinds: Iterable[str] = ()
    ) -> Iterator[Activity]:
        """Lines of the account's record since `after`, oldest first, page by page: all kinds, or
        those named (FILL, FEE, DIV, SPLIT, ...).

        Fills of one moment may appear one by one, so `after` is asked for with a millisecond of
        overlap: the caller tells lines apart by their id. A line that tells neither cash nor shares
        is left out, to be asked for again.

        Raises:
            DataError: a line cannot be read, or a page brings nothing that was not there before:
                Alpaca does not go on, and would be asked for ever.
        """
        query: dict[str, object] = {"direction": "asc", "page_size": _ACTIVITY_PAGE}
        if named := ",".join(kinds):
            query["activity_types"] = named
        if after is not None:
            query["after"] = (after - timedelta(milliseconds=1)).isoformat()
        seen: set[str] = set()
        while True:
            page = read_list(self._get("/account/activities", query), "activities")
            lines = [read_activity(row) for row in page]
            ids = {line.id for line in lines}
            if ids and ids <= seen:
                raise DataError(
                    "new lines are required on each page of the account's activities, found those "
                    f"of an earlier one after {query['page_token']}: try again later"
                )
            seen |= ids
            told = zip(lines, page, strict=True)
            yield from (line for line, row in told if says_what_moved(row))
            query["page_token"] = page[-1].get("id") if page else None
            if len(page) < _ACTIVITY_PAGE or query["page_token"] is None:
                return

    def portfolio_history(
        self, period: str = "1M", timeframe: Timeframe = "1H", start: datetime | None = None
    ) -> tuple[EquityPoint, ...]:
        """The account's value over `period` (1D, 1W, 1M, 1A, all) until now, or over 30 days from
        `start` on, at the end of each window of `timeframe` that is over.

        Alpaca tells windows of less than a day for 30 days at once, however long ago they were.
        """
        query = {"period": period, "timeframe": timeframe}
        if start is not None:
            end = min(start + HISTORY_AT_ONCE, self.clock().now)
            ends = {"start": start.isoformat(), "end": end.isoformat()}
            query = {"timeframe": timeframe, **ends}
        body = read_object(self._get("/account/portfolio/history", query), "portfolio history")
        points = read_history(body, _WINDOWS[timeframe])
        now = self.clock().now
        return tuple(point for point in points if point.at <= now)

    def _latest(self, kind: str, symbols: Iterable[str]) -> Iterator[tuple[str, Body]]:
        return self._by_symbol(f"/stocks/{kind}/latest", symbols, kind)

    def _by_symbol(
        self, path: str, symbols: Iterable[str], noun: str = ""
    ) -> Iterator[tuple[str, Body]]:
        """What the data API has of each symbol, under the field `noun` where one is named; a symbol
        that it leaves out, or whose form it refuses, has none."""
        wanted = sorted(set(symbols) - self._malformed)
        for i in range(0, len(wanted), SYMBOLS_A_REQUEST):
            for found in self._asked(path, wanted[i : i + SYMBOLS_A_REQUEST]):
                named = read_object(found.get(noun) or {}, path) if noun else found
                for symbol, body in named.items():
                    if isinstance(body, Mapping):
                        yield symbol, body

    def _asked(self, path: str, symbols: Sequence[str]) -> Iterator[Body]:
        """The answers for the symbols; a list refused for one is halved down to the culprit."""
        try:
            yield read_object(self._data.get(path, {"symbols": ",".join(symbols)}), path)
        except RefusedError as refusal:
            if not refusal.is_of_symbol:
                raise
            if len(symbols) == 1:
                log.warning("symbol=%s left out: %s", symbols[0], refusal)
                if symbols[0] in str(refusal):
                    self._malformed.update(symbols)
                return
            half = len(symbols) // 2
            for part in (symbols[:half], symbols[half:]):
                yield from self._asked(path, part)

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


def _readable(rows: Iterable[Body]) -> dict[str, Asset]:
    found = {}
    for row in rows:
        try:
            asset = read_asset(row)
        except DataError as error:
            log.warning("asset left out: %s", error)
            continue
        found[asset.symbol] = asset
    return found

"""Changes at the broker: orders sent and cancelled. Only `astra.execution.door` imports this."""

from __future__ import annotations

import logging
from decimal import Decimal
from urllib.parse import quote

from astra.alpaca.account import Alpaca
from astra.alpaca.bodies import read_order
from astra.alpaca.transport import RateLimitError, RefusedError
from astra.errors import AstraError, OrderError, TemporaryError
from astra.records import Order, Side

log = logging.getLogger("astra.alpaca")


class Orders:
    """What may be changed at one account. Safe to share between threads."""

    def __init__(self, account: Alpaca) -> None:
        self._account = account
        self._trading = account.trading
        self._is_admitted = False

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
            return read_order({**ticket, **self._trading.call("POST", "/orders", ticket).body})
        except RefusedError as refusal:
            if not refusal.is_duplicate_id:
                raise OrderError(
                    f"{side.value} {qty} {symbol}: {refusal}", refusal.code
                ) from refusal
            doubt: AstraError = refusal
        except TemporaryError as error:
            if isinstance(error, RateLimitError):
                raise
            doubt = error
        log.warning("order=%s outcome=unknown reason=%s", client_order_id, doubt)
        found = self._account.order(client_order_id)
        if found is None:
            raise TemporaryError(
                f"unknown outcome of order {client_order_id}: {doubt}; "
                "it is not at the broker now, send it again with the same id"
            ) from doubt
        return found

    def cancel(self, order_id: str) -> None:
        """Ask to cancel by the broker's id; an order that is final already stays as it is."""
        self._admit()
        try:
            self._trading.call("DELETE", f"/orders/{quote(order_id, safe='')}")
        except RefusedError as refusal:
            if refusal.http_status not in (404, 422):
                raise

    def cancel_all(self) -> None:
        """Ask to cancel every open order of the account."""
        self._admit()
        self._trading.call("DELETE", "/orders")

    def _admit(self) -> None:
        """Before anything is changed at a live account: it is the one the settings name."""
        if self._account.live_number is not None and not self._is_admitted:
            self._account.account()
            self._is_admitted = True

"""Changes at the broker: orders sent and cancelled. Only `astra.execution.door` imports this."""

from __future__ import annotations

import logging
from decimal import Decimal
from urllib.parse import quote

from astra.alpaca.account import Alpaca
from astra.alpaca.bodies import read_order
from astra.alpaca.failures import RateLimitError, RefusedError
from astra.alpaca.values import read_object
from astra.errors import DataError, OrderError, TemporaryError
from astra.records import Order, Side

log = logging.getLogger("astra.alpaca")


class Orders:
    """What may be changed at one account. Safe to share between threads."""

    def __init__(self, account: Alpaca) -> None:
        self._account = account
        self._trading = account.trading

    def submit(
        self,
        symbol: str,
        side: Side,
        qty: Decimal,
        client_order_id: str,
        limit_price: Decimal | None = None,
    ) -> Order:
        """Send an order for the day, at most once for one `client_order_id`: a limit order where
        `limit_price` (USD a share, at most two decimals from 1 USD on, else four) is given.

        Whenever the answer leaves a doubt (timeout, broken connection, 5xx, one that cannot be
        read), the order is looked up by its id: it either is at the broker, or may be sent again.
        So it is after a refusal: that of a second copy, whatever it says (the id is taken, the
        first copy has bound the money), speaks of an order that is there.

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
        if limit_price is not None:
            ticket |= {"type": "limit", "limit_price": format(limit_price, "f")}
        try:
            body = self._trading.call("POST", "/orders", ticket).body
            return read_order({**read_object(body, "order"), **ticket})
        except RateLimitError:
            raise
        except (RefusedError, TemporaryError, DataError) as error:
            log.warning("order=%s in_doubt=%s", client_order_id, error)
            if found := self._account.order(client_order_id):
                return found
            if isinstance(error, RefusedError) and not error.is_duplicate_id:
                asked = f"{side.value} {qty} {symbol}"
                raise OrderError(f"{asked}: {error}", error.code) from error
            raise TemporaryError(
                f"unknown outcome of order {client_order_id}: {error}; "
                "it is not at the broker now, send it again with the same id"
            ) from error

    def cancel(self, order_id: str) -> None:
        """Ask to cancel by the broker's id; an order that is final already stays as it is.

        Raises:
            DataError: there is no id; without one Alpaca would cancel every order.
        """
        if not order_id:
            raise DataError("the broker's id is required to cancel an order, found none")
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
        """Before anything is changed at a live account: it is the one the settings name.

        Asks where nobody has looked at the account since the process began; whoever has to send
        at once after a check of his own looks before it, as the risk gate does.
        """
        if not self._account.is_admitted:
            self._account.account()

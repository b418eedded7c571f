"""Which orders the sandbox's broker accepts: checks of a ticket against the account.

Each raises the Refusal that Alpaca would answer with, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import ROUND_DOWN, Decimal

from astra.records import Side
from sandbox.market import Market
from sandbox.orders import FORBIDDEN, MIN_ORDER_USD, UNPROCESSABLE, Order, Refusal, Ticket

CENT = Decimal("0.01")


def check_asset(
    ticket: Ticket, market: Market, whole_shares_only: Collection[str], *, is_open: bool
) -> None:
    """The symbol is listed; fractions need an asset that has them and an open session."""
    if not market.has(ticket.symbol):
        gone = market.has_left(ticket.symbol)
        text = "is not active" if gone else "not found"
        raise Refusal(422, UNPROCESSABLE, f'asset "{ticket.symbol}" {text}')
    if not ticket.is_fractional:
        return
    if ticket.symbol in whole_shares_only:
        raise Refusal(403, FORBIDDEN, f'asset "{ticket.symbol}" is not fractionable')
    if not is_open:
        text = "fractional orders are accepted while the market is open only"
        raise Refusal(422, UNPROCESSABLE, text)


def check_wash_trade(ticket: Ticket, open_orders: Iterable[Order]) -> None:
    """No open order of the other side could meet this one."""
    for order in open_orders:
        other = order.ticket
        if other.symbol != ticket.symbol or other.side is ticket.side:
            continue
        bid, ask = (ticket, other) if ticket.side is Side.BUY else (other, ticket)
        if bid.limit_price and ask.limit_price and bid.limit_price < ask.limit_price:
            continue
        raise Refusal(
            403,
            FORBIDDEN,
            "potential wash trade detected. use complex orders",
            existing_order_id=order.id,
            reject_reason=f"opposite side {other.type} order exists",
        )


def check_funds(order: Order, buying_power: Decimal) -> None:
    """A buy's reservation fits into the buying power."""
    if order.reserved > buying_power:
        raise Refusal(
            403,
            FORBIDDEN,
            "insufficient buying power",
            buying_power=str(buying_power.quantize(CENT, ROUND_DOWN)),
            cost_basis=str(order.reserved.quantize(CENT)),
        )


def check_shares(ticket: Ticket, held: Decimal, on_sale: Decimal, price: Decimal) -> None:
    """Nothing is sold short: shares held and not `on_sale` in other orders cover a sell."""
    if not held:
        raise Refusal(403, FORBIDDEN, "account is not allowed to short")
    free = held - on_sale
    wanted = (ticket.notional or Decimal(0)) / price if ticket.qty is None else ticket.qty
    if wanted > free:
        raise Refusal(
            403,
            FORBIDDEN,
            f"insufficient qty available for order (requested: {wanted:f}, available: {free:f})",
            symbol=ticket.symbol,
            available=format(free, "f"),
            existing_qty=format(held, "f"),
            held_for_orders=format(on_sale, "f"),
        )


def check_size(ticket: Ticket, held: Decimal, price: Decimal) -> None:
    """At least 1 USD, except to sell the last of a position."""
    value = ticket.notional or (ticket.qty or Decimal(0)) * (ticket.limit_price or price)
    closes = ticket.side is Side.SELL and ticket.qty == held
    if value < MIN_ORDER_USD and not closes:
        raise Refusal(422, FORBIDDEN, "cost basis must be >= minimal amount of order 1")

"""What the account holds: our part of its positions, cash, prices. Gathered for a plan, and saved.

The broker and the store are asked; nothing is sent.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from astra import owned
from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.waiting import pauses
from astra.pricing import CLOSE_SESSIONS, Reference, is_fresh, open_moment, references
from astra.rebalance import BUYING_POWER_HEADROOM, Holdings
from astra.records import Account, Position
from astra.sessions import BAR_SECONDS, last_sessions

MOST_APART = 0.2  # of equity: what moves between two answers, or is neither cash nor a position


@dataclass(frozen=True, slots=True)
class Recorded:
    """The account as it was saved or compared."""

    account: Account
    positions: tuple[Position, ...]


def holdings_of(
    desk: Desk,
    weights: Mapping[str, float],
    as_of: dt.datetime | None = None,
    seen: Recorded | None = None,
) -> Holdings:
    """Account, our positions, prices and assets as the broker has them now.

    Args:
        as_of: of the decision whose prices are wanted beside them.
        seen: the account as a reconciliation has just compared it; None = asked for now.

    Raises:
        TemporaryError: the broker does not answer, or its positions contradict its account.
    """
    broker = desk.broker
    seen = seen or Recorded(broker.account(), broker.positions())
    account = seen.account
    require_agreement(account, seen.positions)
    positions = managed(desk, seen.positions, account.number)
    symbols = sorted({p.symbol for p in positions} | weights.keys())
    value = sum(float(p.qty) * p.market_price for p in positions)
    cash, whole = float(account.cash), float(account.equity)
    equity = owned.managed_equity(cash, value, desk.capital, whole)
    if account.settled_cash is not None:
        cash = min(cash, float(account.settled_cash))
    if desk.capital:
        cash = min(cash, equity - value)
    prices = _references(desk, symbols, broker.clock().now)
    return Holdings(
        positions=positions,
        prices={symbol: found.price for symbol, found in prices.items()},
        assets=broker.assets(symbols) if symbols else {},
        equity=equity,
        cash=cash,
        buying_power=float(account.buying_power),
        decision_prices=_closes(desk, symbols, as_of) if as_of else {},
        sources={s: f"a {p.source}" for s, p in prices.items() if p.source != "trade"},
        settles_later=account.settled_cash is not None,
    )


def with_power(desk: Desk, account: Account, keep: Callable[[], None]) -> Account:
    """The account once its buying power has caught up with its cash.

    On a margin account the buying power is well above the cash. One that tells less is asked again
    for as long as the broker may lag, then taken at its word: it may be restricted. On a cash
    account there is nothing to wait for, as today's proceeds settle later.

    Args:
        keep: called after each look, for who holds a lease meanwhile.
    """
    deadline = time.monotonic() + desk.confirm_seconds
    for pause in pauses():
        lacks = account.buying_power < account.cash * Decimal(1 + BUYING_POWER_HEADROOM)
        left = deadline - time.monotonic()
        if account.settled_cash is not None or not lacks or left <= 0:
            break
        time.sleep(min(pause, left))
        keep()
        account = replace(account, buying_power=desk.broker.account().buying_power)
    return account


def require_agreement(account: Account, positions: Sequence[Position]) -> None:
    """A list of positions that lacks some must not be planned on.

    Raises:
        TemporaryError: cash and positions are far from the equity.
    """
    told, cash = float(account.equity), float(account.cash)
    found = cash + sum(float(p.qty) * p.market_price for p in positions)
    if not abs(told - found) <= MOST_APART * max(abs(told), abs(found)):
        raise TemporaryError(
            f"the broker's equity must be about cash and positions to plan on them, found "
            f"{told:.2f} USD, and {found:.2f} with {cash:.2f} of cash and {len(positions)} "
            "positions: ask again later"
        )


def managed(desk: Desk, positions: Sequence[Position], account: str) -> tuple[Position, ...]:
    """The part of each position that is ours: what our orders opened, and what is adopted."""
    every = desk.adopt is None
    adopted = {p.symbol: p.qty for p in positions if every or p.symbol in (desk.adopt or ())}
    return owned.managed(positions, {**own_shares(desk, account), **adopted})


def own_shares(desk: Desk, account: str) -> dict[str, Decimal]:
    """What our own orders hold of each symbol, splits and new names on record applied."""
    store = desk.store
    # Where only our orders moved shares, their fills say it all.
    return owned.own_shares(store.journal.fills(account), store.books.moved_by_others(account))


def record_account(desk: Desk, at: dt.datetime, allocation_id: str | None = None) -> Recorded:
    """Save the account as the broker has it, with the part of each position that is ours."""
    account, positions = desk.broker.account(), desk.broker.positions()
    own = {p.symbol: p.qty for p in managed(desk, positions, account.number)}
    desk.store.books.record_account_summary(account, positions, at, allocation_id, own)
    return Recorded(account, positions)


def _references(desk: Desk, symbols: Sequence[str], now: dt.datetime) -> dict[str, Reference]:
    if not symbols:
        return {}
    at = open_moment(now)
    trades = desk.broker.last_trades(symbols)
    old = [symbol for symbol in symbols if not is_fresh(trades.get(symbol), at)]
    quotes = desk.broker.quotes(old) if old else {}
    closes = _closes(desk, old, now) if old else {}
    return references(symbols, at, trades, quotes, closes)


def _closes(desk: Desk, symbols: Sequence[str], at: dt.datetime) -> dict[str, float]:
    """The last stored close of each symbol at `at`, of the last two sessions then, USD."""
    start = last_sessions(CLOSE_SESSIONS, at)[0].opens_at
    end = at - dt.timedelta(seconds=BAR_SECONDS - 1)  # only bars that had closed
    rows = desk.store.prices.read(symbols, start, end, columns=("ticker", "close"))
    return dict(zip(rows["ticker"].to_pylist(), rows["close"].to_pylist(), strict=True))

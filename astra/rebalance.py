"""From target weights to orders. Pure: the same inputs, the same plan.

Sells come first and raise cash; buys spend only the cash that is there. Every name held or targeted
gets a line, traded or not, so that a plan explains itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from astra.moves import FRACTION, WHOLE, Move, most, rounded, take, take_all
from astra.records import Asset, PlanLine, PlannedOrder, Position, Side

# Below the limits of a purchase: prices and equity move between the plan and the gate.
_ROOM = 0.005
# Alpaca refuses market buys without 2.5-4 % of head-room in buying power.
BUYING_POWER_HEADROOM = 0.04
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a plan may do.

    Attributes:
        drift_band: differences below this fraction of equity are left alone.
        min_order_usd: smaller orders are left out, except to sell the last of a position.
        hold: symbols whose shares stay as they are.
        cash_buffer: fraction of equity never spent: a market buy is charged at its fill, which may
            lie above the last price.
        max_turnover: sells and buys of an allocation together, as a fraction of equity.
        collar: by which fraction a buy may cost more than its price, for limit orders.
        max_position_weight: of equity in one position; a target above it is cut.
        max_order_weight, max_order_usd: of equity, and USD, in one buy; 0 USD = any.
    """

    drift_band: float
    min_order_usd: float
    hold: frozenset[str] = frozenset()
    cash_buffer: float = 0.01
    max_turnover: float = 2.0
    collar: float = 0.0
    max_position_weight: float = math.inf
    max_order_weight: float = math.inf
    max_order_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Sells, buys and a line for every name held or targeted; each by symbol in ascending order."""

    sells: tuple[PlannedOrder, ...]
    buys: tuple[PlannedOrder, ...]
    lines: tuple[PlanLine, ...]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a plan starts from, all at one instant.

    Attributes:
        positions: those we may touch.
        prices: USD, of every symbol in positions and targets; a missing one skips it.
        assets: what the broker knows of each symbol; a missing one skips it.
        equity: USD that the weights are fractions of.
        cash: USD that buys may use: confirmed, and settled on a cash account.
        buying_power: USD that the broker lets buys use.
        sold: USD sold under this allocation already, which counts against the turnover.
        decision_prices: the last close at the allocation's as-of time, USD, where known.
        sources: what a price is, such as "a quote", where it is no fresh trade's.
        settles_later: what sales bring cannot be spent at once: a cash account.
    """

    positions: Sequence[Position]
    prices: Mapping[str, float]
    assets: Mapping[str, Asset]
    equity: float
    cash: float
    buying_power: float
    sold: float = 0.0
    decision_prices: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    settles_later: bool = False


def plan_orders(targets: Mapping[str, float], holdings: Holdings, rules: Rules) -> Plan:
    """Orders that move the holdings to the target weights.

    A holding without a target is sold out. Trades are rounded towards zero: to 9 decimals where the
    asset is fractionable, else to whole shares. If they are over the turnover, all are scaled down
    alike; so are the buys if they would cost more than the cash (with head-room).
    """
    held = {p.symbol: p for p in holdings.positions if p.qty > 0}
    judged = [
        _judge(symbol, targets.get(symbol, 0.0), held.get(symbol), holdings, rules)
        for symbol in sorted(held.keys() | targets.keys())
    ]
    moves = [found for found in judged if isinstance(found, Move)]
    sells = [move for move in moves if move.side is Side.SELL]
    buys = [move for move in moves if move.side is Side.BUY]
    _share_out(sells, buys, holdings, rules)
    sources = holdings.sources
    return Plan(
        tuple(move.order(sources.get(move.symbol)) for move in sells if move.qty),
        tuple(move.order(sources.get(move.symbol)) for move in buys if move.qty),
        tuple(_line(one, holdings) if isinstance(one, Move) else one for one in judged),
    )


def drift(held: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Half the sum of absolute differences of weights, cash included: the share of equity that
    would have to change its place."""
    cash = abs(sum(held.values()) - sum(weights.values()))
    names = held.keys() | weights.keys()
    return (cash + sum(abs(held.get(n, 0.0) - weights.get(n, 0.0)) for n in names)) / 2


def _judge(
    symbol: str, target: float, position: Position | None, holdings: Holdings, rules: Rules
) -> Move | PlanLine:
    """What moves a name to its target; a line if nothing does."""
    have = position.qty if position else _NONE
    equity = max(holdings.equity, 0.0)
    price = holdings.prices.get(symbol, 0.0)
    if not 0 < price < math.inf:
        price = 0.0
    marked = price if price or position is None else position.market_price
    before = _share(float(have) * marked, equity)
    if reason := _cannot_trade(symbol, price, holdings, rules):
        return _still(symbol, price, before, target, "limit", reason, holdings)
    move = _wanted(symbol, price, before, target, have, holdings, rules)
    if move.side is Side.BUY:
        # The gate counts what is held at the broker's price, which may be above ours.
        at_broker = position.market_price if position else 0.0
        _keep_limits(move, float(have) * max(price, at_broker), equity, rules)
    if not move.full or move.value < move.floor:  # too small, or nothing is left of it
        cause, why = ("limit", move.reason) if move.reason else ("rounding", _small(move))
        return _still(symbol, price, before, target, cause, why, holdings)
    free = position.qty_available if position and move.side is Side.SELL else None
    if free is not None and free < move.full:
        move.limit(float(free / move.full), f"only {free:f} shares are free to sell")
        move.full = rounded(free, move.step)
    return move


def _wanted(
    symbol: str,
    price: float,
    before: float,
    target: float,
    have: Decimal,
    holdings: Holdings,
    rules: Rules,
) -> Move:
    """The move to the target, or to the most that one position may weigh."""
    equity = max(holdings.equity, 0.0)
    step = FRACTION if holdings.assets[symbol].fractionable else WHOLE
    aim = min(target, rules.max_position_weight)
    change = Decimal(repr(aim * equity / price)) - have
    side = Side.SELL if change < 0 else Side.BUY
    move = Move(symbol, side, price, step, before, target, _NONE, 0.0, cut=aim - target)
    move.gap = abs(float(change)) * price
    if aim < target:
        move.note(_capped(aim))
    if side is Side.BUY or target > 0:
        move.full = rounded(abs(change), step, is_near=True)
        move.floor = max(rules.min_order_usd, rules.drift_band * equity)
    elif step is WHOLE and have % WHOLE:
        move.full = rounded(have, WHOLE)
        move.note(f"{have % WHOLE:f} of a share stays: only whole ones can be traded")
    else:  # a sell-out takes the odd fraction along
        move.full = have
    return move


def _keep_limits(move: Move, held: float, equity: float, rules: Rules) -> None:
    """Cut a purchase to what the gate lets through, which denies an order whole."""
    position = (1 - _ROOM) * rules.max_position_weight * equity - held
    weight = (1 - _ROOM) * rules.max_order_weight * equity
    usd = (1 - _ROOM) * (rules.max_order_usd or math.inf)
    price, room = move.price * (1 + rules.collar), min(position, weight, usd)
    if not move.full or room >= float(move.full) * price:
        return
    if room == position:
        why = _capped(rules.max_position_weight)
    elif room == weight:
        why = f"{_capped(rules.max_order_weight)} in one order"
    else:
        why = f"limited to {rules.max_order_usd:.2f} USD in one order"
    allowed = most(room, price, move.step)
    move.limit(float(allowed / move.full), why)
    move.full = allowed


def _small(move: Move) -> str:
    """Why a move that nothing limits makes no order."""
    if move.gap < move.floor:
        return f"difference of {move.gap:.2f} USD under {move.floor:.2f}" if move.gap else ""
    return "difference of less than a share" if move.gap else ""


def _capped(weight: float) -> str:
    return f"limited to {100 * weight:g}% of equity"


def _cannot_trade(symbol: str, price: float, holdings: Holdings, rules: Rules) -> str:
    asset = holdings.assets.get(symbol)
    if symbol in rules.hold:
        return "on hold: its shares stay"
    if asset is None:
        return "unknown to the broker: its weight stays cash"
    if not asset.tradable:
        return "not tradable: its weight stays cash"
    if not price:
        return "no price: its weight stays cash"
    return ""


def _share_out(
    sells: Sequence[Move], buys: Sequence[Move], holdings: Holdings, rules: Rules
) -> None:
    """Set what each move trades, within the turnover and the cash.

    The turnover counts what was sold before, so that the second phase finds the same scale as the
    first and buys exactly its share.
    """
    wanted, cost = sum(move.value for move in sells), sum(move.value for move in buys)
    cash = _spendable(holdings, rules, 0.0)
    payable = min(cost, _spendable(holdings, rules, wanted))
    in_all = holdings.sold + wanted + payable
    limit = rules.max_turnover * max(holdings.equity, 0.0)
    scale = limit / in_all if limit < in_all else 1.0
    selling = wanted
    if scale == 1.0:
        take_all(sells)
    else:
        selling = max(0.0, scale * (holdings.sold + wanted) - holdings.sold)
        take(sells, selling, wanted, "turnover", rules.min_order_usd)
    allowed = max(0.0, min(scale * payable, limit - holdings.sold - selling))
    budget = min(cash, allowed)
    if cost <= budget:
        take_all(buys)
    else:
        what = "turnover" if scale < 1.0 and allowed <= cash else "cash"
        take(buys, budget, cost, what, rules.min_order_usd)


def _spendable(holdings: Holdings, rules: Rules, raised: float) -> float:
    """USD that buys may use once sells have raised so much."""
    raised = 0.0 if holdings.settles_later else raised
    cash = (holdings.cash - rules.cash_buffer * holdings.equity + raised) / (1 + rules.collar)
    return max(0.0, min(cash, (holdings.buying_power + raised) / (1 + BUYING_POWER_HEADROOM)))


def _line(move: Move, holdings: Holdings) -> PlanLine:
    """Where the move leads; what the limits take of it, and what rounding does."""
    wanted = move.target + move.cut - move.before
    sign = 1 if move.side is Side.BUY else -1
    planned = move.before + sign * _share(float(move.qty) * move.price, holdings.equity)
    limit = move.cut + (move.share - 1.0) * wanted
    parts = {"limit": limit, "rounding": planned - move.target - limit}
    return PlanLine(
        move.symbol,
        move.price,
        move.before,
        move.target,
        planned,
        parts,
        move.reason,
        holdings.decision_prices.get(move.symbol),
    )


def _still(
    symbol: str,
    price: float,
    before: float,
    target: float,
    cause: str,
    reason: str,
    holdings: Holdings,
) -> PlanLine:
    """The line of a name that is left as it is; the whole difference has one cause."""
    parts = {"limit": 0.0, "rounding": 0.0, cause: before - target}
    decided = holdings.decision_prices.get(symbol)
    return PlanLine(symbol, price or None, before, target, before, parts, reason, decided)


def _share(usd: float, equity: float) -> float:
    return usd / equity if equity > 0 else 0.0

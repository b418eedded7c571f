"""From target weights to orders. Pure: the same inputs, the same plan.

Sells come first and raise cash; buys spend only the cash that is there. Every name held or targeted
gets a line, traded or not, so that a plan explains itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal

from astra.records import Asset, PlanLine, PlannedOrder, Position, Side

# Alpaca refuses market buys without 2.5-4 % of head-room in buying power.
BUYING_POWER_HEADROOM = 0.04
_FRACTION = Decimal("0.000000001")  # Alpaca's smallest part of a share
_WHOLE = Decimal(1)
_NONE = Decimal(0)
_GRAIN = 1e-9  # of a share: what a float may lack of a whole one


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
    """

    drift_band: float
    min_order_usd: float
    hold: frozenset[str] = frozenset()
    cash_buffer: float = 0.01
    max_turnover: float = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Sells, buys and a line for every name held or targeted; each by symbol in ascending order."""

    sells: tuple[PlannedOrder, ...]
    buys: tuple[PlannedOrder, ...]
    lines: tuple[PlanLine, ...]

    @property
    def skipped(self) -> tuple[PlanLine, ...]:
        """The lines that have a reason but no order."""
        traded = {order.symbol for order in (*self.sells, *self.buys)}
        return tuple(ln for ln in self.lines if ln.reason and ln.symbol not in traded)


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


@dataclass(slots=True)
class _Move:
    """One name's way to its target: `qty` shares are traded, of the `full` ones that are worth it.

    `floor` is the USD below which a trade is left out, `reason` why less than all is traded.
    """

    symbol: str
    side: Side
    price: float
    step: Decimal
    before: float
    target: float
    full: Decimal
    floor: float
    qty: Decimal = _NONE
    share: float = 1.0  # of the difference that the limits leave
    reason: str = ""

    def order(self, source: str | None) -> PlannedOrder:
        told = f"{'to' if self.side is Side.BUY else 'down to'} {self.target:.2%} of equity"
        if self.side is Side.SELL and self.target == 0:
            told = "sold out: no target"
        if self.reason:
            told = f"{told}, {self.reason}"
        if source:
            told = f"{told}, priced by {source}"
        return PlannedOrder(self.symbol, self.side, self.qty, self.price, told)


def plan_orders(targets: Mapping[str, float], holdings: Holdings, rules: Rules) -> Plan:
    """Orders that move the holdings to the target weights.

    A holding without a target is sold out. Trades are rounded towards zero: to 9 decimals where the
    asset is fractionable, else to whole shares. If they are over the turnover, all are scaled down
    alike; so are the buys if they would cost more than the cash (with head-room), and what rounding
    leaves of it is shared out again until no order is worth it.
    """
    moves: list[_Move] = []
    lines: list[PlanLine] = []
    held = {p.symbol: p for p in holdings.positions if p.qty > 0}
    for symbol in sorted(held.keys() | targets.keys()):
        weight = targets.get(symbol, 0.0)
        found = _judge(symbol, weight, held.get(symbol), holdings, rules)
        if isinstance(found, PlanLine):
            lines.append(found)
        else:
            moves.append(found)
    sells = [move for move in moves if move.side is Side.SELL]
    buys = [move for move in moves if move.side is Side.BUY]
    _share_out(sells, buys, holdings, rules)
    lines += [_line(move, holdings) for move in moves]
    lines.sort(key=lambda line: line.symbol)
    return Plan(
        tuple(move.order(holdings.sources.get(move.symbol)) for move in sells if move.qty),
        tuple(move.order(holdings.sources.get(move.symbol)) for move in buys if move.qty),
        tuple(lines),
    )


def drift(held: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Half the sum of absolute differences of weights, cash included: the share of equity that
    would have to change its place."""
    cash = abs(sum(held.values()) - sum(weights.values()))
    names = held.keys() | weights.keys()
    return (cash + sum(abs(held.get(n, 0.0) - weights.get(n, 0.0)) for n in names)) / 2


def plan_both(targets: Mapping[str, float], holdings: Holdings, rules: Rules) -> Plan:
    """The sells, and the buys once these are filled at their reference prices without costs."""
    first = plan_orders(targets, holdings, rules)
    second = plan_orders(targets, after_sells(holdings, first.sells), rules)
    return Plan(first.sells, second.buys, with_second(first, second))


def with_second(first: Plan, second: Plan) -> tuple[PlanLine, ...]:
    """The lines of both phases: what was sold stands as the first has it, the rest as the second
    does, which knows the cash."""
    sold = {order.symbol for order in first.sells}
    lines = {line.symbol: line for line in first.lines}
    lines |= {line.symbol: line for line in second.lines if line.symbol not in sold}
    return tuple(lines.values())


def after_sells(holdings: Holdings, sells: Sequence[PlannedOrder]) -> Holdings:
    """The holdings once the sells are filled at their reference prices, without costs."""
    gone = {order.symbol: order.qty for order in sells}
    raised = sum(float(order.qty) * order.reference_price for order in sells)
    left = [
        Position(p.symbol, p.qty - gone.get(p.symbol, _NONE), p.market_price, p.average_entry_price)
        for p in holdings.positions
    ]
    return replace(
        holdings,
        positions=[p for p in left if p.qty > 0],
        cash=holdings.cash + raised,
        buying_power=holdings.buying_power + raised,
        sold=holdings.sold + raised,
    )


def _judge(
    symbol: str, target: float, position: Position | None, holdings: Holdings, rules: Rules
) -> _Move | PlanLine:
    """What moves a name to its target; a line if nothing does."""
    have = position.qty if position else _NONE
    equity = max(holdings.equity, 0.0)
    price = holdings.prices.get(symbol, 0.0)
    if not 0 < price < math.inf:
        price = 0.0
    marked = price if price or position is None else position.market_price
    before = _share(float(have) * marked, equity)
    if reason := _cannot_trade(symbol, price, holdings, rules):
        return _still(symbol, before, target, "limit", reason, holdings)
    step = _FRACTION if holdings.assets[symbol].fractionable else _WHOLE
    change = Decimal(repr(target * equity / price)) - have
    value = abs(float(change)) * price
    is_sale = change < 0
    is_sold_out = is_sale and target == 0
    floor = 0.0 if is_sold_out else max(rules.min_order_usd, rules.drift_band * equity)
    if value < floor or not change:
        why = f"difference of {value:.2f} USD under {floor:.2f}" if change else ""
        return _still(symbol, before, target, "rounding", why, holdings)
    # A sell-out takes the odd fraction along; any other trade is rounded.
    full = have if is_sold_out else _round(abs(change), step, _GRAIN)
    side = Side.SELL if is_sale else Side.BUY
    move = _Move(symbol, side, price, step, before, target, full, floor)
    free = position.qty_available if position and is_sale else None
    if free is not None and free < full:
        move.share, move.full = float(free / full), _round(free, step)
        move.reason = f"only {free:f} shares are free to sell"
    if not move.full and not move.reason:
        move.reason = "difference of less than a share"
    return move


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
    sells: Sequence[_Move], buys: Sequence[_Move], holdings: Holdings, rules: Rules
) -> None:
    """Set what each move trades, within the turnover and the cash."""
    wanted = sum(float(move.full) * move.price for move in sells)
    cost = sum(float(move.full) * move.price for move in buys)
    spendable = holdings.cash - rules.cash_buffer * holdings.equity
    cash = max(0.0, min(spendable, holdings.buying_power / (1 + BUYING_POWER_HEADROOM)))
    in_all = holdings.sold + wanted + min(cost, cash + wanted)
    limit = rules.max_turnover * max(holdings.equity, 0.0)
    scale = min(1.0, limit / in_all) if in_all > 0 else 1.0
    if scale == 1.0:
        _take_all(sells)
    else:
        left = max(0.0, scale * (holdings.sold + wanted) - holdings.sold)
        _take(sells, left, wanted, "turnover", rules)
    budget = min(cash, scale * min(cost, cash + wanted))
    if cost <= budget:
        _take_all(buys)
    else:
        _take(buys, budget, cost, "turnover" if budget < cash else "cash", rules)


def _take_all(moves: Sequence[_Move]) -> None:
    for move in moves:
        move.qty = move.full


def _take(moves: Sequence[_Move], budget: float, cost: float, what: str, rules: Rules) -> None:
    """Trade `budget` of the `cost` USD that the moves want, all scaled alike; what is left by
    rounding and by orders too small goes round again."""
    if cost <= 0:
        return
    share = budget / cost
    for move in moves:
        move.share *= share
        limited = f"scaled by {share:.3f} to the {what}"
        move.reason = f"{move.reason}, {limited}" if move.reason else limited
    while cost > 0 and budget > 0 and budget >= rules.min_order_usd:
        scale = Decimal(repr(min(1.0, budget / cost)))
        spent = cost = 0.0
        for move in moves:
            rest = move.full - move.qty
            if float(rest) * move.price < move.floor:
                continue
            qty = _round(rest * scale, move.step)
            value = float(qty) * move.price
            if not qty or value < rules.min_order_usd:
                qty, value = _NONE, 0.0
            move.qty += qty
            spent += value
            cost += float(rest - qty) * move.price
        budget -= spent
        if not spent:
            return


def _line(move: _Move, holdings: Holdings) -> PlanLine:
    """Where the move leads; what the limits take of it, and what rounding does."""
    wanted = move.target - move.before
    sign = 1 if move.side is Side.BUY else -1
    planned = move.before + sign * _share(float(move.qty) * move.price, holdings.equity)
    limit = (move.share - 1.0) * wanted
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
    symbol: str, before: float, target: float, cause: str, reason: str, holdings: Holdings
) -> PlanLine:
    """The line of a name that is left as it is; the whole difference has one cause."""
    parts = {"limit": 0.0, "rounding": 0.0, cause: before - target}
    known = holdings.prices.get(symbol), holdings.decision_prices.get(symbol)
    return PlanLine(symbol, known[0], before, target, before, parts, reason, known[1])


def _share(usd: float, equity: float) -> float:
    return usd / equity if equity > 0 else 0.0


def _round(qty: Decimal, step: Decimal, grain: float = 0.0) -> Decimal:
    """Down to a multiple of `step`; up where no more than a grain of a whole share is lacking."""
    if step is _WHOLE and grain:
        qty += Decimal(repr(grain))
    return qty.quantize(step, ROUND_DOWN)

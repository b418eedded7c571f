"""The quadratic program behind max-Sharpe: `min 1/2 y'Sy - m'y` over a cone, solved exactly.

Maximising m'w / sqrt(w'Sw) does not depend on the length of w, so with a fixed invested sum every
cap becomes homogeneous, `y_i <= cap 1'y`, and the best direction is the solution of this program
(Schaible 1974; Cornuejols and Tutuncu 2007, 8.2).

`active_set` is a primal active set (Nocedal and Wright 2006, 16.5) that knows these constraints:
a name is free, at its floor or at its cap, a sector's cap binds or not, and the sum e = 1'y is a
variable of its own. So each step solves one system of the free names only, with as many right hand
sides as sectors bind, and all that is still to pay is O(n). Names join and leave many at a time as
long as the objective falls, then one at a time.

S must be positive definite; the units of m and S do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.panel import Floats
from model.portfolio.factored import Matrix, SolverError
from model.portfolio.limits import Indices

Flags = NDArray[np.bool_]

GRADIENT = 1e-11  # of the best single name's slope per deviation: a smaller one is rounding
EDGE = 1e-13  # of the sum: nearer to a limit is on it
BATCH = 16  # names that may join at once; of many names an eighth
TIGHT = 1e-7  # caps that leave less freedom than this leave none
APART = 1e-10  # of each limit: by about so much they are moved apart, so that few meet in a point


@dataclass(frozen=True, slots=True)
class Cone:
    """floor 1'y <= y_i <= name_cap 1'y, sum of y over a sector <= sector_cap 1'y; 1 = no cap.

    `sector_cap` is above 0: one for all, or by code.
    """

    codes: Indices
    name_cap: float = 1.0
    sector_cap: float | Floats = 1.0
    floor: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether it is y >= 0 alone."""
        caps = bool(self.name_cap < 1.0 or np.min(self.sector_cap) < 1.0)
        return not caps and self.floor == 0.0

    @property
    def sectors(self) -> int:
        return int(self.codes.max()) + 1

    @property
    def sector_caps(self) -> Floats:
        """By code."""
        if isinstance(self.sector_cap, float):
            return np.full(self.sectors, self.sector_cap)
        return self.sector_cap[: self.sectors]

    def only(self, names: Indices) -> Cone:
        return Cone(self.codes[names], self.name_cap, self.sector_cap, self.floor)

    def by_sector(self, y: Floats) -> Floats:
        held: Floats = np.bincount(self.codes, weights=y).astype(np.float64, copy=False)
        return held

    def contains(self, y: Floats, tolerance: float = 1e-12) -> bool:
        total = float(y.sum())
        room = tolerance * abs(total)
        return bool(
            y.min() >= self.floor * total - room
            and y.max() <= self.name_cap * total + room
            and (self.by_sector(y) <= self.sector_caps * total + room).all()
        )

    def pinned(self) -> tuple[Flags, Flags]:
        """Names and sectors that are at their caps in every portfolio: none, or one kind for each.

        Raises:
            SolverError: the caps do not let the names hold all that is to be invested.
        """
        counts = np.bincount(self.codes)
        sector_cap = np.where(self.sector_caps < 1.0, self.sector_caps, np.inf)
        most = np.minimum(counts * self.name_cap, sector_cap)
        capacity = float(most.sum())
        if capacity < 1.0 - TIGHT:
            raise SolverError(f"the caps let {len(self.codes)} names hold {capacity:.2%} of it all")
        if capacity > 1.0 + TIGHT:
            return _none(self)
        full = counts * self.name_cap > sector_cap * (1.0 + TIGHT)
        return ~full[self.codes], full


@dataclass(frozen=True, slots=True)
class Multipliers:
    """Prices of the caps and of the floor: `name`, `floor` (n,), `sector` by code, all >= 0."""

    name: Floats
    sector: Floats
    floor: Floats

    def tilt(self, mean: Floats, cone: Cone) -> Floats:
        """m + A'lambda: what the names are worth once the limits are paid for, shape (n,)."""
        shared = cone.name_cap * self.name.sum() + cone.sector_caps @ self.sector
        shared -= cone.floor * self.floor.sum()
        tilted: Floats = mean + shared - self.name + self.floor - self.sector[cone.codes]
        return tilted


def no_multipliers(cone: Cone) -> Multipliers:
    n = len(cone.codes)
    return Multipliers(np.zeros(n), np.zeros(cone.sectors), np.zeros(n))


@dataclass(frozen=True, slots=True)
class _Edges:
    """The limits of a cone by name and by sector, as fractions of the sum."""

    cap: Floats
    floor: Floats
    sector: Floats

    @classmethod
    def of(cls, cone: Cone, apart: float = 0.0) -> _Edges:
        """Moved apart by fractions of `apart` that no sum of few of them repeats (golden ratio)."""
        n = len(cone.codes)
        places = np.arange(1, n + cone.sectors + 1, dtype=np.float64)
        some: Floats = apart * (1.0 + (places * 0.6180339887498949) % 1.0)
        cap: Floats = cone.name_cap * (1.0 + some[:n])
        floor: Floats = cone.floor * (1.0 - some[:n])
        sector: Floats = cone.sector_caps * (1.0 + some[n:])
        return cls(cap, floor, sector)


def highest(cone: Cone, mean: Floats) -> float:
    """The highest m'y of a portfolio of sum 1 in the cone."""
    if cone.is_plain:
        return float(mean.max())
    order = np.argsort(-mean, kind="stable")
    return float(mean @ _fullest(_Edges.of(cone), cone, order, 1.0))


def _fullest(edges: _Edges, cone: Cone, order: Indices, most: float) -> Floats:
    """Weights, shape (n,): the names in this order, each as far as the limits let it, up to `most`.

    In descending order of m it is the portfolio of the highest mean, as sectors do not overlap.
    """
    w = edges.floor.copy()
    held, left = cone.by_sector(w), most - float(w.sum())
    for i in order:
        code = cone.codes[i]
        more = min(edges.cap[i] - w[i], edges.sector[code] - held[code], left)
        if more > 0:
            w[i] += more
            held[code] += more
            left -= more
        elif left <= 0:
            break
    return w


def _none(cone: Cone) -> tuple[Flags, Flags]:
    return np.zeros(len(cone.codes), np.bool_), np.zeros(cone.sectors, np.bool_)


def active_set(matrix: Matrix, mean: Floats, cone: Cone) -> tuple[Floats, Multipliers]:
    """min 1/2 y'Sy - m'y over a cone: y (n,) and the multipliers of its limits.

    Raises:
        SolverError: rounding kept it from ending, names are collinear, or the cone is empty.
    """
    plain = _settle(_Problem(matrix, mean, Cone(cone.codes), _none(cone)))
    if cone.is_plain or (plain.y.any() and cone.contains(plain.y)):
        return plain.y, no_multipliers(cone)
    problem = _Problem(matrix, mean, cone, cone.pinned())
    order = np.lexsort((-plain.slope / problem.unit, -plain.y))
    found = _settle(problem, _filled(problem, order))
    return found.y, _multipliers(problem, found)


@dataclass(slots=True)
class _Problem:
    """What is given. `unit` (n,): the slope in each name that would matter as much as any."""

    matrix: Matrix
    mean: Floats
    cone: Cone
    pinned: tuple[Flags, Flags]
    edges: _Edges = field(init=False)
    unit: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.edges = _Edges.of(self.cone, APART)
        self.edges.sector[self.cone.codes[self.pinned[0]]] = 2.0  # their names are, so it need not
        deviation = np.sqrt(self.matrix.variances)
        self.unit = deviation * float(np.abs(self.mean / deviation).max(initial=1e-300))

    @property
    def is_tight(self) -> bool:
        """Whether the caps add up to the sum, so that its own equation follows from theirs."""
        return bool(self.pinned[0].any() or self.pinned[1].any())

    def value(self, y: Floats, product: Floats) -> float:
        return 0.5 * float(y @ product) - float(self.mean @ y)


@dataclass(slots=True)
class _State:
    """A feasible y of sum `total`, its working set, and there the prices and the slopes (n,)."""

    y: Floats
    total: float
    free: Flags
    top: Flags
    full: Flags
    price: Floats
    slope: Floats


def _settle(problem: _Problem, state: _State | None = None) -> _State:
    """From a feasible point to the minimum."""
    n, value, batch = len(problem.mean), np.inf, max(BATCH, len(problem.mean) // 8)
    if state is None:
        state = _nothing(problem)
        _release(problem, state, batch)
    steps = 10 * n + 50
    while steps > 0:
        steps -= _descend(problem, state)
        lower = problem.value(state.y, problem.matrix.times(state.y))
        if lower >= value - 1e-14 * abs(value):
            batch = 1
        value = lower
        if not _release(problem, state, batch):
            return state
    raise SolverError(f"the active set of {n} names did not settle")


def _nothing(problem: _Problem) -> _State:
    n, sectors = len(problem.mean), problem.cone.sectors
    none = np.zeros(n, np.bool_)
    return _State(
        np.zeros(n), 0.0, none.copy(), none.copy(), np.zeros(sectors, np.bool_), np.zeros(sectors),
        problem.mean.copy(),
    )  # fmt: skip


def _filled(problem: _Problem, order: Indices) -> _State:
    """A corner of the cone that earns something: the preferred one, else the one of most return."""
    cone, mean, edges = problem.cone, problem.mean, problem.edges
    most = np.inf if problem.is_tight else 1.0
    w = _fullest(edges, cone, order, most)
    if mean @ w <= 0.0:
        w = _fullest(edges, cone, np.argsort(-mean, kind="stable"), most)
    gain, held = float(mean @ w), cone.by_sector(w)
    scale = gain / float(w @ problem.matrix.times(w)) if gain > 0 else 1.0
    top = (w >= edges.cap * (1 - EDGE)) & (cone.name_cap < 1.0)
    full = (held >= edges.sector * (1 - EDGE)) & (cone.sector_caps < 1.0)
    free = ~top & (w > edges.floor * (1 + EDGE))
    full &= np.bincount(cone.codes[free], minlength=len(held)) > 0
    return _State(
        w * scale, scale * float(w.sum()), free, top, full, np.zeros(len(held)), np.zeros(len(w))
    )


def _descend(problem: _Problem, state: _State) -> int:
    """To the minimum over the working set, which grows by what stands in the way; steps taken."""
    cone, edges, steps = problem.cone, problem.edges, 0
    while True:
        steps += 1
        goal, total = _stationary(problem, state)
        names, was = np.flatnonzero(state.free), state.total
        floor, now, then = edges.floor[names], state.y[names], goal[names]
        low = _ratios(now - floor * was, then - floor * total)
        high, sector = np.empty(0), np.empty(0)
        if not cone.is_plain:
            cap = edges.cap[names]
            high = _ratios(cap * was - now, cap * total - then)
            sector = _ratios(
                edges.sector * was - cone.by_sector(state.y),
                edges.sector * total - cone.by_sector(goal),
            )
            sector[state.full] = np.inf
        ahead = min(float(r.min(initial=np.inf)) for r in (low, high, sector))
        if ahead >= 1.0:
            state.y, state.total = goal, total
            return steps
        state.y += ahead * (goal - state.y)
        state.total += ahead * (total - state.total)
        reached = ahead + EDGE
        lowered, topped = names[low <= reached], names[: len(high)][high <= reached]
        state.y[lowered] = edges.floor[lowered] * state.total
        state.y[topped] = edges.cap[topped] * state.total
        state.free[lowered] = state.free[topped] = False
        state.top[topped] = True
        if len(sector):
            state.full |= sector <= reached


def _ratios(now: Floats, then: Floats) -> Floats:
    """The part of the way from `now` to `then` after which a room is used up; inf if it is not."""
    ratios = np.full(len(now), np.inf)
    falling = then < 0
    room = np.maximum(now[falling], 0.0)
    ratios[falling] = room / (room - then[falling])
    return ratios


def _stationary(problem: _Problem, state: _State) -> tuple[Floats, float]:
    """The minimum with the working set's limits as equations; sets the prices and the slopes.

    With a_i what a name that is not free holds of the sum e, y = a e + y_free and the equations
    1'y = e, sum of y over a full sector = sector_cap e.
    """
    matrix, mean, cone = problem.matrix, problem.mean, problem.cone
    names = np.flatnonzero(state.free)
    fixed = np.where(state.top, problem.edges.cap, np.where(state.free, 0.0, problem.edges.floor))
    full = np.flatnonzero(state.full)
    if cone.is_plain:
        y = np.zeros(len(mean))
        if len(names):
            y[names] = matrix.solver(names)(mean[names])
        state.slope = mean - matrix.times(y)
        return y, float(y.sum())
    rows = np.ones((1 + len(full), len(mean)))
    rows[1:] = cone.codes == full[:, None]
    tail = rows @ fixed - np.r_[1.0, problem.edges.sector[full]]
    first = int(problem.is_tight)
    rows, tail = rows[first:], tail[first:]
    pull = matrix.times(fixed)
    sides = np.column_stack([mean[names], pull[names], rows[:, names].T])
    solved = matrix.solver(names)(sides) if len(names) else sides
    own, along, across = solved[:, 0], solved[:, 1], solved[:, 2:]
    border, free_rows = pull[names], rows[:, names]
    system = np.empty((1 + len(tail), 1 + len(tail)))
    system[0, 0] = fixed @ pull - border @ along
    system[0, 1:] = border @ across - tail
    system[1:, 0] = tail - free_rows @ along
    system[1:, 1:] = free_rows @ across
    try:
        found = np.linalg.solve(system, np.r_[mean @ fixed - border @ own, -free_rows @ own])
    except np.linalg.LinAlgError as error:
        raise SolverError(f"the limits of {len(names)} free names depend on each other") from error
    total, prices = float(found[0]), found[1:]
    y = fixed * total
    y[names] = own - total * along + across @ prices
    state.price = np.zeros(cone.sectors)
    state.price[full] = -prices[1 - first :]
    shared = 0.0 if first else float(prices[0])
    state.slope = mean + shared - state.price[cone.codes] - matrix.times(y)
    return y, total


def _release(problem: _Problem, state: _State, batch: int) -> bool:
    """Let go of the limits that hold back the most; False if none does."""
    gain = np.where(state.top, -state.slope, state.slope) / problem.unit
    gain[state.free] = 0.0
    price = np.where(state.full, -state.price / float(problem.unit.mean()), 0.0)
    names_pinned, sectors_pinned = problem.pinned
    gain[names_pinned], price[sectors_pinned] = 0.0, 0.0
    order = np.argsort(-gain, kind="stable")[:batch]
    names, sectors = order[gain[order] > GRADIENT], np.flatnonzero(price > GRADIENT)
    if batch == 1 and len(sectors):
        dearest = int(sectors[np.argmax(price[sectors])])
        if len(names) and gain[names[0]] > price[dearest]:
            sectors = sectors[:0]
        else:
            sectors, names = np.array([dearest]), names[:0]
    state.free[names], state.top[names], state.full[sectors] = True, False, False
    return bool(len(names) or len(sectors))


def _multipliers(problem: _Problem, state: _State) -> Multipliers:
    """Prices >= 0. Where the caps leave no freedom all pinned ones may rise by the same amount."""
    name = np.where(state.top, state.slope, 0.0)
    floor = np.where(state.free | state.top, 0.0, -state.slope) * (problem.cone.floor > 0)
    sector = state.price.copy()
    names, sectors = problem.pinned
    least = min(name[names].min(initial=0.0), sector[sectors].min(initial=0.0))
    name[names] -= least
    sector[sectors] -= least
    return Multipliers(np.maximum(name, 0.0), np.maximum(sector, 0.0), np.maximum(floor, 0.0))

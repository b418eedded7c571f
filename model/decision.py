"""One decision: from what can be known and what is held to weights with their reasons. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from astra.errors import ConfigError, InsufficientDataError
from astra.settings import Settings
from model.document import explain
from model.holdings import DUST, Settled, place, without_room
from model.outlook import Outlook, Sight
from model.panel import Floats
from model.portfolio.covariance import level, sigma, still, until_next_decision
from model.portfolio.decision import decide_all
from model.portfolio.estimators import ESTIMATORS
from model.portfolio.limits import Limits
from model.portfolio.policies import POLICIES
from model.portfolio.records import Decision, Inputs, Policy
from model.portfolio.trade import Bounds, cut


@dataclass(frozen=True, slots=True)
class Terms:
    """The choices that, with the as-of time and the model, make a decision what it is."""

    policy: str
    limits: Limits
    equity_premium: float
    cost_bp: float
    holding_sessions: float
    alpha_half_life_hours: float
    drift_band: float = 0.0  # of equity: a smaller change of a weight makes no order
    model_max_age_days: int = 0  # of a network whose forecast is used; 0 = any
    risk_model: str = "ledoit_wolf"
    max_turnover: float = 2.0  # of one decision, buys and sales together, of equity
    exclude: tuple[str, ...] = ()  # never bought
    hold: tuple[str, ...] = ()  # neither bought nor sold

    @classmethod
    def from_settings(
        cls, settings: Settings, policy: str | None = None, k: int | None = None
    ) -> Terms:
        """As the settings say; `policy` and `k` replace theirs.

        Raises:
            ConfigError: a name is both excluded and on hold.
        """
        s = settings
        exclude, hold = s.excluded, s.on_hold
        both = sorted(set(exclude) & set(hold))
        if both:
            raise ConfigError(
                f"a name is excluded or on hold, {', '.join(both)} is both: take it out of "
                "ASTRA_EXCLUDE or ASTRA_HOLD"
            )
        return cls(
            policy=policy or s.policy,
            limits=Limits(k or s.k, s.max_weight, s.max_sector_weight, s.cash_floor, s.min_weight),
            equity_premium=s.equity_premium,
            cost_bp=s.half_spread_bp + s.fee_bp,
            holding_sessions=s.holding_sessions,
            alpha_half_life_hours=s.alpha_half_life_hours,
            drift_band=s.drift_band,
            model_max_age_days=s.model_max_age_days,
            risk_model=s.risk_model,
            max_turnover=s.max_turnover,
            exclude=exclude,
            hold=hold,
        )

    def as_choices(self) -> dict[str, object]:
        """For the decision's tag."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision: weights by ticker (those above 0), the document that explains it, and what each
    policy does in its own book."""

    weights: Mapping[str, float]
    document: dict[str, Any]
    books: Mapping[str, Settled]


def held_weights(values: Mapping[str, float], equity: float, capital: float) -> dict[str, float]:
    """USD held by ticker as fractions of the equity that is managed: `capital` at most, 0 = all.

    Empty where there is no equity above 0.
    """
    managed = min(equity, capital) if capital else equity
    return {ticker: value / managed for ticker, value in values.items()} if managed > 0 else {}


def choose(
    outlook: Outlook,
    sectors: Mapping[str, str],
    held: Mapping[str, float],
    terms: Terms,
    policy: Policy,
    books: Mapping[str, Mapping[str, float]] | None = None,
) -> Answer:
    """Trade or hold under `terms`, from the weights that are held.

    Args:
        policy: called `terms.policy`.
        books: weights held by the book of each built-in policy; then the answer says what each of
            them does, and the document has their targets.

    Raises:
        InsufficientDataError: too little history, or no name that may be traded.
        DataError: the policy's weights break a limit.
    """
    inputs = gather(outlook, sectors, terms)
    all_held = {name: [weights] for name, weights in (books or {}).items()}
    traded = [held, *all_held.get(terms.policy, ())]
    policies = {**POLICIES, terms.policy: policy}
    made = settle_all(outlook, inputs, {**all_held, terms.policy: traded}, terms, policies)
    mine = made[terms.policy][0]
    theirs = {name: made[name][-1] for name in all_held}
    document = explain(outlook, mine, theirs, held, terms.hold, terms.exclude)
    return Answer(mine.weights, document, theirs)


def settle(
    outlook: Outlook, inputs: Inputs, held: Mapping[str, float], terms: Terms, policy: Policy
) -> Settled:
    """What `policy`, called `terms.policy`, does from the weights that are held.

    Raises:
        DataError: the policy's weights break a limit.
    """
    name = terms.policy
    return settle_all(outlook, inputs, {name: [held]}, terms, {name: policy})[name][0]


def settle_all(
    outlook: Outlook,
    inputs: Inputs,
    held: Mapping[str, Sequence[Mapping[str, float]]],
    terms: Terms,
    policies: Mapping[str, Policy] = POLICIES,
) -> dict[str, tuple[Settled, ...]]:
    """What each policy does from what each of its books holds, weights of its equity by ticker.

    A holding that is unusable right now is kept as it is, since no news is no reason to sell, and
    so is one on hold; one that is excluded or no candidate is sold. Books that these leave the same
    room share each policy's target.

    Args:
        inputs: from `gather`.

    Raises:
        DataError: a user's own policy's weights break a limit.
    """
    unusable = {*outlook.sight.coverage.left_out, *inputs.left_out}
    places = {
        name: [place(inputs, book, unusable, terms.hold, terms.exclude) for book in books]
        for name, books in held.items()
    }
    made: dict[tuple[str, int], Settled] = {}
    for room in dict.fromkeys(p.room for found in places.values() for p in found):
        own = room.of(inputs)
        inside = {
            name: [i for i, p in enumerate(found) if p.room == room]
            for name, found in places.items()
        }
        currents = {n: [places[n][i].current for i in of] for n, of in inside.items() if of}
        if room.places:
            decided = decide_all(own, currents, policies)
        else:
            decided = {n: tuple(without_room(n, c) for c in of) for n, of in currents.items()}
        for name, decisions in decided.items():
            for i, decision in zip(inside[name], decisions, strict=True):
                at = places[name][i]
                known = _said(_worth_an_order(decision, own, at.current, terms.drift_band), at.sold)
                made[name, i] = Settled(own, known, at.kept)
    return {name: tuple(made[name, i] for i in range(len(of))) for name, of in places.items()}


def _worth_an_order(made: Decision, inputs: Inputs, current: Floats, band: float) -> Decision:
    """A move that no order would follow from is called what it is: hold.

    As the plan has it: a change under the band is left alone unless it sells out.
    """
    if made.trade.tau == 0:
        return made
    stay = cut(current, Bounds(inputs.codes, inputs.limits, taken=inputs.taken))
    change = np.abs(made.trade.weights - stay)
    if (change >= np.where(made.trade.weights > DUST, band, DUST)).any():
        return made
    reason = f"hold: no weight would change by {band:.2%} of equity"
    return replace(made, trade=replace(made.trade, weights=stay, tau=0.0, reason=reason))


def _said(made: Decision, sold: Mapping[str, float]) -> Decision:
    if not sold:
        return made
    reason = (
        f"{made.trade.reason}; sold because excluded or no candidate: {', '.join(sorted(sold))}"
    )
    return replace(made, trade=replace(made.trade, reason=reason))


def gather(outlook: Outlook, sectors: Mapping[str, str], terms: Terms) -> Inputs:
    """What every policy is told at `outlook`, nothing held yet: of the names that may be traded.

    A name whose risk is not known is left out: one frozen price must not stop the others.

    Raises:
        InsufficientDataError: too little history for a covariance or a volatility, or no name
            that may be traded.
    """
    sight = outlook.sight
    forecast, unknown = sight.forecast, _without_risk(sight)
    seen = np.array([i for i, t in enumerate(sight.panel.tickers) if t not in unknown], np.int64)
    panel, normalised = sight.panel, sight.normalised
    if unknown:
        panel = panel.only(tuple(panel.tickers[i] for i in seen))
        normalised = normalised.only(seen)
    apart = {*terms.exclude, *terms.hold}
    names = np.array([i for i, t in enumerate(panel.tickers) if t not in apart], np.int64)
    if not len(seen):
        raise InsufficientDataError(
            f"a decision needs names of known risk, none of {len(unknown)} is: "
            f"{next(iter(unknown.values()))}; load more history"
        )
    if not len(names):
        raise InsufficientDataError(
            f"a decision needs a candidate that may be traded, all {len(panel.tickers)} usable "
            "ones are excluded or on hold: let one go"
        )
    risk = ESTIMATORS[terms.risk_model](panel, normalised)
    horizon = until_next_decision(sight.as_of)
    volatility = sigma(panel, normalised, risk, horizon)
    tickers = tuple(panel.tickers[i] for i in names)
    rows, elsewhere = seen[names], {*sight.coverage.left_out, *unknown, *terms.hold}
    return Inputs(
        tickers=tickers,
        sectors=tuple(sectors.get(t, "") for t in tickers),
        score=forecast.score[rows],
        forecast=np.log(forecast.close[rows, -1] / forecast.last_close[rows]),
        sigma=volatility[names],
        risk=risk if not apart else risk.only(names),
        horizon=horizon,
        ic=outlook.skill.used,
        current=np.zeros(len(names)),
        limits=terms.limits,
        equity_premium=terms.equity_premium,
        cost_bp=terms.cost_bp,
        holding_sessions=terms.holding_sessions,
        alpha_half_life_hours=terms.alpha_half_life_hours,
        max_turnover=terms.max_turnover,
        others={t: sectors[t] for t in sorted(elsewhere) if t in sectors},
        left_out=unknown,
    )


def _without_risk(sight: Sight) -> dict[str, str]:
    """Why each usable candidate whose risk cannot be told is left out, by ticker."""
    found = dict.fromkeys(still(sight.panel), "its price never moved in 20 sessions")
    known = sight.forecast.usable & (level(sight.normalised) > 0)
    for ticker, is_known in zip(sight.panel.tickers, known, strict=True):
        if not is_known:
            found.setdefault(ticker, "its volatility is not known yet")
    return found

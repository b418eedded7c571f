"""What the store holds of one session's day of an account. It is read, and nothing is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from astra.equity_curve import Curve, curve_of
from astra.errors import ConfigError
from astra.records import TradingState
from astra.report import reading, trading
from astra.report.profit import Profit
from astra.report.reading import Change
from astra.report.session import Bounds, chosen
from astra.report.trading import Traded
from astra.risk import FLOWS
from astra.scoring import Tally
from astra.settings import Settings
from astra.store import Query, Store
from astra.store.alerts import AlertRow
from astra.store.reconciliations import Reconciliation
from astra.store.twins import Twin
from frontend.account import Holdings
from frontend.decision import Decision
from frontend.feed import Pulse

_SECOND = dt.timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Value:
    """What the account was worth on the day.

    Attributes:
        curve: from the last value before the day to its last; None if these are not two.
        whole: all values until then, for the depth below the highest; None if there are none.
        benchmarks: `curve` beside each of ASTRA_BENCHMARKS, whether its bars are there or not.
        profit: by what it came from; None where two saved summaries are lacking.
        invested: at each summary of the day the share of equity that was not cash.
        held: as saved last on the day; its targets are `targets`', the last decision by then.
    """

    curve: Curve | None
    whole: Curve | None
    benchmarks: Mapping[str, Curve]
    profit: Profit | None
    invested: tuple[tuple[dt.datetime, float], ...]
    held: Holdings | None
    targets: Decision | None


@dataclass(frozen=True, slots=True)
class Watch:
    """What somebody should know of the day.

    Attributes:
        alerts: those that were open at a time of the day; `changes` those of the trading state.
        state: what the account might do at the end of the day.
        books: the last comparison with the broker by then; `compared` how many there were on the
            day, `differing` how many of them differed.
        is_kept: whether somebody had looked for alerts by then.
    """

    alerts: tuple[AlertRow, ...]
    changes: tuple[Change, ...]
    state: TradingState
    books: Reconciliation | None
    compared: int
    differing: int
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Day:
    """A session's day of an account. None and empty: nothing is on record of it.

    Attributes:
        as_of: the account's last record on the day; without one the session's close, or the
            market's time before it.
        tallies: what came of the day's forecasts.
    """

    account: str
    market: str
    paper: bool
    bounds: Bounds
    as_of: dt.datetime
    value: Value
    decisions: tuple[Decision, ...]
    traded: tuple[Traded, ...]
    tallies: tuple[Tally, ...]
    watch: Watch
    twin: Twin | None

    @property
    def is_over(self) -> bool:
        return self.as_of >= self.bounds.session.closes_at


def gather(store: Store, pulse: Pulse, settings: Settings, asked: dt.date | None) -> Day:
    """The day that was asked for, None = the last session with a record, of the account that was
    recorded last.

    Raises:
        ConfigError: no account was recorded yet, or see `astra.report.session.chosen`.
        DataError: a record cannot be read.
        TemporaryError: the store does not answer.
    """
    if not pulse.accounts:
        raise ConfigError(
            "an account on record is required, the database has none yet: start the services with "
            "`astra up`, or run `astra monitor`"
        )
    account = pulse.accounts[0]
    history = [at for at, _ in store.equity.history(account)]
    times = [*history, *(at for at, *_ in store.equity.summaries(account))]
    now = max(pulse.now or times[-1], *times)
    bounds = chosen(asked, times, now, account)
    decisions = reading.decisions(store, account, bounds)
    last = decisions[-1] if decisions else reading.decision_before(store, account, bounds.start)
    of_day = (at for at in times if bounds.has(at))
    return Day(
        account=account,
        market=pulse.market,
        paper=settings.alpaca_paper,
        bounds=bounds,
        as_of=max(of_day, default=min(bounds.session.closes_at, now)),
        value=_value(store, account, bounds, settings, last),
        decisions=decisions,
        traded=trading.of_day(store, account, bounds),
        tallies=reading.tallies(store, decisions),
        watch=_watch(store, account, bounds),
        twin=store.twins.get(account, bounds.session.opens_at),
    )


def _value(
    store: Store, account: str, bounds: Bounds, settings: Settings, targets: Decision | None
) -> Value:
    saved = store.equity.summaries(account)
    whole = curve_of(
        [point for point in store.equity.history(account) if point[0] < bounds.end],
        [(at, usd) for at, usd, _ in saved if at < bounds.end],
        [flow for flow in store.equity.flows(account, FLOWS) if flow[0] < bounds.end],
    )
    curve = None
    if whole is not None and bounds.has(whole.times[-1]):
        curve = whole.since(bounds.session.date)
    names = tuple(filter(None, (name.strip() for name in settings.benchmarks.split("|"))))
    own = [at for at, *_ in saved if bounds.has(at)]
    return Value(
        curve=curve if curve is not None and len(curve.times) > 1 else None,
        whole=whole,
        benchmarks={} if curve is None else reading.beside(store, curve, names),
        profit=reading.profit_of(store, account, [at for at, *_ in saved], bounds),
        invested=tuple((at, 1 - c / usd) for at, usd, c in saved if bounds.has(at) and usd > 0),
        held=reading.held(store, account, own[-1], targets, settings.capital) if own else None,
        targets=targets,
    )


def _watch(store: Store, account: str, bounds: Bounds) -> Watch:
    query = Query(
        "reconciliations", ("status",), account=account, start=bounds.start, end=bounds.end
    )
    statuses = list(reading.frame(store, query)["status"])
    return Watch(
        alerts=reading.alerts(store, account, bounds),
        changes=reading.changes(store, account, bounds.start, bounds.end),
        state=reading.state_at(store, account, bounds.end),
        books=store.reconciliations.latest(account, bounds.end - _SECOND),
        compared=len(statuses),
        differing=statuses.count("differs"),
        is_kept=reading.is_watched(store, bounds.end),
    )

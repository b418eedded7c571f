"""A decision, the present or an earlier one: what was done and why, what came of it, the league."""

from __future__ import annotations

import datetime as dt
import math

import pandas as pd
import streamlit as st

from astra import shortfall
from astra.attribution import PARTS, Attribution
from astra.outcomes import outcomes
from astra.sessions import NEW_YORK
from astra.shortfall import Shortfall
from astra.store import Store
from astra.store.dossiers import Dossier
from astra.store.newest import Summary
from frontend import decision
from frontend.charts.decisions import parts_chart, sectors_chart
from frontend.decision import Decision, Skill, forecast_sentence, verdict, why
from frontend.page import Page
from frontend.sections import league
from frontend.tables import DOLLARS, SHARE, SHARES, SIGNED_SHARE, Column, height, styled
from frontend.words import UNKNOWN, basis_points, count, hover, new_york, percent, plain

_QUIET = {"displayModeBar": False}
_SECOND = dt.timedelta(seconds=1)
_TRADES = {
    "symbol": Column("Symbol"),
    "side": Column("Side"),
    "ordered": Column("Ordered", SHARES),
    "filled": Column("Filled", SHARES),
    "price": Column("Price", DOLLARS),
    "cost": Column("Cost, bp", "{:+.1f}"),
    "reason": Column("Why not all"),
}
_LEFT_OUT = {"ticker": Column("Ticker"), "reason": Column("Why")}
SKILL_HELP = "Mean rank correlation of forecasts and what came; on at t ≥ 2, off below t = 1."
_COST_HELP = (
    "What trading cost against the last price before the decision: delay, execution, fees and what "
    "was not filled; basis points of what was traded. Above 0 is a loss."
)


def show(page: Page) -> None:
    known = page.table("decisions", columns=("object", "as_of", "policy", "tau"))
    if known.empty:
        st.caption("No decision yet: ask the model service for one with `astra allocate`.")
        return
    known = known.sort_values(["as_of", "object"], ignore_index=True)
    place = _chosen(known)
    made = _read(page, known, place)
    _done(made)
    of = _outcome(page, made)
    _weights(page, made, *_later(page, known, place))
    _why_this_weight(made, of)
    _left_out(made)
    league.show(page)


def _chosen(known: pd.DataFrame) -> int:
    """Which row is looked at: the last one, unless a person chose another."""
    objects = [str(name) for name in known["object"]]
    said = {
        str(row["object"]): f"{new_york(row['as_of'].to_pydatetime())} · {row['policy']} · "
        f"{_moved(row['tau'])}"
        for row in known.to_dict("records")
    }
    # The latest goes on being the latest when the next one comes.
    options = ["", *reversed(objects)]
    name = st.selectbox(
        "Decision", options, format_func=lambda o: said.get(o, "The latest"),
        key="decision_chosen", persist_state="session",
    )  # fmt: skip
    return objects.index(name) if name else len(objects) - 1


def _moved(tau: float) -> str:
    if not math.isfinite(tau):
        return "not weighed"
    return "held" if tau <= 0 else f"traded {percent(tau, digits=0)}"


def _read(page: Page, known: pd.DataFrame, place: int) -> Decision:
    at = known["as_of"][place].to_pydatetime()
    columns = ("object", "document")
    told = page.table("decisions", columns=columns, start=at, end=at + _SECOND)
    return decision.parse(str(told[told["object"] == known["object"][place]]["document"].iloc[0]))


def _done(made: Decision) -> None:
    st.subheader(verdict(made), anchor=False)
    trained = f" · trained on {made.trained_on}" if made.trained_on else ""
    told = f"policy {made.policy} · {made.method} · model {made.model_id}{trained}"
    with st.container(key="decision_origin"):
        st.caption(
            f"{hover(made.as_of, new_york(made.as_of))} · {plain(told)}", unsafe_allow_html=True
        )
    st.markdown(plain(why(made)))
    _figures(made)
    st.markdown(plain(forecast_sentence(made)))
    if proven := decision.certificate(made):
        st.markdown(plain(proven))
    if made.reason:
        st.caption(plain(f"As it was written down: {made.reason}."))


def _figures(made: Decision) -> None:
    """Each metric with what it stands on below it."""
    skill, gap = made.skill, made.bound_gap
    figures = (
        ("Expected gain", basis_points(made.gain_bp), None, "Over the holding horizon, of equity."),
        ("Expected cost", basis_points(made.cost_bp), None, "Spread and fees, of equity."),
        ("Skill (IC)", _number(skill.ic, ".3f"), _state(skill), SKILL_HELP),
        (
            "Certificate",
            f"≤ {percent(gap)}" if math.isfinite(gap) else UNKNOWN,
            "below the best possible" if math.isfinite(gap) else "none for this policy",
            "No portfolio within the same limits has a better Sharpe ratio by more than this.",
        ),
        (
            "Expected Sharpe, a year", _number(made.sharpe, ".2f"), "a forecast, no promise",
            "In excess of cash; by the forecast and the risk model.",
        ),
    )  # fmt: skip
    with st.container(key="metrics_decision"):
        for column, (label, value, below, said) in zip(
            st.columns(len(figures)), figures, strict=True
        ):
            column.metric(label, value, below, delta_color="off", delta_arrow="off", help=said)


def _state(skill: Skill) -> str:
    if not math.isfinite(skill.t):
        return "no record yet"
    return f"t = {skill.t:.1f}, {'on' if skill.on else 'off'}"


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else UNKNOWN


def dossier(store: Store, allocation: str) -> tuple[Dossier, dict[str, Shortfall]]:
    """All about an allocation, and what each of its orders cost, by symbol and side."""
    found = store.dossier(allocation)
    row = found.allocation
    fees = shortfall.fees_by_order(store.books.activities(row.account, row.received_at))
    costs = {}
    for ended in outcomes(found.lines, found.orders, found.unfinished):
        cost = found.cost(ended, fees)
        if cost is not None:
            costs[f"{ended.symbol} {ended.side}"] = cost
    return found, costs


def _outcome(page: Page, made: Decision) -> Dossier | None:
    """What the rebalance made of it."""
    st.header("What came of it", anchor=False)
    told = page.table(
        "allocations", account=page.account, start=made.as_of,
        columns=("id", "object", "as_of", "received_at"),
    )  # fmt: skip
    came = told[told["as_of"] == pd.Timestamp(made.as_of)]
    if made.file:
        came = came[came["object"] == made.file]
    if came.empty:
        st.caption(
            "No allocation of this decision has reached the rebalance function"
            f"{'' if page.now - made.as_of > dt.timedelta(hours=1) else ' yet'}."
        )
        return None
    newest = str(came.sort_values("received_at")["id"].iloc[-1])
    found, costs = page.reader.read(dossier, newest)
    row = found.allocation
    reason = f": {row.reason.rstrip('.')}" if row.reason else ""
    at = row.finished_at or row.received_at
    st.markdown(plain(f"Allocation {row.status}{reason}."))
    st.caption(f"As of {hover(at, new_york(at))}", unsafe_allow_html=True)
    if costs:
        _cost(shortfall.of_all(costs.values()))
    table = _trades(found, costs)
    if len(table):
        with st.expander(f"{count(len(table), 'line')} of the plan", key="decision_orders"):
            st.dataframe(
                styled(table, _TRADES), hide_index=True, height=height(len(table), 12),
                key="decision_lines", placeholder="", alt="Each name of the plan and what was filled",
            )  # fmt: skip
    return found


def _cost(whole: Shortfall) -> None:
    parts = ("delay", "execution", "fees", "opportunity")
    told = [(name.capitalize(), whole.bp(getattr(whole, name))) for name in parts]
    missing = f"{count(whole.left_out, 'line')} not known" if whole.left_out else None
    with st.container(key="metrics_cost"):
        first, *rest = st.columns(5)
        first.metric(
            "Shortfall", basis_points(whole.bp(whole.total), signed=True), missing,
            delta_color="off", delta_arrow="off", help=_COST_HELP,
        )  # fmt: skip
        for column, (name, bp) in zip(rest, told, strict=True):
            column.metric(name, basis_points(bp, signed=True))


def _trades(found: Dossier, costs: dict[str, Shortfall]) -> pd.DataFrame:
    rows = []
    for o in outcomes(found.lines, found.orders, found.unfinished):
        cost = costs.get(f"{o.symbol} {o.side}")
        bp = None if cost is None else cost.bp(cost.total)
        rows.append(
            {
                "symbol": o.symbol,
                "side": o.side.value if o.side else "",
                "ordered": float(o.ordered) if o.side else math.nan,
                "filled": float(o.filled) if o.side else math.nan,
                "price": math.nan if o.average_price is None else o.average_price,
                "cost": math.nan if bp is None else bp,
                "reason": o.reason,
            }
        )
    table = pd.DataFrame(rows, columns=list(_TRADES))
    return table.sort_values(["side", "symbol"], ascending=[False, True], ignore_index=True)


def last_saved(store: Store, account: str) -> Summary | None:
    """The account as it was saved last."""
    return store.newest.summary(account)


def _later(
    page: Page, known: pd.DataFrame, place: int
) -> tuple[dict[str, float] | None, dt.datetime | None]:
    """What was held after the decision at `place`, and when: at the next decision, or now."""
    if place < len(known) - 1:
        after = _read(page, known, place + 1)
        return (None if after.held is None else dict(after.held)), after.as_of
    saved = page.reader.read(last_saved, page.account)
    if saved is None:
        return None, None
    own = {symbol: float(value) for symbol, value in saved.own.items()}
    return decision.held_after(
        float(saved.cash), float(saved.equity), own, page.settings.capital
    ), saved.at


def _weights(
    page: Page, made: Decision, after: dict[str, float] | None, at: dt.datetime | None
) -> None:
    st.header("Weights", anchor=False)
    table = decision.weights_table(made, page.universe(), after)
    if table.empty:
        st.caption("All in cash: nothing was held, wanted or decided.")
        return
    names = int((table["decided"] > 0).sum())
    cash = max(0.0, 1.0 - math.fsum(made.weights.values()))
    line = f"{count(names, 'name')} and {percent(cash, digits=1)} in cash were decided."
    later = "Held later" if at is None else f"Held {at.astimezone(NEW_YORK):%H:%M}"
    if after is not None and at is not None:
        line += (
            f" What was held after it is of {new_york(at)}; drift is that less what was decided."
        )
    st.caption(plain(line))
    columns = {
        "symbol": Column("Symbol"),
        "name": Column("Name"),
        "held": Column("Held before", SHARE),
        "target": Column("Target", SHARE),
        "decided": Column("Decided", SHARE),
        "after": Column(later, SHARE),
        "drift": Column("Drift", SIGNED_SHARE),
        "sector": Column("Sector"),
    }
    columns = {c: v for c, v in columns.items() if not table[c].isna().all()}
    left, right = st.columns([7, 4], gap="medium")
    left.dataframe(
        styled(table, columns), hide_index=True, height=height(len(table), 22),
        key="decision_weights", placeholder="", alt="Weights by name: before, target, decided, held after",
    )  # fmt: skip
    right.plotly_chart(
        sectors_chart(decision.by_sector(table), later), key="decision_sectors", config=_QUIET,
        alt="Weights by sector: decided, and held after",
    )  # fmt: skip


def _why_this_weight(made: Decision, of: Dossier | None) -> None:
    st.header("Why this weight", anchor=False)
    found = decision.changes(made, of.lines if of else ())
    if not found:
        st.caption("This decision was made by a release that did not write down its reasons.")
        return
    upto = "planned" if of and of.lines else "decided"
    told = f"From the weight held to the one {upto}, in parts that sum to the change."
    st.caption(plain(f"{told} A part that would read 0 is left empty."))
    symbols = [c.symbol for c in found]
    left, right = st.columns([5, 6], gap="medium")
    with left:
        symbol = st.selectbox("Name", symbols, key="decision_name", persist_state="session")
        change = found[symbols.index(symbol)]
        st.plotly_chart(
            parts_chart(change), key="decision_parts", config=_QUIET,
            alt=f"Why the weight of {symbol} changed",
        )  # fmt: skip
    with right:
        _parts_table(found)
    with st.expander("What the parts are", key="decision_parts_told"):
        for name in found[0].parts:
            st.markdown(f"**{name.capitalize()}**: {plain(PARTS[name])}.")
        if made.reads:
            st.markdown(plain(f"Policy {made.policy}: {made.reads}."))


def _parts_table(found: tuple[Attribution, ...]) -> None:
    table = decision.changes_table(found)
    columns = {
        "symbol": Column("Symbol"),
        "change": Column("Change", SIGNED_SHARE, tinted=True),
        **{name: Column(name.capitalize(), SIGNED_SHARE) for name in found[0].parts},
        "before": Column("From", SHARE),
        "planned": Column("To", SHARE),
    }
    st.dataframe(
        styled(table, columns), hide_index=True, height=height(len(table), 12),
        key="decision_changes", placeholder="", alt="Parts of each weight's change",
    )  # fmt: skip


def _left_out(made: Decision) -> None:
    if not made.left_out:
        if math.isfinite(made.coverage):
            st.caption(f"No ticker was left out; {percent(made.coverage, digits=0)} were usable.")
        return
    with st.expander(f"{count(len(made.left_out), 'ticker')} left out", key="decision_left_out"):
        table = decision.left_out_table(made)
        st.dataframe(
            styled(table, _LEFT_OUT), hide_index=True, height=height(len(table), 10),
            key="decision_left_out_table", alt="Tickers left out and why",
        )  # fmt: skip

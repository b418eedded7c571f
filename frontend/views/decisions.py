"""A decision, the present or an earlier one: what was done and why, what came of it, the league."""

from __future__ import annotations

import datetime as dt
import math

import pandas as pd
import streamlit as st

from astra.store import Store
from astra.store.journal_rows import AllocationRow
from astra.store.newest import Summary
from frontend import decision
from frontend.decision import Decision, Skill, forecast_sentence, verdict, why
from frontend.page import Page
from frontend.sections import league, outcome, weights
from frontend.tables import Column, height, styled
from frontend.weights import held_after
from frontend.words import UNKNOWN, basis_points, count, hover, new_york, percent, plain

_LEFT_OUT = {"ticker": Column("Ticker"), "reason": Column("Why")}
SKILL_HELP = "Mean rank correlation of forecasts and what came; on at t ≥ 2, off below t = 1."


def show(page: Page) -> None:
    known = page.decisions()
    if known.empty:
        st.caption("No decision yet: ask the model service for one with `astra allocate`.")
        return
    place = _chosen(known)
    made = _read(page, known, place)
    _done(made)
    of = outcome.show(page, made)
    weights.show(page, made, *_later(page, known, place, None if of is None else of.allocation))
    weights.reasons(made, of.lines if of else ())
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
    return page.decision(str(known["object"][place]), known["as_of"][place].to_pydatetime())


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


def last_saved(store: Store, account: str) -> Summary | None:
    """The account as it was saved last."""
    return store.newest.summary(account)


def _later(
    page: Page, known: pd.DataFrame, place: int, row: AllocationRow | None
) -> tuple[dict[str, float] | None, dt.datetime | None]:
    """What was held after the decision at `place`, and when: at the next decision, or now.

    None where nobody has looked since, or its allocation `row` is still being traded. A rebalance
    records the account at the time at which it ends, so that time is after it.
    """
    as_of = known["as_of"][place].to_pydatetime()
    if row is not None and not row.is_final:
        return None, None
    since = as_of if row is None or row.finished_at is None else max(as_of, row.finished_at)
    later = known.index[(known["as_of"] > as_of) & (known["as_of"] >= since)]
    if len(later):
        after = _read(page, known, int(later[0]))
        return (None if after.held is None else dict(after.held)), after.as_of
    saved = page.reader.read(last_saved, page.account)
    if saved is None or saved.at < since or (row is None and saved.at == since):
        return None, None
    own = {symbol: float(value) for symbol, value in saved.own.items()}
    return held_after(float(saved.cash), float(saved.equity), own, page.settings.capital), saved.at


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

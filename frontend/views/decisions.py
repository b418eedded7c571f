"""The latest decision: what was done and why, on which skill, and what came of it."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from frontend.decision import Decision, Skill, skill_sentence, verdict, why
from frontend.page import Page
from frontend.tables import DOLLARS, SHARES, Column, height, styled
from frontend.words import UNKNOWN, count, new_york, percent, plain

_ORDERS = {
    "symbol": Column("Symbol"),
    "side": Column("Side"),
    "qty": Column("Shares", SHARES),
    "filled_qty": Column("Filled", SHARES),
    "filled_average_price": Column("Price", DOLLARS),
    "status": Column("Status"),
    "reason": Column("Why"),
}


def show(page: Page) -> None:
    st.header("Latest decision", anchor=False)
    made = page.latest_decision()
    if made is None:
        st.caption("No decision yet: ask the model service for one with `astra allocate`.")
        return
    st.subheader(verdict(made), anchor=False)
    origin = (
        f"{new_york(made.as_of)} · policy {made.policy} · {made.method} · model {made.model_id}"
    )
    trained = f" · trained on {made.trained_on}" if made.trained_on else ""
    st.caption(plain(origin + trained))
    st.markdown(plain(why(made)))
    if made.tau == 0:
        st.caption(plain(made.reason))
    _figures(made)
    st.markdown(plain(skill_sentence(made.skill)))
    _outcome(page, made)
    _left_out(made)


def _figures(made: Decision) -> None:
    """Each metric with what it stands on below it."""
    skill, gap = made.skill, made.bound_gap
    figures = (
        ("Expected gain", _points(made.gain_bp), None, "Over the holding horizon."),
        ("Cost", _points(made.cost_bp), None, "Spread and fees of the trades."),
        ("Skill (IC)", _number(skill.ic, ".3f"), _state(skill), SKILL_HELP),
        (
            "Certificate",
            f"≤ {percent(gap)}" if math.isfinite(gap) else UNKNOWN,
            "below the best possible" if math.isfinite(gap) else "none for this method",
            "No portfolio within the same limits is better than this by more.",
        ),
        ("Expected Sharpe, a year", _number(made.sharpe, ".2f"), None, "In excess of cash."),
    )
    with st.container(key="metrics_decision"):
        for column, (label, value, below, said) in zip(
            st.columns(len(figures)), figures, strict=True
        ):
            column.metric(label, value, below, delta_color="off", delta_arrow="off", help=said)


SKILL_HELP = "Mean rank correlation of forecasts and what came; on at t ≥ 2, off below t = 1."


def _state(skill: Skill) -> str:
    if not math.isfinite(skill.t):
        return "no record yet"
    return f"t = {skill.t:.1f}, {'on' if skill.on else 'off'}"


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else UNKNOWN


def _points(bp: float) -> str:
    return f"{bp:.1f} bp" if math.isfinite(bp) else UNKNOWN


def _outcome(page: Page, made: Decision) -> None:
    """What the rebalance made of it."""
    table = page.table("allocations", start=made.as_of)
    came = table[table["as_of"] == pd.Timestamp(made.as_of)]
    if came.empty:
        if made.traded:
            st.caption("No allocation of this decision has reached the rebalance function yet.")
        return
    allocation = came.sort_values("received_at").iloc[-1]
    orders = page.table("orders", start=made.as_of)
    orders = orders[orders["allocation_id"] == allocation["id"]]
    st.markdown(plain(f"Allocation {allocation['status']}: {allocation['reason']}."))
    if orders.empty:
        return
    with st.expander("Orders"):
        amounts = orders.assign(
            qty=orders["qty"].astype(float), filled_qty=orders["filled_qty"].astype(float)
        ).sort_values(["side", "symbol"], ascending=[False, True])
        st.dataframe(styled(amounts, _ORDERS), hide_index=True, height=height(len(amounts), 12))


def _left_out(made: Decision) -> None:
    if not made.left_out:
        return
    with st.expander(f"{count(len(made.left_out), 'ticker')} left out"):
        table = pd.DataFrame(sorted(made.left_out.items()), columns=["Ticker", "Why"])
        st.dataframe(table, hide_index=True, height=height(len(table), 10))

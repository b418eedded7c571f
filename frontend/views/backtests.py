"""Stored backtests: which there are, those over the same hours side by side, how to make one again.

The page starts none: a backtest takes minutes and a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from astra.errors import DataError
from astra.store import Store
from astra.store.backtests import Course
from frontend import backtests
from frontend.backtests import Judged
from frontend.charts.backtests import comparison_chart
from frontend.page import Page
from frontend.tables import MOMENT, SHARE, SIGNED_SHARE, Column, height, styled
from frontend.words import count, new_york, percent, plain

_ALL, _CHOSEN = "all", "backtests_chosen"
_MOST_DRAWN, _AT_FIRST = 12, 6  # one run has six policies
_COLUMNS = {
    "policy": Column("Policy"),
    "id": Column("Id"),
    "total_return": Column("Return", SIGNED_SHARE, tinted=True),
    "sharpe": Column("Sharpe, a year"),
    "deflated": Column("Deflated"),
    "trials": Column("Trials"),
    "max_drawdown": Column("Drawdown", SHARE),
    "turnover": Column("Turnover", "{:.1f}"),
    "half_spread": Column("Half spread, bp", "{:.1f}"),
    "cost_bp": Column("Cost, bp", "{:.1f}"),
    "return_0x": Column("Without costs", SIGNED_SHARE),
    "return_2x": Column("At twice the costs", SIGNED_SHARE),
    "won": Column("Sales won / lost"),
    "market": Column("Market"),
    "hours": Column("Hours"),
    "made": Column("Made", MOMENT),
}


def judged(store: Store) -> tuple[Judged, ...]:
    return backtests.judged(store.backtests.list())


def courses(store: Store, ids: tuple[str, ...]) -> tuple[Course, ...]:
    return store.backtests.courses(ids)


def show(page: Page) -> None:
    found = page.reader.read(judged)
    if not found:
        st.info(
            "No backtest is stored yet. `astra backtest` makes one on a simulated market, "
            "`astra backtest --store` one on the bars that are loaded; they are listed here."
        )
        return
    shown = _filtered(found)
    if not shown:
        st.info("No stored backtest is of all these: choose fewer.")
        return
    _compare(page, shown)
    _list(shown, len(found))
    _again(shown)


def _filtered(found: Sequence[Judged]) -> list[Judged]:
    """What the three choices leave; each offers what there is."""
    choices: dict[str, tuple[str, Callable[[Judged], str]]] = {
        "Market": ("backtests_market", lambda one: one.market),
        "Hours": ("backtests_hours", lambda one: one.hours),
        "Policy": ("backtests_policy", lambda one: one.trial.policy),
    }
    left = list(found)
    columns = st.columns(len(choices))
    for column, (label, (key, of)) in zip(columns, choices.items(), strict=True):
        offered = [_ALL, *dict.fromkeys(of(one) for one in found)]
        wanted = column.selectbox(label, offered, key=key)
        left = [one for one in left if wanted in (_ALL, of(one))]
    return left


def _compare(page: Page, shown: Sequence[Judged]) -> None:
    st.header("Side by side", anchor=False)
    by_name = {one.name: one for one in shown}
    before = st.session_state.get(_CHOSEN)
    kept = [name for name in before or () if name in by_name]
    if before is None or (before and not kept):
        kept = [one.name for one in backtests.beside(shown)[0][:_AT_FIRST]]
    st.session_state[_CHOSEN] = kept
    names = st.multiselect(
        "Backtests", list(by_name), key=_CHOSEN, max_selections=_MOST_DRAWN,
        placeholder="Choose those to draw",
    )  # fmt: skip
    drawn, why = backtests.beside([by_name[name] for name in names])
    for name, reason in why.items():
        st.warning(plain(f"{name} is not drawn: {reason}. Only the same hours can be compared."))
    if not drawn:
        st.caption("Choose a backtest to draw it.")
        return
    curve = {c.trial.id: c for c in page.reader.read(courses, tuple(d.trial.id for d in drawn))}
    if any(one.trial.id not in curve for one in drawn):
        raise DataError("a backtest that was listed is no longer stored: reload the page")
    first = drawn[0]
    st.caption(
        plain(
            f"{first.market}; {first.hours}, after spread and fees. Past or simulated results "
            "promise nothing."
        )
    )
    curves = {one.name: curve[one.trial.id].equity for one in drawn}
    ends = (f"{name} {percent(c[-1] / c[0] - 1, signed=True)}" for name, c in curves.items())
    st.plotly_chart(
        comparison_chart(curve[first.trial.id].times, curves), key="backtests_chart",
        config={"displayModeBar": False},
        alt=f"Returns over the same hours: {', '.join(ends)}",
    )  # fmt: skip


def _list(shown: Sequence[Judged], stored: int) -> None:
    st.header("Stored backtests", anchor=False)
    of = f" of {stored:,}" if len(shown) < stored else ""
    newest = new_york(max(one.trial.made_at for one in shown))
    st.caption(
        plain(
            f"{count(len(shown), 'backtest')}{of}, each of one policy, the newest made {newest}. "
            "Sharpe: a year's ± its standard error. Deflated: the probability that it is above "
            "the best, by luck, of all different trials over the same hours of the same market; "
            "the more are tried, the lower. Both are n/a under 20 hours."
        )
    )
    table = backtests.rows(shown)
    st.dataframe(
        styled(table, _COLUMNS), hide_index=True, height=height(len(table), 14), placeholder="",
        alt="Stored backtests, the newest first",
    )  # fmt: skip


def _again(shown: Sequence[Judged]) -> None:
    st.header("Make one again", anchor=False)
    names = {one.name: one for one in shown}
    chosen = names[st.selectbox("Backtest", list(names), key="backtests_again")]
    st.caption(
        plain(
            f"Made {new_york(chosen.trial.made_at)} with the network {chosen.trial.model_id} by "
            f"the code {chosen.trial.code_version}. Copy and run it where the bars are: it is made "
            "again on the same bars and compared to the cent; if it differs, it says what has "
            "changed."
        )
    )
    st.code(f"astra backtests rerun {chosen.trial.id}", language="bash")
    st.caption("All that is stored of it:")
    st.code(f"astra backtests show {chosen.trial.id}", language="bash")

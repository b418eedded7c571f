"""The live twin: a day as it was traded beside the same day replayed, and what lies between."""

from __future__ import annotations

import streamlit as st

from astra.twin import PARTS
from frontend import system
from frontend.charts.twin import parts_chart
from frontend.outlook import LATEST
from frontend.page import Page
from frontend.system import Day
from frontend.tables import SIGNED_DOLLARS, Column, height, styled
from frontend.words import capital, money, new_york, plain

_SYMBOLS = {
    "symbol": Column("Symbol"),
    **{part: Column(part.capitalize(), SIGNED_DOLLARS, tinted=True) for part in PARTS},
    "total": Column("Together", SIGNED_DOLLARS, tinted=True),
}
_DAYS = {
    "day": Column("Session"),
    "live": Column("As traded", SIGNED_DOLLARS, tinted=True),
    "twin": Column("As replayed", SIGNED_DOLLARS, tinted=True),
    "difference": Column("Difference", SIGNED_DOLLARS, tinted=True),
    "said": Column("What was found"),
}


def show(page: Page) -> None:
    st.header("Live twin", anchor=False)
    found = system.days(page.table("twins", account=page.account))
    if not found:
        st.caption(
            "No day has been replayed yet. Each morning the day before is traded again as the "
            "backtest would have, and the difference is explained; `astra twin` asks for it now."
        )
        return
    latest, *earlier = found
    days = {LATEST: latest} | {day.name: day for day in earlier}
    name = st.selectbox(
        "Session", list(days), key="twin_session", width=260, persist_state="session",
        format_func=lambda day: day or "The latest",
    )  # fmt: skip
    day = days[name]
    st.caption(
        plain(
            f"{day.name}. {capital(day.message)}. Replayed {new_york(day.made_at)}, on the bars as "
            "they were known then."
        )
    )
    if day.is_compared:
        _compared(day)
    if len(found) > 1:
        with st.expander("All days"):
            table = system.past(found)
            st.dataframe(
                styled(table, _DAYS),
                hide_index=True,
                height=height(len(table), 10),
                placeholder="",
                alt="Days beside their twins",
            )


def _compared(day: Day) -> None:
    figures = (
        ("As traded", day.live, "The change of what is managed, deposits left out."),
        ("As replayed", day.twin, "The same of the twin, which trades by the backtest's rule."),
        ("Difference", day.difference, "Above 0 the account did better than its twin."),
    )
    with st.container(key="metrics_twin"):
        for column, (label, usd, said) in zip(st.columns(len(figures)), figures, strict=True):
            column.metric(label, money(usd, signed=True), help=said)
    left, right = st.columns([5, 6], gap="medium")
    left.plotly_chart(
        parts_chart(day.parts), key="twin_parts", config={"displayModeBar": False},
        alt="What lies between the day and its replay, in USD: "
        + ", ".join(f"{part} {money(usd, signed=True)}" for part, usd in day.parts.items()),
    )  # fmt: skip
    table = system.by_symbol(day)
    with right:
        if table.empty:
            st.caption("No symbol made a difference.")
        else:
            shown = {c: v for c, v in _SYMBOLS.items() if c == "symbol" or table[c].any()}
            st.dataframe(
                styled(table, shown),
                hide_index=True,
                height=height(len(table), 8),
                placeholder="",
                alt="The difference by symbol and part",
            )
        with st.expander("What the parts are"):
            st.markdown(plain_list())


def plain_list() -> str:
    """The parts and what each is of."""
    return "\n".join(f"- **{part.capitalize()}**: {plain(said)}" for part, said in PARTS.items())

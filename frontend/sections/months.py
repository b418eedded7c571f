"""What each month and year returned, beside the benchmark."""

from __future__ import annotations

import streamlit as st

from astra.equity_curve import Curve
from frontend.account import months
from frontend.tables import SIGNED_SHARE, Column, height, styled
from frontend.words import new_york, plain, utc


def show(curve: Curve, benchmark: str) -> None:
    st.header("Months", anchor=False)
    table = months(curve)
    columns = {
        "period": Column("Month"),
        "account": Column("Account", SIGNED_SHARE, tinted=True),
    }
    if table["benchmark"].notna().any():
        columns["benchmark"] = Column(benchmark, SIGNED_SHARE)
        columns["ahead"] = Column("Ahead", SIGNED_SHARE, tinted=True)
    st.dataframe(
        styled(table, columns),
        hide_index=True,
        height=height(len(table), most=14),
        key="months",
        alt="Time-weighted return of each month, newest first.",
    )
    last, first = curve.times[-1], curve.times[0]
    st.caption(
        plain(
            "Time-weighted, from the last value of the month before, in New York; the first month "
            f"begins on {new_york(first)}, the last is as of {new_york(last)}."
        ),
        help=f"{utc(first)} and {utc(last)}",
    )

"""What the account is worth now, how today went and how all went since the start."""

from __future__ import annotations

import streamlit as st

from astra.equity_curve import Curve
from frontend.account import Holdings
from frontend.words import money, new_york, percent, utc


def show(held: Holdings, curve: Curve | None) -> None:
    with st.container(key="metrics_header"):
        value, today, start, cash = st.columns(4)
    value.metric("Account value", money(held.equity))
    cash.metric(
        "Cash",
        money(held.cash),
        f"{percent(held.cash / held.equity)} of the account" if held.equity > 0 else None,
        delta_color="off",
        delta_arrow="off",
    )
    if curve is None:
        return
    for place, label, part in ((today, "Today", curve.today()), (start, "Since the start", curve)):
        began = part.times[0]
        place.metric(
            label,
            percent(float(part.equity[-1] / part.equity[0] - 1), signed=True),
            _dollars(float(part.values[-1] - part.values[0]) - part.paid_in),
            help=f"Since {new_york(began)} ({utc(began)}), when it was worth "
            f"{money(float(part.values[0]))}. Deposits and withdrawals are not "
            "counted.".replace("$", r"\$"),
        )


def _dollars(gain: float) -> str | None:
    """None if nothing moved, which needs no arrow."""
    text = money(gain, signed=True)
    return text if text[0] in "+-" else None

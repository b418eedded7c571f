"""What stands at the top of every page: in which market, whose account, as of when, may it trade,
does anything need somebody."""

from __future__ import annotations

import datetime as dt
import html

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from frontend import standing
from frontend.decision import market_line
from frontend.page import Page
from frontend.words import age, new_york, plain


def market(page: Page) -> None:
    """In which market all this is, where that is not the real one."""
    line = market_line(page.market)
    if line is not None:
        st.html(f'<div class="astra-market" role="note">{html.escape(line)}</div>')


def needs(page: Page, more: StreamlitPage | None) -> None:
    """Whether the account may trade and which alerts are open; `more` is where they are listed,
    None there."""
    found = page.reader.read(standing.read, page.account)
    st.html(standing.chip(found.trading))
    if line := standing.alert_line(found.alerts):
        show = st.error if any(map(standing.is_critical, found.alerts)) else st.warning
        show(plain(line))
        if more is not None:
            st.page_link(more, label="What to do is on the page System")


def as_of(page: Page, market_now: dt.datetime) -> None:
    """Which account this is, as of when, and how old that is."""
    trading = "Paper trading" if page.settings.alpaca_paper else "LIVE trading: real money"
    if not page.market:
        trading += " · market not known before the first load"
    # A person asks how old this is by the clock on the wall; made-up markets have their own clock.
    wall = dt.datetime.now(dt.UTC)
    now = max(market_now, wall) if page.market == "real" else market_now
    old = age(now - page.recorded_at())
    st.caption(f"{trading} · as of {new_york(page.recorded_at())} · {old}")

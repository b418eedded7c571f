"""How good the stored bars of a session are: what is missing, late, refused, by ticker."""

from __future__ import annotations

import datetime as dt
import time

import pandas as pd
import streamlit as st

from astra.measured import Quality, measure
from astra.sessions import Session, last_sessions
from astra.store import Store
from frontend import system
from frontend.outlook import LATEST
from frontend.page import Page
from frontend.tables import MOMENT, Column, height, styled
from frontend.words import age, count, new_york, plain

_SESSIONS = 5
_COLUMNS = {
    "ticker": Column("Ticker"),
    "verdict": Column("Bars"),
    "present": Column("There"),
    "expected": Column("Usually"),
    "late": Column("Late"),
    "corrected": Column("Corrected"),
    "refused": Column("Refused"),
    "last": Column("Last bar", MOMENT),
    "source": Column("Source"),
    "said": Column("Last load"),
}
_REFUSED = {
    "ticker": Column("Ticker"),
    "at": Column("Bar", MOMENT),
    "reason": Column("Why it was refused"),
    "feed": Column("Source"),
    "seen": Column("Seen", MOMENT),
}


def measured(store: Store, opens_at: dt.datetime, now: dt.datetime) -> Quality:
    """The members' bars of the session that opened then."""
    session = last_sessions(1, opens_at)[0]
    names = [member.ticker for member in store.books.universe(min(now, session.closes_at))]
    return measure(store, names, session, now)


def show(page: Page) -> None:
    st.header("Data", anchor=False)
    latest, *earlier = reversed(last_sessions(_SESSIONS, page.now))
    sessions = {LATEST: latest} | {_name(s): s for s in earlier}
    name = st.selectbox(
        "Session", list(sessions), key="quality_session", width=260, persist_state="session",
        format_func=lambda day: day or "The latest",
    )  # fmt: skip
    chosen = sessions[name]
    found = page.reader.read(measured, chosen.opens_at, page.now)
    if not found.tickers:
        st.info("No universe is known for this session: `astra load` loads names and bars.")
        return
    status = page.table("ticker_status")
    _figures(found)
    said = f"{_name(chosen)}. {system.verdicts(found)} {_as_of(page, chosen, found)}"
    st.caption(plain(said))
    table = system.bars(found, status)
    st.dataframe(
        styled(table, _COLUMNS).map(system.tint, subset=["Bars"]), hide_index=True,
        height=height(len(table), 10), placeholder="", alt="Bars of the session by ticker",
    )  # fmt: skip
    _refusals(page, chosen)
    for line in system.sources(page.table("sources"), time.time()):
        st.caption(plain(line))


def _name(session: Session) -> str:
    return f"{session.date:%a} {session.date.day} {session.date:%b %Y}"


def _as_of(page: Page, session: Session, found: Quality) -> str:
    if page.now >= session.closes_at:
        return "The session has closed."
    last = max((one.last_bar for one in found.tickers.values() if one.last_bar), default=None)
    if last is None:
        return "No bar of it is stored yet."
    return f"Last bar {new_york(last)}, {age(page.now - last)}."


def _figures(found: Quality) -> None:
    total, closed = found.total, found.closed
    figures = (
        ("Coverage", system.covered(found), f"Of what is usual of {count(closed, 'closed bar')}."),
        ("Bars", f"{total.present:,}", "Stored."),
        ("Late", f"{total.late:,}", "Known 15 minutes after the decision that needed them."),
        ("Corrected", f"{total.corrected:,}", "Replaced by the vendor since."),
        ("Refused", f"{total.quarantined:,}", "Kept out: they cannot be right."),
    )
    with st.container(key="metrics_quality"):
        for column, (label, value, said) in zip(st.columns(len(figures)), figures, strict=True):
            column.metric(label, value, help=said)


def _refusals(page: Page, session: Session) -> None:
    rows: pd.DataFrame = page.table("quarantine", start=session.opens_at, end=session.closes_at)
    if rows.empty:
        return
    with st.expander(f"{count(len(rows), 'refused bar')}"):
        table = system.refused(rows)
        st.dataframe(
            styled(table, _REFUSED), hide_index=True, height=height(len(table), 10),
            alt="Bars that were refused and why",
        )  # fmt: skip

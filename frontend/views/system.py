"""Whether the machinery works: the switch, alerts, jobs, data, the live twin, the audit log."""

from __future__ import annotations

import datetime as dt

import streamlit as st

from astra import settings
from astra.jobs import WATCH
from astra.status import Status, gather
from astra.store import Store
from astra.store.audit import Entry, Verified
from frontend import system
from frontend.page import Page
from frontend.sections import halting, quality, twin
from frontend.tables import MOMENT, Column, height, styled
from frontend.words import count, new_york, plain

_LINES = 50  # of the audit log
_ALERTS = {
    "severity": Column("Severity"),
    "message": Column("What"),
    "opened": Column("Since", MOMENT),
    "told": Column("Told", MOMENT),
}
_OVER = {**_ALERTS, "closed": Column("Over", MOMENT)}
_JOBS = {
    "job": Column("Job"),
    "state": Column("State"),
    "last": Column("Last run", MOMENT),
    "age": Column("Age"),
    "due": Column("Was due", MOMENT),
    "said": Column("What it said"),
}
_LOG = {
    "seq": Column("Line"),
    "at": Column("When", MOMENT),
    "kind": Column("What"),
    "subject": Column("Of"),
    "said": Column("Details"),
}


def how_it_stands(store: Store, account: str, now: dt.datetime) -> Status:
    return gather(store, account, now, settings.load())


def last_lines(store: Store, account: str) -> tuple[Entry, ...]:
    return store.audit.last(account, _LINES)


def verified(store: Store) -> Verified:
    return store.audit.verify()


def show(page: Page) -> None:
    found = page.reader.read(how_it_stands, page.account, _now(page))
    halting.show(page, found.trading)
    _alerts(page, is_watched=any(job.name == WATCH and job.last for job in found.jobs))
    _jobs(found)
    quality.show(page)
    twin.show(page)
    _log(page)


def _now(page: Page) -> dt.datetime:
    """The market's time by the minute; of the real one the wall's, as a store that nobody writes to
    any more would hide what is missed."""
    wall = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    return max(page.now, wall) if page.market == "real" else page.now


def _alerts(page: Page, *, is_watched: bool) -> None:
    st.header("Alerts", anchor=False)
    table = system.alerts(page.table("alerts"), page.account)
    is_open = table["closed"].isna()
    if is_open.any():
        st.html(system.alert_list(table[is_open]))
    elif is_watched:
        st.caption("None is open: as far as the monitor can tell, nothing needs you.")
    else:
        st.caption(
            "Nobody has looked for any yet: the monitor does, every five minutes under `astra up`."
        )
    if not is_open.all():
        over = table[~is_open].head(_LINES)
        with st.expander(f"{count(len(over), 'alert')} over"):
            st.dataframe(
                styled(over, _OVER), hide_index=True, height=height(len(over), 10), placeholder="",
                alt="Alerts that are over, the newest first",
            )  # fmt: skip


def _jobs(found: Status) -> None:
    st.header("Jobs", anchor=False)
    missed = sum(job.is_missed for job in found.jobs)
    failed = sum(job.outcome == "failed" for job in found.jobs)
    said = f"{count(missed, 'job')} missed, {failed} failed" if missed or failed else "None missed"
    st.caption(plain(f"{said}, as of {new_york(found.at)}. Times in New York."))
    table = system.jobs(found.jobs, found.at)
    shown = {c: v for c, v in _JOBS.items() if (table[c].notna() & (table[c] != "")).any()}
    st.dataframe(
        styled(table, shown).map(system.tint, subset=["State"]),
        hide_index=True,
        height=height(len(table), 14),
        placeholder="",
        alt="Jobs and their last runs",
    )


def _log(page: Page) -> None:
    st.header("Audit log", anchor=False)
    entries = page.reader.read(last_lines, page.account)
    if not entries:
        st.caption("Nothing is on record yet: the first order, halt or file begins the log.")
        return
    if st.toggle("Check every line", key="audit_verify", help="Follows the chain from line 1."):
        whole = page.reader.read(verified)
        if whole.broken is None:
            st.success(plain(system.verified(whole)))
            st.caption(
                "Its end now; noted elsewhere, it proves later that nothing before it was cut off:"
            )
            st.code(f"astra audit verify --head {whole.head}", language="bash", wrap_lines=True)
        else:
            st.error(plain(system.verified(whole)))
    st.caption(
        f"The newest {count(len(entries), 'line')}, each holding the hash of the one before; "
        "`astra audit show` has them all."
    )
    table = system.log(entries)
    st.dataframe(
        styled(table, _LOG), hide_index=True, height=height(len(table), 10),
        alt="The newest lines of the audit log",
    )  # fmt: skip

"""The page: `streamlit run frontend/app.py`. Reads over HTTP, decides nothing, writes nothing."""

from __future__ import annotations

import streamlit as st

from astra import settings
from astra.errors import AstraError
from frontend.feed import Feed, Pulse
from frontend.page import Page, gather
from frontend.reader import Reader
from frontend.sections import closed, forecast, header, latest_decision, performance, positions
from frontend.words import sentence

REFRESH_SECONDS = 30
SECTIONS = (
    header.show,
    performance.show,
    positions.show,
    latest_decision.show,
    forecast.show,
    closed.show,
)
STYLE = """<style>
.stMainBlockContainer { max-width: 1280px; padding-top: 2.5rem; }
[data-testid="stMetricValue"], [data-testid="stMetricDelta"], [data-testid="stCaptionContainer"] {
  font-variant-numeric: tabular-nums;
}
@media (max-width: 640px) {
  [class*="st-key-metrics_"] .stHorizontalBlock { flex-direction: row; flex-wrap: wrap; }
  [class*="st-key-metrics_"] .stColumn { min-width: calc(50% - 1rem); flex: 1 1 calc(50% - 1rem); }
}
.astra-market {
  border-left: 4px solid #d99a2b; background: rgba(217, 154, 43, 0.13);
  padding: 0.55rem 0.9rem; border-radius: 3px; font-size: 0.95rem;
}
</style>"""


@st.fragment(run_every=REFRESH_SECONDS)  # type: ignore[untyped-decorator]
def watch(feed: Feed, version: str | None, page: Page | None) -> None:
    """Say how old the page is, and show it again when there is something new to read.

    `version` is the one shown, None if nothing could be read.
    """
    try:
        pulse = feed.pulse()
    except AstraError as error:
        if page is not None:
            header.as_of(page, page.now)
            st.warning(f"No news any more, this is what was last read: {sentence(error)}")
        return
    if pulse.version != version:
        st.rerun()
    if page is not None:
        header.as_of(page, max(page.now, pulse.now or page.now))


def read(feed: Feed, found: settings.Settings, pulse: Pulse) -> Page | None:
    """What there is to show; None, and a sentence, before the first account was recorded."""
    if not pulse.accounts:
        st.info(
            "No account has been recorded yet: `astra monitor` records it once, "
            "`astra up` every hour."
        )
        return None
    number = pulse.accounts[0]
    if len(pulse.accounts) > 1:
        number = st.selectbox("Account", pulse.accounts, key="account_number")
    return gather(Reader(feed, pulse.version), found, pulse, number)


def show(page: Page) -> None:
    """All sections; one that fails says why and leaves the others alone."""
    for section in SECTIONS:
        try:
            section(page)
        except AstraError as error:
            st.error(sentence(error))


def main() -> None:
    st.set_page_config(page_title="Portfolio", layout="wide", initial_sidebar_state="collapsed")
    st.html(STYLE)
    st.title("Portfolio", anchor=False)
    try:
        found = settings.load()
    except AstraError as error:
        st.error(sentence(error))
        return
    feed, version, page = Feed(found), None, None
    try:
        pulse = feed.pulse()
        version = pulse.version
        page = read(feed, found, pulse)
    except AstraError as error:
        st.error(sentence(error))
    watch(feed, version, page)
    if page is not None:
        show(page)


main()

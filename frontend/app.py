"""The page: `streamlit run frontend/app.py`. Reads the store, decides nothing, writes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from astra import settings
from astra.errors import AstraError
from frontend import access, header
from frontend.feed import Feed, Pulse
from frontend.page import Page
from frontend.reader import Reader
from frontend.views import account, backtests, decisions, forecasts, system, trades
from frontend.words import sentence

log = logging.getLogger("astra.page")

REFRESH_SECONDS = 30
Show = Callable[[Page], None]
SYSTEM = "System"
_AGAIN = "page_again"  # whether what was to be shown could not be read
# The first is at the root; the others at the path of their name in small letters.
PAGES: dict[str, Show] = {
    "Account": account.show,
    "Decisions": decisions.show,
    "Forecasts": forecasts.show,
    "Trades": trades.show,
    "Backtests": backtests.show,
    SYSTEM: system.show,
}
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
.astra-standing { display: flex; flex-wrap: wrap; gap: 0.3rem 0.7rem; align-items: baseline; }
ul.astra-alerts { list-style: none; padding: 0 !important; margin: 0 !important; }
.astra-alerts li { margin: 0 0 0.5rem !important; }
.astra-chip { border-radius: 999px; padding: 0.1rem 0.7rem; font-weight: 600; font-size: 0.9rem; }
.astra-go { background: rgba(47, 158, 116, 0.16); box-shadow: inset 0 0 0 1px #2f9e74; }
.astra-less { background: rgba(217, 154, 43, 0.16); box-shadow: inset 0 0 0 1px #d99a2b; }
.astra-stop { background: rgba(207, 90, 96, 0.18); box-shadow: inset 0 0 0 1px #cf5a60; }
</style>"""


@st.cache_resource(show_spinner=False)  # type: ignore[untyped-decorator]
def opened(_found: settings.Settings, url: str) -> Feed:
    """One connection for all sessions; one that failed is tried again by the next."""
    return Feed(_found)


@st.fragment(run_every=REFRESH_SECONDS)  # type: ignore[untyped-decorator]
def watch(found: settings.Settings, seen: Pulse | None, page: Page | None) -> None:
    """Say how old the page is, and show it again when there is something new to read, or it could
    not be read before.

    `seen` is what is shown, None if nothing could be read.
    """
    if admitted() is None:  # meanwhile the password is another, or the settings are wrong
        st.rerun()
    try:
        pulse: Pulse = opened(found, found.database_url).pulse()
    except AstraError as error:
        if page is not None:
            header.as_of(page, page.now)
            st.warning(f"No news any more, this is what was last read: {sentence(error)}")
        return
    is_news = seen is None or (pulse.prices, pulse.books) != (seen.prices, seen.books)
    if is_news or st.session_state.get(_AGAIN):
        st.rerun()
    if page is not None:
        header.as_of(page, max(page.now, pulse.now or page.now))


def chosen(feed: Feed, found: settings.Settings, pulse: Pulse) -> Page | None:
    """The page of the account that is looked at; None, and a sentence, before the first was
    recorded."""
    if not pulse.accounts:
        st.info(
            "No account has been recorded yet: `astra monitor` records it once, "
            "`astra up` every five minutes."
        )
        return None
    number = pulse.accounts[0]
    if len(pulse.accounts) > 1:
        number = st.sidebar.selectbox("Account", pulse.accounts, key="account_number")
    return Page.of(Reader(feed, pulse), found, pulse, number)


def main() -> None:
    st.set_page_config(page_title="Portfolio", layout="wide")
    st.html(STYLE)
    names = iter(PAGES)
    routes = [st.Page(_nothing, title=next(names), url_path="account", default=True)]
    routes += [st.Page(_nothing, title=name, url_path=name.lower()) for name in names]
    found = admitted()
    if found is None:
        st.navigation(routes, position="hidden").run()
        return
    here = st.navigation(routes)
    here.run()
    st.title(here.title, anchor=False)
    pulse, page = None, None
    try:
        feed = opened(found, found.database_url)
        pulse = feed.pulse()
        page = chosen(feed, found, pulse)
    except AstraError as error:
        st.error(sentence(error))
    access.log_out(found)
    st.session_state[_AGAIN] = False  # `watch` is called now too, and is to wait for its refresh
    watch(found, pulse, page)
    more = None if here.title == SYSTEM else routes[list(PAGES).index(SYSTEM)]
    is_shown = page is not None and show(PAGES[here.title], page, more)
    st.session_state[_AGAIN] = pulse is not None and bool(pulse.accounts) and not is_shown


def admitted() -> settings.Settings | None:
    """The settings, if whoever asks may see the page; None, and why not or a login, if not."""
    try:
        found = settings.load()
    except AstraError as error:  # nobody has logged in yet
        log.warning("page=settings error=%s message=%s", type(error).__name__, error)
        st.error("The settings cannot be read: the page's log says which.")
        return None
    return found if access.admits(found) else None


def show(content: Show, page: Page, more: StreamlitPage | None) -> bool:
    """What stands below the title; False if it could not be read, which one sentence says."""
    try:
        header.market(page)
        header.needs(page, more)
        content(page)
    except AstraError as error:
        st.error(sentence(error))
        return False
    return True


def _nothing() -> None:
    """A page's own script: what there is to show is shown by `main`, the same frame for all."""


main()

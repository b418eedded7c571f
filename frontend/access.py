"""Who may see the page: whoever knows the password, or logs in at a provider with a known address.

Where the page can be reached from elsewhere, one of the two is required. A page that is bound to
loopback may do without, but then nothing can be stopped or lifted from it.
"""

from __future__ import annotations

import hmac
import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from streamlit.runtime.app_session import AppSession

from astra.settings import Settings
from frontend.words import count, plain

MOST_ATTEMPTS = 5
WAIT_SECONDS = 60.0
_KEPT = "access_password"  # what this session has given


@dataclass(slots=True)
class Attempts:
    """Wrong passwords in a row, of all sessions together; `now` is monotonic, seconds."""

    wrong: int = 0
    until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, given: str, password: str, now: float) -> bool:
        """Whether `given` is the password; after five wrong ones nothing is, for a minute."""
        with self._lock:
            if now < self.until:
                return False
            if hmac.compare_digest(given.encode(), password.encode()):
                self.wrong = 0
                return True
            self.wrong += 1
            if self.wrong >= MOST_ATTEMPTS:
                self.wrong, self.until = 0, now + WAIT_SECONDS
            return False


# Of this process: what streamlit caches for it, it would also clear.
ATTEMPTS = Attempts()
# Streamlit 1.67 does these for any visitor, before the login too: drop what all sessions have
# cached, tell the repository's name and changed files, run the page whenever a file changes.
_REFUSED = {"clear_cache", "load_git_info", "set_run_on_save"}
_take: Callable[[AppSession, Any], None] = AppSession.handle_backmsg


def _take_known(session: AppSession, message: Any) -> None:
    if message.WhichOneof("type") not in _REFUSED:
        _take(session, message)


AppSession.handle_backmsg = _take_known


def is_public(address: str | None) -> bool:
    """Whether a server bound to `address` can be reached from elsewhere; none is all interfaces."""
    if address == "localhost":
        return False
    try:
        return not ipaddress.ip_address(address or "0.0.0.0").is_loopback
    except ValueError:
        return True


def refusal(settings: Settings, address: str | None) -> str:
    """Why nobody may see a page with these settings, bound to `address`; "" if somebody may."""
    password, users = settings.page_password.get_secret_value(), settings.page_logins
    if password and users:
        return (
            "One way to log in is required, found two: unset ASTRA_PAGE_PASSWORD or "
            "ASTRA_PAGE_USERS."
        )
    if password or users or not is_public(address):
        return ""
    return (
        f"A login is required where others can reach the page, found none and the address "
        f"{address or '0.0.0.0'}: set ASTRA_PAGE_PASSWORD, or ASTRA_PAGE_USERS and a provider, or "
        "start it with --server.address 127.0.0.1."
    )


def is_known(user: dict[str, object], users: frozenset[str]) -> bool:
    """Whether a provider's claims name one of `users` (small ASCII letters) by a verified address.

    Letters beyond ASCII may look or fold like one of these, so that they name nobody.
    """
    address = user.get("email")
    return (
        user.get("is_logged_in") is True
        and user.get("email_verified") is True
        and isinstance(address, str)
        and address.isascii()
        and address.lower() in users
    )


def has_login(settings: Settings) -> bool:
    """Whether whoever sees the page has shown who they are."""
    return bool(settings.page_password.get_secret_value() or settings.page_logins)


def admits(settings: Settings) -> bool:
    """Whether this session may see the page; else it is told why, or asked."""
    if why := refusal(settings, st.get_option("server.address")):
        st.error(plain(why))
        return False
    if password := settings.page_password.get_secret_value():
        return _knows(password)
    return not settings.page_logins or _is_logged_in(settings.page_logins)


def log_out(settings: Settings) -> None:
    """A button at the side, for whoever has logged in."""
    if has_login(settings):
        leave = _forget if settings.page_password.get_secret_value() else st.logout
        st.sidebar.button("Log out", key="log_out", on_click=leave)


def _forget() -> None:
    """The password and all that was chosen or typed in this session."""
    st.session_state.clear()


def _knows(password: str) -> bool:
    kept = str(st.session_state.get(_KEPT, ""))
    if hmac.compare_digest(kept.encode(), password.encode()):
        return True
    st.title("Portfolio", anchor=False)
    with st.form("login", width=380):
        given = st.text_input(
            "Password", type="password", autocomplete="current-password", key="login_password"
        )
        is_asked = st.form_submit_button("Log in", type="primary")
    if not is_asked:
        return False
    now = time.monotonic()
    if ATTEMPTS.check(given, password, now):
        st.session_state[_KEPT] = given
        st.rerun()
    if wait := max(0, round(ATTEMPTS.until - now)):
        st.error(f"Too many wrong passwords: wait {count(wait, 'second')}, then try again.")
    else:
        st.error("This is not the password.")
    return False


def _is_logged_in(users: frozenset[str]) -> bool:
    user = dict(st.user)
    if is_known(user, users):
        return True
    st.title("Portfolio", anchor=False)
    if "is_logged_in" not in user:
        st.error(
            plain(
                "A provider is required for ASTRA_PAGE_USERS, found none: write [auth] into "
                ".streamlit/secrets.toml beside the page's app.py, then start it again."
            )
        )
    elif user["is_logged_in"]:
        found = user.get("email") or "none"
        st.error(
            plain(
                f"A verified address of ASTRA_PAGE_USERS is required, found {found}: log in with "
                "another."
            )
        )
        st.button("Log out", on_click=st.logout, key="logout")
    else:
        st.button("Log in", on_click=st.login, key="login_provider", type="primary")
    return False

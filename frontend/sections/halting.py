"""The switch: whether the account may trade, and how to stop that or let it go on, in two steps."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from astra.errors import AstraError, DataError, TemporaryError
from astra.records import TradingState
from astra.status import Trading
from astra.store import Store
from frontend import access
from frontend.actions import Answer, Monitor, Offer
from frontend.page import Page
from frontend.standing import CHIPS
from frontend.words import capital, count, new_york, plain, sentence

# Of this session: stop, lift; what is offered; what came of it and the state in which that is so.
_STEP, _OFFER, _SAID = "switch_step", "switch_offer", "switch_said"
_STOPS = {
    "Everything: cancel open orders, send nothing": TradingState.HALTED,
    "Purchases only: go on selling": TradingState.REDUCING,
}


def recorded_last(store: Store) -> str:
    """The account that the broker has: the one recorded last."""
    return next(iter(store.books.accounts()))


def show(page: Page, found: Trading) -> None:
    st.header("Trading", anchor=False)
    if found.since is not None:
        why = f": {found.reason}" if found.reason else ""
        since = f"since {new_york(found.since)}, by {found.changed_by}{why}"
        st.markdown(plain(f"{CHIPS[found.state][1]} {since}."))
    else:
        st.markdown("Trading is on. It was never stopped.")
    if not found.is_confirmed:
        st.error(
            "The broker has NOT confirmed that nothing is open any more which this forbids: "
            "ask again, or look at the open orders there."
        )
    present = page.reader.read(recorded_last)
    if page.account != present:
        st.caption(
            plain(
                f"The broker has account {present} now. This one can neither be stopped nor "
                "lifted any more: choose the other at the side."
            )
        )
        return
    _said(page, found)
    if not access.has_login(page.settings):
        st.caption(
            "To stop trading and to lift that from here, the page needs a login: set "
            r"ASTRA\_PAGE\_PASSWORD. Until then: `astra halt`, and `astra lift` to go on."
        )
        return
    _step(page, found)


def _step(page: Page, found: Trading) -> None:
    match st.session_state.get(_STEP):
        case "stop":
            _stop(page)
        case "lift" if found.state is not TradingState.ACTIVE:
            _lift(page, found)
        case "lift":  # somebody else was first
            _go("")
            _choose(page, found)
        case _:
            _choose(page, found)


def _choose(page: Page, found: Trading) -> None:
    """The first click, which changes nothing yet."""
    with st.container(horizontal=True):
        if found.state is not TradingState.HALTED:
            st.button("Stop trading …", key="switch_stop", on_click=_go, args=("stop",))
        if not found.is_confirmed and st.button("Ask the broker again", key="switch_again"):
            _ask(page, lambda monitor: monitor.halt(found.state, found.reason), "astra halt")
        if found.state is not TradingState.ACTIVE:
            st.button("Let it go on …", key="switch_lift", on_click=_go, args=("lift",))


def _stop(page: Page) -> None:
    with st.container(border=True):
        st.markdown("**Stop what?** It stays stopped until somebody lifts it.")
        what = st.radio("Stop what", list(_STOPS), key="switch_what", label_visibility="collapsed")
        reason = st.text_input(
            "Why", max_chars=200, key="switch_reason", placeholder="kept in the audit log"
        )
        with st.container(horizontal=True):
            if st.button("Stop now", key="switch_stop_now", type="primary"):
                state = _STOPS[what]
                why = reason or "asked for on the page"
                _ask(page, lambda monitor: monitor.halt(state, why), "astra halt")
            st.button("Leave it", key="switch_leave", on_click=_go, args=("",))


def _lift(page: Page, found: Trading) -> None:
    with st.container(border=True):
        try:
            offer = _offer(page, found)
        except AstraError as error:
            _failed(error, "astra lift")
            st.button("Leave it", key="switch_leave", on_click=_go, args=("",))
            return
        left = (
            f" Half done and left as it is: {count(len(offer.unfinished), 'allocation')}."
            if offer.unfinished
            else ""
        )
        st.markdown(
            plain(
                f"It was stopped because: {offer.reason}. Lifted, it may buy and sell again, and "
                f"the losses so far no longer stop it.{left}"
            )
        )
        st.markdown(plain(f"To let it go on, type `{offer.code}` within ten minutes."))
        given = st.text_input("Code", key="switch_code", autocomplete="off", max_chars=20)
        with st.container(horizontal=True):
            is_pressed = st.button("Let it go on", key="switch_lift_now", type="primary")
            st.button("Leave it", key="switch_leave", on_click=_go, args=("",))
        if is_pressed and given.strip().upper() != offer.code:
            st.error("This is not the code above: nothing was changed.")
        elif is_pressed:
            _ask(page, lambda monitor: monitor.lift(offer.code), "astra lift")


def _offer(page: Page, found: Trading) -> Offer:
    """Asked for once, and shown until it is used or left or what it lifts has changed."""
    kept: Offer | None = st.session_state.get(_OFFER)
    offer = kept or Monitor(page.settings, page.account).offer_lift()
    if kept and not kept.is_of(page.account, found):
        _done(
            "what stands has changed since the code was offered: see why, then ask again",
            is_done=False,
        )
    if not offer.code:
        _done(offer.message, is_done=True)
    st.session_state[_OFFER] = offer
    return offer


def _ask(page: Page, what: Callable[[Monitor], Answer], instead: str) -> None:
    try:
        with st.spinner("Asking the monitor, which asks the broker …"):
            answer = what(Monitor(page.settings, page.account))
    except DataError as error:  # it has looked, and will say the same again
        _done(str(error), is_done=False)
    except AstraError as error:
        _failed(error, instead)
    else:
        _done(answer.message, is_done=answer.is_done)


def _done(message: str, *, is_done: bool) -> None:
    _go("")
    st.session_state[_SAID] = (message, is_done, None)
    st.rerun()


def _failed(error: AstraError, instead: str) -> None:
    """What the monitor refused; where it was not heard, the command that does without it."""
    said = sentence(error)
    if isinstance(error, TemporaryError):
        said += f" It is not known whether it was done; without the monitor: `{instead}`."
    st.error(said)


def _said(page: Page, found: Trading) -> None:
    """What came of the last press, as long as the state stands in which it was first said."""
    message, is_done, stands = st.session_state.get(_SAID, ("", True, None))
    now = (page.account, found)
    if message and stands in (None, now):
        st.session_state[_SAID] = (message, is_done, now)
        (st.success if is_done else st.error)(plain(f"{capital(message)}."))


def _go(step: str) -> None:
    st.session_state[_STEP] = step
    for name in (_OFFER, _SAID):
        st.session_state.pop(name, None)

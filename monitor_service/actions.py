"""The monitor's switch: stop an account, lift that in two steps, take up what is half done.

Who may press it is the service's credential to say. Changes are POSTs only. Whoever names the
`account` in view gets a DataError where the broker has another.
"""

from __future__ import annotations

import contextlib
from typing import Any

from flask import Blueprint, Response, jsonify, request

from astra.errors import AstraError, DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.halting.halt import halt
from astra.execution.halting.lift import Lifted, Offer, lift, offer_lift
from astra.execution.halting.switch import Halted
from astra.execution.resuming import resume
from astra.gcs import Bucket
from astra.records import TradingState
from astra.store.journal import AllocationRow
from monitor_service.runs import Runs

_BY = "monitor"


def actions(desk: Desk, bucket: Bucket, runs: Runs) -> Blueprint:
    """Routes /state, /halt, /lift and /resume."""
    routes = Blueprint("actions", __name__)

    @routes.get("/state")
    def _state() -> Response:
        return jsonify(_state_of(desk))

    @routes.post("/halt")
    def _halt() -> tuple[Response, int]:
        state = _asked_state(_argument("state") or TradingState.HALTED.value)
        _require_present(desk, _argument("account"), is_urgent=True)
        ended = halt(desk, state, _argument("reason") or "asked for at the monitor", _BY)
        # Noted afterwards: a broker that does not tell the time must not be in the way.
        with contextlib.suppress(AstraError), runs.noted("halt"):
            if not ended.is_confirmed:
                raise TemporaryError(ended.message)
        unconfirmed = 202 if ended.is_written else 503
        return jsonify(_halted(ended)), 200 if ended.is_confirmed else unconfirmed

    @routes.post("/lift")
    def _lift() -> Response:
        code = _argument("code")
        with runs.noted("lift"):
            _require_present(desk, _argument("account"))
            return jsonify(
                _lifted(lift(desk, code, _BY)) if code else _offer(offer_lift(desk, _BY))
            )

    @routes.post("/resume")
    def _resume() -> Response:
        with runs.watched("resume"):
            found = resume(desk, bucket)
            rows = [_allocation(row) for row in found.allocations]
            return jsonify(tripped=found.stopped or "", allocations=rows)

    return routes


def _argument(name: str) -> str:
    """Of the JSON body or the query; "" if it is in neither.

    Raises:
        DataError: it is no text.
    """
    value = _body().get(name, request.args.get(name, ""))
    if not isinstance(value, str):
        raise DataError(f"{name} must be text, found {value!r:.60}")
    return value.strip()


def _body() -> dict[str, Any]:
    """The JSON object that was sent; anything else counts as none, so that any POST halts."""
    try:
        body = request.get_json(silent=True)
    except RecursionError:
        body = None
    return body if isinstance(body, dict) else {}


def _require_present(desk: Desk, asked: str, *, is_urgent: bool = False) -> None:
    """Nobody acts on another account than the one in view, say after a paper account's reset.

    Args:
        asked: its number; "" leaves it to the broker.
        is_urgent: the account recorded last passes unasked, so that its halt is written before the
            broker is asked anything.

    Raises:
        DataError: the broker has another.
        TemporaryError: it does not say.
    """
    if not asked or (is_urgent and asked == _recorded_last(desk)):
        return
    found = desk.broker.account().number
    if found != asked:
        raise DataError(
            f"account {asked} is asked for, the broker has {found}: nothing was changed, look at "
            f"account {found}"
        )


def _recorded_last(desk: Desk) -> str | None:
    """An account's number; None of none, or while the database is away."""
    with contextlib.suppress(AstraError):
        return next(iter(desk.store.books.accounts()), None)
    return None


def _asked_state(text: str) -> TradingState:
    try:
        return TradingState(text.upper())
    except ValueError as error:
        raise DataError(f"state must be HALTED or REDUCING, found {text!r:.60}") from error


def _state_of(desk: Desk) -> dict[str, Any]:
    account = desk.broker.account().number
    row = desk.store.states.get(account)
    return {
        "account": account,
        "state": row.state.value,
        "reason": row.reason,
        "by": row.changed_by,
        "since": row.since.isoformat() if row.since else None,
        "unfinished": [a.object for a in desk.store.journal.open_allocations(account)],
    }


def _halted(ended: Halted) -> dict[str, Any]:
    return {
        "account": ended.account,
        "state": ended.state.value,
        "was": ended.was.value,
        "reason": ended.reason,
        "cancelled": ended.cancelled,
        "still_open": ended.still_open,
        "under_way": ended.under_way,
        "confirmed": ended.is_confirmed,
        "written": ended.is_written,
        "seconds": round(ended.seconds, 3),
        "message": ended.message,
    }


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "account": offer.account,
        "state": offer.state.value,
        "reason": offer.reason,
        "by": offer.by,
        "since": offer.since.isoformat() if offer.since else None,
        "unfinished": offer.unfinished,
        "code": offer.code,
        "message": offer.message,
    }


def _lifted(found: Lifted) -> dict[str, Any]:
    return {
        "account": found.account,
        "state": TradingState.ACTIVE.value,
        "was": found.was.value,
        "unfinished": found.unfinished,
        "message": found.message,
    }


def _allocation(row: AllocationRow) -> dict[str, str]:
    return {"object": row.object, "status": row.status, "reason": row.reason}

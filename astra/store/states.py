"""What each account may do: trade, only sell, or nothing; kept until somebody lifts it."""

from __future__ import annotations

import datetime as dt
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from astra.records import TradingState
from astra.store import audit, rows, schema
from astra.store.dialect import Dialect
from astra.store.versions import writing_books

_table = schema.trading_states
_CONFIRMED = "state confirmed"


@dataclass(frozen=True, slots=True)
class StateRow:
    """An account's state. `since` is the market's time, None if it never changed; `lift_until` the
    machine's wall clock, epoch seconds; `accepted` the figures, by cause, that a person accepted by
    lifting it last, at `accepted_at`."""

    account: str
    state: TradingState = TradingState.ACTIVE
    reason: str = ""
    changed_by: str = ""
    since: dt.datetime | None = None
    lift_code: str = ""
    lift_until: float = 0.0
    accepted: Mapping[str, float] = field(default_factory=dict)
    accepted_at: dt.datetime | None = None


def find(connection: Connection, account: str) -> StateRow:
    """The account's state; ACTIVE if nothing is written."""
    row = connection.execute(select(_table).where(_table.c.account == account)).mappings().first()
    if row is None:
        return StateRow(account)
    lifted = json.loads(row["accepted"])
    typed = {
        "state": TradingState(row["state"]),
        "since": rows.moment(row["since"]),
        "accepted": lifted.get("figures", {}),
        "accepted_at": rows.moment_or_none(lifted.get("at")),
    }
    return StateRow(**{**row, **typed})


class States:
    """Table `trading_states`; every change and each code offered is a line of the audit log."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def get(self, account: str) -> StateRow:
        with self._dialect.reading() as connection:
            return find(connection, account)

    def last_account(self) -> tuple[str, dt.datetime] | None:
        """The account that the audit log told of last, and the market's time then."""
        table = schema.audit_log
        last = select(table.c.account, table.c.at).order_by(table.c.seq.desc()).limit(1)
        with self._dialect.reading() as connection:
            row = connection.execute(last).first()
        return None if row is None else (row.account, rows.moment(row.at))

    def set(
        self,
        account: str,
        state: TradingState,
        reason: str,
        changed_by: str,
        at: dt.datetime,
    ) -> StateRow:
        """Make the state stricter; a code that would have lifted it is void.

        A stricter state stays, and so do reason and time of the same state: only `lift` weakens.

        Returns: the state before.
        """
        with writing_books(self._dialect) as connection:
            before = find(connection, account)
            if state.is_stricter_than(before.state):
                changed = {
                    "state": state.value,
                    "reason": reason,
                    "changed_by": changed_by,
                    "since": rows.seconds(at),
                }
                self._write(connection, before, changed)
            elif before.lift_code:
                self._write(connection, before, {})
            told = {"from": before.state, "to": state, "reason": reason, "by": changed_by}
            audit.append(connection, at, account, "state", account, told)
        return before

    def confirm(self, account: str, at: dt.datetime) -> None:
        """Note that the broker had nothing open any more that the state forbids."""
        with writing_books(self._dialect) as connection:
            state = find(connection, account).state
            audit.append(connection, at, account, _CONFIRMED, account, {"state": state})

    def is_confirmed(self, account: str) -> bool:
        """Whether that was noted since the state was last asked for."""
        table = schema.audit_log
        kinds = table.c.kind.in_(("state", _CONFIRMED))
        last = select(table.c.kind).where((table.c.account == account) & kinds)
        with self._dialect.reading() as connection:
            found = connection.scalar(last.order_by(table.c.seq.desc()).limit(1))
        return found == _CONFIRMED

    def offer_lift(
        self, shown: StateRow, code: str, until: float, offered_to: str, at: dt.datetime
    ) -> bool:
        """Keep the code that lifts the state before `until`, the machine's wall clock.

        The audit log says who asked for it and when, and never the code.

        Returns: False, and nothing is kept, if the state is no longer the one that was shown.
        """
        with writing_books(self._dialect) as connection:
            now = find(connection, shown.account)
            if (now.state, now.since, now.reason) != (shown.state, shown.since, shown.reason):
                return False
            connection.execute(
                _table.update()
                .where(_table.c.account == shown.account)
                .values(lift_code=code, lift_until=until)
            )
            told = {"state": now.state, "reason": now.reason, "by": offered_to}
            audit.append(connection, at, shown.account, "lift offered", shown.account, told)
        return True

    def lift(
        self,
        account: str,
        code: str,
        wall: float,
        accepted: Mapping[str, float],
        changed_by: str,
        at: dt.datetime,
    ) -> StateRow | None:
        """Make the account ACTIVE if `code` is the one offered and `wall` is within its time.

        Returns: the state before, None if nothing was changed.
        """
        with writing_books(self._dialect) as connection:
            before = find(connection, account)
            is_known = hmac.compare_digest(code.encode(), before.lift_code.encode())
            if not (is_known and before.lift_code and wall < before.lift_until):
                return None
            changed = {
                "state": TradingState.ACTIVE.value,
                "reason": "",
                "changed_by": changed_by,
                "since": rows.seconds(at),
                "accepted": _lifted(accepted, at),
            }
            self._write(connection, before, changed)
            told: dict[str, Any] = {"from": before.state, "to": TradingState.ACTIVE}
            told |= {"by": changed_by, "accepted": dict(accepted)}
            audit.append(connection, at, account, "state", account, told)
        return before

    def _write(self, connection: Connection, before: StateRow, changed: Mapping[str, Any]) -> None:
        """The row as it was with `changed`, and no code to lift it."""
        row = {
            "account": before.account,
            "state": before.state.value,
            "reason": before.reason,
            "changed_by": before.changed_by,
            "since": rows.seconds_or_none(before.since),
            "lift_code": "",
            "lift_until": 0.0,
            "accepted": _lifted(before.accepted, before.accepted_at),
        }
        self._dialect.upsert(connection, _table, [{**row, **changed}])


def _lifted(accepted: Mapping[str, float], at: dt.datetime | None) -> str:
    figures = {"at": rows.seconds_or_none(at), "figures": dict(accepted)}
    return json.dumps(figures, sort_keys=True)

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


@dataclass(frozen=True, slots=True)
class StateRow:
    """An account's state. `since` is the market's time, None if it never changed; `lift_until` the
    machine's wall clock, epoch seconds; `accepted` the figures, by cause, at which a person lifted
    it last."""

    account: str
    state: TradingState = TradingState.ACTIVE
    reason: str = ""
    changed_by: str = ""
    since: dt.datetime | None = None
    lift_code: str = ""
    lift_until: float = 0.0
    accepted: Mapping[str, float] = field(default_factory=dict)


def find(connection: Connection, account: str) -> StateRow:
    """The account's state; ACTIVE if nothing is written."""
    row = connection.execute(select(_table).where(_table.c.account == account)).mappings().first()
    if row is None:
        return StateRow(account)
    typed = {
        "state": TradingState(row["state"]),
        "since": rows.moment(row["since"]),
        "accepted": json.loads(row["accepted"]),
    }
    return StateRow(**{**row, **typed})


class States:
    """Table `trading_states`; every change is a line of the audit log."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def get(self, account: str) -> StateRow:
        with self._dialect.reading() as connection:
            return find(connection, account)

    def last_account(self) -> tuple[str, dt.datetime] | None:
        """The account that was last traded or halted, and the market's time then."""
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

    def offer_lift(self, account: str, code: str, until: float) -> None:
        """Keep the code that lifts the state before `until`, the machine's wall clock."""
        with writing_books(self._dialect) as connection:
            connection.execute(
                _table.update()
                .where(_table.c.account == account)
                .values(lift_code=code, lift_until=until)
            )

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
                "accepted": json.dumps(dict(accepted), sort_keys=True),
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
            "accepted": json.dumps(dict(before.accepted), sort_keys=True),
        }
        self._dialect.upsert(connection, _table, [{**row, **changed}])

"""What each account may do: trade, only sell, or nothing; kept until somebody lifts it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, select

from astra.records import TradingState
from astra.store import audit, rows, schema
from astra.store.dialect import Dialect
from astra.store.versions import writing_books

_table = schema.trading_states


@dataclass(frozen=True, slots=True)
class StateRow:
    """An account's state. `since` is the market's time, None if it never changed; `lift_until` the
    machine's wall clock, epoch seconds."""

    account: str
    state: TradingState = TradingState.ACTIVE
    reason: str = ""
    changed_by: str = ""
    since: dt.datetime | None = None
    lift_code: str = ""
    lift_until: float = 0.0


def find(connection: Connection, account: str) -> StateRow:
    """The account's state; ACTIVE if nothing is written."""
    row = connection.execute(select(_table).where(_table.c.account == account)).mappings().first()
    if row is None:
        return StateRow(account)
    state, since = TradingState(row["state"]), rows.moment(row["since"])
    return StateRow(**{**row, "state": state, "since": since})


class States:
    """Table `trading_states`; every change is a line of the audit log."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def get(self, account: str) -> StateRow:
        with self._dialect.reading() as connection:
            return find(connection, account)

    def set(
        self,
        account: str,
        state: TradingState,
        reason: str,
        changed_by: str,
        at: dt.datetime,
    ) -> StateRow:
        """Change the state; a code that would have lifted it is void.

        Returns: the state before.
        """
        row = {
            "account": account,
            "state": state.value,
            "reason": reason,
            "changed_by": changed_by,
            "since": rows.seconds(at),
            "lift_code": "",
            "lift_until": 0.0,
        }
        with writing_books(self._dialect) as connection:
            before = find(connection, account)
            self._dialect.upsert(connection, _table, [row])
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

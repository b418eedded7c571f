"""The audit log: what was done to whom, each line holding the hash of the one before.

A line is appended in the transaction that does what it tells, so neither is there without the
other. The hash is sha256 over the previous hash and the line's own fields as JSON; whoever changes
or removes a line in the middle breaks the chain. That the end was cut off shows only beside a head
noted elsewhere.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from astra.store import rows, schema
from astra.store.dialect import Dialect

FIRST = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """A line: `kind` is what happened, `subject` the order, allocation or account it happened to.

    `at` is the market's time.
    """

    seq: int
    at: dt.datetime
    account: str
    kind: str
    subject: str
    content: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Break:
    """The first line that does not continue the chain, and why."""

    seq: int
    reason: str


def append(
    connection: Connection,
    at: dt.datetime,
    account: str,
    kind: str,
    subject: str,
    content: Mapping[str, Any],
) -> None:
    """Add a line, in a transaction that holds the lock of the books."""
    table = schema.audit_log
    last = connection.execute(
        select(table.c.seq, table.c.hash).order_by(table.c.seq.desc()).limit(1)
    ).first()
    seq, previous = (1, FIRST) if last is None else (last.seq + 1, last.hash)
    row = {
        "seq": seq,
        "at": rows.seconds(at),
        "account": account,
        "kind": kind,
        "subject": subject,
        "content": json.dumps(content, sort_keys=True, default=str),
        "previous": previous,
    }
    connection.execute(table.insert().values(**row, hash=_hash(row)))


class Audit:
    """Reads the log."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def entries(self, account: str | None = None) -> Iterator[Entry]:
        """All lines, oldest first, or those of one account."""
        table = schema.audit_log
        statement = select(table).order_by(table.c.seq)
        if account is not None:
            statement = statement.where(table.c.account == account)
        with self._dialect.reading() as connection:
            for row in connection.execute(statement).mappings():
                content = json.loads(row["content"])
                yield Entry(**{**row, "at": rows.moment(row["at"]), "content": content})

    def verify(self) -> tuple[int, str, Break | None]:
        """Number of lines that hold, the hash of the last of them, and the first break if any."""
        table, count, head = schema.audit_log, 0, FIRST
        with self._dialect.reading() as connection:
            for row in connection.execute(select(table).order_by(table.c.seq)).mappings():
                for broken, reason in (
                    (row["seq"] != count + 1, f"line {count + 1} is missing"),
                    (row["previous"] != head, "it does not follow the line before"),
                    (row["hash"] != _hash(dict(row)), "its content is not what was written"),
                ):
                    if broken:
                        return count, head, Break(row["seq"], reason)
                count, head = count + 1, row["hash"]
        return count, head, None


def _hash(row: Mapping[str, Any]) -> str:
    names = ("seq", "at", "account", "kind", "subject", "content", "previous")
    text = json.dumps([row[name] for name in names])
    return hashlib.sha256(text.encode()).hexdigest()

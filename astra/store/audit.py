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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, select

from astra.store import rows, schema
from astra.store.dialect import Dialect

FIRST = "0" * 64
_AT_ONCE = 1000


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
    """The first line that does not continue the chain, by the place where it should stand."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at the whole log found.

    Attributes:
        lines: that hold, from the first on.
        head: hash of the last of them, `FIRST` if there is none.
        last_at: the market's time of that line, None if there is none.
        broken: the first line that does not hold, None = all do.
        noted: the line whose hash is the head that was asked for; None if none of those that hold
            is, or none was asked for. 0 is the empty log.
    """

    lines: int
    head: str
    last_at: dt.datetime | None
    broken: Break | None
    noted: int | None


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
            for row in _streamed(connection, statement):
                yield _entry(row)

    def last(self, account: str, most: int) -> tuple[Entry, ...]:
        """The newest lines of an account, at most so many, the newest first."""
        table = schema.audit_log
        newest = select(table).where(table.c.account == account).order_by(table.c.seq.desc())
        with self._dialect.reading() as connection:
            return tuple(_entry(row) for row in _streamed(connection, newest.limit(most)))

    def verify(self, noted: str = "") -> Verified:
        """Follow the chain from the first line to the last, or to the first that breaks it.

        The hashes need no secret, so who can write to the table can write a sound chain: lines cut
        off at the end, or rewritten from some line on, are only found beside a head that was
        noted elsewhere before.

        Args:
            noted: such a head; the log may have grown since.
        """
        table, count, head, at = schema.audit_log, 0, FIRST, None
        found = 0 if noted == FIRST else None
        with self._dialect.reading() as connection:
            for row in _streamed(connection, select(table).order_by(table.c.seq)):
                if reason := _why_broken(dict(row), count + 1, head):
                    return Verified(count, head, at, Break(count + 1, reason), found)
                count, head, at = count + 1, row["hash"], rows.moment(row["at"])
                if head == noted:
                    found = count
        return Verified(count, head, at, None, found)


def _entry(row: RowMapping) -> Entry:
    return Entry(**{**row, "at": rows.moment(row["at"]), "content": json.loads(row["content"])})


def _streamed(connection: Connection, statement: Select[Any]) -> Iterable[RowMapping]:
    """A log of years is read in parts, not held in memory."""
    return connection.execute(statement.execution_options(yield_per=_AT_ONCE)).mappings()


def _why_broken(row: Mapping[str, Any], seq: int, previous: str) -> str:
    """Why a line is not number `seq` of the chain after `previous`; "" if it is."""
    for broken, reason in (
        (row["seq"] > seq, "it is missing"),
        (row["seq"] < seq, f"a line numbered {row['seq']} stands in its place"),
        (row["previous"] != previous, "it does not follow the line before"),
        (row["hash"] != _hash(row), "its content is not what was written"),
    ):
        if broken:
            return reason
    return ""


def _hash(row: Mapping[str, Any]) -> str:
    names = ("seq", "at", "account", "kind", "subject", "content", "previous")
    text = json.dumps([row[name] for name in names])
    return hashlib.sha256(text.encode()).hexdigest()

"""The audit log: one unbroken chain whoever writes, and no change of a line goes unnoticed."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from desk import opened
from execution_desk import dropped, opened_desk
from sqlalchemy import Connection, delete, insert, select, update
from typer.testing import CliRunner

from astra.cli import audit as command
from astra.errors import DataError
from astra.execution.executor import Executor
from astra.execution.halting.halt import halt
from astra.execution.halting.lift import lift, offer_lift
from astra.records import OrderStatus, PlanLine, Side, TradingState
from astra.store import Store, open_store
from astra.store.audit import FIRST, append
from astra.store.journal import AllocationRow, OrderRow
from astra.store.schema import audit_log
from astra.store.versions import writing_books

NOW = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
LINES = 6


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTRA_DATABASE_URL", "sqlite:///a.db")
    return "sqlite:///a.db"


@pytest.fixture
def written(url: str) -> Store:
    """A log of `LINES` lines."""
    store = open_store(url)
    add(store, "writer", LINES)
    return store


def add(store: Store, subject: str, count: int) -> None:
    for number in range(count):
        with writing_books(store._dialect) as connection:
            append(connection, NOW, "A1", "told", subject, {"number": number, "é": None})


def verify(*words: str) -> str:
    return audit("verify", *words)


def audit(*words: str) -> str:
    done = CliRunner().invoke(command.app, list(words), env={"COLUMNS": "80"})
    if done.exception:
        raise done.exception
    return done.output


def line(connection: Connection, seq: int) -> dict[str, object]:
    found = connection.execute(select(audit_log).where(audit_log.c.seq == seq)).mappings().one()
    return dict(found)


def write(connection: Connection, place: int, **values: object) -> None:
    connection.execute(update(audit_log).where(audit_log.c.seq == place).values(values))


def remove(connection: Connection, seq: int) -> None:
    connection.execute(delete(audit_log).where(audit_log.c.seq == seq))


def swap(connection: Connection, one: int, other: int) -> None:
    first, second = line(connection, one), line(connection, other)
    remove(connection, one)
    remove(connection, other)
    connection.execute(insert(audit_log).values(first | {"seq": other}))
    connection.execute(insert(audit_log).values(second | {"seq": one}))


def push_in(connection: Connection, seq: int) -> None:
    """A copy of a line in its place; those from it on move up by one."""
    copy = line(connection, seq)
    for number in range(LINES, seq - 1, -1):
        write(connection, number, seq=number + 1)
    connection.execute(insert(audit_log).values(copy))


def push_before(connection: Connection) -> None:
    connection.execute(insert(audit_log).values(line(connection, 1) | {"seq": 0}))


def test_ten_writers_at_once_leave_one_unbroken_chain(store: Store) -> None:
    with ThreadPoolExecutor(10) as writers:
        list(writers.map(lambda n: add(store, f"writer {n}", 5), range(10)))
    found = store.audit.verify()
    assert (found.lines, found.broken, found.last_at) == (50, None, NOW)
    entries = list(store.audit.entries("A1"))
    assert [e.seq for e in entries] == list(range(1, 51))
    of_one = [e.content["number"] for e in entries if e.subject == "writer 3"]
    assert of_one == [0, 1, 2, 3, 4] and entries[-1].hash == found.head


@pytest.mark.parametrize(
    ("tamper", "seq", "reason"),
    [
        (lambda c: write(c, 3, content='{"number": 9}'), 3, "its content is not what was written"),
        (lambda c: write(c, 3, kind="other"), 3, "its content is not what was written"),
        (lambda c: write(c, 3, at=1), 3, "its content is not what was written"),
        (lambda c: write(c, 3, account="A2"), 3, "its content is not what was written"),
        (lambda c: write(c, 3, previous=FIRST), 3, "it does not follow the line before"),
        (lambda c: write(c, 3, hash="0" * 64), 3, "its content is not what was written"),
        (lambda c: remove(c, 1), 1, "it is missing"),
        (lambda c: remove(c, 4), 4, "it is missing"),
        (lambda c: swap(c, 2, 5), 2, "it does not follow the line before"),
        (lambda c: push_in(c, 3), 4, "it does not follow the line before"),
        (push_before, 1, "a line numbered 0 stands in its place"),
    ],
)
def test_a_line_that_was_changed_is_found_and_named(
    written: Store, tamper: Callable[[Connection], None], seq: int, reason: str
) -> None:
    with writing_books(written._dialect) as connection:
        tamper(connection)
    found = written.audit.verify()
    assert found.broken is not None
    assert (found.broken.seq, found.broken.reason, found.lines) == (seq, reason, seq - 1)
    with pytest.raises(DataError, match=rf"line {seq} breaks it: {reason}"):
        verify()


def test_a_rewritten_tail_is_found_beside_a_noted_head_only(written: Store) -> None:
    head = written.audit.verify().head
    add(written, "later", 2)
    said = verify("--head", head)
    assert "8 lines hold, the last of 2026-01-12 15:00:00 UTC" in said
    assert f"the noted head is line {LINES}: nothing up to it was changed" in said
    with writing_books(written._dialect) as connection:
        for seq in range(LINES, LINES + 3):
            remove(connection, seq)
    add(written, "another story", 3)
    said = verify()
    assert f"{LINES + 2} lines hold" in said
    assert "does not show lines cut off at its end" in " ".join(said.split())
    with pytest.raises(DataError, match="none of this log has it") as raised:
        verify("--head", head)
    assert raised.value.exit_code == 3


def test_an_empty_log_is_sound_and_says_that_it_is_empty(url: str) -> None:
    assert "0 lines hold, the log is empty" in verify()
    assert open_store(url).audit.verify(FIRST).noted == 0


def test_what_is_rolled_back_leaves_no_line(written: Store) -> None:
    def fail() -> None:
        with writing_books(written._dialect) as connection:
            append(connection, NOW, "A1", "told", "writer", {})
            raise DataError("no")

    with pytest.raises(DataError, match="no"):
        fail()
    found = written.audit.verify()
    assert (found.lines, found.broken) == (LINES, None)


def test_everything_the_journal_does_to_an_order_is_a_line(store: Store) -> None:
    journal = store.journal
    row = AllocationRow(
        "a" * 16, "A1", "b", "o.csv", 1, NOW, NOW, "manual", "", {"AAPL": 0.5}, received_at=NOW
    )
    order = OrderRow(
        "o-1", row.id, "A1", "AAPL", Side.BUY, 1, qty=Decimal(1), reference_price=9.5, reason="",
        planned_at=NOW, updated_at=NOW,
    )  # fmt: skip
    line = PlanLine("AAPL", 9.5, 0.0, 0.5, 0.5, {"limit": 0.0, "rounding": 0.0})
    journal.receive(row)
    fence = journal.take_lease(row.id, 60)
    assert fence is not None
    journal.plan_orders(row.id, fence, [order], "buying", [line])
    assert journal.begin_sending("o-1", fence, NOW) is TradingState.ACTIVE
    for _ in range(2):  # the second look finds nothing new
        journal.mark("o-1", fence, OrderStatus.ACCEPTED, NOW, broker_id="b1")
    journal.set_status(row.id, fence, "done", "", NOW)
    store.states.set("A1", TradingState.HALTED, "asked", "me", NOW)
    kinds = [(e.kind, e.subject) for e in store.audit.entries()]
    assert kinds == [
        ("received", row.id), ("planned", row.id), ("sending", "o-1"), ("order", "o-1"),
        ("status", row.id), ("state", "A1"),
    ]  # fmt: skip
    assert store.audit.verify().broken is None


@pytest.fixture
def traded(url: str, tmp_path: Path) -> str:
    """A log after a rebalance, a halt and its lifting; the allocation's id."""
    with opened() as sandbox:
        desk = opened_desk(sandbox, url)
        file = dropped({"AAPL": 0.1, "JPM": 0.1})
        Executor(desk).execute(file)
        halt(desk, TradingState.REDUCING, "a [bad] feeling", "me")
        lift(desk, offer_lift(desk, "me").code, "me")
    return file.id


def test_show_tells_a_person_what_was_done_when_to_what_and_by_whom(traded: str) -> None:
    said = audit("show")
    assert max(len(line) for line in said.splitlines()) <= 80
    assert said.splitlines()[0].split() == ["line", "UTC", "New", "York", "what", "was", "done"]
    told = " ".join(said.split())
    assert "1 2026-01-12 15:00 10:00 received" in told
    assert f"sending {traded}-AAPL-buy-1" in told
    assert f"order {traded}-JPM-buy-1: filled, average price" in told
    assert f"status {traded}: done, reason 2 of 2 orders filled" in told
    assert "by me, from ACTIVE, reason a [bad] feeling, to REDUCING" in told
    assert "by me, from REDUCING, to ACTIVE" in told


def test_show_tells_the_newest_lines_or_those_about_something(traded: str) -> None:
    every = json.loads(audit("show", "--last", "1000", "--json"))["lines"]
    assert [line["seq"] for line in every] == list(range(1, len(every) + 1))
    assert json.loads(audit("show", "--last", "2", "--json"))["lines"] == every[-2:]
    order = f"{traded}-AAPL-buy-1"
    about = json.loads(audit("show", "--about", order, "--json"))["lines"]
    assert [line["kind"] for line in about] == ["planned", "sending", "order"]
    assert all(line["hash"] and line["previous"] for line in every)
    assert audit("show", "--about", "nobody") == "no line of the log holds 'nobody'\n"


def test_show_says_that_the_log_is_empty(url: str) -> None:
    assert audit("show") == "the log is empty\n"
    assert json.loads(audit("show", "--json")) == {"lines": []}

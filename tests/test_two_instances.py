"""Two instances of the function on one PostgreSQL: what both are told is done by one of them."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator

import desk as trading
import pytest
from execution_desk import HALVES, dropped, opened_desk, sent, shares, status_of
from postgres import PostgresServer

from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.ledger import compare, replay

LATER = dropped({"BRK.B": 0.5, "JPM": 0.4}, generation=2)


@pytest.fixture
def desks(sandbox: trading.Desk, postgres: PostgresServer) -> Iterator[tuple[Desk, Desk]]:
    """Each with its own connections, to one database and to one broker."""
    url = postgres.create()
    both = tuple(opened_desk(sandbox, url, broker=trading.connect(sandbox.url)) for _ in range(2))
    yield both[0], both[1]
    for desk in both:
        desk.store.close()
    postgres.release(url)


def delivered_until_final(desk: Desk, file: Delivered) -> str:
    """As the platform delivers an event: again and again until it is answered 2xx."""
    while True:
        try:
            return Executor(desk).execute(file).status
        except TemporaryError:
            continue


def at_once(*calls: Callable[[], str]) -> list[str]:
    """Results of calls that begin together, in their order."""
    ready = threading.Barrier(len(calls))
    ended: dict[int, str] = {}

    def call(number: int) -> None:
        ready.wait()
        ended[number] = calls[number]()

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [ended[i] for i in range(len(calls))]


def test_one_event_at_two_instances_is_traded_once(
    sandbox: trading.Desk, desks: tuple[Desk, Desk]
) -> None:
    one, other = desks
    for generation in range(1, 6):
        sandbox.step(at := trading.TEN + dt.timedelta(minutes=generation))
        weights = HALVES if generation % 2 else {"BRK.B": 0.5, "JPM": 0.4}
        file = dropped(weights, at, generation)
        ended = at_once(
            lambda file=file: delivered_until_final(one, file),  # type: ignore[misc]
            lambda file=file: delivered_until_final(other, file),  # type: ignore[misc]
        )
        assert ended == ["done", "done"]
        orders = one.store.journal.orders(file.id)
        assert {o.id for o in orders} <= set(sent(sandbox))
        assert all(o.attempt == 1 for o in orders)
    assert len(sent(sandbox)) == len(set(sent(sandbox)))
    assert set(shares(sandbox)) == {"AAPL", "JPM"}
    broker = sandbox.alpaca
    assert compare(replay(broker.activities()), broker.account(), broker.positions()).are_none


def test_of_two_files_at_once_the_newer_is_what_is_held_in_the_end(
    sandbox: trading.Desk, desks: tuple[Desk, Desk]
) -> None:
    one, other = desks
    older = dropped(HALVES, generation=1)
    ended = at_once(
        lambda: delivered_until_final(one, older), lambda: delivered_until_final(other, LATER)
    )
    assert ended[1] == "done"
    assert ended[0] in ("done", "superseded")  # done, if it was over before the newer one came
    assert set(shares(sandbox)) == {"BRK.B", "JPM"}
    assert len(sent(sandbox)) == len(set(sent(sandbox)))
    assert status_of(one.store, LATER)[1] in ("2 of 2 orders filled", "3 of 3 orders filled")


def test_a_newer_file_at_another_instance_supersedes_the_one_under_way(
    sandbox: trading.Desk, desks: tuple[Desk, Desk]
) -> None:
    one, other = desks
    sandbox.fail("POST", "/v2/orders", partial_fill=0.5, times=None)
    older = dropped(HALVES, generation=1)
    with pytest.raises(TemporaryError):
        Executor(one).execute(older)  # its rest is open at the broker
    sandbox.faults.disarm()
    assert Executor(other).execute(LATER).status == "done"
    assert delivered_until_final(one, older) == "superseded"
    assert set(shares(sandbox)) == {"BRK.B", "JPM"}
    assert sandbox.alpaca.orders("open") == ()

"""Whatever a bucket announces, how often and in which order: each version trades once at most."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from astra.allocation import build
from benchmarks.chaos import function
from benchmarks.chaos.function import Function
from benchmarks.chaos.fuzz import AS_OF

JUNK = 10_000


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Function]:
    with function.opened(tmp_path) as opened:
        yield opened
        assert opened.unexpected == []


def made(
    weights: dict[str, float], as_of: dt.datetime = AS_OF, tag: str = "0a1b2c3d"
) -> tuple[str, bytes, dict[str, str]]:
    return build(
        as_of,
        tag,
        weights,
        policy="measured",
        model_id="m",
        metadata={"coverage": "1.0", "trained_on": "simulated"},
    )


def held(fed: Function) -> set[str]:
    return set(fed.state()["positions"])


def orders(fed: Function) -> list[str]:
    return [order["client_order_id"] for order in fed.state()["orders"]]


def test_an_event_that_comes_five_times_trades_once(fed: Function) -> None:
    name, *rest = made({"AAPL": 0.2, "KO": 0.2})
    generation = fed.put(name, *rest)
    assert [fed.deliver(name, generation) for _ in range(5)] == [200] * 5
    assert len(orders(fed)) == 2


def test_events_out_of_order_end_with_the_newer_file(fed: Function) -> None:
    older = made({"AAPL": 0.3}, AS_OF - dt.timedelta(minutes=5), "00000001")
    newer = made({"KO": 0.3}, AS_OF, "00000002")
    first, second = fed.put(*older), fed.put(*newer)
    assert fed.deliver(newer[0], second) == 200
    assert fed.deliver(older[0], first) == 200
    assert held(fed) == {"KO"}
    assert set(fed.statuses().values()) == {"done", "superseded"}


def test_a_late_redelivery_of_a_traded_file_after_a_newer_changes_nothing(
    fed: Function,
) -> None:
    older = made({"AAPL": 0.3}, AS_OF - dt.timedelta(minutes=5), "00000001")
    newer = made({"KO": 0.3}, AS_OF, "00000002")
    first = fed.put(*older)
    assert fed.deliver(older[0], first) == 200
    assert fed.deliver(newer[0], fed.put(*newer)) == 200
    before = orders(fed)
    assert fed.deliver(older[0], first) == 200
    assert (held(fed), orders(fed)) == ({"KO"}, before)


def test_an_event_that_comes_after_its_file_expired_trades_nothing(fed: Function) -> None:
    name, *rest = made({"AAPL": 0.3})
    generation = fed.put(name, *rest)
    fed.sandbox.market.clock.step_to(AS_OF + dt.timedelta(minutes=31))
    assert fed.deliver(name, generation) == 200
    assert (orders(fed), set(fed.statuses().values())) == ([], {"refused"})


def test_an_empty_object_and_then_the_full_one_trades_the_full_one(fed: Function) -> None:
    name, content, metadata = made({"AAPL": 0.3})
    empty = fed.put(name, b"")
    assert fed.deliver(name, empty) == 200
    full = fed.put(name, content, metadata)
    assert fed.deliver(name, empty) == 200
    assert fed.deliver(name, full) == 200
    assert held(fed) == {"AAPL"}
    assert fed.statuses() == {f"{name}#{empty}": "refused", f"{name}#{full}": "done"}


def test_a_truncated_object_is_refused(fed: Function) -> None:
    name, content, metadata = made({"AAPL": 0.3, "KO": 0.3})
    assert fed.deliver(name, fed.put(name, content[:-8], metadata)) == 200
    assert (orders(fed), set(fed.statuses().values())) == ([], {"refused"})


def test_a_download_that_breaks_off_comes_again_or_is_refused_but_never_half_traded(
    fed: Function,
) -> None:
    name, content, metadata = made({"AAPL": 0.3, "KO": 0.3})
    generation = fed.put(name, content, metadata)
    fed.sandbox.faults.arm(
        {"vendor": "storage", "method": "GET", "path": "/download*", "truncate": 0.8, "times": 1}
    )
    answers = [fed.deliver(name, generation) for _ in range(3)]
    assert set(answers) <= {200, 503}
    assert answers[-1] == 200
    assert held(fed) in ({"AAPL", "KO"}, set())


def test_of_an_overwritten_object_only_the_version_that_is_there_trades(fed: Function) -> None:
    name, content, metadata = made({"AAPL": 0.3})
    first = fed.put(name, content, metadata)
    _, other, described = made({"KO": 0.3})
    second = fed.put(name, other, described)
    assert fed.deliver(name, first) == 200
    assert fed.deliver(name, second) == 200
    assert fed.deliver(name, first) == 200
    assert held(fed) == {"KO"}
    assert len(orders(fed)) == 1


def test_two_files_at_once_end_with_the_newer_one(fed: Function) -> None:
    older = made({"AAPL": 0.3, "MSFT": 0.2}, AS_OF - dt.timedelta(minutes=1), "00000001")
    newer = made({"KO": 0.3, "MSFT": 0.1}, AS_OF, "00000002")
    files = [(older[0], fed.put(*older)), (newer[0], fed.put(*newer))]
    answers: dict[str, list[int]] = {name: [] for name, _ in files}

    def deliver(name: str, generation: int) -> None:
        """As the platform does: again until it is answered 2xx."""
        for _ in range(200):
            answers[name].append(fed.deliver(name, generation))
            if answers[name][-1] == 200:
                return

    threads = [threading.Thread(target=deliver, args=file) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(given[-1] == 200 and set(given) <= {200, 503} for given in answers.values())
    assert held(fed) == {"KO", "MSFT"}
    assert len(set(orders(fed))) == len(orders(fed))


def test_ten_thousand_junk_files_are_ignored_and_hold_up_nothing(fed: Function) -> None:
    names = [
        pattern.format(number)
        for number in range(JUNK // 5)
        for pattern in ("notes-{}.txt", "predictions_{}.csv", "failure/target_{}.csv",
                        "target_{}.txt", "decision_{}.json")
    ]  # fmt: skip
    for name in names:
        assert fed.deliver(name, fed.put(name, b"ticker,weight\nAAPL,1\n")) == 200
    assert fed.statuses() == {}
    name, *rest = made({"AAPL": 0.3})
    assert fed.deliver(name, fed.put(name, *rest)) == 200
    assert held(fed) == {"AAPL"}


def test_junk_that_is_named_like_a_file_is_refused_with_a_reason(fed: Function) -> None:
    junk = [
        ("target_junk.csv", b"x"),
        ("target_20260112-150000_0000000g!.csv", b""),
        ("target_20260112-150000_00000001.csv", b"\x00\xff" * 500),
        ("target_20260112-150000_00000002.csv", b"ticker,weight\n" + b"AAPL,0.1\n" * 5_000),
        ("target_20261399-996199_00000003.csv", b"ticker,weight\nAAPL,0.1\n"),
    ]
    for name, content in junk:
        assert fed.deliver(name, fed.put(name, content)) == 200
    rows = fed.store.books.read("allocations").to_pylist()
    assert [row["status"] for row in rows] == ["refused"] * len(junk)
    assert all(row["reason"] for row in rows)
    assert orders(fed) == []

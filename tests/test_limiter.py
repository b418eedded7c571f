"""The budget of requests: what waits, what is tried again, and what never is."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from desk import TEN, Desk, connect, opened
from hypothesis import given
from hypothesis import strategies as st

from astra.alpaca import Alpaca
from astra.alpaca import limiter as module
from astra.alpaca.limiter import LOOK_SECONDS, Limiter
from astra.errors import TemporaryError
from astra.records import Side

NOW = TEN.timestamp()


class Wall:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def desk() -> Iterator[Desk]:
    with opened() as found:
        yield found


def told(left: object, ends: object = NOW + 60, limit: object = 200) -> dict[str, str]:
    names = ("X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Limit")
    return dict(zip(names, map(str, (left, ends, limit)), strict=True))


class TestLimiter:
    def test_reads_wait_once_only_the_reserve_is_left_and_orders_do_not(self) -> None:
        limiter = Limiter(0.1, Wall())
        limiter.hear(told(21), NOW)
        assert limiter.pause(is_read=True) == 0
        limiter.hear(told(20), NOW)
        assert limiter.pause(is_read=True) == LOOK_SECONDS
        assert limiter.pause(is_read=False) == 0

    def test_the_wait_ends_with_the_vendors_minute(self) -> None:
        wall = Wall()
        limiter = Limiter(0.1, wall)
        limiter.hear(told(0, NOW + 3), NOW)
        assert limiter.pause(is_read=True) == 3
        wall.at += 3
        assert limiter.pause(is_read=True) == 0

    def test_one_read_looks_now_and_then_whether_a_new_minute_has_begun(self) -> None:
        wall = Wall()
        limiter = Limiter(0.1, wall)
        limiter.hear(told(0), NOW)
        wall.at += LOOK_SECONDS
        assert [limiter.pause(is_read=True) for _ in range(2)] == [0, LOOK_SECONDS]
        limiter.hear(told(199), NOW)
        assert limiter.pause(is_read=True) == 0

    @pytest.mark.parametrize("shift", [-86_400, 86_400])
    def test_the_machines_clock_does_not_matter(self, shift: int) -> None:
        """The reset counts from the vendor's own time of the answer."""
        limiter = Limiter(0.1, Wall())
        limiter.hear(told(0, NOW + shift + 2), NOW + shift)
        assert limiter.pause(is_read=True) == 2

    @given(st.dictionaries(st.sampled_from(sorted(told(0))), st.text(max_size=9)))
    def test_counters_that_are_missing_or_unreadable_change_nothing(
        self, headers: dict[str, str]
    ) -> None:
        limiter = Limiter(0.1, Wall())
        limiter.hear(headers, NOW)
        limiter.hear(told("few"), NOW)
        limiter.hear(told(0), None)
        assert 0 <= limiter.pause(is_read=True) <= LOOK_SECONDS


class TestSharing:
    def test_two_processes_follow_one_budget_and_orders_still_leave(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.3)
        with opened(requests_per_minute=20) as desk:
            one, other = connect(desk.url), connect(desk.url)
            for _ in range(17):
                one.clock()
            other.clock()  # its first answer tells that two are left
            assert waited(other) > 0.25
            started = time.monotonic()
            desk.orders.submit("AAPL", Side.BUY, Decimal(1), "in time")
            assert time.monotonic() - started < 0.25

    def test_a_new_minute_of_the_market_is_a_new_budget(self) -> None:
        with opened(requests_per_minute=2) as desk:
            for minute in range(1, 4):
                desk.alpaca.clock()
                desk.step(TEN.replace(minute=minute))
            assert waited(desk.alpaca) < 0.25


class TestTryingAgain:
    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_read_that_fails_in_passing_is_tried_again(self, desk: Desk, status: int) -> None:
        desk.fail("GET", "/v2/account", status=status, times=2)
        assert desk.alpaca.account().cash == 100_000

    @pytest.mark.parametrize("cut", [5, 39, -9])
    def test_a_read_whose_connection_breaks_is_tried_again(self, cut: int) -> None:
        """At once; and within the first line, after the headers, or within the body."""
        body = b'{"account_number": "PA1", "cash": "5", "equity": "5", "multiplier": "2"}'
        answer = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
            server.settimeout(5)
            answered = pool.submit(answer_in_turn, server, [b"", answer[:cut], answer])
            account = connect(f"http://127.0.0.1:{server.getsockname()[1]}").account()
            assert answered.result() == 3
        assert (account.number, account.cash) == ("PA1", 5)

    def test_a_read_is_not_tried_for_ever(self, desk: Desk) -> None:
        desk.fail("GET", "/v2/account", status=500, times=3)
        with pytest.raises(TemporaryError, match="500"):
            desk.alpaca.account()
        assert desk.faults.armed() == []

    def test_a_read_that_hangs_is_not_tried_again(self) -> None:
        with opened() as desk:
            hasty = connect(desk.url, vendor_timeout=0.1)
            desk.fail("GET", "/v2/account", delay_s=0.5, times=2)
            with pytest.raises(TemporaryError, match="Timeout"):
                hasty.account()
            assert [fault["left"] for fault in desk.faults.armed()] == [1]

    def test_an_order_is_sent_again_after_429_only(self, desk: Desk) -> None:
        desk.fail("POST", "/v2/orders", status=429, retry_after=1)
        assert desk.orders.submit("AAPL", Side.BUY, Decimal(1), "limited").filled_qty == 1
        desk.fail("POST", "/v2/orders", status=500, times=2)
        with pytest.raises(TemporaryError):
            desk.orders.submit("AAPL", Side.BUY, Decimal(1), "failed")
        assert [fault["left"] for fault in desk.faults.armed()] == [1]

    @pytest.mark.parametrize("work", ["read", "order", "cancel"])
    def test_a_limit_that_lasts_too_long_is_said_at_once(self, desk: Desk, work: str) -> None:
        desk.fail("*", "/v2", status=429, retry_after=50)
        asked = {
            "read": desk.alpaca.account,
            "order": lambda: desk.orders.submit("AAPL", Side.BUY, Decimal(1), "x"),
            "cancel": desk.orders.cancel_all,
        }
        started = time.monotonic()
        with pytest.raises(TemporaryError, match="rate limited") as caught:
            asked[work]()
        assert caught.value.retry_after == 50
        assert time.monotonic() - started < 1

    def test_a_limit_without_end_is_not_waited_for_without_end(self, desk: Desk) -> None:
        desk.fail("GET", "/v2/account", status=429, retry_after=0, times=None)
        with pytest.raises(TemporaryError, match="rate limited"):
            desk.alpaca.account()


def answer_in_turn(server: socket.socket, answers: list[bytes]) -> int:
    """Takes a connection for each answer, and breaks it off after that."""
    for answer in answers:
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)
    return len(answers)


def waited(alpaca: Alpaca) -> float:
    """Seconds that one read takes."""
    started = time.monotonic()
    alpaca.clock()
    return time.monotonic() - started

"""What goes wrong at a broker changes nothing that is traded, or no more than it must."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from benchmarks.chaos.cases import Cases
from benchmarks.chaos.house import House
from benchmarks.chaos.lives import Waits
from benchmarks.chaos.plans import HANGING, Case

HELD = {"AAPL": 0.24, "JPM": 0.22}
ASKED = {"BRK.B": 0.23, "JPM": 0.1}
ORDERS = {"method": "POST", "path": "/v2/orders"}
PRODUCTION = Waits(fill_timeout=120.0, doubt_seconds=20.0, confirm_seconds=12.0)
READS = ("account", "positions", "orders", "clock", "assets", "stocks", "account/activities")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    with House(tmp_path_factory.mktemp("faulty")) as house:
        yield Cases(house)


def came_to(
    cases: Cases, kind: str, *faults: Mapping[str, Any], kills: tuple[Any, ...] = ()
) -> None:
    """Run a case of this kind: it must come to what its kind allows."""
    armed = tuple({"vendor": "alpaca", **fault} for fault in faults)
    verdict = cases.run(Case(0, kind, HELD, ASKED, kills, armed))
    assert not verdict.wrong, f"{verdict.deaths}: {verdict.wrong}"
    assert verdict.spoiled > 0 or not faults, "no request has met the fault"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("status", [500, 503, 504])
def test_an_order_that_fails_before_or_after_it_was_accepted(
    cases: Cases, status: int, after: bool
) -> None:
    came_to(cases, "faults", {**ORDERS, "status": status, "after": after, "times": 2})


def test_an_order_that_is_refused_for_too_many_requests(cases: Cases) -> None:
    came_to(cases, "faults", {**ORDERS, "status": 429, "retry_after": 0, "times": 3})


@pytest.mark.parametrize("path", READS)
def test_reads_that_fail_for_a_while(cases: Cases, path: str) -> None:
    came_to(cases, "faults", {"method": "GET", "path": f"/v2/{path}", "status": 503, "times": 4})


def test_an_answer_that_hangs_longer_than_anyone_waits(cases: Cases) -> None:
    came_to(cases, "hanging", {**ORDERS, "delay_s": HANGING, "times": 1})


@pytest.mark.parametrize("path", ["/v2/orders", "/v2/account/activities", "/v2/positions"])
@pytest.mark.parametrize("effect", ["duplicate", "reorder"])
def test_lists_that_come_doubled_or_in_another_order(cases: Cases, path: str, effect: str) -> None:
    armed = ({"vendor": "alpaca", "method": "GET", "path": path, "times": None, effect: True},)
    verdict = cases.run(Case(0, "lists", HELD, ASKED, (0.5,), armed))
    assert not verdict.wrong, verdict.wrong


def test_positions_and_cash_that_lag_their_fills(cases: Cases) -> None:
    came_to(cases, "lag", {**ORDERS, "lag_s": 0.4, "times": 3})


def test_buying_power_that_lags_ten_seconds(cases: Cases) -> None:
    lag = ({"vendor": "alpaca", **ORDERS, "lag_power_s": 10.0, "times": None},)
    verdict = cases.run(Case(0, "power lags", HELD, ASKED, (0.5,), lag), PRODUCTION)
    assert not verdict.wrong, verdict.wrong


def test_buying_power_that_lags_while_all_of_the_account_is_exchanged(cases: Cases) -> None:
    whole = {"AAPL": 0.248, "JPM": 0.248, "KO": 0.248, "XOM": 0.248}
    other = {"BRK.B": 0.248, "MSFT": 0.248, "PG": 0.248, "UNH": 0.248}
    lag = ({"vendor": "alpaca", **ORDERS, "lag_power_s": 1.0, "times": 4},)
    verdict = cases.run(Case(0, "power lags", whole, other, (), lag))
    assert verdict.spoiled == 4
    assert not verdict.wrong, verdict.wrong


@pytest.mark.parametrize("times", [1, 3])
def test_orders_that_are_accepted_and_then_rejected(cases: Cases, times: int) -> None:
    came_to(cases, "rejected", {**ORDERS, "reject": True, "times": times})


@pytest.mark.parametrize("rest", ["wait", "cancel"])
def test_orders_that_fill_in_parts(cases: Cases, rest: str) -> None:
    came_to(cases, "part fills", {**ORDERS, "partial_fill": 0.3, "rest": rest, "times": 2})


@pytest.mark.parametrize("fields", [["filled_qty"], ["qty"], ["cash"], ["status"], ["timestamp"]])
def test_answers_without_a_field(cases: Cases, fields: list[str]) -> None:
    came_to(cases, "fields", {"method": "*", "path": "/v2/*", "drop_fields": fields, "times": 3})


@pytest.mark.parametrize("point", ["before POST /v2/orders", "after POST /v2/orders", 0.8])
@pytest.mark.parametrize(
    "kind", ["session closes", "account reset", "time passes", "two workers", "paused"]
)
def test_a_world_that_changes_while_a_worker_is_dead(
    cases: Cases, kind: str, point: str | float
) -> None:
    came_to(cases, kind, kills=(point,))

"""Orders as rows, and their stories from bars to fill or to the reason why there is none."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest

from astra.records import OrderStatus, PlanLine, Side
from astra.store.dossiers import Dossier
from astra.store.journal_rows import AllocationRow, OrderRow
from frontend.order_story import Story, listed, priced, story
from frontend.orders import label, order_table

D = Decimal
AS_OF = dt.datetime(2026, 11, 20, 19, 0, tzinfo=dt.UTC)
FILLED_AT = AS_OF + dt.timedelta(minutes=5)
ALLOCATION = AllocationRow(
    "00112233aabbccdd", "PA1", "astra", "target_20261120-190000_0011aabb.csv", 1, AS_OF,
    AS_OF + dt.timedelta(hours=1), "measured", "nbeats", {"OXY": 0.1}, AS_OF, status="done",
    reason="1 of 1 orders filled", finished_at=FILLED_AT,
)  # fmt: skip
LINE = PlanLine("OXY", 50.1, 0.02, 0.1, 0.099, {"limit": 0.0, "rounding": -0.001}, "", 50.0)
DECIDED = {
    "reason": "trade: gain 6.8 bp, cost 2.9 bp",
    "held_weights": {"OXY": 0.02},
    "weights": {"OXY": 0.1},
    "why": {"OXY": {"forecast": 0.05, "risk": 0.03, "cost": 0.0, "limit": 0.0}},
}
ORDER = OrderRow(
    "00112233aabbccdd-OXY-buy-1", ALLOCATION.id, "PA1", "OXY", Side.BUY, 1, D(20), 50.1,
    "to 9.90% of equity", AS_OF, FILLED_AT, OrderStatus.FILLED, D(20), 50.2, "broker-1",
    sent_at=AS_OF + dt.timedelta(seconds=2),
)  # fmt: skip
NO_FAN = pd.DataFrame(columns=["step", "close", "q05", "q95"])
NO_LOG = pd.DataFrame(columns=["at", "kind", "subject"])


def booked(*fills: tuple[int, str, str]) -> pd.DataFrame:
    """Lines of the broker's record: minutes after the decision, shares, price."""
    return pd.DataFrame(
        [
            {"type": "FILL", "at": pd.Timestamp(AS_OF + dt.timedelta(minutes=m)), "qty": qty,
             "price": price, "order_id": "broker-1"}
            for m, qty, price in fills
        ],
        columns=["type", "at", "qty", "price", "order_id"],
    )  # fmt: skip


def dossier(*orders: OrderRow, decision: dict[str, object] | None = DECIDED) -> Dossier:
    return Dossier(ALLOCATION, (LINE,), orders, decision, None, {"OXY": 50.5})


def told(
    found: Dossier,
    lines: pd.DataFrame | None = None,
    fees: dict[str, Decimal] | None = None,
    fan: pd.DataFrame = NO_FAN,
    log: pd.DataFrame = NO_LOG,
) -> Story:
    return story(found, "OXY", Side.BUY, booked() if lines is None else lines, log, fan, fees or {})


def test_a_filled_order_is_told_from_bars_to_fee_in_its_order() -> None:
    fan = pd.DataFrame({"step": [1, 12], "close": [50.0, 50.5], "q05": [49.9, 49.0],
                        "q95": [50.1, 52.0]})  # fmt: skip
    found = told(dossier(ORDER), booked((5, "20", "50.2")), {"broker-1": D("0.04")}, fan)
    assert [s.title for s in found.steps] == [
        "Bars", "Forecast", "Decision", "File", "Planned", "Sent", "Filled", "Fee",
    ]  # fmt: skip
    text = {s.title: s.text for s in found.steps}
    assert text["Bars"].startswith("OXY closed at $50.00.")
    assert text["Forecast"] == (
        "+1.00% over the next 60 minutes; nine of ten outcomes from -2.00% to +4.00%."
    )
    assert text["Decision"] == (
        "Policy measured: trade: gain 6.8 bp, cost 2.9 bp. Weight 2.00% to 9.90%, because:"
    )
    assert text["Planned"] == "buy 20 at about $50.10: to 9.90% of equity."
    assert text["Filled"] == "20 at $50.20, $1,004.00 in all."
    assert text["Fee"] == "$0.04, as the broker booked it."
    times = [s.at for s in found.steps if s.at is not None]
    assert times == sorted(times) and times[-1] == FILLED_AT
    assert not any(s.is_bad for s in found.steps)


def test_the_parts_of_a_decision_sum_to_the_change_of_the_weight() -> None:
    (decision,) = [s for s in told(dossier(ORDER)).steps if s.title == "Decision"]
    parts = [float(text.split(" points")[0]) for text in decision.details]
    assert len(parts) == 3 and sum(parts) == pytest.approx(7.9)
    assert decision.details[0].startswith("+5.00 points, forecast: the target less that without")


def test_the_shortfall_of_a_filled_order_is_that_of_its_formula() -> None:
    found = told(dossier(ORDER), booked((5, "20", "50.2")), {"broker-1": D("0.04")})
    assert found.cost is not None
    shown = {name: (bp, usd) for name, bp, usd in priced(found.cost)}
    assert shown == {  # of 20 x 50.00 = 1,000 USD
        "Delay": ("+20.0 bp", "+$2.00"),
        "Execution": ("+20.0 bp", "+$2.00"),
        "Fees": ("+0.4 bp", "+$0.04"),
        "Opportunity": ("0.0 bp", "$0.00"),
        "Together": ("+40.4 bp", "+$4.04"),
    }


def test_an_order_that_the_gate_denied_ends_with_the_gates_reason() -> None:
    denied = replace(
        ORDER, status=OrderStatus.REJECTED, filled_qty=D(0), filled_average_price=None,
        broker_id="", sent_at=None, updated_at=AS_OF,
        reason="RISK_PRICE_COLLAR: OXY: the last trade is 61.00, 22% from the plan's price",
    )  # fmt: skip
    found = told(dossier(denied))
    last = found.steps[-1]
    assert (last.title, last.is_bad) == ("Denied by the risk gate", True)
    assert last.text == (
        "OXY: the last trade is 61.00, 22% from the plan's price (RISK_PRICE_COLLAR)."
    )
    assert found.fills == () and "Sent" not in {s.title for s in found.steps}
    planned = next(s for s in found.steps if s.title == "Planned")
    assert planned.text == "buy 20 at about $50.10."


def test_an_order_filled_in_part_shows_each_fill_what_ended_it_and_what_it_missed() -> None:
    short = replace(
        ORDER, status=OrderStatus.CANCELED, filled_qty=D(15), filled_average_price=50.2,
        reason="BROKER_CANCELED: the day was over", updated_at=AS_OF + dt.timedelta(hours=1),
    )  # fmt: skip
    found = told(dossier(short), booked((5, "10", "50.1"), (6, "5", "50.4")))
    titles = [s.title for s in found.steps]
    assert titles[-3:] == ["Partly filled", "Partly filled", "Canceled"]
    assert [(f.qty, f.price) for f in found.fills] == [(10, 50.1), (5, 50.4)]
    assert found.ended is not None and found.ended.reason == "BROKER_CANCELED: the day was over"
    assert found.cost is not None
    assert found.cost.opportunity == pytest.approx(5 * (50.5 - 50.1))


def test_the_last_part_of_an_order_fills_it() -> None:
    found = told(dossier(ORDER), booked((5, "10", "50.1"), (6, "10", "50.4")))
    assert [s.title for s in found.steps][-2:] == ["Partly filled", "Filled"]


def test_a_second_attempt_is_part_of_the_same_story() -> None:
    first = replace(
        ORDER, status=OrderStatus.CANCELED, filled_qty=D(15), filled_average_price=50.2,
        reason="BROKER_CANCELED: asked to", updated_at=AS_OF + dt.timedelta(minutes=2),
    )  # fmt: skip
    second = replace(
        ORDER, id=ORDER.id.replace("-1", "-2"), attempt=2, qty=D(5), filled_qty=D(5),
        planned_at=AS_OF + dt.timedelta(minutes=3), broker_id="broker-2",
        sent_at=AS_OF + dt.timedelta(minutes=3),
    )  # fmt: skip
    found = told(dossier(first, second), booked((1, "15", "50.2")))
    titles = [s.title for s in found.steps if s.title not in {"Bars", "Forecast", "Decision"}]
    assert titles == [
        "File", "Planned (attempt 1)", "Sent", "Partly filled", "Canceled", "Planned (attempt 2)",
        "Sent", "Filled",
    ]  # fmt: skip
    assert found.ended is not None and found.ended.filled == 20


def test_an_open_order_says_so_last() -> None:
    open_ = replace(ORDER, status=OrderStatus.ACCEPTED, filled_qty=D(0), filled_average_price=None)
    last = told(dossier(open_)).steps[-1]
    assert (last.at, last.title, last.text) == (None, "Open", "Accepted.")


def test_a_file_without_a_decision_is_called_so() -> None:
    steps = told(dossier(ORDER, decision=None)).steps
    assert [s.title for s in steps][:3] == ["Bars", "File", "Planned"]
    assert "no decision is on record" in steps[1].text


def test_what_reconciliation_corrected_is_told() -> None:
    at = pd.Timestamp(FILLED_AT + dt.timedelta(hours=1))
    log = pd.DataFrame({"at": [at, at], "kind": ["corrected", "corrected"],
                        "subject": [ORDER.id, "another"]})  # fmt: skip
    titles = [s.title for s in told(dossier(ORDER), booked((5, "20", "50.2")), log=log).steps]
    assert titles.count("Corrected") == 1 and titles[-1] == "Corrected"


def test_times_are_new_yorks_with_utc_when_pointed_at_and_no_text_is_markup() -> None:
    odd = replace(ORDER, reason="to <b>9%</b> of equity")
    shown = listed(told(dossier(odd), booked((5, "20", "50.2"))).steps)
    assert '<time datetime="2026-11-20T19:05:00Z" title="2026-11-20 19:05:00 UTC">' in shown
    assert "Fri 20 Nov, 14:05:00</time><strong>Filled</strong>" in shown
    assert "<b>" not in shown and "&lt;b&gt;9%" in shown
    assert len(re.findall("<li>", shown)) == len(re.findall("</li>", shown))


def frame(*orders: OrderRow) -> pd.DataFrame:
    names = ("id", "allocation_id", "symbol", "filled_average_price", "reference_price",
             "broker_id", "reason")  # fmt: skip
    rows = [
        {n: getattr(o, n) for n in names}
        | {"side": o.side.value, "status": o.status.value, "qty": str(o.qty),
           "filled_qty": str(o.filled_qty), "planned_at": pd.Timestamp(o.planned_at)}
        for o in orders
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_rows_are_the_newest_first_and_sales_before_purchases() -> None:
    later = AS_OF + dt.timedelta(hours=1)
    orders = [
        ORDER,
        replace(ORDER, id="b", planned_at=later, symbol="AAPL"),
        replace(ORDER, id="c", planned_at=later, symbol="XOM", side=Side.SELL),
    ]
    table = order_table(frame(*orders), _decided_at(), {})
    assert list(table["id"]) == ["c", "b", ORDER.id]
    assert label(table.iloc[0].to_dict()) == "Fri 20 Nov, 15:00:00 · sell 20 XOM · filled"


def test_a_rows_cost_is_of_the_filled_shares_and_not_known_without_a_price() -> None:
    part = replace(ORDER, id="part", filled_qty=D(10), filled_average_price=50.25)
    none = replace(ORDER, id="none", filled_qty=D(0), filled_average_price=None)
    unknown = replace(ORDER, id="unknown", symbol="XOM")
    table = order_table(
        frame(part, none, unknown), _decided_at(), {"broker-1": D("0.05")}
    ).set_index("id")
    assert table.loc["part", "cost_bp"] == pytest.approx(1e4 * (0.25 * 10 + 0.05) / 500)
    assert table.loc[["none", "unknown"], "cost_bp"].isna().all()


def _decided_at() -> pd.DataFrame:
    return pd.DataFrame(
        {"allocation_id": [ALLOCATION.id], "symbol": ["OXY"], "decision_price": [50.0]}
    )

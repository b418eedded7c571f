"""A day beside its twin: the parts sum to the difference, and each cause goes into its own."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from astra.records import Side
from astra.twin import PARTS, Executed, Fill, Lived, Moved, Replay, Step, Traded, explain, told

D = Decimal
NOTHING = D(0)
NAMES = ("AAPL", "JPM", "XOM")


def bought(symbol: str, qty: str, price: str, fee: str = "0") -> Fill:
    return Fill(symbol, Side.BUY, D(qty), D(price), D(fee))


def sold(symbol: str, qty: str, price: str, fee: str = "0") -> Fill:
    return Fill(symbol, Side.SELL, D(qty), D(price), D(fee))


def traded(fill: Fill, **other: Any) -> Traded:
    """As the twin does it, in the same bar, but for what is said."""
    usd = fill.qty * fill.price
    return replace(Traded(fill.symbol, fill.side, fill.qty, fill.qty, usd, usd), **other)


def unfilled(fill: Fill) -> Traded:
    return traded(fill, filled=NOTHING, value=NOTHING, expected=NOTHING)


def a_replay(*steps: tuple[Fill, ...], marks: str = "100", close: str = "110") -> Replay:
    """Every name costs the same."""
    of_all = dict.fromkeys(NAMES, D(marks))
    closing = dict.fromkeys(NAMES, D(close))
    found = tuple(Step(of_all, fills) for fills in steps)
    return Replay(of_all, closing, found, D(2))


def a_day(*executed: Executed, shares: dict[str, Decimal] | None = None, **other: Any) -> Lived:
    return Lived(shares or {}, executed, **other)


def parts(lived: Lived, then: Replay, now: Replay | None = None) -> dict[str, Decimal]:
    """Those that are not 0.00; they sum to the difference, and their lines to them."""
    found = explain(lived, then, now or then)
    assert list(found.parts) == list(PARTS)
    assert sum(found.parts.values()) == found.live - found.twin
    for part, usd in found.parts.items():
        assert sum((line.get(part, NOTHING) for line in found.lines.values()), NOTHING) == usd
    return {part: usd for part, usd in found.parts.items() if usd}


BUY = bought("AAPL", "10", "101")
AS_TWIN = Executed((traded(BUY),), is_complete=True)


def test_what_was_traded_as_by_the_twin_differs_in_nothing() -> None:
    found = explain(a_day(AS_TWIN, shares={"JPM": D(5)}), a_replay((BUY,)), a_replay((BUY,)))
    assert (found.live, found.twin) == (D("140.00"), D("140.00"))  # 10 x (110 - 101) + 5 x 10
    assert not any(found.parts.values())
    assert found.lines == {}


def test_a_worse_fill_in_the_same_bar_is_slippage_and_another_bar_is_price() -> None:
    worse = Executed((traded(BUY, value=D(1015)),), is_complete=True)
    assert parts(a_day(worse), a_replay((BUY,))) == {"slippage": D("-5.00")}
    later = Executed((traded(BUY, value=D(1014), expected=D(1014)),), is_complete=True)
    assert parts(a_day(later), a_replay((BUY,))) == {"price": D("-4.00")}
    sale = sold("AAPL", "10", "99")
    both = Executed((traded(sale, value=D(988), expected=D(987)),), is_complete=True)
    assert parts(a_day(both, shares={"AAPL": D(10)}), a_replay((sale,))) == {
        "price": D("-3.00"),
        "slippage": D("1.00"),
    }


def test_fewer_shares_for_a_dearer_price_are_price_too() -> None:
    fewer = traded(BUY, ordered=D(9), filled=D(9), value=D(909), expected=D(909))
    done = Executed((fewer,), is_complete=True)
    assert parts(a_day(done), a_replay((BUY,))) == {"price": D("-9.00")}  # 1 x (110 - 101)


def test_what_only_the_account_traded_is_held_against_the_twins_rule() -> None:
    """10 shares at 100.50, which the twin would have bought at 100.02 and did not."""
    alone = traded(BUY, value=D(1005), expected=D("1000.20"))
    done = Executed((alone,), is_complete=True)
    found = parts(a_day(done), a_replay(()))
    assert found == {"slippage": D("-4.80"), "price": D("99.80")}


def test_what_was_not_filled_is_missed_whether_ordered_or_not() -> None:
    half = Executed((traded(BUY, filled=D(5), value=D(505), expected=D(505)),), is_complete=True)
    assert parts(a_day(half), a_replay((BUY,))) == {"missed": D("-45.00")}
    for executed in (
        Executed((unfilled(BUY),), is_complete=True),
        Executed((), is_complete=False),
    ):
        assert parts(a_day(executed), a_replay((BUY,))) == {"missed": D("-90.00")}
    assert parts(a_day(Executed((), is_complete=True)), a_replay((BUY,))) == {"price": D("-90.00")}


def test_what_makes_up_for_a_missed_fill_is_missed_too() -> None:
    """Bought an hour later, at 100.02 in the place of 101."""
    missed = Executed((unfilled(BUY),), is_complete=True)
    late = Executed((traded(bought("AAPL", "10", "100.02")),), is_complete=True)
    found = parts(a_day(missed, late), a_replay((BUY,), ()))
    assert found == {"missed": D("9.80")}  # 10 x (101 - 100.02)


def test_purchases_that_wait_for_a_missed_sale_are_missed() -> None:
    sale = sold("JPM", "10", "99")
    kept = unfilled(sale)
    executed = Executed((kept,), is_complete=True)
    found = parts(a_day(executed, shares={"JPM": D(10)}), a_replay((sale, BUY)))
    assert found == {"missed": D("20.00")}  # 10 x (110 - 99) - 10 x (110 - 101)


def test_corrected_bars_fees_and_dividends_have_parts_of_their_own() -> None:
    then, now = a_replay((BUY,)), a_replay((BUY,), close="111")
    day = a_day(AS_TWIN, shares={"JPM": D(3)})
    found = explain(day, then, now)
    assert (found.live, found.twin) == (D("133.00"), D("120.00"))
    assert found.parts["corrections"] == D("13.00")
    assert found.lines == {
        "AAPL": {"corrections": D("10.00")}, "JPM": {"corrections": D("3.00")}
    }  # fmt: skip
    paid = replace(day, fees=D("0.16"))
    assert parts(paid, then) == {"fees": D("-0.16")}
    dear = bought("AAPL", "10", "101", fee="0.30")
    assert parts(a_day(AS_TWIN), a_replay((dear,))) == {"fees": D("0.30")}
    others = (
        Moved("JPM", NOTHING, D("1.25")),  # a dividend
        Moved("JPM", D(-2), D(208)),  # a person sold two of ours at 104
        Moved("SPIN", D(7), NOTHING),  # of which no bar tells a price
    )
    assert parts(replace(day, other=others), then) == {"other": D("-10.75")}


def test_a_sentence_says_how_much_and_the_largest_part() -> None:
    worse = Executed((traded(BUY, value=D(1015)),), is_complete=True)
    found = explain(a_day(worse), a_replay((BUY,)), a_replay((BUY,)))
    assert told(found) == (
        "5.00 USD less than its twin: +85.00 USD against +90.00; the largest part is slippage "
        "with -5.00"
    )
    same = explain(a_day(AS_TWIN), a_replay((BUY,)), a_replay((BUY,)))
    assert told(same) == "as its twin, to the cent: +90.00 USD from the first decision on"


prices = st.decimals("0.0001", "900", places=6)
quantities = st.decimals("0", "50", places=9)
dollars = st.decimals("-90", "90", places=4)
names = st.sampled_from(NAMES)
sides = st.sampled_from(list(Side))


def by_line(found: list[Any]) -> tuple[Any, ...]:
    return tuple({(one.side, one.symbol): one for one in found}.values())


@st.composite
def replays(draw: st.DrawFn, size: int) -> Replay:
    def some() -> dict[str, Decimal]:
        return {name: draw(prices) for name in NAMES}

    fees = st.decimals("0", "2", places=2)
    fills = st.lists(st.builds(Fill, names, sides, quantities, prices, fees), max_size=4)
    steps = tuple(Step(some(), by_line(draw(fills))) for _ in range(size))
    return Replay(some(), some(), steps, D(2))


@st.composite
def days(draw: st.DrawFn) -> tuple[Lived, Replay, Replay]:
    size = draw(st.integers(1, 3))
    values = st.decimals("0", "9000", places=9)
    lines = st.lists(
        st.builds(Traded, names, sides, quantities, quantities, values, values), max_size=4
    )
    executed = tuple(Executed(by_line(draw(lines)), draw(st.booleans())) for _ in range(size))
    moved = st.builds(Moved, names, st.decimals("-5", "5", places=3), dollars)
    shares = draw(st.dictionaries(names, quantities, max_size=3))
    fees = draw(dollars)
    other = tuple(draw(st.lists(moved, max_size=2)))
    return Lived(shares, executed, fees, other), draw(replays(size)), draw(replays(size))


def by_ledger(cash: Decimal, shares: dict[str, Decimal], lines: list[tuple[Any, ...]]) -> Any:
    """Cash and shares after all of `lines`: side, symbol, shares and USD."""
    held = dict(shares)
    for side, symbol, qty, usd in lines:
        sign = 1 if side is Side.BUY else -1
        held[symbol] = held.get(symbol, NOTHING) + sign * qty
        cash -= sign * usd
    return cash, held


@given(days())
def test_the_parts_of_any_day_sum_to_what_two_ledgers_differ_by(
    day: tuple[Lived, Replay, Replay],
) -> None:
    lived, then, now = day
    parts(lived, then, now)
    found = explain(lived, then, now)
    before = sum((qty * now.opening[s] for s, qty in lived.shares.items()), NOTHING)
    lines = [(t.side, t.symbol, t.filled, t.value) for e in lived.executed for t in e.traded]
    cash, held = by_ledger(NOTHING, dict(lived.shares), lines)
    cash += sum((m.cash for m in lived.other), NOTHING) - lived.fees
    for moved in lived.other:
        held[moved.symbol] = held.get(moved.symbol, NOTHING) + moved.qty
    live = cash + sum((q * now.closing[s] for s, q in held.items()), NOTHING) - before
    assert abs(found.live - live) <= D("0.005") + D("1e-9")
    fills = [f for step in then.steps for f in step.fills]
    lines = [(f.side, f.symbol, f.qty, f.qty * f.price) for f in fills]
    cash, held = by_ledger(-sum((f.fee for f in fills), NOTHING), dict(lived.shares), lines)
    before = sum((qty * then.opening[s] for s, qty in lived.shares.items()), NOTHING)
    twin = cash + sum((q * then.closing[s] for s, q in held.items()), NOTHING) - before
    assert abs(found.twin - twin) <= D("0.005") + D("1e-9")


@given(st.lists(st.decimals("-3", "3", places=4), min_size=1, max_size=12))
def test_no_part_is_further_than_a_cent_and_a_half_from_what_it_is(amounts: list[Decimal]) -> None:
    other = tuple(Moved(NAMES[i % 3], NOTHING, usd) for i, usd in enumerate(amounts))
    fees = amounts[0]
    found = explain(a_day(AS_TWIN, other=other, fees=fees), a_replay((BUY,)), a_replay((BUY,)))
    assert abs(found.parts["other"] - sum(amounts)) < D("0.015")
    assert abs(found.parts["fees"] + fees) < D("0.015")

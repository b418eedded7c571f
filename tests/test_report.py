"""A day's report: its figures against ones worked out by hand, one page, whole files."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
import zlib
from dataclasses import dataclass
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from browser import CHROMIUM, chromium
from playwright.sync_api import sync_playwright
from seeded_books import NUMBER, decision_of, seed_store
from typer.testing import CliRunner

from astra.cli.commands import app
from astra.errors import ConfigError
from astra.predictions import QUANTILE_COLUMNS
from astra.records import (
    Account,
    Activity,
    OrderStatus,
    PlanLine,
    Position,
    Side,
    TradingState,
)
from astra.report import files
from astra.settings import Settings, load
from astra.store import Store, open_store
from astra.store.alerts import Alert
from astra.store.books import Member
from astra.store.journal import AllocationRow, OrderRow
from astra.store.reconciliations import Reconciliation
from astra.store.twins import COMPARED, NO_BARS, Twin
from astra.twin import PARTS

ACCOUNT, KEY = "PA3BYHAND", "00112233aabbccdd"
THURSDAY, FRIDAY = dt.date(2026, 11, 19), dt.date(2026, 11, 20)
# The account by hand. Thursday: 10,000 came in, 50 KO were bought at 100 and closed at 102.
# Friday: 20 KO sold at 103, a fee of 0.50, a dividend of 12.50, 1,000 came in, KO closed at 104.
OPEN, MIDDLE, CLOSE = 10_100.0, 10_089.5, 11_192.0
RETURN = MIDDLE / OPEN * CLOSE / (MIDDLE + 1_000) - 1  # the deposit was there for the second step
DECIDED, PLANNED, FILLED = 103.2, 103.1, 103.0  # USD a share of KO


def at(day: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    """Of a clock in New York, in November."""
    return dt.datetime(day.year, day.month, day.day, hour + 5, minute, tzinfo=dt.UTC)


@dataclass(frozen=True)
class House:
    store: Store
    settings: Settings
    folder: Path

    def report(self, day: dt.date | None = None) -> tuple[str, str]:
        """The texts of both files."""
        written = files.report(self.settings, day, self.folder)
        return read_html(written.html.read_text()), " ".join(read_pdf(written.pdf.read_bytes()))

    def both(self, day: dt.date | None, *told: str) -> None:
        """Each text is in both files."""
        for content in self.report(day):
            flat = " ".join(content.split())
            assert [text for text in told if text not in flat] == []


@pytest.fixture
def house(tmp_path: Path) -> House:
    url = f"sqlite:///{tmp_path}/astra.db"
    return House(open_store(url), load(database_url=url), tmp_path / "reports")


def summary(
    store: Store, when: dt.datetime, cash: str, equity: float, held: list[Position]
) -> None:
    account = Account(ACCOUNT, Decimal(cash), Decimal(str(equity)), Decimal(cash))
    store.books.record_account_summary(account, held, when)


def seed_by_hand(store: Store, market: str = "real") -> None:
    """The account of the figures above, its bars, a decision, two orders and a day's forecast."""
    lines = [
        Activity("1", "CSD", at(THURSDAY, 9, 40), Decimal(10_000)),
        Activity("2", "FILL", at(THURSDAY, 10, 1), Decimal(-5_000), "KO", Decimal(50),
                 Decimal(100), Side.BUY, "b-1"),
        Activity("3", "FILL", at(FRIDAY, 10, 1), Decimal(2_060), "KO", Decimal(-20),
                 Decimal(103), Side.SELL, "b-2"),
        Activity("4", "FEE", at(FRIDAY, 10, 1), Decimal("-0.5"), order_id="b-2"),
        Activity("5", "DIV", at(FRIDAY, 11, 30), Decimal("12.5"), "KO"),
        Activity("6", "CSD", at(FRIDAY, 12), Decimal(1_000)),
    ]  # fmt: skip
    store.books.record_activities(ACCOUNT, lines)
    summary(store, at(THURSDAY, 16), "5000", OPEN, [Position("KO", Decimal(50), 102.0, 100.0)])
    summary(store, at(FRIDAY, 11), "7059.5", MIDDLE, [Position("KO", Decimal(30), 101.0, 100.0)])
    summary(store, at(FRIDAY, 16), "8072", CLOSE, [Position("KO", Decimal(30), 104.0, 100.0)])
    store.claim_market(market)
    store.record_now(at(FRIDAY, 16))
    store.books.record_universe(
        [Member("KO", "The Coca-Cola Company", "Consumer Staples", "", True)], at(THURSDAY, 9)
    )
    store.prices.upsert(hand_bars(), at(FRIDAY, 16))
    told = decision_of({"KO": 0.27}, at(FRIDAY, 10), market=market)
    store.books.record_decision("decision_20261120-150000_00000000.json", told)
    store.books.record_forecasts(hand_forecast())
    hand_orders(store)


def hand_bars() -> pd.DataFrame:
    """KO rises by 0.10 a bar from the decision on; SPY closes at 500, then at 505."""
    rows = [("SPY", at(THURSDAY, 15, 55), 500.0), ("SPY", at(FRIDAY, 15, 55), 505.0)]
    rows += [
        ("KO", at(FRIDAY, 9, 55) + k * dt.timedelta(minutes=5), DECIDED + 0.1 * k)
        for k in range(13)
    ]
    return pd.DataFrame(
        {"ticker": ticker, "ts": int(start.timestamp()), "open": close, "high": close,
         "low": close, "close": close, "volume": 100}
        for ticker, start, close in rows
    )  # fmt: skip


def hand_forecast() -> pd.DataFrame:
    """Half of each move that came, and bands of a cent around it, which hold nothing."""
    rows = []
    for step in range(1, 13):
        close = DECIDED + 0.05 * step
        bands = {q: close + 0.01 * (i - 3) for i, q in enumerate(sorted(QUANTILE_COLUMNS))}
        rows.append(
            {"model_id": "nbeats-3f2a9c", "as_of": int(at(FRIDAY, 10).timestamp()), "ticker": "KO",
             "step": step, "ts": int(at(FRIDAY, 10).timestamp()) + 300 * (step - 1),
             "close": close, **bands}
        )  # fmt: skip
    return pd.DataFrame(rows)


def hand_orders(store: Store) -> None:
    """20 KO sold below the price of the decision; a purchase that was rejected."""
    when = at(FRIDAY, 10, 1)
    store.journal.receive(
        AllocationRow(KEY, ACCOUNT, "astra", "target_20261120-150000_00000000.csv", 1,
                      at(FRIDAY, 10), at(FRIDAY, 10, 30), "measured", "nbeats-3f2a9c",
                      {"KO": 0.27, "XOM": 0.1}, when)
    )  # fmt: skip
    fence = store.journal.take_lease(KEY, 60.0) or 0
    orders = [
        OrderRow(f"{KEY}-KO-sell-1", KEY, ACCOUNT, "KO", Side.SELL, 1, Decimal(20), PLANNED,
                 "to 27.00% of equity", when, when, broker_id="b-2"),
        OrderRow(f"{KEY}-XOM-buy-1", KEY, ACCOUNT, "XOM", Side.BUY, 1, Decimal(10), 90.0,
                 "to 10.00% of equity", when, when),
    ]  # fmt: skip
    nothing = {"limit": 0.0, "rounding": 0.0}
    lines = [
        PlanLine("KO", PLANNED, 0.5, 0.27, 0.3, nothing, "", DECIDED),
        PlanLine("XOM", 90.0, 0.0, 0.1, 0.1, nothing, "", 90.0),
    ]
    store.journal.plan_orders(KEY, fence, orders, "selling", lines, when)
    store.journal.mark(orders[0].id, fence, OrderStatus.FILLED, when, filled_qty=Decimal(20),
                       filled_average_price=FILLED)  # fmt: skip
    store.journal.mark(orders[1].id, fence, OrderStatus.REJECTED, when,
                       reason="RISK_STALE: the price is <old> & odd")  # fmt: skip
    store.journal.set_status(KEY, fence, "done", "1 of 2 orders filled", finished_at=when)


class _Texts(HTMLParser):
    """What a reader sees; a chart's texts too."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden = tag == "style"

    def handle_data(self, text: str) -> None:
        if not self._hidden and text.strip():
            self.found.append(text.strip())


def read_html(page: str) -> str:
    parser = _Texts()
    parser.feed(page)
    return " ".join(parser.found)


def read_pdf(content: bytes) -> list[str]:
    """Each line of text of a PDF as matplotlib writes it, by the fonts' own tables to Unicode."""
    objects = {int(n): body for n, body in re.findall(
        rb"(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", content, re.DOTALL)}  # fmt: skip
    streams = {n: _inflated(body) for n, body in objects.items() if b"stream\n" in body}
    fonts = b" ".join(body for body in objects.values() if re.match(rb"<< /F\d+ \d+ 0 R", body))
    tables = {}
    for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", fonts):
        table = re.search(rb"/ToUnicode (\d+) 0 R", objects[int(number)])
        assert table is not None, "a font without text"
        tables[name] = _to_unicode(streams[int(table[1])])
    (page,) = [s for s in streams.values() if b"BT\n" in s]
    return [_line(block, tables) for block in re.findall(rb"BT\n(.*?)ET\n", page, re.DOTALL)]


def _inflated(body: bytes) -> bytes:
    found = body.split(b"stream\n", 1)[1].rsplit(b"\nendstream", 1)[0]
    return zlib.decompress(found) if b"/FlateDecode" in body else found


def _to_unicode(table: bytes) -> dict[int, str]:
    found = {}
    for start, texts in re.findall(rb"<(\w+)> <\w+> \[([^\]]*)\]", table):
        for i, text in enumerate(re.findall(rb"<(\w*)>", texts)):
            found[int(start, 16) + i] = bytes.fromhex(text.decode()).decode("utf-16be")
    return found


def _line(block: bytes, tables: dict[bytes, dict[int, str]]) -> str:
    text, font = "", {}
    parts = rb"/(F\d+) [\d.]+ Tf|\(((?:\\.|[^\\()])*)\)"
    for name, shown in re.findall(parts, block, re.DOTALL):
        if name:
            font = tables[name]
            continue
        codes = re.sub(rb"\\([0-7]{3}|.)", _unescaped, shown, flags=re.DOTALL)
        text += "".join(font[(codes[i] << 8) + codes[i + 1]] for i in range(0, len(codes), 2))
    return text


def _unescaped(found: re.Match[bytes]) -> bytes:
    kinds = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
    return bytes([int(found[1], 8)]) if len(found[1]) == 3 else kinds.get(found[1], found[1])


def pages(content: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b(?!s)", content))


def test_value_return_and_profit_are_the_accounts(house: House) -> None:
    seed_by_hand(house.store)
    house.both(
        None,
        f"Account {ACCOUNT}, Friday 20 November 2026",
        "As of Fri 20 Nov 2026, 16:00 New York (20 Nov 2026, 21:00 UTC).",
        "$10,100.00", "$11,192.00", f"+$92.00 {100 * RETURN:+.2f}%, deposits left out",
        "Prices of shares +$80.00", "Dividends +$12.50", "Fees -$0.50",
        "Profit of the day +$92.00", "sales made certain +$60.00",
        "Deposits and withdrawals of +$1,000.00 are no profit",
        "SPY, price +1.00%", f"account {100 * RETURN - 1:+.2f} points",
        "QQQ, price n/a no bars of it for this day in the store",
        f"Deepest of the day {100 * (MIDDLE / OPEN - 1):.2f}%",
        f"{100 * (1 - 8072 / CLOSE):.1f}%",
    )  # fmt: skip


def test_a_benchmark_whose_bars_end_is_compared_up_to_then(house: House) -> None:
    seed_by_hand(house.store)
    ended = hand_bars().query("ticker == 'SPY'").assign(ticker="QQQ")
    ended["ts"] = [
        int(at(day, hour, 55).timestamp()) for day, hour in ((THURSDAY, 15), (FRIDAY, 10))
    ]
    house.store.prices.upsert(ended, at(FRIDAY, 16))
    ahead = 100 * (MIDDLE / OPEN - 1) - 1
    house.both(None, "QQQ, price +1.00%", f"known until 11:00: account {ahead:+.2f} points then")


def test_a_fill_that_is_stamped_after_the_summary_which_shows_it_counts_to_it(
    house: House,
) -> None:
    """As on the sandbox's stepped clock: 50 KO at 100, worth 102 in the day's first summary."""
    lines = [
        Activity("1", "CSD", at(FRIDAY, 10), Decimal(10_000)),
        Activity("2", "FILL", at(FRIDAY, 10, 5), Decimal(-5_000), "KO", Decimal(50),
                 Decimal(100), Side.BUY, "b-1"),
        Activity("3", "FILL", at(FRIDAY, 11, 5), Decimal(1_030), "KO", Decimal(-10),
                 Decimal(103), Side.SELL, "b-2"),
    ]  # fmt: skip
    house.store.books.record_activities(ACCOUNT, lines)
    ko = [Position("KO", Decimal(qty), price, 100.0) for qty, price in ((50, 102.0), (40, 104.0))]
    summary(house.store, at(FRIDAY, 10), "5000", 10_100.0, ko[:1])
    summary(house.store, at(FRIDAY, 16), "6030", 10_190.0, ko[1:])
    house.both(None, "Prices of shares +$90.00 Profit of the day +$90.00", "certain +$30.00")


def test_what_the_lines_do_not_tell_is_said(house: House) -> None:
    """Shares that nobody bought on record, a line that is missing."""
    summary(house.store, at(THURSDAY, 16), "5000", 10_100.0,
            [Position("KO", Decimal(50), 102.0, 100.0)])  # fmt: skip
    summary(house.store, at(FRIDAY, 16), "5007", 10_207.0,
            [Position("KO", Decimal(50), 104.0, 100.0)])  # fmt: skip
    house.both(FRIDAY, "Prices of shares $0.00 Not told by the record +$107.00")


def test_decisions_orders_and_positions_are_told(house: House) -> None:
    seed_by_hand(house.store)
    usd = 20 * (DECIDED - FILLED) + 0.5
    house.both(
        FRIDAY,
        "10:00 measured traded 62% 6.8 bp 2.9 bp on, t = 2.4 trade: gain 6.8 bp > cost 2.9 bp",
        "None is on record for 11:00, 12:00, 13:00, 14:00, 15:00.",
        "10:01 done 1 of 2 $2,060.00", "Orders: 1 filled, 1 rejected.",
        "1 order not filled, or not all of it: see Orders.",
        "Buy XOM, 0 of 10 filled: RISK_STALE: the price is <old> & odd.",
        f"KO The Coca-Cola Company {100 * 3120 / CLOSE:.2f}% 27.00% $3,120.00 +$120.00",
        f"Cash {100 * 8072 / CLOSE:.2f}% $8,072.00",
        f"Consumer Staples {100 * 3120 / CLOSE:.2f}%",
    )  # fmt: skip
    # XOM has no price after it, so what it missed is not known: the cost is that of the sale.
    house.both(FRIDAY, f"{1e4 * usd / (20 * DECIDED):+.1f} bp", "Of 1 order the cost is not known.")


def test_the_days_forecasts_are_held_against_the_last_price(house: House) -> None:
    seed_by_hand(house.store)
    # Half of each move was forecast, so half of the last price's error is left; step 1 counts not.
    moves = [0.1 * step for step in range(2, 13)]
    ratio = sum(m - m / 2 for m in moves) / sum(moves)
    house.both(
        FRIDAY,
        "The forecast has shown skill (t = 2.4 over 24 days)",
        f"{len(moves)} closes came so far.",
        f"mean error is {ratio:.4f} times that of the last price",
        "0.0% of 11 closes lay inside the 90% band",
    )


def test_alarms_halts_books_and_twin_are_told(house: House) -> None:
    seed_by_hand(house.store)
    store, parts = house.store, dict.fromkeys(PARTS, Decimal(0))
    stale = Alert("stale", "warning", "no bar has come for 40 minutes", ACCOUNT)
    drift = Alert("drift", "critical", "the model drifts", "")
    strange = Alert("stale", "warning", "of another account", "PA3OTHER")
    store.alerts.see("PA3OTHER", [strange], at(FRIDAY, 11))
    store.alerts.see(ACCOUNT, [stale], at(FRIDAY, 11))
    store.alerts.see(ACCOUNT, [drift], at(FRIDAY, 12, 30))
    store.states.set(ACCOUNT, TradingState.HALTED, "a look at it", "me", at(FRIDAY, 13))
    store.reconciliations.record(
        Reconciliation(ACCOUNT, at(FRIDAY, 14), "differs", Decimal("-3"), message="cash is 3 short")
    )
    found = {**parts, "price": Decimal("-1.25"), "fees": Decimal("0.50")}
    store.twins.record(
        Twin(ACCOUNT, at(FRIDAY, 9, 30), at(FRIDAY, 17), COMPARED, "the day was made again",
             Decimal(80), Decimal("80.75"), found)
    )  # fmt: skip
    house.both(
        FRIDAY,
        "Trading is stopped: astra lift says why",
        "The books differ from the broker's: cash is 3 short.",
        "Critical since Fri 12:30: the model drifts.",
        "Warning No bar has come for 40 minutes Fri 11:00 12:30",
        "13:00 HALTED by me (a look at it)",
        "Books compared 1 time, 1 differing on this day.",
        "As traded +$80.00 As replayed +$80.75 of the difference, price -$1.25",
        "Difference -$0.75",
    )
    for content in house.report(FRIDAY):
        assert "of another account" not in content


def test_what_came_after_the_day_is_no_part_of_it(house: House) -> None:
    seed_by_hand(house.store)
    house.store.states.set(ACCOUNT, TradingState.HALTED, "later", "me", at(FRIDAY, 13))
    house.store.alerts.see(
        ACCOUNT, [Alert("a", "warning", "not yet then", ACCOUNT)], at(FRIDAY, 11)
    )
    for content in house.report(THURSDAY):
        assert "Trading is on, and was not changed on this day." in content
        assert "not yet then" not in content
        assert "No decision is on record for this day." in content
        assert "$11,192.00" not in content


def test_each_part_that_is_missing_is_a_sentence(house: House) -> None:
    summary(house.store, at(FRIDAY, 11), "10000", 10_000.0, [])
    house.both(
        None,
        "PAPER trading: real prices, and no money that could be lost or won. No bars were loaded "
        "yet, so the market is not known.",
        "part of a day, the session closes at 16:00",
        "No two values of the account are on record for this day, so nothing can be drawn.",
        "Two saved summaries of the account are needed to tell.",
        "No decision is on record for this day.",
        "No allocation came on this day, so nothing was ordered.",
        "Everything was in cash: $10,000.00.",
        "Nothing was held, so there is nothing to divide.",
        "No outcome of the day's forecasts is known",
        "No twin was made for this day: astra twin --day 2026-11-20 makes it",
        "No alert is on record.",
        "Our books were not held against the broker's yet.",
        "Nobody has looked for alerts yet",
    )


def test_a_twin_that_was_not_compared_says_why(house: House) -> None:
    seed_by_hand(house.store)
    house.store.twins.record(
        Twin(ACCOUNT, at(FRIDAY, 9, 30), at(FRIDAY, 17), NO_BARS, "KO has no bars",
             Decimal(0), Decimal(0))
    )  # fmt: skip
    house.both(FRIDAY, "Not compared: KO has no bars.")


def test_weights_are_of_what_is_managed_and_decisions_the_accounts_own(house: House) -> None:
    seed_by_hand(house.store)
    # Half the shares are a person's own; another account was recorded before, and decided for.
    account = Account(ACCOUNT, Decimal(8_072), Decimal(str(CLOSE)), Decimal(0))
    ko = Position("KO", Decimal(30), 104.0, 100.0)
    house.store.books.record_account_summary(account, [ko], at(FRIDAY, 16), own={"KO": Decimal(15)})
    other = Account("PA3OTHER", Decimal(1), Decimal(1), Decimal(1))
    house.store.books.record_account_summary(other, [], at(FRIDAY, 9, 40))
    stranger = decision_of({"XOM": 0.5}, at(FRIDAY, 11), reason="for somebody else",
                           books_of={"account": "PA3OTHER"})  # fmt: skip
    house.store.books.record_decision("decision_20261120-160000_00000000.json", stranger)
    managed = 8_072 + 15 * 104
    house.both(
        FRIDAY,
        "Symbol Name Of account Weight Target",
        f"{100 * 3120 / CLOSE:.2f}% {100 * 15 * 104 / managed:.2f}% 27.00% $3,120.00 +$120.00",
        f"Weight and target are of the ${managed:,.2f} that are managed",
    )
    for content in house.report(FRIDAY):
        assert "for somebody else" not in content


@pytest.mark.parametrize(
    ("market", "paper", "told"),
    [
        ("simulated:7", True, "SIMULATED market (seed 7)"),
        ("replay:abc", True, "REPLAYED market"),
        ("real", True, "PAPER trading: real prices"),
        ("real", False, "LIVE trading: real money."),
    ],
)
def test_where_it_happened_stands_first(house: House, market: str, paper: bool, told: str) -> None:
    seed_by_hand(house.store, market)
    settings = load(
        database_url=house.settings.database_url, alpaca_paper=paper, live_trading=ACCOUNT
    )
    written = files.report(settings, None, house.folder)
    body = read_html(written.html.read_text())
    title = f"Account {ACCOUNT}, Friday 20 November 2026"  # once in the file's head as well
    assert body.removeprefix(title).lstrip().startswith(told)
    lines = [line for line in read_pdf(written.pdf.read_bytes()) if line.startswith(told)]
    assert lines != []
    assert "promise nothing" in body


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (dt.date(2026, 11, 15), "a day since 2026-11-19 is required"),
        (dt.date(2026, 11, 23), "a day until 2026-11-22 is required"),
        (
            dt.date(2026, 11, 21),
            "the exchange was open is required, 2026-11-21 (Saturday) was none",
        ),
    ],
)
def test_a_wrong_day_is_refused_and_nothing_is_written(
    house: House, asked: dt.date, sentence: str
) -> None:
    seed_by_hand(house.store)
    house.store.record_now(at(dt.date(2026, 11, 22), 12))
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        files.report(house.settings, asked, house.folder)
    assert not house.folder.exists()


def test_a_session_that_has_not_begun_is_refused(house: House) -> None:
    seed_by_hand(house.store)
    house.store.record_now(at(dt.date(2026, 11, 23), 8))
    with pytest.raises(ConfigError, match="that of 2026-11-23 opens at 09:30 New York"):
        files.report(house.settings, dt.date(2026, 11, 23), house.folder)
    assert files.report(house.settings, None, house.folder).day == FRIDAY


def test_without_an_account_or_a_database_it_says_what_to_do(house: House, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the database has none yet: start the services"):
        files.report(house.settings, None, house.folder)
    nowhere = load(database_url=f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(ConfigError, match="a database is required"):
        files.report(nowhere, None, house.folder)
    assert not house.folder.exists()


def test_a_folder_that_cannot_be_one_is_refused(house: House, tmp_path: Path) -> None:
    seed_by_hand(house.store)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="a report needs a folder to write to"):
        files.report(house.settings, None, tmp_path / "file")


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    before = files.write(tmp_path, {"a.html": b"one", "a.pdf": b"two"})
    with (tmp_path / "a.html").open() as reader:  # somebody reads the former one
        files.write(tmp_path, {"a.html": b"three", "a.pdf": b"four"})
        assert reader.read() == "one"
    assert [path.read_bytes() for path in before] == [b"three", b"four"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.pdf"]
    (tmp_path / "b.pdf").mkdir()
    with pytest.raises(ConfigError):
        files.write(tmp_path, {"b.html": b"five", "b.pdf": b"six"})
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_the_same_day_again_gives_the_same_bytes(house: House) -> None:
    """In another process, with other hashes, a second later."""
    seed_by_hand(house.store)
    written = files.report(house.settings, None, house.folder)
    again = house.folder.parent / "again"
    command = [sys.executable, "-m", "astra.cli", "report", "--day", str(FRIDAY), "--out",
               str(again), "--json"]  # fmt: skip
    env = {**os.environ, "ASTRA_DATABASE_URL": house.settings.database_url, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["account"], answer["day"]) == (ACCOUNT, "2026-11-20")
    assert Path(answer["html"]).read_bytes() == written.html.read_bytes()
    assert Path(answer["pdf"]).read_bytes() == written.pdf.read_bytes()
    assert b"/CreationDate (D:20261120210000Z)" in written.pdf.read_bytes()


def test_the_command_says_where_the_files_are(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seed_by_hand(house.store)
    monkeypatch.setenv("ASTRA_DATABASE_URL", house.settings.database_url)
    monkeypatch.setenv("ASTRA_VAR", str(tmp_path / "var"))
    told = CliRunner().invoke(app, ["report", "--day"])
    assert told.exit_code == 0
    for kind in ("html", "pdf"):
        path = tmp_path / "var" / "reports" / f"report-{ACCOUNT}-2026-11-20.{kind}"
        assert str(path) in told.output
        assert path.is_file()


def seed_full(store: Store) -> None:
    """A day with as much to say as there may be."""
    seed_store(store, market="simulated:1")
    day = at(FRIDAY, 9, 45)
    long = "a sentence that goes on and on about what is wrong, " * 9
    alerts = [Alert(f"a{i:02d}", "warning", f"{i}: {long}", NUMBER) for i in range(20)]
    alerts.append(Alert("z", "critical", "the gravest of all", NUMBER))
    store.alerts.see(NUMBER, alerts, day)
    for i in range(12):
        store.states.set(NUMBER, TradingState.REDUCING, f"{i} {long}", "somebody", day)
        store.books.record_decision(
            f"decision_x{i}.json", decision_of({"KO": 0.1}, day, reason=f"hold: {long}")
        )
    account = Account(NUMBER, Decimal(5_000), Decimal(105_000), Decimal(0))
    held = [Position(f"NAME{i:02d}", Decimal(10), 200.0 + i, 190.0) for i in range(50)]
    store.books.record_account_summary(account, held, at(FRIDAY, 14, 5))
    members = [Member(f"NAME{i:02d}", f"{i} {long[:60]}", f"Sector {i % 11}", "", True)
               for i in range(50)]  # fmt: skip
    store.books.record_universe(members, day)


def test_a_full_day_is_one_page_and_says_what_it_leaves_out(house: House) -> None:
    seed_full(house.store)
    written = files.report(house.settings, None, house.folder)
    content = written.pdf.read_bytes()
    assert pages(content) == 1
    assert pages(b"/Type /Pages /Type /Page /Type /Page\n") == 2  # the count can fail
    lines = read_pdf(content)
    assert any(line.startswith("Figures are of what is on record") for line in lines)
    lowest = min(
        float(y) for _, y in re.findall(rb"1 0 -?0 1 ([\d.-]+) ([\d.-]+) cm\nBT", _page(content))
    )
    assert lowest > 20  # points above the paper's edge
    for told in (" ".join(lines), read_html(written.html.read_text())):
        assert "30 more" in told
        assert "Critical The gravest of all Fri 09:45 open" in told
        assert "13 more alerts not shown" in told
        assert "And 17 more, listed below or on the page System" in told


def _page(content: bytes) -> bytes:
    bodies = re.findall(rb"(?:^|\n)\d+ 0 obj\n(.*?)\nendobj", content, re.DOTALL)
    (found,) = [s for b in bodies if b"stream\n" in b and b"BT\n" in (s := _inflated(b))]
    return found


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt install chromium")
def test_the_page_stands_alone_on_a_screen_a_phone_and_paper(house: House) -> None:
    seed_by_hand(house.store)
    written = files.report(house.settings, None, house.folder)
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(written.html.as_uri())
        shown = tab.locator("body").inner_text()
        assert tab.locator("svg:visible").count() == 1
        paper = tab.pdf(prefer_css_page_size=True)
        tab.set_viewport_size({"width": 390, "height": 800})
        widest = tab.evaluate("document.documentElement.scrollWidth")
        assert tab.locator("svg:visible").count() == 1
        browser.close()
    assert asked == [written.html.as_uri()]
    assert widest == 390
    assert pages(paper) == 1
    assert "+$92.00" in shown

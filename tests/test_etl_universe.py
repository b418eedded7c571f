"""The universe: the S&P 500 or a list, with sectors, and benchmarks that are only data."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from astra.errors import ConfigError, DataError
from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.universe import Member
from astra.universe import OTHER, SECTORS, candidates, identity, index, sp500
from etl_service.universe import members, parse_tickers


def settings(**options: str) -> Settings:
    return Settings(_env_file=None, **options)  # type: ignore[call-arg, arg-type]


def test_the_sp500_has_503_members_each_in_one_of_the_eleven_sectors() -> None:
    found = members(settings())
    candidates = [m for m in found if m.tradable]
    assert len(candidates) == len({m.ticker for m in candidates}) == 503
    assert {m.sector for m in candidates} == set(SECTORS)
    sectors = {m.ticker: m.sector for m in candidates}
    assert sectors["BRK.B"] == "Financials"
    assert sectors["AES"] == "Utilities"  # the package names Energy, too
    assert sectors["GEV"] == "Industrials"
    assert sectors["STE"] == "Health Care"
    assert [m.ticker for m in found if not m.tradable] == ["SPY", "QQQ"]


def test_a_list_keeps_known_sectors_and_a_listed_benchmark_is_a_candidate() -> None:
    found = members(settings(tickers="OXY|SPY|ZZZ", benchmarks="SPY|QQQ"))
    assert [(m.ticker, m.sector, m.tradable) for m in found] == [
        ("OXY", "Energy", True),
        ("SPY", OTHER, True),
        ("ZZZ", OTHER, True),
        ("QQQ", OTHER, False),
    ]


def test_a_list_that_cannot_be_read_is_a_matter_of_settings() -> None:
    with pytest.raises(ConfigError, match=r"ASTRA_TICKERS.*'oxy'"):
        members(settings(tickers="oxy"))


@pytest.mark.parametrize(
    "text", ["", "|", "oxy", "BRK-B", "A|", "A B", "TOOLONGNAME", "A;DROP TABLE", "US0378331005"]
)
def test_names_that_are_no_tickers_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"AAPL\|BRK\.B"):
        parse_tickers(text)


def test_tickers_keep_their_order_and_come_once() -> None:
    assert parse_tickers("OXY|BRK.B|OXY|A") == ("OXY", "BRK.B", "A")


# --- the S&P 500 as the package has it


def stocks(count: int) -> list[dict[str, object]]:
    return [{"symbol": f"T{i}", "name": f"Company {i}", "industries": []} for i in range(count)]


@pytest.mark.parametrize("count", [0, 12, 399])
def test_a_package_that_lost_members_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 400 .*found {count} in pytickersymbols"):
        index(stocks(count))
    assert len(index(stocks(400))) == 400


def test_every_member_has_a_canonical_ticker() -> None:
    tickers = tuple(sp500())
    assert parse_tickers("|".join(tickers)) == tickers


# --- a list of one's own


def write(folder: Path, text: str) -> str:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_names_candidates_and_what_it_leaves_empty_is_looked_up(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "\ufeffticker,name,sector,industry\n"
        'OXY,,,\nZZZ,"Zzz, Inc.",Energy,Sleep\n\nBRK.B,Berkshire,,\nSPY,,,\n',
    )
    found = {m.ticker: m for m in members(settings(tickers=path, benchmarks="SPY|QQQ"))}
    assert list(found) == ["OXY", "ZZZ", "BRK.B", "SPY", "QQQ"]
    assert found["OXY"] == Member(**asdict(sp500()["OXY"]), tradable=True)
    assert found["ZZZ"] == Member("ZZZ", "Zzz, Inc.", "Energy", "Sleep", True)
    assert (found["BRK.B"].name, found["BRK.B"].sector) == ("Berkshire", "Financials")
    assert [t for t, m in found.items() if not m.tradable] == ["QQQ"]


def test_a_file_needs_no_more_than_tickers(tmp_path: Path) -> None:
    assert [m.ticker for m in candidates(write(tmp_path, "ticker\nA\nB"))] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1 must name the columns"),
        ("A\nB\n", "line 1 must name the columns, found 'A'"),
        ("Ticker\nA\n", "line 1"),
        ("ticker,weight\nA,1\n", "line 1 must name the columns, found 'ticker,weight'"),
        ("ticker,ticker\nA,A\n", "line 1"),
        ("ticker\n", "it holds no tickers"),
        ("ticker,name\nA,Agilent\nB\n", "line 3 has 1 values for 2 columns"),
        ("ticker\nA,B\n", "line 2 has 2 values for 1 columns"),
        ("ticker\nA\n\nbrk-b\n", r"line 4 needs a ticker .* 'brk-b' \(write BRK.B\)"),
        ("ticker\nBRK-B\n", r"line 2 .* 'BRK-B' \(write BRK.B\)"),
        ("ticker\nUS0378331005\n", "line 2 .* 'US0378331005'"),
        ("ticker,name\n,Nobody\n", "line 2 needs a ticker .* ''"),
        ("ticker\nA\nB\nA\n", "line 4 repeats A of line 2"),
        ("ticker,sector\nA,Tech\n", "line 2 has the sector 'Tech', .*Information Technology"),
        (f"ticker,name\nA,{'x' * 201}\n", "line 2 has more than 200 characters of name"),
        (f"ticker,industry\nA,{'x' * 121}\n", "line 2 has more than 120 characters of industry"),
        ('ticker,name\nA,"open\n', "unexpected end"),
        ("ticker\nA\x00\n", "line"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(
    tmp_path: Path, text: str, words: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=words) as raised:
        members(settings(tickers=path))
    message = str(raised.value)
    assert message.startswith("ASTRA_TICKERS must be")
    assert path in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [None, b"ticker\nA\xff\xfe\n"])
def test_a_file_that_cannot_be_read_is_a_matter_of_settings(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)):
        members(settings(tickers=str(path)))


def test_a_list_in_yahoos_form_is_told_the_canonical_one() -> None:
    with pytest.raises(ConfigError, match=r"ASTRA_TICKERS.*'BRK-B' \(write BRK\.B\)"):
        members(settings(tickers="OXY|BRK-B"))
    with pytest.raises(ConfigError, match=r"ASTRA_BENCHMARKS.*'spy' \(write SPY\)"):
        members(settings(benchmarks="spy"))


def test_the_content_of_a_file_tells_its_candidates_apart_not_its_place(tmp_path: Path) -> None:
    first = write(tmp_path, "ticker,name\nOXY,\nA,Agilent\n")
    before = identity(first)
    (tmp_path / "other").mkdir()
    same = write(tmp_path / "other", "name,ticker\n\n,OXY\n Agilent ,A\n")
    assert identity(same) == before
    write(tmp_path, "ticker,name,sector\nOXY,,\nA,Agilent,Energy\n")
    assert identity(first) != before
    assert (identity("sp500"), identity("A|B")) == ("sp500", "A|B")


# --- its past

NOW = dt.datetime(2026, 7, 15, 20, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def member(ticker: str, sector: str = "Energy", tradable: bool = True) -> Member:
    return Member(ticker, ticker, sector, "", tradable)


def entries(store: Store) -> list[tuple[str, int, int | None]]:
    """Ticker, hours from NOW to its start and to its end."""
    return [
        (
            row["ticker"],
            (row["valid_from"] - NOW) // HOUR,
            row["valid_to"] and (row["valid_to"] - NOW) // HOUR,
        )
        for row in store.books.read("universe").to_pylist()
    ]


def test_who_left_and_came_back_has_two_entries(store: Store) -> None:
    both, one = [member("A"), member("B")], [member("A")]
    changes = [
        store.books.record_universe(m, NOW + i * HOUR) for i, m in enumerate([both, one, both])
    ]
    assert changes == [2, 1, 1]
    assert entries(store) == [("A", 0, None), ("B", 0, 1), ("B", 2, None)]
    assert store.books.universe(NOW + HOUR) == (member("A"),)
    assert store.books.universe(NOW - HOUR) == ()
    assert store.books.universe(NOW + 2 * HOUR) == store.books.universe() == tuple(both)


def test_a_change_of_sector_keeps_the_old_one_readable(store: Store) -> None:
    store.books.record_universe([member("A")], NOW)
    store.books.record_universe([member("A", "Utilities")], NOW + HOUR)
    assert [m.sector for m in store.books.universe(NOW)] == ["Energy"]
    assert [m.sector for m in store.books.universe(NOW + HOUR)] == ["Utilities"]


def test_an_empty_universe_is_refused_and_the_old_one_kept(store: Store) -> None:
    store.books.record_universe([member("A")], NOW)
    with pytest.raises(DataError, match="at least one member"):
        store.books.record_universe([], NOW + HOUR)
    assert entries(store) == [("A", 0, None)]


def test_a_member_named_twice_counts_once(store: Store) -> None:
    assert store.books.record_universe([member("A"), member("A")], NOW) == 1
    assert entries(store) == [("A", 0, None)]


def test_an_earlier_time_than_the_last_change_does_not_rewrite_the_past(store: Store) -> None:
    store.books.record_universe([member("A"), member("B")], NOW)
    store.books.record_universe([member("A")], NOW + 2 * HOUR)
    store.books.record_universe([member("C")], NOW + HOUR)
    assert entries(store) == [("A", 0, 2), ("B", 0, 2), ("C", 2, None)]


@hypothesis_settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 5),
            st.dictionaries(st.sampled_from("ABC"), st.sampled_from(SECTORS[:2]), min_size=1),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_at_any_time_the_universe_is_the_one_recorded_last_before(
    steps: list[tuple[int, dict[str, str]]],
) -> None:
    with TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/universe.db")
        latest, recorded = 0, dict[int, tuple[Member, ...]]()
        for hours, sectors in steps:
            wanted = tuple(member(t, sector) for t, sector in sorted(sectors.items()))
            changed = store.books.record_universe(wanted, NOW + hours * HOUR)
            latest = max(latest, hours) if changed else latest
            recorded[latest] = wanted
            assert store.books.universe() == wanted
        for hours in range(7):
            past = [universe for since, universe in sorted(recorded.items()) if since <= hours]
            assert store.books.universe(NOW + hours * HOUR) == (past[-1] if past else ())
        store.close()

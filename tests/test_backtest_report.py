"""The report of a backtest: what its first line says, its figures, one file that stands alone."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_backtest import made_backtest
from playwright.sync_api import sync_playwright
from rich.console import Console

from astra.cli import findings
from astra.deflated import deflated_sharpe
from astra.errors import ConfigError
from astra.performance import moments
from model.backtest.drawing import POLICY_COLOURS, colours, spread
from model.backtest.records import BENCHMARKS, SPY, SPY_TOTAL, Backtest
from model.backtest.report import (
    COLUMNS,
    PROMISE,
    Study,
    headline,
    luck,
    notes,
    scope,
    standing,
    table,
    write,
)
from model.backtest.statistics import Overfitting
from model.portfolio.policies import POLICIES

CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
CHARTS = ("return", "drawdown", "league", "costs", "turnover", "weights", "skill")


def study_of(result: Backtest, planted_edge: float | None = 0.04) -> Study:
    found = {name: moments(curve.equity) for name, curve in result.curves.items()}
    trials = [one.step_sharpe for one in found.values()]
    league, against = standing(result)
    return Study(
        backtest=result,
        market="simulated:1",
        planted_edge=planted_edge,
        data_hash="0123456789abcdef",
        candidates=60,
        of_index=True,
        not_members=2,
        asked={"bars": "simulated market, seed 1", "own": "<script>alert(1)</script>"},
        code_version="0.1.0+abcdef12",
        ids=dict.fromkeys(result.curves, "0123456789ab"),
        deflated={
            name: deflated_sharpe(m.step_sharpe, m.steps, m.skew, m.kurtosis, trials)
            for name, m in found.items()
        },
        league=league,
        against=against,
    )


@pytest.fixture(scope="module")
def result() -> Backtest:
    return made_backtest()


@pytest.fixture(scope="module")
def told(result: Backtest) -> Study:
    return study_of(result)


@pytest.fixture(scope="module")
def folder(told: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report, written once; tests read it only."""
    place = tmp_path_factory.mktemp("report") / "made" / "on demand"
    paths = write(told, told.backtest.as_json(), place)
    assert sorted(path.name for path in paths) == sorted(path.name for path in place.iterdir())
    return place


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_first_line_says_whose_bars_they_are_and_promises_nothing(
    result: Backtest, page: str
) -> None:
    simulated, recorded = headline(study_of(result)), headline(study_of(result, None))
    assert simulated.startswith("SIMULATED, edge planted: IC 0.040, measured: IC 0.026 (t 2.6)")
    assert recorded.startswith("Recorded bars (simulated:1), forecast skill measured: IC 0.026")
    assert simulated.endswith(PROMISE)
    assert recorded.endswith(PROMISE)
    body = page[page.index("<body>") :]
    assert body.split("</p>")[0].endswith(f'<p class="first">{simulated}')


def test_whoever_has_left_the_index_is_said_to_be_missing_of_recorded_bars(told: Study) -> None:
    recorded = replace(told, planted_edge=None)
    gone = "today's members of the S&P 500; whoever has left it since is missing"
    assert gone in scope(recorded)
    own = scope(replace(recorded, of_index=False))
    assert "S&P 500" not in own
    assert "chosen with today's knowledge" in own
    assert "missing" not in scope(told), "nobody has left a market that was made up"


def test_candidates_that_were_cut_off_are_counted(told: Study) -> None:
    assert "cut off" not in scope(told)
    assert "60 candidates" in scope(told)
    assert "; 443 more were cut off by --tickers" in scope(replace(told, cut_off=443))


def test_a_narrow_table_says_what_it_lacks_and_explains_no_other_column(told: Study) -> None:
    for width, is_whole in ((80, False), (120, True)):
        console = Console(width=width, record=True, file=StringIO())
        findings.show(told, console)
        text = console.export_text()
        lacks = "Too narrow for cost bp, moves/holds, won/lost; --json and --report have them."
        assert (lacks in text) is not is_whole
        assert ("Won/lost:" in text) is is_whole


def test_the_table_has_each_policy_with_its_figures_and_each_benchmark(told: Study) -> None:
    rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in table(told)}
    assert tuple(rows) == (*told.backtest.curves, *BENCHMARKS)
    curve = told.backtest.curves["original"]
    for name, multiple in (("return", 1.0), ("0x costs", 0.0), ("2x costs", 2.0)):
        equity = curve.by_cost[multiple]
        assert rows["original"][name] == f"{equity[-1] / equity[0] - 1:+.2%}"
    assert rows["original"]["won/lost"] == "2/1"
    assert rows["original"]["moves/holds"] == f"{len(curve.steps)}/0"
    assert rows["original"]["turnover"] == f"{0.4 * len(curve.steps):.1f}"
    assert re.fullmatch(r"-?\d+\.\d \+- \d+\.\d", rows["measured"]["Sharpe"])
    assert rows["measured"]["deflated"] == f"{told.deflated['measured'].probability:.0%}"
    assert rows[SPY]["deflated"] == rows[SPY]["cost bp"] == ""


def test_a_curve_that_never_moved_has_no_sharpe_ratio(result: Backtest) -> None:
    still = np.full(len(result.times), 100_000.0)
    curve = replace(
        result.curves["equal"], equity=still, by_cost=dict.fromkeys((0.0, 1.0, 2.0), still)
    )
    told = study_of(replace(result, curves={**result.curves, "equal": curve}))
    row = dict(zip(COLUMNS, table(told)[-1 - len(BENCHMARKS)], strict=True))
    assert (row["policy"], row["return"], row["Sharpe"], row["deflated"]) == (
        "equal", "+0.00%", "-", "-",
    )  # fmt: skip


def test_policies_that_never_differed_are_named(result: Backtest) -> None:
    same = replace(result.curves["min_variance"], policy="measured")
    told = study_of(replace(result, curves={**result.curves, "measured": same}))
    assert "The same at every hour to the cent: measured, min_variance." in notes(told)
    assert not any("to the cent" in line for line in notes(study_of(result)))


def test_refusals_are_counted_with_the_first_reason(told: Study) -> None:
    assert notes(told)[0] == (
        "Refused decisions, at which every book held: 1, the first at 2025-06-02 14:00 UTC: "
        "under 50 % of the names are usable"
    )


def test_what_flatters_or_comes_of_chance_is_said(told: Study, page: str) -> None:
    said = " ".join(notes(told))
    assert "flatters" not in said
    assert "books of their own decisions" in said and "part ways by chance" in said
    assert "part ways by chance" in page.split("the assumed ones and twice them")[1]
    assert "The policy equal holds a few names" in said
    others = {n: c for n, c in told.backtest.curves.items() if n != "equal"}
    without = replace(told, backtest=replace(told.backtest, curves=others))
    assert "The policy equal" not in " ".join(notes(without))
    curve = told.backtest.curves["measured"]
    closed = replace(curve.trades[0], reason="no bar for 5 sessions: closed at its last close")
    curves = {"measured": replace(curve, trades=(closed,))}
    lost = " ".join(notes(replace(told, backtest=replace(told.backtest, curves=curves))))
    assert "KO: no bar for 5 sessions: closed at its last close" in lost
    assert "A closing at the last close flatters" in lost


def test_the_number_of_trials_and_overfitting_are_said_where_they_are_known(told: Study) -> None:
    (only,) = luck(told)
    assert "the best of 6 trials without any skill" in only
    found = Overfitting(0.45, 0.5, 0.1, 0.0, np.zeros(4))
    assert "Probability of overfitting: 45%. Of the 24 trials" in " ".join(
        luck(replace(told, overfitting=found, compared=24))
    )
    assert luck(replace(told, deflated={})) == ()


def test_the_league_compares_with_spy_by_price_and_else_with_equal_weight(
    result: Backtest,
) -> None:
    rows, against = standing(result)
    assert against == SPY
    assert {row.name for row in rows} == {*result.curves, *BENCHMARKS} - {SPY_TOTAL}
    assert [row.total_return for row in rows] == sorted(
        (r.total_return for r in rows), reverse=True
    )
    without = {name: result.benchmarks[name] for name in ("equal weight", "hold")}
    assert standing(replace(result, benchmarks=without))[1] == "equal weight"
    assert standing(replace(result, benchmarks={})) == ((), "")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_stands_for_itself(page: str) -> None:
    found = _Page()
    found.feed(page)
    assert not {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object", "form"}
    addresses = [
        value
        for _, attributes in found.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset")
    ]
    assert addresses
    assert all(str(value).startswith(("data:image/png;base64,", "#")) for value in addresses)
    assert "@import" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_every_picture_is_there_in_both_widths_and_as_a_file(page: str, folder: Path) -> None:
    drawn = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawn) == 2 * len(CHARTS)
    for svg in drawn:
        assert ElementTree.fromstring(svg).tag.endswith("svg")  # noqa: S314 - our own
    for name in CHARTS:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_take_their_colours_and_fonts_from_the_page(page: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        assert set(re.findall(r"(?:fill|stroke): (#[0-9a-f]+)", svg)) == set()
        assert "font-family" not in svg
        assert "var(--ink)" in svg


def test_no_label_of_an_axis_is_cut(page: str) -> None:
    shown = re.findall(r">(0\.\d+)</text>", page)
    assert {"0.005", "0.010", "0.015"} & set(shown)


def test_each_policy_of_the_house_has_a_colour_of_its_own() -> None:
    assert set(POLICY_COLOURS) == set(POLICIES)
    found = colours((*POLICIES, "mine.py:a", "mine.py:b"))
    assert len(set(found.values())) == len(found)
    assert colours(("mine.py:a", "equal"))["equal"] == POLICY_COLOURS["equal"]


def test_one_policy_of_ones_own_without_benchmarks_or_skill_is_drawn(
    result: Backtest, tmp_path: Path
) -> None:
    name = "/home/me/a & b/mine.py:$lucky_$"
    curve = replace(result.curves["equal"], policy=name)
    alone = replace(result, curves={name: curve}, benchmarks={}, skill=(), refusals=())
    paths = write(study_of(alone), alone.as_json(), tmp_path)
    assert {path.stem for path in paths if path.suffix == ".png"} == {
        "return", "drawdown", "costs", "turnover", "weights",
    }  # fmt: skip
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "mine.py:$lucky_$" in page
    assert "a &amp; b" in page


def test_a_folder_that_cannot_be_is_a_config_error(told: Study, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigError, match="a report needs a folder to write to"):
        write(told, {}, tmp_path / "taken")


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=12),
    st.floats(0.001, 0.3),
)
def test_labels_keep_their_order_and_a_gap(places: list[float], gap: float) -> None:
    found = spread(np.array(places), gap)
    order = np.argsort(places, kind="stable")
    assert (np.diff(found[order]) >= gap - 1e-9).all()
    assert abs(found.mean() - np.mean(places)) < 1e-9  # none is pushed but by another


def test_labels_that_are_apart_stay_where_they_are() -> None:
    places = np.array([0.5, -0.2, 0.1])
    assert np.allclose(spread(places, 0.2), places)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt install chromium")
def test_no_page_scrolls_sideways_or_asks_for_anything(folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            for width in (1440, 420):
                for scheme in ("light", "dark"):
                    page = browser.new_page(
                        viewport={"width": width, "height": 900},
                        color_scheme=scheme,  # type: ignore[arg-type]
                    )
                    asked: list[str] = []
                    page.on("request", lambda request, asked=asked: asked.append(request.url))
                    page.goto((folder / "report.html").as_uri())
                    assert page.evaluate("document.documentElement.scrollWidth") == width
                    wide, narrow = (
                        page.locator(f"figure .{name} svg").first.is_visible()
                        for name in ("wide", "narrow")
                    )
                    assert (wide, narrow) == (width == 1440, width == 420)
                    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
                    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
                    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
                    page.close()
        finally:
            browser.close()

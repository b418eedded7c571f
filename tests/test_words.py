"""Text from outside is shown as it is: no link, heading, list or picture is made of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import CHROMIUM, chromium, drawn, is_ours, open_first, served
from playwright.sync_api import sync_playwright
from seeded_books import NOW, NUMBER, seed_store

from astra.records import TradingState
from astra.store import open_store
from astra.store.alerts import Alert
from frontend.words import JOINER, plain

EVIL = (
    "see www.evil.example/login, https://evil.example or mail boss@evil.example "
    "![x](http://127.0.0.1:1/x.png) <img src=x onerror=alert(1)> :red[R] $x^2$ &lt;b&gt; `q_r` "
    "``` [c](http://evil.example) `\n\nSetext\n===\n\n1. item\n\n    indented"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ask `astra halt_now` or [x](y)_z", r"ask `astra halt_now` or \[x\]\(y\)\_z"),
        ("a `` `x_y` `` b", "a `` `x_y` `` b"),
        ("``` [x](y) `", r"\`\`\` \[x\]\(y\) \`"),  # runs of other lengths close nothing
        ("``a ` [x](y) ` b", r"\`\`a ` [x](y) ` b"),
        ("a\n\nSetext\n===\n", "a Setext ==="),
        (" \t\n    indented", "indented"),
        ("1. item", r"1\. item"),
        ("12) item", r"12\) item"),
        ("- item", r"\- item"),
        ("---", r"\---"),
        ("-5 % of 12.5", "-5 % of 12.5"),
        ("S&P 500 &lt;b&gt; &#60;", r"S&P 500 \&lt;b\&gt; \&\#60;"),
        ("www.x.org", f"www{JOINER}.x.org"),
        ("https://x.org", rf"https\:{JOINER}//x.org"),
        ("me@x.org", f"me@{JOINER}x.org"),
        ("`www.x.org` and www.x.org", f"`www.x.org` and www{JOINER}.x.org"),
    ],
)
def test_marks_stand_as_they_are_and_code_stays_code(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize("text", [EVIL, "`a` [x](y) `", "a\\`[x](y)\\`", "`\n`[x](y)`"])
def test_no_open_mark_is_left_outside_of_code(text: str) -> None:
    escaped_or_code = r"\\.|(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)"
    outside = re.sub(escaped_or_code, "", plain(text))
    assert not re.search(r"[\[\]()<>`*_$~\n]", outside)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt install chromium")
def test_an_alert_and_a_reason_from_outside_become_no_link_picture_or_heading(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/astra.db"
    store = open_store(url)
    seed_store(store, days=1)
    store.alerts.see(NUMBER, [Alert("k", "critical", EVIL, NUMBER)], NOW)
    store.states.set(NUMBER, TradingState.HALTED, EVIL, "mallory", NOW)
    store.close()
    with served(url, tmp_path / "log") as page, sync_playwright() as playwright:
        tab = chromium(playwright).new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        open_first(tab, f"{page.url}/system")
        drawn(tab, "System")
        made = tab.evaluate(
            "() => [...document.querySelectorAll('a, img, h1, h2, h3, li, pre, .katex')]"
            ".map(e => `${e.tagName} ${e.innerText} ${e.href ?? ''}`)"
        )
        text = tab.locator(".stMain").inner_text()
    assert "mailto:" not in str(made)
    assert not [e for e in made if e.startswith(("A ", "IMG", "H", "PRE")) and "vil" in e]
    assert not [e for e in made if "Setext" in e and not e.startswith("LI critical")]
    assert text.replace(JOINER, "").count("&lt;b&gt; q_r ``` [c](http://evil.example) `") >= 2
    assert all(is_ours(address, page.url) for address in asked)

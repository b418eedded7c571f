"""Numbers and times as a person reads them; one place, so that every section says them alike."""

from __future__ import annotations

import datetime as dt
import html
import math
import re

from astra.sessions import NEW_YORK

UNKNOWN = "n/a"
JOINER = "\u2060"  # of no width; markdown makes links of bare addresses, escaped or not
_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+!|$~:]|&(?=#?\w+;))")
_CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)")
_LIST = re.compile(r"^(\d*)([-.)])(?=[\s-]|$)")  # or a rule
_ADDRESS = re.compile(r"(?i)(www(?=\.)|:(?=//)|@)")
_AGES = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def money(usd: float, *, signed: bool = False) -> str:
    """`$1,234.50`, with the sign in front; `n/a` for NaN."""
    if not math.isfinite(usd):
        return UNKNOWN
    return f"{_sign(usd, signed, 2)}${abs(usd):,.2f}"


def percent(share: float, *, signed: bool = False, digits: int = 2) -> str:
    """A fraction as `12.30%`; `n/a` for NaN."""
    if not math.isfinite(share):
        return UNKNOWN
    return f"{_sign(share * 100, signed, digits)}{abs(share * 100):.{digits}f}%"


def shares(qty: float) -> str:
    """`1,234.5`, at most four decimals."""
    return f"{qty:,.4f}".rstrip("0").rstrip(".")


def basis_points(bp: float | None, *, signed: bool = False) -> str:
    """`2.4 bp`; `n/a` where it is not known."""
    if bp is None or not math.isfinite(bp):
        return UNKNOWN
    return f"{_sign(bp, signed, 1)}{abs(bp):.1f} bp"


def _sign(value: float, signed: bool, digits: int) -> str:
    rounded = round(value, digits)
    if rounded < 0:
        return "-"
    return "+" if signed and rounded > 0 else ""


def new_york(t: dt.datetime) -> str:
    """`Fri 20 Nov 2026, 14:35 New York`."""
    local = t.astimezone(NEW_YORK)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} New York"


def stamp(t: dt.datetime) -> str:
    """`Fri 20 Nov, 14:35:05`, in New York."""
    local = t.astimezone(NEW_YORK)
    return f"{local:%a} {local.day} {local:%b, %H:%M:%S}"


def hover(t: dt.datetime, shown: str) -> str:
    """HTML of a time as it is `shown`; UTC when pointed at."""
    utc = t.astimezone(dt.UTC)
    title = f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    return f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}" title="{title}">{html.escape(shown)}</time>'


def utc(t: dt.datetime) -> str:
    """`20 Nov 2026, 19:35 UTC`, for whoever points at a time of New York."""
    there = t.astimezone(dt.UTC)
    return f"{there.day} {there:%b %Y, %H:%M} UTC"


def age(since: dt.timedelta) -> str:
    """`4 minutes old`; less than a minute, or a time to come, is `just now`."""
    seconds = since.total_seconds()
    for unit, name in _AGES:
        count = int(seconds // unit)
        if count >= 1:
            return f"{count} {name}{'s' if count > 1 else ''} old"
    return "just now"


def held(duration: dt.timedelta) -> str:
    """A holding time: `2 d 3 h`, `3 h 10 min` or `25 min`."""
    minutes = int(duration.total_seconds() // 60)
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    minutes %= 60
    if hours:
        return f"{hours} h {minutes:02d} min" if minutes else f"{hours} h"
    return f"{minutes} min"


def count(n: int, noun: str, plural: str = "") -> str:
    """`1 order`, `2,300 orders`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def capital(text: str) -> str:
    """A sentence from elsewhere: its beginning in capitals, without its full stop."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".")


def plain(text: str) -> str:
    """Text from elsewhere in a line, so that markdown shows it as it is; only `code` stays code."""
    text = " ".join(text.split())
    said, end = [], 0
    for code in _CODE.finditer(text):
        said += [_escaped(text[end : code.start()]), code[0]]
        end = code.end()
    return _LIST.sub(r"\1\\\2", "".join([*said, _escaped(text[end:])]))


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", _ADDRESS.sub(rf"\1{JOINER}", text))


def sentence(error: Exception) -> str:
    """An error's message for a reader of the page."""
    text = str(error).rstrip(".")
    return plain(f"{text[:1].upper()}{text[1:]}.")

"""How times, and texts from elsewhere, are said in a day's report."""

from __future__ import annotations

import datetime as dt

from astra.sessions import NEW_YORK

MOST_LINES = 8  # of a list on the page
_LONGEST = 150  # characters of a sentence from elsewhere
_MORE = "\N{HORIZONTAL ELLIPSIS}"


def clock(at: dt.datetime) -> str:
    """`14:05`, in New York."""
    return f"{at.astimezone(NEW_YORK):%H:%M}"


def when(at: dt.datetime) -> str:
    """`Fri 14:05`, in New York."""
    return f"{at.astimezone(NEW_YORK):%a %H:%M}"


def cut(text: str) -> str:
    """A sentence from elsewhere, not too long, without its full stop."""
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}{_MORE}"


def sentence(text: str) -> str:
    """The same as the end of a sentence of ours."""
    text = cut(text)
    return text if text.endswith(_MORE) else f"{text}."

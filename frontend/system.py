"""Rows and sentences of the page System, from what the store holds. Pure."""

from __future__ import annotations

import datetime as dt
import html
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from astra.jobs import JobStatus
from astra.measured import Quality
from astra.quality import VERDICTS, Verdict
from astra.sessions import NEW_YORK
from astra.store.audit import Entry, Verified
from astra.store.twins import COMPARED
from astra.twin import PARTS
from frontend.tables import LOSS
from frontend.words import age, capital, count, hover, new_york, percent

_GRAVEST_FIRST: tuple[Verdict, ...] = ("missing", "stale", "gaps", "ok")
_WORDS: dict[Verdict, str] = {
    "ok": "complete", "gaps": "gaps", "stale": "stale", "missing": "missing",
}  # fmt: skip
_TROUBLE = {"missed", "failed", "missing", "stale", "gaps"}
_CHIPS = {"critical": "stop", "warning": "less"}
_LONGEST = 160  # characters of a line's details


def local(times: Iterable[dt.datetime | None]) -> pd.DatetimeIndex:
    """Times as tables show them, in New York; NaT of none."""
    found = pd.Series(list(times), dtype="datetime64[s, UTC]")
    return pd.DatetimeIndex(found).tz_convert(NEW_YORK)


def jobs(found: Iterable[JobStatus], now: dt.datetime) -> pd.DataFrame:
    """A row for each job: job, state, last, age, due, said."""
    found = list(found)
    return pd.DataFrame(
        {
            "job": [job.name for job in found],
            "state": [_state(job) for job in found],
            "last": local(job.last for job in found),
            "age": [age(now - job.last) if job.last else "" for job in found],
            "due": local(job.due for job in found),
            "said": [capital(job.message) for job in found],
        }
    )


def tint(state: object) -> str:
    """The style of a state that somebody should look at."""
    return f"color: {LOSS}; font-weight: 600" if state in _TROUBLE else ""


def _state(job: JobStatus) -> str:
    if not job.is_watched:
        return "leaves no trace"
    if job.is_missed:
        return "missed"
    if job.last is None:
        return "not yet"
    return job.outcome or "ok"


def bars(found: Quality, status: pd.DataFrame) -> pd.DataFrame:
    """A row for each ticker, those that need somebody first: ticker, verdict, present, expected,
    late, corrected, refused, last, source, said.

    Args:
        status: table ticker_status.
    """
    said = status.set_index("ticker")[["source", "status", "message"]].to_dict("index")
    rows = []
    for ticker, one in found.tickers.items():
        load = said.get(ticker, {"source": "", "status": "never asked for", "message": ""})
        rows.append(
            {
                "ticker": ticker,
                "verdict": _WORDS[one.verdict],
                "present": one.figures.present,
                "expected": one.figures.expected,
                "late": one.figures.late,
                "corrected": one.figures.corrected,
                "refused": one.figures.quarantined,
                "last": one.last_bar,
                "source": load["source"],
                "said": _load(load),
                "rank": _GRAVEST_FIRST.index(one.verdict),
            }
        )
    columns = ["ticker", "verdict", "present", "expected", "late", "corrected", "refused", "last",
               "source", "said", "rank"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    table = table.astype({"expected": "Int64"}).assign(last=local(table["last"]))
    failed = (table["said"] != "ok").astype(int)
    trouble = table["late"] + table["refused"]
    order = table.assign(failed=-failed, trouble=-trouble)
    order = order.sort_values(["rank", "failed", "trouble", "ticker"])
    return order.drop(columns=["rank", "failed", "trouble"]).reset_index(drop=True)


def _load(load: Mapping[Any, Any]) -> str:
    words = str(load["status"]).replace("_", " ")
    return f"{words}: {load['message']}" if load["message"] else words


def verdicts(found: Quality) -> str:
    """How the names of a session fared, in a sentence."""
    counted = Counter(one.verdict for one in found.tickers.values())
    if counted["ok"] == len(found.tickers):
        return f"All {count(len(found.tickers), 'name')} have the bars they usually print."
    kinds = [
        f"{counted[kind]} {_WORDS[kind]}"
        for kind in reversed(VERDICTS)
        if counted[kind] and kind != "ok"
    ]
    said = f"Of {count(len(found.tickers), 'name')}: {', '.join(kinds)}, the others complete."
    return f"{said} Stale: no bar in the last hour." if counted["stale"] else said


def sources(table: pd.DataFrame, wall: float) -> list[str]:
    """A sentence for each vendor of bars.

    Args:
        table: table sources.
        wall: the machine's clock, epoch seconds, by which a vendor that refused is asked again.
    """
    said = []
    for row in table.to_dict("records"):
        words = f"{capital(str(row['name']))}: {count(int(row['spent']), 'request')} this hour"
        if row["failures"]:
            words += f", the last {count(int(row['failures']), 'answer')} refused or failed"
        if row["retry_at"] > wall:
            again = dt.datetime.fromtimestamp(row["retry_at"], dt.UTC)
            words += f", not asked before {new_york(again)}"
        if row["asked_at"] is not pd.NaT and row["asked_at"] is not None:
            words += f", last asked {new_york(row['asked_at'].to_pydatetime())}"
        said.append(f"{words}. {row['message']}".rstrip())
    return said


def refused(table: pd.DataFrame) -> pd.DataFrame:
    """Bars that were refused: ticker, at, reason, seen, source."""
    times = {
        "at": table["ts"].dt.tz_convert(NEW_YORK),
        "seen": table["seen_at"].dt.tz_convert(NEW_YORK),
        "reason": table["reason"].str.replace("_", " "),
    }
    return table.assign(**times).sort_values(["ts", "ticker"], ascending=[False, True])


def alerts(table: pd.DataFrame, account: str) -> pd.DataFrame:
    """This account's alerts and those of no account, the newest first: severity, message, opened,
    closed (NaT while it is open), told.

    Args:
        table: table alerts.
    """
    own = table[table["account"].isin(["", account])].sort_values("opened_at", ascending=False)
    times = {
        name: own[f"{name}_at"].dt.tz_convert(NEW_YORK) for name in ("opened", "closed", "told")
    }
    return own.assign(**times, message=own["message"].map(capital)).reset_index(drop=True)


def alert_list(table: pd.DataFrame) -> str:
    """HTML of open alerts, one under the other, whole sentences."""
    rows = [
        f'<li><span class="astra-chip astra-{_CHIPS.get(row["severity"], "less")}">'
        f"{html.escape(row['severity'])}</span> {html.escape(row['message'])}. "
        f"<small>{hover(row['opened'], 'Since ' + new_york(row['opened']))}</small></li>"
        for row in table.to_dict("records")
    ]
    return f'<ul class="astra-alerts">{"".join(rows)}</ul>'


@dataclass(frozen=True, slots=True)
class Day:
    """A session of the live twin, USD; `parts` sum to live less twin, `lines` are by symbol."""

    session: dt.datetime
    made_at: dt.datetime
    status: str
    live: float
    twin: float
    parts: Mapping[str, float]
    lines: Mapping[str, Mapping[str, float]]
    message: str

    @property
    def is_compared(self) -> bool:
        return self.status == COMPARED

    @property
    def difference(self) -> float:
        return self.live - self.twin

    @property
    def name(self) -> str:
        day = self.session.astimezone(NEW_YORK)
        return f"{day:%a} {day.day} {day:%b %Y}"


def days(table: pd.DataFrame) -> list[Day]:
    """The days of table twins, the newest first."""
    ordered = table.sort_values("session", ascending=False).to_dict("records")
    return [_day(row) for row in ordered]


def _day(row: Mapping[Any, Any]) -> Day:
    lines = json.loads(row["lines"])
    return Day(
        row["session"].to_pydatetime(),
        row["made_at"].to_pydatetime(),
        row["status"],
        float(row["live"]),
        float(row["twin"]),
        {part: float(usd) for part, usd in json.loads(row["parts"]).items()},
        {symbol: {p: float(usd) for p, usd in parts.items()} for symbol, parts in lines.items()},
        row["message"],
    )


def by_symbol(day: Day) -> pd.DataFrame:
    """What each symbol made of the difference, the largest first: symbol, each part, total."""
    rows = [
        {"symbol": symbol or "the account", **{p: parts.get(p) for p in PARTS},
         "total": sum(parts.values())}
        for symbol, parts in day.lines.items()
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["symbol", *PARTS, "total"])
    table = table.astype(dict.fromkeys([*PARTS, "total"], "float64"))
    return table.sort_values("total", key=lambda usd: -usd.abs(), ignore_index=True)


def past(found: Sequence[Day]) -> pd.DataFrame:
    """Days side by side: day, live, twin, difference, said; NaN where nothing was compared."""
    rows = [
        {
            "day": day.name,
            "live": day.live if day.is_compared else None,
            "twin": day.twin if day.is_compared else None,
            "difference": day.difference if day.is_compared else None,
            "said": capital(day.message),
        }
        for day in found
    ]
    money = dict.fromkeys(["live", "twin", "difference"], "float64")
    return pd.DataFrame(rows).astype(money)


def log(entries: Iterable[Entry]) -> pd.DataFrame:
    """Lines of the audit log: seq, at, kind, subject, said."""
    found = list(entries)
    return pd.DataFrame(
        {
            "seq": [entry.seq for entry in found],
            "at": local(entry.at for entry in found),
            "kind": [entry.kind for entry in found],
            "subject": [entry.subject for entry in found],
            "said": [_content(entry.content) for entry in found],
        }
    )


def _content(content: Mapping[str, Any]) -> str:
    """As `name: value`, the broker's own names last."""
    ordered = sorted(content.items(), key=lambda item: item[0] == "broker_id")
    said = " · ".join(f"{name.replace('_', ' ')}: {value}" for name, value in ordered)
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def verified(found: Verified) -> str:
    """What the look at the whole log found, in a sentence."""
    if found.broken is not None:
        return (
            f"Line {found.broken.seq} breaks the chain: {found.broken.reason}. The "
            f"{count(found.lines, 'line')} before it hold."
        )
    until = f", until {new_york(found.last_at)}" if found.last_at else ""
    return f"All {count(found.lines, 'line')} hold{until}."


def covered(found: Quality) -> str:
    """Of the bars that are usually printed, those that are there."""
    return "n/a" if found.coverage is None else percent(found.coverage, digits=1)

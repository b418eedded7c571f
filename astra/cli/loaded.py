"""What loads did, as a person reads it: from the JSON answers of `/load_price_history`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MOST_REASONS = 3
_MOST_TICKERS = 5


def news(answers: Sequence[Mapping[str, Any]]) -> str:
    """One load, or its parts together, in a line: `42 tickers, 3 bars new, 1 corrected, 0.5 s`."""
    tickers = [t for answer in answers for t in answer["tickers"]]
    inserted, updated = (sum(answer[n] for answer in answers) for n in ("inserted", "updated"))
    seconds = max(answer["seconds"] for answer in answers)
    count = "1 ticker" if len(tickers) == 1 else f"{len(tickers)} tickers"
    text = f"{count}, {inserted:,} bars new, {updated:,} corrected, {seconds:.1f} s"
    failed = {t: message for answer in answers for t, message in failures(answer).items()}
    return f"{text}; {len(failed)} failed: {reasons(failed)}" if failed else text


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """One load: what came, from whom, and how complete the session is."""
    yield news([answer])
    for vendor in filter(None, (answer["source"], answer["stand_in"])):
        of = f" of {vendor['budget']:,}" if vendor["budget"] else ""
        until = f" until {vendor['retry_at']}" if vendor["retry_at"] else ""
        yield (
            f"{vendor['name']}: {vendor['spent']:,}{of} requests this hour, "
            f"breaker {vendor['breaker']}{until}"
        )
    if found := answer["quality"]:
        expected = found["expected"]
        usual = "" if expected is None else f" of the usual {expected:,}"
        yield (
            f"session of {found['date']}: {found['present']:,}{usual} bars so far, "
            f"{found['corrected']:,} corrected, {found['quarantined']:,} refused"
        )


def failures(answer: Mapping[str, Any]) -> dict[str, str]:
    """Messages by ticker that failed."""
    found = answer["tickers"].items()
    return {t: one["message"] for t, one in found if one["status"] not in ("ok", "empty")}


def all_failed(answer: Mapping[str, Any]) -> bool:
    return len(failures(answer)) == len(answer["tickers"])


def reasons(messages: Mapping[str, str]) -> str:
    """Tickers by what is wrong with them, the most frequent first; of many, some."""
    by_reason: dict[str, list[str]] = {}
    for ticker, message in messages.items():
        by_reason.setdefault(message, []).append(ticker)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    told = [f"{_some(tickers)} ({message})" for message, tickers in ordered[:_MOST_REASONS]]
    more = len(ordered) - _MOST_REASONS
    return ", ".join(told) + (f" and {more} more reasons" if more > 0 else "")


def _some(tickers: Sequence[str]) -> str:
    more = len(tickers) - _MOST_TICKERS
    return ", ".join(tickers[:_MOST_TICKERS]) + (f" and {more} more" if more > 0 else "")

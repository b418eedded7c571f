"""Alpaca's refusals and failures as our errors: pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from astra.errors import AstraError, ConfigError, DataError, TemporaryError

_LONGEST_WAIT = 3600.0


class RefusedError(DataError):
    """Alpaca understood the request and said no."""

    def __init__(self, asked: str, http_status: int, code: int | None, sentence: str) -> None:
        super().__init__(f"{asked} was refused ({http_status}): {sentence}")
        self.http_status = http_status
        self.code = http_status if code is None else code
        self._sentence = sentence

    @property
    def is_duplicate_id(self) -> bool:
        text = self._sentence
        return self.http_status == 422 and "client_order_id" in text and "unique" in text

    @property
    def is_of_symbol(self) -> bool:
        """A symbol has a form that Alpaca does not accept."""
        return self.http_status in (400, 422) and "symbol" in self._sentence

    @property
    def is_of_subscription(self) -> bool:
        """The account may not see this data."""
        return self.http_status in (403, 422) and "subscription" in self._sentence


class RateLimitError(TemporaryError):
    """429: certainly not done."""


class UnreachableError(TemporaryError):
    """There was no answer at all."""


class TimedOutError(UnreachableError):
    """There was no answer in time."""


def failure(asked: str, status: int, body: str, wait: float | None) -> AstraError:
    """Our error for an answer that is no success.

    Args:
        asked: the request, in words.
        status: of HTTP.
        body: the answer's text.
        wait: seconds that the vendor wants us to wait, None if it did not say.
    """
    code, sentence = _said(body)
    if status == 429:
        return RateLimitError(f"{asked} is rate limited: wait and try again", wait)
    if status >= 500 or status == 408:
        return TemporaryError(f"{asked} failed with {status} {sentence}: try again", wait)
    refusal = RefusedError(asked, status, code, sentence)
    # 40310000 speaks of the order; 40110000, or a 403 without a code, of the keys.
    is_of_keys = status == 401 or (status == 403 and (code is None or str(code).startswith("401")))
    if is_of_keys and not refusal.is_of_subscription:
        return ConfigError(
            f"{asked} was not authorised ({status} {sentence}): check ASTRA_ALPACA_KEY and "
            "ASTRA_ALPACA_SECRET, and that they belong to the same paper or live account"
        )
    return refusal


def _said(text: str) -> tuple[int | None, str]:
    """Code and sentence of an error body; gateways answer in HTML, so neither may be there."""
    try:
        body = json.loads(text)
    except ValueError:
        return None, ""
    if not isinstance(body, dict):
        return None, ""
    code = body.get("code")
    sentence = str(body.get("message") or "")
    reason = body.get("reject_reason")
    return code if isinstance(code, int) else None, f"{sentence} ({reason})" if reason else sentence


def told_wait(status: int, headers: Mapping[str, str], now: float | None) -> float | None:
    """Seconds to wait by the vendor's own clock, whose time is `now` (epoch seconds): Retry-After,
    or for one request too many X-RateLimit-Reset. None if neither can be read."""
    try:
        if "Retry-After" in headers:
            return min(_LONGEST_WAIT, max(0.0, float(headers["Retry-After"])))
        if status == 429 and now is not None and "X-RateLimit-Reset" in headers:
            return min(_LONGEST_WAIT, max(0.0, float(headers["X-RateLimit-Reset"]) - now))
    except ValueError:
        return None
    return None

"""What a backtest is made from: bars, days, policies, terms, costs. Plain, so that it can be stored
and made again; the same specification on the same bars gives the same result to the cent.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from astra.errors import DataError
from astra.universe import SP500
from model.decision import Terms
from model.portfolio.limits import Limits


@dataclass(frozen=True, slots=True)
class Source:
    """Where the bars come from.

    Attributes:
        kind: a Parquet file, the database of the settings, or the simulated market.
        path: of the file.
        seed, edge, first, last: of the simulated market, the days that it is made for.
        tickers: candidates at most.
        known_at: of the database, what was known then, UTC; None = all that is known.
    """

    kind: Literal["file", "store", "simulated"]
    path: str | None = None
    seed: int | None = None
    edge: float | None = None
    tickers: int = 503
    known_at: dt.datetime | None = None
    first: dt.date | None = None
    last: dt.date | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """One backtest.

    Attributes:
        first, last: days, both included; None = from the 21st session of the bars, to their end.
        policies: names of built-in ones or `file.py:function`.
        terms: of every policy; its own `policy` says nothing here.
        capital: USD that each book starts with.
        half_spread_bp, fee_bp: what a fill costs, the fee on sales alone.
        slippage_bp: beyond half a spread, at fills only: no decision expects it.
        whole_shares: no fractions are traded.
        max_order_weight, max_position_weight: of equity in one order, in one position, at most.
        cash_buffer: of equity, never spent.
        bundle: the network's id.
        candidates: `sp500`, names separated by |, or the path of a list of them; those that have
            bars are chosen from.
        files: of each file named here, a policy's or the list of candidates, its path and 16 hex of
            its bytes when this was asked for.
    """

    source: Source
    first: dt.date | None
    last: dt.date | None
    policies: tuple[str, ...]
    terms: Terms
    capital: float
    half_spread_bp: float
    slippage_bp: float
    fee_bp: float
    min_order_usd: float
    whole_shares: bool
    bundle: str
    max_order_weight: float = 0.25
    candidates: str = SP500
    files: tuple[tuple[str, str], ...] = ()
    max_position_weight: float = 1.0
    cash_buffer: float = 0.01

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives an equal specification back."""
        found: dict[str, Any] = _plain(dataclasses.asdict(self))
        return found

    @property
    def identity(self) -> str:
        """16 hex that any other choice would change."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_json(written: Mapping[str, Any]) -> Spec:
    """The reverse of `Spec.as_json`.

    Raises:
        DataError: it is something else.
    """
    try:
        source: dict[str, Any] = dict(written["source"])
        terms: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in dict(written["terms"]).items()
        }
        source["known_at"] = _read(dt.datetime, source["known_at"])
        source |= {name: _read(dt.date, source.get(name)) for name in ("first", "last")}
        terms["limits"] = Limits(**terms["limits"])
        return Spec(
            **{
                **written,
                "source": Source(**source),
                "terms": Terms(**terms),
                "first": _read(dt.date, written["first"]),
                "last": _read(dt.date, written["last"]),
                "policies": tuple(written["policies"]),
                "files": tuple((path, told) for path, told in written.get("files", ())),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "the specification of a backtest is required, as `astra backtest --json` writes it, "
            f"found something else ({type(error).__name__}: {error}): make the backtest anew"
        ) from error


def _read(kind: type[dt.date], text: str | None) -> Any:
    return None if text is None else kind.fromisoformat(text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value.isoformat() if isinstance(value, dt.date) else value

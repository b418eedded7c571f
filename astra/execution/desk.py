"""What trading has at hand: broker, store, rules and limits, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass, fields

from astra.alpaca import Alpaca
from astra.rebalance import Rules
from astra.risk import Limits
from astra.settings import Settings
from astra.store import Store, open_store
from astra.tactics import Style

CONFIRM_SECONDS = 12.0  # Alpaca's positions and cash lag its own fills by up to ten


@dataclass(frozen=True, slots=True)
class Desk:
    """One account and its books.

    Attributes:
        rules: of the plan.
        limits: of the risk gate.
        capital: USD managed at most, 0 = the whole account.
        fill_timeout: seconds to wait for the fills of a phase.
        doubt_seconds: how long an order that was sent may still be on its way.
        confirm_seconds: how long positions and cash at the broker may lag its own fills.
        adopt: symbols managed though our orders did not open them; None = all.
        max_books_difference: between our books and the broker's, as a share of equity; more halts.
        style: how orders are sent.
        rebalance_on: decision, drift or file: which files are traded.
        drift_threshold: share of equity from which on `drift` trades.
    """

    broker: Alpaca
    store: Store
    rules: Rules
    limits: Limits
    max_names: int
    capital: float
    fill_timeout: float
    doubt_seconds: float
    confirm_seconds: float
    adopt: frozenset[str] | None
    max_books_difference: float
    style: Style
    rebalance_on: str
    drift_threshold: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Desk:
        """Opens the store and checks the broker's keys.

        Raises:
            ConfigError: a setting is missing or unusable.
        """
        return cls.of(Alpaca.from_settings(settings), open_store(settings.database_url), settings)

    @classmethod
    def of(cls, broker: Alpaca, store: Store, settings: Settings) -> Desk:
        """As the settings say, at a broker and a store that are open."""
        return cls(
            broker=broker,
            store=store,
            rules=Rules(
                drift_band=settings.drift_band,
                min_order_usd=settings.min_order_usd,
                hold=frozenset(settings.on_hold),
                cash_buffer=settings.cash_buffer,
                max_turnover=settings.max_turnover,
                collar=settings.limit_collar_bp / 1e4 if settings.order_style == "limit" else 0.0,
            ),
            limits=limits_of(settings),
            max_names=settings.k,
            capital=settings.capital,
            fill_timeout=settings.fill_timeout,
            doubt_seconds=settings.vendor_timeout,
            confirm_seconds=CONFIRM_SECONDS,
            adopt=settings.adopted,
            max_books_difference=settings.max_books_difference,
            style=Style(settings.order_style, settings.limit_collar_bp, settings.twap_minutes),
            rebalance_on=settings.rebalance_on,
            drift_threshold=settings.drift_threshold,
        )


def limits_of(settings: Settings) -> Limits:
    """The risk gate's limits."""
    return Limits(**{field.name: getattr(settings, field.name) for field in fields(Limits)})

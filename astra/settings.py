"""Typed settings: the only place that reads the environment (and `.env`).

Every name is `ASTRA_` + the field in capitals. Nothing is read or connected at import: call
`load()`. The same code meets the sandbox and the real vendors; only the URLs differ.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from astra.errors import ConfigError

PolicyName = Literal["measured", "trust", "original", "min_variance", "risk_parity", "equal"]
PAPER_URL = "https://paper-api.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"
LEAST_KEEP_DAYS = 61
HOUSE = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """All settings, with the default that suits one person with a paper account."""

    model_config = SettingsConfigDict(
        env_prefix="ASTRA_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    # Where things are
    var: Path = Field(Path("var"), description="folder for the database, logs and sandbox runs")
    database_url: str = Field(
        "sqlite:///var/astra.db",
        description="sqlite:///FILE, postgresql://USER:PASSWORD@HOST/NAME or mssql+pyodbc://...",
    )
    bundles: Path | str = Field(
        HOUSE / "model" / "bundles", description="models: a folder, or gs://BUCKET/PREFIX"
    )
    bundle_key: SecretStr = Field(
        SecretStr(""),
        description="signs models by HMAC-SHA256; if set, others are refused: openssl rand -hex 32",
    )
    bucket: str = Field("astra-allocations", description="Cloud Storage bucket of the allocations")

    # Vendors; empty = the vendor's own address
    yahoo_url: str = Field("", description="replaces https://query2.finance.yahoo.com")
    storage_url: str = Field("", description="replaces https://storage.googleapis.com")
    alpaca_url: str = Field(
        "", description="replaces https://paper-api.alpaca.markets or the live one"
    )
    alpaca_data_url: str = Field("", description="replaces https://data.alpaca.markets")
    alpaca_key: str = Field("", description="Alpaca API key id")
    alpaca_secret: SecretStr = Field(SecretStr(""), description="Alpaca API secret")
    alpaca_paper: bool = Field(True, description="false is the first of two steps to real money")
    live_trading: str = Field("", description="the live account's number: the second step")
    vendor_timeout: float = Field(
        20.0,
        gt=0,
        description="seconds for one request to a vendor, and for which an order may be in doubt",
    )

    # Bars
    source: Literal["yahoo", "alpaca"] = Field(
        "yahoo",
        description="yahoo or alpaca: whose bars; alpaca, with keys, stands in while yahoo refuses",
    )
    yahoo_requests_per_hour: int = Field(
        1500, ge=1, description="of all loads together; held names are served first"
    )
    load_processes: int = Field(2, ge=1, le=64, description="how many ask Yahoo at the same time")
    keep_days: int = Field(
        0,
        ge=0,
        description="days of bars that stay, 61 or more; 0 = all; what a forecast, a decision or a "
        "trade refers to always stays",
    )

    # Services
    etl_url: str = Field("http://127.0.0.1:8101", description="where the ETL service is")
    model_url: str = Field("http://127.0.0.1:8102", description="where the model service is")
    monitor_url: str = Field("http://127.0.0.1:8103", description="where the monitor service is")
    token: SecretStr = Field(
        SecretStr(""), description="bearer token that every route but /health asks for"
    )

    # Alerts
    alert_webhook: SecretStr = Field(
        SecretStr(""), description="gets alerts: an incoming webhook of Slack, or one like it"
    )
    alert_email: str = Field(
        "", description="who gets alerts by e-mail: me@example.org|you@example.org"
    )
    smtp_url: SecretStr = Field(
        SecretStr(""), description="mail server: smtps://USER:PASSWORD@HOST:465 or smtp://HOST:25"
    )

    # The page
    page_password: SecretStr = Field(
        SecretStr(""), description="asks for it; it or page_users is required where others reach it"
    )
    page_users: str = Field(
        "",
        description="may log in by OpenID Connect: a@x.org|b@x.org; provider in secrets.toml",
    )

    # Universe
    tickers: str = Field("sp500", description="candidates: sp500, a list AAPL|BRK.B, or a file.csv")
    benchmarks: str = Field("SPY|QQQ", description="loaded as data, never candidates")

    # Decision
    policy: str = Field("measured", description="measured, trust, original, ... or file.py:name")
    k: int = Field(20, ge=1, description="names in the portfolio at most")
    max_weight: float = Field(
        0.10, gt=0, le=1, description="of one name, at most, as a share of equity"
    )
    max_sector_weight: float = Field(0.30, gt=0, le=1, description="of one sector, at most")
    min_weight: float = Field(
        0.0, ge=0, lt=1, description="a name is held with at least this share of equity, or not"
    )
    max_turnover: float = Field(
        2.0, gt=0, le=2, description="of one decision: buys and sales together, share of equity"
    )
    exclude: str = Field("", description="candidates never to buy, such as AAPL|BRK.B")
    hold: str = Field("", description="names whose shares stay as they are, such as AAPL|BRK.B")
    cash_floor: float = Field(0.02, ge=0, lt=1, description="share of equity kept as cash")
    equity_premium: float = Field(
        0.05, description="a year's return over cash, expected of every name"
    )
    half_spread_bp: float = Field(2.0, ge=0, description="assumed cost of a purchase or sale")
    fee_bp: float = Field(0.3, ge=0, description="assumed fee on its value")
    holding_sessions: float = Field(20.0, gt=0, description="how long a trade is to pay for itself")
    alpha_half_life_hours: float = Field(
        6.0, gt=0, description="after which half of a forecast is gone"
    )

    risk_model: Literal["ledoit_wolf", "ewma", "single_factor", "sample"] = Field(
        "ledoit_wolf",
        description="covariance behind the weights: ledoit_wolf, ewma, single_factor or sample",
    )
    model_max_age_days: int = Field(
        365,
        ge=0,
        description="after the end of its training a forecast is no longer used; 0 = always used",
    )

    # Rebalance: the plan
    rebalance_on: Literal["decision", "drift", "file"] = Field(
        "decision",
        description="decision, drift (only once drift_threshold is passed) or file (only files "
        "dropped by hand)",
    )
    drift_threshold: float = Field(
        0.05, gt=0, le=1, description="share of equity that has drifted from the last allocation"
    )
    capital: float = Field(0.0, ge=0, description="USD managed at most; 0 = the whole account")
    adopt: str = Field(
        "", description="positions that our orders did not open are managed too: all, or AAPL|BRK.B"
    )
    cash_buffer: float = Field(0.01, ge=0, lt=1, description="share of equity never spent")
    min_order_usd: float = Field(1.0, ge=1, description="smaller orders are left out")
    drift_band: float = Field(
        0.001, ge=0, lt=0.1, description="smaller differences of a weight are left alone"
    )

    # Rebalance: the orders
    order_style: Literal["market", "limit", "twap"] = Field(
        "market",
        description="market, limit (marketable, within limit_collar_bp) or twap (slices over "
        "twap_minutes)",
    )
    limit_collar_bp: float = Field(
        20.0, gt=0, le=500, description="how far from the last price a limit order may trade"
    )
    twap_minutes: int = Field(10, ge=2, le=25, description="over which an order is sliced")
    fill_timeout: float = Field(
        120.0, gt=0, description="seconds to wait for sales, then for purchases"
    )

    # Risk gate: what is over a limit is denied with a code, see docs/risk.md
    max_order_weight: float = Field(
        0.25, gt=0, le=1, description="of equity in one purchase, at most"
    )
    max_order_usd: float = Field(0.0, ge=0, description="USD in one purchase, at most; 0 = any")
    max_position_weight: float = Field(
        0.25, gt=0, le=1, description="of equity in one position, at most"
    )
    max_gross: float = Field(1.0, gt=0, le=1, description="of equity in all positions, at most")
    max_orders_per_rebalance: int = Field(200, ge=1, description="orders of one allocation")
    max_orders_per_day: int = Field(1000, ge=1, description="orders of one session")
    price_collar_sigmas: float = Field(
        8.0, gt=0, description="a price further from the last close, in deviations, is not believed"
    )
    closing_minutes: int = Field(
        5, ge=0, le=60, description="no order is sent so shortly before the close"
    )
    max_daily_loss: float = Field(
        0.05, gt=0, le=1, description="share of equity lost in a day: only sales from then on"
    )
    max_drawdown: float = Field(
        0.2, gt=0, le=1, description="share of equity lost from its peak: only sales from then on"
    )
    max_reject_rate: float = Field(
        0.5, gt=0, le=1, description="share of a day's orders that were rejected: halt"
    )
    min_coverage: float = Field(
        0.5, ge=0, le=1, description="share of the candidates a forecast must have covered"
    )
    max_books_difference: float = Field(
        0.001, gt=0, le=1, description="our books against the broker's, share of equity: halt"
    )

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, value: str) -> str:
        if value in PolicyName.__args__ or ".py:" in value:  # type: ignore[attr-defined]
            return value
        known = ", ".join(PolicyName.__args__)  # type: ignore[attr-defined]
        raise ValueError(f"a policy is one of {known}, or file.py:function; found {value!r}")

    @field_validator("bundles")
    @classmethod
    def _folder_or_bucket(cls, value: Path | str) -> Path | str:
        text = str(value)
        if re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", text):
            return text
        if re.match(r"[a-z0-9]+:/", text):
            raise ValueError(f"models are in a folder or in gs://BUCKET/PREFIX, found {text!r}")
        return Path(value)

    @field_validator("keep_days")
    @classmethod
    def _enough_for_a_decision(cls, value: int) -> int:
        if 0 < value < LEAST_KEEP_DAYS:
            raise ValueError(
                f"bars of at least {LEAST_KEEP_DAYS} days are what a decision reads, found "
                f"{value}: keep more, or all with 0"
            )
        return value

    @model_validator(mode="after")
    def _live_needs_two_steps(self) -> Settings:
        if not self.alpaca_paper and not self.live_trading:
            raise ValueError(
                "real money needs both ASTRA_ALPACA_PAPER=false and "
                "ASTRA_LIVE_TRADING=<account number>; the second is missing"
            )
        return self

    @field_validator("alert_email")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for address in _listed(value):
            if not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
                raise ValueError(f"e-mail addresses are required, found {address!r}")
        return value

    @field_validator("page_users")
    @classmethod
    def _plain_addresses(cls, value: str) -> str:
        for address in _listed(value):
            if not (address.isascii() and re.fullmatch(r"[^@\s]+@[^@\s]+", address)):
                raise ValueError(
                    f"e-mail addresses in plain letters are required, found {address!r}: write a "
                    "domain of other letters as xn--..."
                )
        return value

    @model_validator(mode="after")
    def _mail_needs_a_server(self) -> Settings:
        if self.alert_email and not self.smtp_url.get_secret_value():
            raise ValueError("ASTRA_ALERT_EMAIL needs the mail server's ASTRA_SMTP_URL: set it")
        return self

    @model_validator(mode="after")
    def _targets_within_the_gate(self) -> Settings:
        if self.max_weight > min(self.max_position_weight, self.max_order_weight):
            raise ValueError(
                f"ASTRA_MAX_WEIGHT={self.max_weight:g} must be at most ASTRA_MAX_POSITION_WEIGHT="
                f"{self.max_position_weight:g} and ASTRA_MAX_ORDER_WEIGHT="
                f"{self.max_order_weight:g}, else its targets are never reached: lower it or raise "
                "them"
            )
        return self

    @property
    def trading_url(self) -> str:
        return self.alpaca_url or (PAPER_URL if self.alpaca_paper else LIVE_URL)

    @property
    def adopted(self) -> frozenset[str] | None:
        """Symbols managed though our orders did not open them; None = all."""
        return None if self.adopt.strip() == "all" else frozenset(_listed(self.adopt))

    @property
    def alerted(self) -> tuple[str, ...]:
        """The addresses that get alerts, ascending."""
        return _listed(self.alert_email)

    @property
    def excluded(self) -> tuple[str, ...]:
        """The names never to buy, ascending."""
        return _listed(self.exclude)

    @property
    def on_hold(self) -> tuple[str, ...]:
        """The names whose shares stay as they are, ascending."""
        return _listed(self.hold)

    @property
    def page_logins(self) -> frozenset[str]:
        """The addresses that may log in to the page, in small letters."""
        return frozenset(address.lower() for address in _listed(self.page_users))

    def require(self, *names: str) -> None:
        """Check that settings without a usable default are set; report all missing ones at once.

        Raises:
            ConfigError: names every missing variable.
        """
        missing = [n for n in names if not _plain(getattr(self, n))]
        if missing:
            listed = ", ".join(f"ASTRA_{n.upper()}" for n in missing)
            raise ConfigError(f"missing settings: {listed}; set them in .env or the environment")


def _listed(names: str) -> tuple[str, ...]:
    return tuple(sorted({t.strip() for t in names.split("|")} - {""}))


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def load(**overrides: Any) -> Settings:
    """Read the environment and `.env`; `overrides` by field name win over both.

    Raises:
        ConfigError: one line for each setting that cannot be used.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for e in error.errors():
            name = f"ASTRA_{'_'.join(str(p) for p in e['loc']).upper()}: " if e["loc"] else ""
            lines.append(f"{name}{e['msg'].removeprefix('Value error, ')}")
        raise ConfigError("; ".join(lines)) from error


def child_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: ours, with `overrides` on top."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", **overrides}

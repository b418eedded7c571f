"""`astra doctor`: what is configured, reachable and missing. It asks, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import requests

from astra.errors import AstraError
from astra.settings import Settings


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `ok` None is worth knowing but needs nobody."""

    subject: str
    ok: bool | None
    finding: str


def examine(settings: Settings) -> list[Check]:
    """All checks, in the order in which the hour needs their subjects."""
    checks: tuple[Callable[[Settings], Check], ...] = (
        _store, _bundle, _broker, _bucket, _services, _protection,
    )  # fmt: skip
    return [_guarded(check, settings) for check in checks]


def _guarded(check: Callable[[Settings], Check], settings: Settings) -> Check:
    try:
        return check(settings)
    except AstraError as error:
        return Check(check.__name__.removeprefix("_"), False, str(error))


def _store(settings: Settings) -> Check:
    from astra.store import open_store

    store = open_store(settings.database_url)
    tickers = len(store.prices.stored_tickers())
    held = f"bars of {tickers} tickers, market {store.market()}" if tickers else "no bars yet"
    return Check("store", True, f"{settings.database_url.split('@')[-1]}: {held}")


def _bundle(settings: Settings) -> Check:
    from model.forecast.bundle import load_bundle

    bundle = load_bundle(settings.bundles)
    training = bundle.spec.training
    return Check(
        "bundle",
        True,
        f"{bundle.id}, trained on {training.trained_on} bars to {training.end:%Y-%m-%d}",
    )


def _broker(settings: Settings) -> Check:
    if not settings.alpaca_key:
        return Check("broker", None, "no ASTRA_ALPACA_KEY: astra up uses the sandbox")
    from astra.alpaca import Alpaca

    broker = Alpaca.from_settings(settings)
    account, clock = broker.account(), broker.clock()
    kind = "paper" if settings.alpaca_paper else "REAL MONEY"
    state = "open" if clock.is_open else f"closed until {clock.next_open:%Y-%m-%d %H:%M} UTC"
    finding = f"{kind} account {account.number}, equity {account.equity} USD, market {state}"
    return Check("broker", not account.trading_blocked, finding)


def _bucket(settings: Settings) -> Check:
    if not settings.alpaca_key:
        return Check("bucket", None, "not asked for without a broker: astra up uses the sandbox")
    from astra.gcs import Bucket

    bucket = Bucket.from_settings(settings, retry_deadline=3.0)  # a check, not a job
    count = len(bucket.names("target_"))
    return Check("bucket", True, f"{bucket.url}: {count} allocation files")


def _services(settings: Settings) -> Check:
    down = []
    for name in ("etl", "model", "monitor"):
        url = getattr(settings, f"{name}_url")
        try:
            requests.get(f"{url}/health", timeout=3).raise_for_status()
        except requests.RequestException:
            down.append(f"{name} at {url}")
    if not down:
        return Check("services", True, "etl, model and monitor answer")
    return Check("services", None, f"not running: {', '.join(down)}; start them with astra up")


def _protection(settings: Settings) -> Check:
    if settings.token.get_secret_value():
        return Check("credential", True, "every route but /health asks for ASTRA_TOKEN")
    return Check("credential", None, "no ASTRA_TOKEN: keep the services on 127.0.0.1")

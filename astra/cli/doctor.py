"""`astra doctor`: what is configured, reachable and missing. It asks, and changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from sqlalchemy.engine import URL, make_url

from astra.errors import AstraError
from astra.settings import Settings

_MADE = (
    ": a service makes it when it starts, or astra db upgrade "
    "(astra run, and astra up without Alpaca keys, keep their own under var/sandbox)"
)


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
    store, *others = [_guarded(check, settings) for check in checks]
    return [store, *_bars(settings, has_store=bool(store.ok)), *others]


def _bars(settings: Settings, *, has_store: bool) -> list[Check]:
    from astra.cli import sources

    found = list(sources.keys(settings))
    try:
        known = sources.examine(settings) if has_store else []
    except AstraError as error:
        known = [("bars", False, str(error))]
    return [Check(*finding) for finding in (*known, *found)]


def _guarded(check: Callable[[Settings], Check], settings: Settings) -> Check:
    try:
        return check(settings)
    except AstraError as error:
        return Check(check.__name__.removeprefix("_"), False, str(error))


def _store(settings: Settings) -> Check:
    from astra.store import connect

    store = connect(settings.database_url)
    url = make_url(settings.database_url)
    place = _place(url)
    if _is_absent(url):
        return Check("store", None, f"{place}: no file yet{_MADE}")
    try:
        revision, wanted = store.revision(), _newest_revision()
        if revision is None:
            return Check("store", None, f"{place}: no tables yet{_MADE}")
        if revision != wanted:
            finding = f"{place}: the schema is at {revision}, not {wanted}: run astra db upgrade"
            return Check("store", False, finding)
        tickers, market = len(store.prices.stored_tickers()), store.market()
    finally:
        store.close()
    held = f"bars of {tickers} tickers, market {market}" if tickers else "no bars yet"
    return Check("store", True, f"{place}: {held}")


def _newest_revision() -> str | None:
    from alembic.script import ScriptDirectory

    import astra.store

    return ScriptDirectory(str(Path(astra.store.__file__).parent / "migrations")).get_current_head()


def _is_absent(url: URL) -> bool:
    """Whether asking would make the file."""
    is_file = url.get_backend_name() == "sqlite" and url.database
    return bool(is_file and not Path(str(url.database)).exists())


def _place(url: URL) -> str:
    """The database without user and password."""
    if url.get_backend_name() == "sqlite":
        return f"SQLite {url.database}"
    host = url.host or url.query.get("host") or "this machine"
    kind = {"postgresql": "PostgreSQL", "mssql": "SQL Server"}.get(url.get_backend_name(), "")
    return f"{kind} database {url.database} on {host}"


def _bundle(settings: Settings) -> Check:
    from model.forecast.registry import open_registry

    registry = open_registry(settings, retry_deadline=3.0)  # a check, not a job
    bundle = registry.load()
    training, limit = bundle.spec.training, settings.model_max_age_days
    kind = "signed and " if settings.bundle_key.get_secret_value() else ""
    finding = f"{bundle.id}, {kind}trained on {training.trained_on} bars to {training.end:%Y-%m-%d}"
    others = len(registry.list()) - 1
    if others:
        finding += f"; {others} more: astra models list"
    days = (dt.datetime.now(dt.UTC) - training.end).days
    if training.trained_on == "simulated":  # it is for the simulated market, which does not age
        return Check("bundle", True, finding)
    if limit and days > limit:
        late = f"{days} days ago, more than ASTRA_MODEL_MAX_AGE_DAYS={limit}"
        return Check("bundle", False, f"{finding}, {late}: run astra train")
    return Check("bundle", True, finding)


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

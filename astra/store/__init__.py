"""The store: bars, books and the journal of orders behind one URL.

`open_store(url)` is the way in. Services share one store; nothing here knows a vendor.
"""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import pyarrow as pa
from sqlalchemy import inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from astra.errors import ConfigError
from astra.store import dossiers, dump, rows, schema, versions
from astra.store.alerts import Alerts
from astra.store.audit import Audit
from astra.store.backtests import Backtests
from astra.store.books import Books
from astra.store.changes import Counts, Offer
from astra.store.dialect import Dialect
from astra.store.dossiers import Dossier
from astra.store.dump import Query
from astra.store.equity import Equity
from astra.store.forecasts import Forecasts
from astra.store.journal import Journal
from astra.store.loads import Loads
from astra.store.newest import Newest
from astra.store.prices import Prices
from astra.store.reconciliations import Reconciliations
from astra.store.retention import Pruned, prune
from astra.store.states import States
from astra.store.twins import Twins

__all__ = ["Counts", "Offer", "Query", "Store", "open_store"]

_MARKET = "market"
# Alembic keeps the migration under way in module globals, so one thread migrates at a time.
_migrating = threading.Lock()


def open_store(url: str) -> Store:
    """Connect to the store and bring its tables up to date.

    Args:
        url: SQLAlchemy URL; a SQLite path is relative to the working directory.

    Raises:
        ConfigError: the URL is malformed, of an unknown database, or the file cannot be used.
        TemporaryError: another writer held the lock for 60 s.
    """
    store = connect(url)
    try:
        store.migrate()
    except BaseException:
        store.close()
        raise
    return store


def connect(url: str) -> Store:
    """As `open_store`, but the tables are left as they are."""
    try:
        return Store(_dialect(make_url(url)))
    except ArgumentError:
        raise ConfigError(  # without the URL: it may hold a password
            "ASTRA_DATABASE_URL must be a database URL such as sqlite:///var/astra.db, found "
            "something that cannot be read as one"
        ) from None


def _dialect(url: URL) -> Dialect:
    """Each database's driver is imported only where it is used."""
    match url.get_backend_name():
        case "sqlite":
            from astra.store.sqlite import Sqlite

            return Sqlite(url)
        case "postgresql":
            from astra.store.postgresql import Postgresql

            return Postgresql(url)
        case "mssql":
            from astra.store.sqlserver import SqlServer

            return SqlServer(url)
        case other:
            raise ConfigError(
                f"the store speaks sqlite, postgresql and mssql+pyodbc, found {other!r} in "
                "ASTRA_DATABASE_URL: use sqlite:///var/astra.db"
            )


class Store:
    """One database: `prices`, `loads`, `books`, `equity`, `journal`, `states`, `audit`,
    `reconciliations`, `backtests`, `twins`, `newest`, `alerts`,
    `forecasts`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.prices = Prices(dialect)
        self.loads = Loads(dialect)
        self.books = Books(dialect)
        self.equity = Equity(dialect)
        self.journal = Journal(dialect)
        self.states = States(dialect)
        self.audit = Audit(dialect)
        self.reconciliations = Reconciliations(dialect)
        self.backtests = Backtests(dialect)
        self.newest = Newest(dialect)
        self.alerts = Alerts(dialect)
        self.twins = Twins(dialect)
        self.forecasts = Forecasts(dialect)

    def migrate(self) -> None:
        """Create or change the tables to today's schema, all in one transaction.

        Safe when several services start at once: the second waits and finds nothing to do.

        Raises:
            ConfigError: the tables are those of a later release.
        """
        if self.is_current():
            return
        # A third of a second that the function's start has not to wait for.
        from alembic import command
        from alembic.config import Config
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with _migrating, self._dialect.writing("schema") as connection:
            config.attributes["connection"] = connection
            held = MigrationContext.configure(connection).get_current_revision()
            known = {
                script.revision for script in ScriptDirectory.from_config(config).walk_revisions()
            }
            if held is not None and held not in known:
                raise ConfigError(
                    f"a database of revision {max(known)} or before is required, found {held}: it "
                    "belongs to a later release of astra, so update this one"
                )
            command.upgrade(config, "head")

    def is_current(self) -> bool:
        """Whether the tables are those of this release."""
        return self.revision() == schema.REVISION

    def revision(self) -> str | None:
        """Of the schema in the database; None before the first migration."""
        table = schema.revisions
        with self._dialect.reading() as connection:
            if not inspect(connection).has_table(table.name):
                return None
            return connection.scalar(select(table.c.version_num))

    def prune(self, keep_days: int, now: dt.datetime, dry_run: bool = False) -> Pruned:
        """Forget old bars, see `astra.store.retention.prune`."""
        return prune(self._dialect, keep_days, now, dry_run)

    def claim_market(self, identity: str) -> None:
        """Tie the store to one market: `real`, `simulated:<seed>` or `replay:<hash>`.

        Raises:
            ConfigError: the store holds another market's bars.
        """
        if self.market() == identity:
            return
        row = {"name": _MARKET, "identity": identity}
        with self._dialect.writing("prices") as connection:
            self._dialect.insert_new(connection, schema.market, [row])
            held = connection.scalar(select(schema.market.c.identity))
        if held != identity:
            raise ConfigError(
                f"the store holds the market {held!r} and cannot take bars of {identity!r}: "
                "point ASTRA_DATABASE_URL at another database"
            )

    def market(self) -> str | None:
        """Identity of the market in the store; None before the first claim."""
        with self._dialect.reading() as connection:
            return connection.scalar(select(schema.market.c.identity))

    def versions(self) -> dict[str, int]:
        """Counters that grow with each change of `prices` and of `books`."""
        with self._dialect.reading() as connection:
            return versions.current(connection)

    def record_now(self, now: dt.datetime) -> None:
        """Remember the vendor's time; an earlier one than remembered changes nothing.

        The market must have been claimed.
        """
        seen = schema.market.c.seen_at
        at = rows.seconds(now)
        with self._dialect.writing("prices") as connection:
            later = (seen.is_(None)) | (seen < at)
            connection.execute(schema.market.update().where(later).values(seen_at=at))

    def now(self) -> dt.datetime | None:
        """The vendor's latest time that any load has met; None before the first."""
        with self._dialect.reading() as connection:
            at = connection.scalar(select(schema.market.c.seen_at))
        return rows.moment_or_none(at)

    def dump(self, query: Query) -> pa.RecordBatchReader:
        """A table by name as a stream, see `astra.store.dump.read`.

        Raises:
            DataError: an unknown table or column, or a filter that the table has not.
        """
        return dump.read(self._dialect, query)

    def dossier(self, name: str) -> Dossier:
        """All about one allocation, see `astra.store.dossiers.read`.

        Raises:
            DataError: there is none of this id or object.
        """
        return dossiers.read(self._dialect, name)

    def close(self) -> None:
        """Give the connections back; the store opens new ones when used again."""
        self._dialect.engine.dispose()

"""Bringing a database up to today's schema on purpose, and saying from where to where."""

from __future__ import annotations

from dataclasses import dataclass

from alembic.migration import MigrationContext
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from astra.errors import ConfigError
from astra.store import Store, _dialect


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Revisions of the schema; `before` is None for a database without our tables."""

    before: str | None
    after: str | None


def upgrade(url: str) -> Upgrade:
    """Migrate the database, as every `open_store` does.

    Raises:
        ConfigError, TemporaryError: see `open_store`.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"ASTRA_DATABASE_URL is no database URL: {error}") from error
    store = Store(_dialect(parsed))
    try:
        before = _revision(store)
        store.migrate()
        return Upgrade(before, _revision(store))
    finally:
        store.close()


def _revision(store: Store) -> str | None:
    with store._dialect.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision()

"""Runs the migrations on the connection that `Store.migrate` hands over, inside its transaction.

From a shell: `alembic` is not needed; opening the store migrates it.
"""

from __future__ import annotations

from alembic import context

from astra.errors import ConfigError
from astra.store.schema import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise ConfigError("migrations run when the store is opened: call astra.store.open_store(url)")
context.configure(connection=connection, target_metadata=metadata, compare_type=True)
context.run_migrations()

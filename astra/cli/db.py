"""`astra db`: the database's schema, and how long bars are kept."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from astra import settings as astra_settings

app = typer.Typer(help="The database: its schema, and what may be forgotten.", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)


@app.command()
def upgrade() -> None:
    """Bring the tables up to today's schema, as every service does when it starts."""
    from astra.store import connect

    store = connect(astra_settings.load().database_url)
    try:
        before = store.revision()
        store.migrate()
        after = store.revision()
    finally:
        store.close()
    if before == after:
        out.print(f"the schema is at revision {after}: nothing to do")
    else:
        out.print(f"the schema went from {before or 'nothing'} to revision {after}")


@app.command()
def prune(
    keep_days: Annotated[
        int | None,
        typer.Option(
            min=0, help="0 = all; under 61 too few for a decision; default: ASTRA_KEEP_DAYS"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count, delete nothing")] = False,
) -> None:
    """Delete old bars that no forecast, decision or trade refers to."""
    from astra.store import open_store

    settings = astra_settings.load()
    store = open_store(settings.database_url)
    try:
        days, now = settings.keep_days if keep_days is None else keep_days, store.now()
        if now is None or days == 0:
            why = "the store has no bars" if days else "keeping 0 days means keeping all bars"
            out.print(f"nothing was deleted: {why}")
            return
        gone = store.prune(days, now, dry_run)
    finally:
        store.close()
    out.print(
        f"{'would delete' if dry_run else 'deleted'} {gone.bars:,} bars, {gone.revisions:,} "
        f"revisions and {gone.quarantined:,} refused bars of {gone.tickers} tickers from before "
        f"{gone.before:%Y-%m-%d}; what a forecast, a decision or a trade refers to stays"
    )

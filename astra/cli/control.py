"""The commands that stop trading and let it go on: `halt`, `lift`.

They work on broker and store directly, so that they work when no service does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from astra.cli.options import out, read_settings
from astra.errors import AstraError, TemporaryError

_BY = "command line"


def halt(
    reducing: Annotated[
        bool, typer.Option("--reducing", help="go on selling, stop only purchases")
    ] = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="kept with the state and in the audit log")
    ] = "asked for at the command line",
) -> None:
    """Stop trading at once and cancel open orders; it stays so until `astra lift`.

    The exit code is 4 unless it is written down and the broker has confirmed it.
    """
    from astra.alpaca import Alpaca
    from astra.execution.desk import Desk
    from astra.execution.halting import halt as switch
    from astra.execution.halting.blind import halt_without_books
    from astra.records import TradingState

    state = TradingState.REDUCING if reducing else TradingState.HALTED
    settings = read_settings()
    broker = Alpaca.from_settings(settings)  # before the store, which may be away
    try:
        desk = Desk.from_settings(settings)
    except AstraError as error:
        ended = halt_without_books(broker, state, reason, str(error), settings.vendor_timeout)
    else:
        with _unlogged():
            ended = switch.halt(desk, state, reason, _BY)
    _say(ended.message)
    raise typer.Exit(0 if ended.is_confirmed else TemporaryError.exit_code)


def lift(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="as the command without it has said")
    ] = "",
) -> None:
    """Let a stopped account trade again, in two steps: ask for a code, then give it."""
    from astra.execution.desk import Desk
    from astra.execution.halting import lift as lifting

    desk = Desk.from_settings(read_settings())
    with _unlogged():
        done = lifting.lift(desk, code, _BY) if code else lifting.offer_lift(desk, _BY)
    _say(done.message)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without the alarm in the log, which a service needs: here it says what is said anyway."""
    log = logging.getLogger("astra.execution.halting")
    log.addFilter(_nothing)
    try:
        yield
    finally:
        log.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False


def _say(text: str) -> None:
    out.print(text, soft_wrap=True, markup=False)
